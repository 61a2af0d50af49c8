# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Real processes and real DDS for the ROS tests: a small weights file, a node as a process, a client here."""

from __future__ import annotations

import array
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from depthclip_ros.core.present import is_installed
from depthclip_ros.core.weights.graph import ABOUT, beside

FASTDDS_PROFILE = Path(__file__).parents[2] / "config" / "fastdds.xml"
WAIT_S = 150.0  # generous: a busy machine is slow, not wrong
FOCAL_PX = 200.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of a node may have to wait for an import of torch on a busy machine."""
    for item in items:
        if "test_node" in item.nodeid and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def quick_runtime() -> str:
    """The runtime that compiles nothing, where it is installed."""
    return "torch" if is_installed("torch") else "auto"


@pytest.fixture(scope="session")
def ros_environment() -> Iterator[dict[str, str]]:
    """A DDS domain of this test process alone, on this machine alone: parallel runs do not hear each other."""
    pytest.importorskip("rclpy", reason="needs rclpy: a ROS installation, or the package's extra `ros`")
    domain = str(20 + os.getpid() % 40)  # above 101, DDS ports meet those that Linux gives to clients
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", domain)
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        if os.environ.get("ROS_DISTRO") == "humble":  # which does not know the variable above
            patch.setenv("ROS_LOCALHOST_ONLY", "1")
        # Fast DDS as the package ships it. Without it, an image that does not fit into the shared memory segment may
        # push out the CameraInfo before it, which then comes seconds later. A small container has no room for it.
        if shutil.disk_usage("/dev/shm").free > 512 * 2**20:
            for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
                patch.setenv(name, str(FASTDDS_PROFILE))
        yield dict(os.environ)


@pytest.fixture(scope="session")
def light(lacking: Callable[..., dict[str, str]], extras: tuple[str, ...]) -> dict[str, str]:
    """Environment variables of a process that has nothing but what `make demo` installs."""
    return lacking(*extras)


class NodeProcess:
    """depth_node in its own process, with its log in a file."""

    def __init__(
        self,
        log: Path,
        environment: dict[str, str],
        namespace: str,
        parameters: dict,
        remaps: dict,
        params_file: Path | None,
    ) -> None:
        arguments = ["--ros-args", "-r", f"__ns:={namespace}"]
        arguments += ["--params-file", str(params_file)] if params_file else []
        for name, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            arguments += ["-p", f"{name}:={text}"]
        for name, value in remaps.items():
            arguments += ["-r", f"{name}:={value}"]
        self._log = log
        environment = {**environment, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [_executable("depth_node"), *arguments], stdout=stream, stderr=subprocess.STDOUT, env=environment
            )

    def log(self) -> str:
        """What it printed so far."""
        return self._log.read_text(errors="replace")

    def wait_for_log(self, text: str, count: int = 1) -> None:
        """Until the log has `text` so often."""
        end_s = time.monotonic() + WAIT_S
        while self.log().count(text) < count:
            assert self.process.poll() is None, f"the node ended with {self.process.returncode}:\n{self.log()}"
            assert time.monotonic() < end_s, f"no {text!r} in the log:\n{self.log()}"
            time.sleep(0.02)

    def signal(self, number: int, within_s: float = 20.0) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(within_s)

    def kill(self) -> None:
        """Whatever is left; by SIGTERM where that serves, for what SIGKILL ends leaves its shared memory behind."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(10)


def _executable(name: str) -> str:
    path = Path(sys.prefix) / "lib" / "depthclip_ros" / name
    if not path.exists():
        packages = pytest.importorskip("ament_index_python.packages", reason="the package is not installed")
        path = Path(packages.get_package_prefix("depthclip_ros")) / "lib" / "depthclip_ros" / name
    return str(path)


@pytest.fixture(scope="module")
def start_node(ros_environment, light, node_weights, tmp_path_factory) -> Iterator[Callable[..., NodeProcess]]:
    """Start depth nodes: `start_node(namespace, {parameter: value}, {name: remapped})`.

    They run as with `make demo`, by OpenVINO in a process without torch, but where the weights have no graph.
    """
    started: list[NodeProcess] = []
    cache = str(tmp_path_factory.getbasetemp() / "cache")  # of all tests: each network is compiled once

    def start(
        namespace: str, parameters: dict | None = None, remaps: dict | None = None, params_file: Path | None = None
    ) -> NodeProcess:
        values = {"autostart": True, "model.weights": node_weights, "model.device": "cpu", "model.precision": "fp32"}
        values |= parameters or {}
        has_graph = beside(Path(values["model.weights"]), ABOUT).is_file()
        # Weights without a graph run by torch, for the other runtimes take seconds to convert a network.
        values.setdefault("model.runtime", "openvino" if has_graph else "torch")
        log = tmp_path_factory.mktemp("node") / "log.txt"
        environment = {**ros_environment, **({**light, "XDG_CACHE_HOME": cache} if has_graph else {})}
        node = NodeProcess(log, environment, namespace, values, remaps or {}, params_file)
        started.append(node)
        return node

    yield start
    for node in started:
        node.kill()


