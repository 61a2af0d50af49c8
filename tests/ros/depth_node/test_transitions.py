# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What one transition makes its opposite unmakes, also half way; the node answers while one takes long."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS installation, or the package's extra `ros`")

import numpy as np
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import Image

from depthclip_ros.core import engine as core_engine
from depthclip_ros.core.errors import DeviceError
from depthclip_ros.core.types import ViewDepth
from depthclip_ros.ros.depth_node import node as node_module
from depthclip_ros.ros.run import NodeThread

NAME = "/steps/depth_node"
ENDS_S = 10.0  # a busy machine included; what hangs is held for 60 s
OUTPUTS = ("image", "camera_info", "points", "confidence", "image_color", "stats")


class Engine:
    """Loads and runs as long as its gates are shut."""

    loading, running = threading.Event(), threading.Event()
    made = closed = 0

    def __init__(self):
        self.info = SimpleNamespace(system="fake", sha256="0" * 64, path="fake")
        self.device, self.precision, self.runtime, self.notices = "cpu", "fp32", "torch", []
        self.preparing, self.uncertainty, self.max_depth_m = "", None, 10.0

    @classmethod
    def load(cls, *_args, **_options):
        assert cls.loading.wait(60)
        cls.made += 1
        return cls()

    def require_metric(self):
        pass

    def warm_up(self, *_size):
        pass

    def prepare_in_background(self):
        pass

    def infer_views(self, views):
        assert self.running.wait(60)
        ones = [np.ones(view.rgb.shape[:2], np.float32) for view in views]
        return [ViewDepth(one, one, 1.0, (), None) for one in ones]

    def close(self):
        type(self).closed += 1


@pytest.fixture
def life(client, monkeypatch, request):
    """A depth node in this process whose engine is `Engine`, with command line arguments by `indirect`."""
    monkeypatch.setattr(core_engine, "DepthEngine", Engine)
    monkeypatch.setattr(node_module, "JOIN_S", 0.3)
    Engine.made = Engine.closed = 0
    for gate in (Engine.loading, Engine.running):
        gate.set()
    context = rclpy.Context()
    arguments = ["--ros-args", "-r", "__ns:=/steps", *getattr(request, "param", [])]
    rclpy.init(args=arguments, context=context)
    life = NodeThread(lambda: node_module.DepthNode(context=context), context)
    life.start()
    yield life
    for gate in (Engine.loading, Engine.running):
        gate.set()
    life.end()
    context.try_shutdown()


@pytest.fixture
def node(life):
    """The node of `life`."""
    return life.made()


def publishers(node):
    return [topic for topic in OUTPUTS if node.count_publishers(f"/steps/depth/{topic}")]


def statuses(client):
    found = client.subscribe(DiagnosticArray, "/diagnostics")

    def said(text):
        messages = [status.message for message in found.messages for status in message.status if "steps" in status.name]
        return next((message for message in reversed(messages) if text in message), None)

    return said


def test_the_node_answers_while_the_model_loads(node, client):
    said = statuses(client)
    Engine.loading.clear()
    asked = client.node.create_client(ChangeState, f"{NAME}/change_state")
    client.wait(asked.service_is_ready, what="change_state")
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    configured = asked.call_async(request)
    client.wait(lambda: said("preparing: loading the weights"), what="diagnostics")
    assert client.state(NAME) == "configuring"
    assert client.set_parameter(NAME, "scale.factor", 2.0).successful
    assert not client.transition(NAME, "configure")
    assert not configured.done()
    cpu_s = time.process_time()
    time.sleep(1.0)
    assert time.process_time() - cpu_s < 0.9  # waiting costs next to nothing, the tests' other threads included
    Engine.loading.set()
    client.wait(configured.done, what="the answer")
    assert configured.result().success
    assert client.state(NAME) == "inactive"


@pytest.mark.parametrize(
    "life",
    [["-p", "qos_overrides./steps/depth/points.publisher.reliability:=often"]],
    indirect=True,
)
def test_a_configure_that_fails_half_way_leaves_nothing_behind(node, client):
    for _ in range(2):
        assert not client.transition(NAME, "configure")
        assert client.state(NAME) == "unconfigured"
        assert publishers(node) == []
    assert Engine.closed == Engine.made == 2


