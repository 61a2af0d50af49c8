# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""camera_node as a process of its own, heard over real DDS."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import QoSProfile, QoSReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image  # noqa: E402

from depthclip_ros.ros import processes  # noqa: E402


class Listener:
    """Keeps the messages of the three topics."""

    def __init__(self, domain_id: int) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.node = Node("listener", context=self.context)
        self.images: list[Image] = []
        self.infos: list[CameraInfo] = []
        self.depths: list[Image] = []
        self.jpegs: list[CompressedImage] = []
        qos = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        self.node.create_subscription(Image, "image_raw", self.images.append, qos)
        self.node.create_subscription(CameraInfo, "camera_info", self.infos.append, qos)
        self.node.create_subscription(Image, "ground_truth/depth/image", self.depths.append, qos)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def listen_to_jpegs(self) -> None:
        self.node.create_subscription(CompressedImage, "image_raw/compressed", self.jpegs.append, QoSProfile(depth=10))

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 20.0) -> bool:
        end_s = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < end_s:
            self.executor.spin_once(timeout_sec=0.1)
        return bool(condition())

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def listener(ros_domain_id: int, environment: dict[str, str]) -> Iterator[Listener]:
    with processes.environment_of(environment):
        one = Listener(ros_domain_id)
        yield one
        one.close()


@pytest.fixture
def environment(ros_domain_id: int) -> dict[str, str]:
    return processes.private_environment(ros_domain_id)


@pytest.fixture
def camera(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., processes.NodeProcess]]:
    started: list[processes.NodeProcess] = []

    def start(**parameters: Any) -> processes.NodeProcess:
        log_path = tmp_path / f"camera_{len(started)}.log"
        started.append(processes.NodeProcess("camera_node", parameters, environment=environment, log_path=log_path))
        return started[-1]

    yield start
    processes.stop(started)


@pytest.fixture
def rgbd_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    for name in ("rgb", "depth"):
        (folder / name).mkdir(parents=True)
    for number in range(3):
        bgr = np.full((48, 65, 3), (0, 0, 50 + number), np.uint8)  # an odd width: rows of 195 bytes
        assert cv2.imwrite(str(folder / "rgb" / f"{number}.png"), bgr)
        assert cv2.imwrite(str(folder / "depth" / f"{number}.png"), np.full((48, 65), 1500 + number, np.uint16))
    (folder / "meta.json").write_text('{"intrinsics": {"fx": 50.0, "fy": 51.0, "cx": 32.0, "cy": 23.5}}')
    return folder


def stamp_of(message: Any) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec


def test_image_camera_info_and_exact_depth_share_stamp_and_frame(
    camera: Callable[..., processes.NodeProcess], listener: Listener, rgbd_folder: Path
) -> None:
    before_s = time.time()
    camera(source=str(rgbd_folder), rate_hz=20.0, frame_id="eye")
    assert listener.wait_for(lambda: len(listener.images) > 6 and len(listener.depths) > 6)
    infos = {stamp_of(info): info for info in listener.infos}
    depths = {stamp_of(depth): depth for depth in listener.depths}
    together = [image for image in listener.images if stamp_of(image) in infos and stamp_of(image) in depths]
    assert len(together) > 3
    for image in together:
        info, depth = infos[stamp_of(image)], depths[stamp_of(image)]
        assert image.header.frame_id == info.header.frame_id == depth.header.frame_id == "eye"
        assert before_s < stamp_of(image)[0] + 1 < time.time() + 2
        assert (image.width, image.height, image.encoding, image.step) == (65, 48, "rgb8", 195)
        assert (info.width, info.height) == (65, 48)
        assert list(info.k) == [50.0, 0.0, 32.0, 0.0, 51.0, 23.5, 0.0, 0.0, 1.0]
        number = image.data[0] - 50
        assert depth.encoding == "32FC1"
        values = np.frombuffer(depth.data, np.float32)
        assert np.allclose(values, 1.5 + number / 1000)
    assert {image.data[0] for image in listener.images} == {50, 51, 52}, "the source starts again at its end"


def test_compressed_images_come_to_whoever_listens_with_the_raw_image_s_stamp(
    camera: Callable[..., processes.NodeProcess], listener: Listener, rgbd_folder: Path
) -> None:
    camera(source=str(rgbd_folder), rate_hz=20.0, frame_id="eye")
    assert listener.wait_for(lambda: listener.images)
    listener.listen_to_jpegs()
    assert listener.wait_for(lambda: len(listener.jpegs) > 6)
    images = {stamp_of(image): image for image in listener.images}
    together = [jpeg for jpeg in listener.jpegs if stamp_of(jpeg) in images]
    assert len(together) > 3
    for jpeg in together:
        assert (jpeg.format, jpeg.header.frame_id) == ("jpeg", "eye")
        bgr = cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR)
        assert bgr.shape == (48, 65, 3)
        red = images[stamp_of(jpeg)].data[0]
        assert np.abs(bgr.astype(int) - (0, 0, red)).max() <= 3, "the same frame, red stays red"


def test_a_rate_that_cannot_be_kept_is_named() -> None:
    from depthclip_ros.ros.camera_node.node import RateWatch

    slow, good = RateWatch(60.0), RateWatch(60.0)
    said = [rate_hz for number in range(400) if (rate_hz := slow.tick(number / 40)) is not None]
    assert said == [pytest.approx(40, rel=0.02)], "one window of five seconds in ten, and what it was"
    assert not any(good.tick(number / 59) for number in range(600))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_with_code_0(
    camera: Callable[..., processes.NodeProcess], listener: Listener, rgbd_folder: Path, number: signal.Signals
) -> None:
    process = camera(source=str(rgbd_folder))
    assert listener.wait_for(lambda: listener.images)
    process.signal_group(number)
    assert process.wait(10) == 0
    assert "Traceback" not in process.log()