class Inbox:
    """Messages of one topic, in the order of their arrival."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.messages: list[Any] = []

    def of_stamp(self, stamp: Any) -> Any | None:
        """The message with this stamp."""
        return next((message for message in reversed(self.messages) if message.header.stamp == stamp), None)


class Client:
    """A ROS node in this process that knows the interface only, spun by a thread of its own."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self._changed = threading.Condition()
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=int(os.environ["ROS_DOMAIN_ID"]))
        self.node = rclpy.create_node("client", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._stopping = False
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        from rclpy.impl.implementation_singleton import rclpy_implementation

        while not self._stopping:
            # A test may destroy what this thread is about to wait for: rclpy raises, the next round does without.
            with contextlib.suppress(rclpy_implementation.InvalidHandle):
                self._executor.spin_once(timeout_sec=0.1)

    def close(self) -> None:
        """End the thread and the context."""
        import rclpy

        self._stopping = True
        self._thread.join(10)
        self.node.destroy_node()
        rclpy.shutdown(context=self.context, uninstall_handlers=False)

    def wait(
        self, condition: Callable[[], Any], timeout_s: float = WAIT_S, what: str = "condition", pause_s: float = 0.05
    ) -> Any:
        """Until the condition gives something; that. It is asked at every message, at the latest after `pause_s`."""
        with self._changed:
            end_s = time.monotonic() + timeout_s
            while not (result := condition()):
                left_s = end_s - time.monotonic()
                assert left_s > 0, f"waited {timeout_s} s for {what}"
                self._changed.wait(min(left_s, pause_s))
            return result

    def subscribe(self, message: Any, topic: str, depth: int = 50) -> Inbox:
        """Collect a topic's messages (reliable)."""
        from rclpy.qos import QoSProfile, ReliabilityPolicy

        inbox = Inbox(topic)

        def receive(received: Any) -> None:
            with self._changed:
                inbox.messages.append(received)
                self._changed.notify_all()

        qos = QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)
        self.node.create_subscription(message, topic, receive, qos)
        return inbox

    def call(self, service: Any, name: str, request: Any) -> Any:
        """The service's answer."""
        client = self.node.create_client(service, name)
        self.wait(client.service_is_ready, what=f"service {name}")
        # A server that sees the request before it sees where the answer goes drops it: a question is asked again.
        futures = []
        repeatable = service.__name__.startswith(("Get", "SetParameters"))
        end_s = time.monotonic() + WAIT_S
        while not (answered := [future for future in futures if future.done()]):
            assert time.monotonic() < end_s, f"waited {WAIT_S} s for answer of {name}"
            if repeatable or not futures:
                futures.append(client.call_async(request))
            self._wait_briefly(lambda: any(future.done() for future in futures))
        self.node.destroy_client(client)
        return answered[0].result()

    def _wait_briefly(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
        end_s = time.monotonic() + timeout_s
        with self._changed:
            while not condition() and time.monotonic() < end_s:
                self._changed.wait(0.05)

    def transition(self, node: str, label: str) -> bool:
        """Ask a lifecycle node for a transition: configure, activate, deactivate, cleanup."""
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        ids = {
            "configure": Transition.TRANSITION_CONFIGURE,
            "activate": Transition.TRANSITION_ACTIVATE,
            "deactivate": Transition.TRANSITION_DEACTIVATE,
            "cleanup": Transition.TRANSITION_CLEANUP,
        }
        request = ChangeState.Request(transition=Transition(id=ids[label]))
        return self.call(ChangeState, f"{node}/change_state", request).success

    def state(self, node: str) -> str:
        """Label of a lifecycle node's state."""
        from lifecycle_msgs.srv import GetState

        return self.call(GetState, f"{node}/get_state", GetState.Request()).current_state.label

    def set_parameter(self, node: str, name: str, value: Any) -> Any:
        """Set a parameter; the SetParametersResult."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return self.call(SetParameters, f"{node}/set_parameters", request).results[0]


@pytest.fixture(scope="module")
def client(ros_environment) -> Iterator[Client]:
    """One client for a module's tests."""
    client = Client()
    yield client
    client.close()


class Camera:
    """Publishes an image and its CameraInfo, and collects the depth node's topics in the same namespace."""

    def __init__(self, client: Client, namespace: str, *, image: str = "image", reliable: bool = True) -> None:
        from depthclip_ros.msg import DepthStats
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

        self.client, self.namespace = client, namespace
        reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(depth=1, reliability=reliability)
        compressed = image.endswith("/compressed")
        self._image = client.node.create_publisher(
            CompressedImage if compressed else Image, f"{namespace}/{image}", qos
        )
        base = image.removesuffix("/compressed").rpartition("/")[0]
        info_topic = f"{namespace}/{base}/camera_info".replace("//", "/")
        self._info = client.node.create_publisher(CameraInfo, info_topic, qos)
        self.depth = client.subscribe(Image, f"{namespace}/depth/image")
        self.info = client.subscribe(CameraInfo, f"{namespace}/depth/camera_info")
        self.cloud = client.subscribe(PointCloud2, f"{namespace}/depth/points")
        self.confidence = client.subscribe(Image, f"{namespace}/depth/confidence")
        self.uncertainty = client.subscribe(Image, f"{namespace}/depth/uncertainty")
        self.stats = client.subscribe(DepthStats, f"{namespace}/depth/stats")

    def leave(self) -> None:
        """Take the publishers away."""
        self.client.node.destroy_publisher(self._image)
        self.client.node.destroy_publisher(self._info)

    def image_message(self, rgb: np.ndarray, **changed: Any) -> Any:
        """sensor_msgs/Image of uint8 [H, W, 3], stamped now; `changed` fields replace the right ones."""
        from sensor_msgs.msg import Image

        height, width = rgb.shape[:2]
        fields = {"height": height, "width": width, "encoding": "rgb8", "step": 3 * width, "data": rgb.tobytes()}
        fields.update(changed)
        fields["data"] = array.array("B", bytes(fields["data"]))
        return self._stamped(Image(**fields))

    def compressed_message(self, rgb: np.ndarray, format: str = "jpeg", cut: int | None = None) -> Any:  # noqa: A002
        """sensor_msgs/CompressedImage, stamped now, cut off after so many bytes."""
        from sensor_msgs.msg import CompressedImage

        data = cv2.imencode({"jpeg": ".jpg", "png": ".png"}[format], rgb[..., ::-1])[1].tobytes()[:cut]
        return self._stamped(CompressedImage(format=format, data=array.array("B", data)))

    def info_message(self, width: int, height: int, focal_px: float = FOCAL_PX, **changed: Any) -> Any:
        """sensor_msgs/CameraInfo of an undistorted camera; `changed` fields replace the right ones."""
        from sensor_msgs.msg import CameraInfo

        cx, cy = (width - 1) / 2, (height - 1) / 2
        fields = {
            "width": width,
            "height": height,
            "distortion_model": "plumb_bob",
            "d": [0.0] * 5,
            "k": [focal_px, 0.0, cx, 0.0, focal_px, cy, 0.0, 0.0, 1.0],
            "r": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            "p": [focal_px, 0.0, cx, 0.0, 0.0, focal_px, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
        }
        return CameraInfo(**{**fields, **changed})

    def _stamped(self, message: Any) -> Any:
        message.header.stamp = self.client.node.get_clock().now().to_msg()
        message.header.frame_id = "camera_optical_frame"
        return message

    def send_info(self, info: Any, header: Any) -> None:
        """Publish a CameraInfo with this header."""
        info.header = header
        self._info.publish(info)

    def send(self, image: Any, info: Any | None) -> Any:
        """Publish an image with its CameraInfo, which gets the image's header; the stamp."""
        if info is not None:
            self.send_info(info, image.header)
        self._image.publish(image)
        return image.header.stamp

    def send_until(self, make: Callable[[], tuple[Any, Any | None]], inbox: Inbox) -> Any:
        """Send images until one is answered in `inbox`; that answer. For while the two find each other.

        And in `stats`, which is subscribed to last: DDS makes subscriptions known one by one.
        """
        sent = []
        end_s = time.monotonic() + WAIT_S
        while time.monotonic() < end_s:
            sent.append(self.send(*make()))
            next_s = time.monotonic() + 0.4
            while time.monotonic() < next_s:
                answered = (m for m in inbox.messages if m.header.stamp in sent)
                answer = next((m for m in answered if self.stats.of_stamp(m.header.stamp) is not None), None)
                if answer is not None:
                    return answer
                time.sleep(0.01)
        pytest.fail(f"no answer to {len(sent)} images in {WAIT_S} s")

    def answer(self, inbox: Inbox, stamp: Any) -> Any:
        """The message with this stamp, when it comes."""
        return self.client.wait(lambda: inbox.of_stamp(stamp), what=f"the answer on {inbox.topic} to stamp {stamp}")


@pytest.fixture(scope="module")
def camera(client) -> Callable[..., Camera]:
    """Make a camera: `camera(namespace, image="image", reliable=True)`."""

    def make(namespace: str, **options: Any) -> Camera:
        return Camera(client, namespace, **options)

    return make


@pytest.fixture(scope="session")
def room() -> np.ndarray:
    """A picture of something, uint8 [120, 160, 3]."""
    v, u = np.mgrid[:120, :160]
    rgb = np.stack([u, v * 2, 255 - u], -1).astype(np.uint8)
    cv2.rectangle(rgb, (40, 30), (100, 90), (200, 60, 20), -1)
    return rgb