def test_an_activate_that_fails_half_way_leaves_nothing_behind(node, client, monkeypatch):
    assert client.transition(NAME, "configure")
    create = node.create_subscription

    def fail(message, topic, *args, **kwargs):
        if topic.endswith("camera_info"):
            raise RuntimeError("no room")
        return create(message, topic, *args, **kwargs)

    before = len(list(node.subscriptions)), len(list(node.guards))
    with monkeypatch.context() as patch:
        patch.setattr(node, "create_subscription", fail)
        for _ in range(2):
            assert not client.transition(NAME, "activate")
            assert (len(list(node.subscriptions)), len(list(node.guards))) == before
    assert client.transition(NAME, "activate")
    assert client.transition(NAME, "deactivate")
    assert client.transition(NAME, "cleanup")
    assert publishers(node) == []
    assert Engine.closed == 1


def _busy(node, client):
    """Up, with a frame in a device that does not answer."""
    assert client.transition(NAME, "configure")
    assert client.transition(NAME, "activate")
    Engine.running.clear()
    client.subscribe(Image, "/steps/depth/image")
    eye = client.node.create_publisher(Image, "/steps/image", 1)
    client.wait(lambda: node.count_subscribers("/steps/depth/image"), what="discovery")

    def working():
        message = Image(height=32, width=32, encoding="rgb8", step=96, data=bytes(32 * 96))
        message.header.stamp = client.node.get_clock().now().to_msg()
        eye.publish(message)
        return node._rig._worker.doing.startswith("running the network")

    client.wait(working, what="a frame in work", pause_s=0.2)


@pytest.mark.parametrize("label", ["deactivate"])
def test_a_node_that_cannot_be_stopped_is_finalized_says_so_and_answers(node, client, label):
    said = statuses(client)
    _busy(node, client)
    assert client.wait(lambda: said("running the network on cpu for an image (32x32) for"), what="a warning")
    assert not client.transition(NAME, label)
    assert client.state(NAME) == "finalized"
    assert publishers(node) == []
    assert client.wait(lambda: said("cannot be stopped; restart the process"), what="an error")
    assert not client.transition(NAME, "configure")
    assert Engine.closed == 0


def test_a_node_with_a_hung_device_ends_in_time(life, node, client):
    _busy(node, client)
    told_s = time.monotonic()
    life.end()
    client.wait(lambda: NAME not in client.node.get_fully_qualified_node_names(), what="the end", pause_s=0.01)
    assert time.monotonic() - told_s < ENDS_S


def test_a_node_told_while_the_model_loads_ends_in_time(life, node, client):
    Engine.loading.clear()
    change = client.node.create_client(ChangeState, f"{NAME}/change_state")
    client.wait(change.service_is_ready, what="change_state")
    change.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE)))
    client.wait(lambda: node._preparing, what="the load")
    told_s = time.monotonic()
    life.end()
    client.wait(lambda: NAME not in client.node.get_fully_qualified_node_names(), what="the end", pause_s=0.01)
    assert time.monotonic() - told_s < ENDS_S


def test_a_lifecycle_manager_as_navs_brings_the_node_up_and_down(node, client):
    """It asks for a transition, waits for the answer as long as its file says, and looks at the state."""
    config = yaml.safe_load((Path(__file__).parents[3] / "config" / "nav2.yaml").read_text())
    manager = config["lifecycle_manager_depth"]["ros__parameters"]
    assert manager["bond_timeout"] == 0.0
    assert manager["node_names"] == [NAME.rpartition("/")[2]]
    change = client.node.create_client(ChangeState, f"{NAME}/change_state")
    client.wait(change.service_is_ready, what="change_state")
    for _ in range(2):
        Engine.loading.clear()
        threading.Timer(0.5, Engine.loading.set).start()
        for label, state in (
            ("configure", "inactive"),
            ("activate", "active"),
            ("deactivate", "inactive"),
            ("cleanup", "unconfigured"),
        ):
            answer = change.call_async(ChangeState.Request(transition=Transition(label=label)))
            client.wait(answer.done, manager["service_timeout"], what=label)
            assert answer.result().success
            assert client.state(NAME) == state


def test_a_closed_engine_waits_for_no_hung_call(monkeypatch):
    from depthclip_ros.core.engine import depth_engine

    monkeypatch.setattr(depth_engine, "CLOSE_S", 0.05)
    engine = object.__new__(depth_engine.DepthEngine)
    engine._lock, engine._runtime, engine.device = threading.Lock(), None, "cpu"
    with engine._lock, pytest.raises(DeviceError, match="does not answer"):
        engine.close()