def test_without_loop_it_ends_with_its_source(
    camera: Callable[..., processes.NodeProcess], listener: Listener, rgbd_folder: Path
) -> None:
    process = camera(source=str(rgbd_folder), loop=False, rate_hz=2.0)
    assert process.wait(20) == 0
    assert "Traceback" not in process.log()


def test_bag_is_played_with_its_own_camera_info(
    camera: Callable[..., processes.NodeProcess], listener: Listener, write_bag: Callable[..., Path]
) -> None:
    bag = write_bag("bag", storage="mcap", broken=(2,))
    process = camera(source=str(bag), rate_hz=0.0, depth_topic="/cam/depth")
    assert listener.wait_for(lambda: len(listener.images) > 5 and listener.depths)
    assert listener.infos[0].k[0] == 50.0
    assert {image.data[0] for image in listener.images} == {0, 40, 120}, "the broken image is left out"
    assert listener.wait_for(lambda: "skipped (1 so far)" in process.log())
    assert "at 10 Hz" in process.log(), "rate_hz 0 is the recording's own rate"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"source": "/nowhere/at/all"}, "'/nowhere/at/all' does not exist"),
        ({"reliability": "perhaps"}, "allowed are reliable, best_effort"),
        ({"rate_hz": -1.0}, "rate_hz"),
        ({"width": "wide"}, "width"),
    ],
)
def test_bad_parameter_ends_it_with_a_sentence(
    camera: Callable[..., processes.NodeProcess], parameters: dict[str, Any], said: str
) -> None:
    process = camera(**parameters)
    assert process.wait(20) == 1
    assert said in (process.failure() or "")
    assert "Traceback" not in process.log()


def test_a_source_without_a_readable_frame_is_an_error(
    camera: Callable[..., processes.NodeProcess], tmp_path: Path
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.png").write_bytes(b"nothing")
    process = camera(source=str(tmp_path / "bad"))
    assert process.wait(20) == 1
    assert "1.png" in (process.failure() or "")


def test_the_rendered_robot_publishes_what_it_measures_and_where_it_is(
    listener: Listener, camera: Callable[..., processes.NodeProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="needs torch to render")
    from nav_msgs.msg import Odometry
    from rclpy.qos import DurabilityPolicy
    from sensor_msgs.msg import LaserScan, Range

    from depthclip_ros.core.transforms import Transforms
    from tf2_msgs.msg import TFMessage

    heard: dict[str, list[Any]] = {"range": [], "scan": [], "odom": [], "/tf": [], "/tf_static": []}
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    for topic, kind in (("range", Range), ("scan", LaserScan), ("odom", Odometry), ("/tf", TFMessage)):
        listener.node.create_subscription(kind, topic, heard[topic].append, QoSProfile(depth=50))
    listener.node.create_subscription(TFMessage, "/tf_static", heard["/tf_static"].append, latched)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    camera(width=64, height=48, frames=3, rate_hz=5.0)
    assert listener.wait_for(lambda: all(heard.values()) and len(heard["/tf"]) > 3 and listener.depths, 90)
    tree = Transforms()
    for topic in ("/tf", "/tf_static"):
        for message in heard[topic]:
            tree.add(message, is_static=topic == "/tf_static")
    beam, scan = heard["range"][-1], heard["scan"][-1]
    stamp_ns = beam.header.stamp.sec * 10**9 + beam.header.stamp.nanosec
    frame = listener.depths[-1].header.frame_id
    to_camera = tree.between(beam.header.frame_id, stamp_ns, frame, stamp_ns)
    np.testing.assert_allclose(to_camera[:3, 0], [0, 0, 1], atol=1e-6)  # the beam looks where the camera does
    to_base = tree.between(frame, stamp_ns, "base_footprint", stamp_ns)
    assert 0.4 < to_base[2, 3] < 1.3
    level = tree.between(scan.header.frame_id, stamp_ns, "base_footprint", stamp_ns)
    np.testing.assert_allclose(level[:3, :3], np.eye(3), atol=1e-6)
    assert level[2, 3] == pytest.approx(to_base[2, 3], abs=1e-6)
    depth = next(one for one in listener.depths if one.header.stamp == beam.header.stamp)
    metres = np.frombuffer(depth.data, "<f4").reshape(48, 64)
    assert beam.range == pytest.approx(float(np.median(metres[22:26, 30:34])), abs=0.1)
    odometry = heard["odom"][-1]
    assert (odometry.header.frame_id, odometry.child_frame_id) == ("odom", "base_footprint")
    assert np.isfinite(np.array(scan.ranges)).any()


def test_the_shipped_room_plays_at_once_and_writes_nothing(
    camera: Callable[..., processes.NodeProcess], listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    camera()
    assert listener.wait_for(lambda: listener.images and listener.depths)
    assert (listener.images[0].width, listener.images[0].height) == (640, 480)
    assert not (tmp_path / "cache").exists()


def test_rendering_is_logged_in_few_lines(
    camera: Callable[..., processes.NodeProcess], listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="needs torch to render")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    node = camera(width=64, height=48, frames=30)
    assert listener.wait_for(lambda: listener.images, 90)
    lines = [line for line in node.log().splitlines() if "rendering the room" in line]
    assert "30 of 30 frames" in lines[-1]
    assert len(lines) <= 11
