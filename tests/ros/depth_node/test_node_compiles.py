# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A node whose runtime compiles: images of a new size are served while it does, and faster afterwards."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS installation, or the package's extra `ros`")
pytest.importorskip("torch", reason="needs torch")

import numpy as np
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray

from depthclip_ros.core.runtimes import runtime
from depthclip_ros.core.runtimes.compiled_runtime import CompiledRuntime
from depthclip_ros.ros.depth_node.node import DepthNode
from depthclip_ros.ros.run import NodeThread

NAME = "/compiles/depth_node"


class SlowRuntime(CompiledRuntime):
    """Torch, "compiled" as long as the gate is shut; `runs` are (batch, height, width) of each."""

    name = "slow"
    gate = threading.Event()

    def __init__(self, network, *_):
        super().__init__(network, "fp32")
        self.compilations, self.runs = [], []

    def compile(self, network, batch, height, width):
        self.compilations.append((batch, height, width))
        assert self.gate.wait(60)

        def run(pixels):
            self.runs.append(pixels.shape[:3])
            with torch.inference_mode():
                return [part.numpy() for part in network.in_torch()(torch.from_numpy(pixels))]

        return run


@pytest.fixture
def life(client, monkeypatch, small_weights):
    """An active node in this process that runs by `SlowRuntime`."""
    made = []
    SlowRuntime.gate.set()
    monkeypatch.setitem(runtime.RUNTIMES, "openvino", lambda *args: made.append(SlowRuntime(*args)) or made[-1])
    context = rclpy.Context()
    values = {"model.weights": small_weights, "model.runtime": "openvino", "model.device": "cpu", "autostart": "true"}
    parameters = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
    rclpy.init(args=["--ros-args", "-r", "__ns:=/compiles", *parameters], context=context)
    life = NodeThread(lambda: DepthNode(context=context), context)
    life.start()
    client.wait(lambda: client.state(NAME) == "active", what="activation", pause_s=0.5)
    life.runtime = made[0]
    yield life
    SlowRuntime.gate.set()
    life.end()
    client.wait(lambda: not made[0].preparing, what="the compiler")
    context.try_shutdown()


def _upright(eye, room):
    picture = np.ascontiguousarray(room.transpose(1, 0, 2))
    return eye.image_message(picture), eye.info_message(120, 160)


def test_frames_are_served_while_a_new_size_compiles_and_the_fast_runtime_takes_over(life, client, camera, room):
    said = client.subscribe(DiagnosticArray, "/diagnostics")
    eye = camera("/compiles")
    eye.send_until(lambda: (eye.image_message(room), eye.info_message(160, 120)), eye.depth)
    slow, known = life.runtime, set(life.runtime.compilations)
    slow.gate.clear()
    for _ in range(5):
        answer = eye.answer(eye.depth, eye.send(*_upright(eye, room)))
        assert (answer.width, answer.height) == (120, 160)
    assert slow.preparing  # none of them waited for the compiler
    (new,) = set(slow.compilations) - known
    assert new not in slow.runs

    def statuses():
        return [status for message in said.messages for status in message.status if "compiles" in status.name]

    client.wait(lambda: any("preparing: 120x160; meanwhile" in status.message for status in statuses()), what="word")
    assert {value.value for status in statuses() for value in status.values if value.key == "frames failed"} <= {"0"}

    slow.gate.set()
    client.wait(lambda: not slow.preparing, what="the compiler")
    slow.runs.clear()
    eye.answer(eye.depth, eye.send(*_upright(eye, room)))
    assert slow.runs == [new]
    assert slow.compilations.count(new) == 1
    stats = eye.client.wait(lambda: eye.stats.messages[-1:], what="stats")[0]
    assert (stats.frames_failed, stats.frames_refused) == (0, 0)


@pytest.mark.parametrize("label", ["deactivate", "end"])
def test_a_node_stops_while_something_compiles(life, client, camera, room, label):
    eye = camera("/compiles")
    life.runtime.gate.clear()
    eye.send_until(lambda: _upright(eye, room), eye.depth)
    assert life.runtime.preparing
    if label == "deactivate":
        assert client.transition(NAME, "deactivate")
        assert client.transition(NAME, "cleanup")
        assert client.state(NAME) == "unconfigured"
    else:
        life.end()
        client.wait(lambda: NAME not in client.node.get_fully_qualified_node_names(), what="the end", pause_s=0.01)
    assert life.runtime.preparing  # nobody waited for the compiler


@pytest.fixture
def two_cameras(client, monkeypatch, small_graph_weights):
    """An active node of two cameras whose network torch does not make, with a compiler that a gate holds up."""
    from depthclip_ros.core.runtimes.openvino.openvino_runtime import OpenVinoRuntime

    gate, compiled = threading.Event(), []
    gate.set()
    compile_now = OpenVinoRuntime.compile

    def compile_later(self, network, *key):
        assert gate.wait(60)
        compiled.append(key)
        return compile_now(self, network, *key)

    monkeypatch.setattr(OpenVinoRuntime, "compile", compile_later)
    context = rclpy.Context()
    values = {"model.weights": small_graph_weights, "model.device": "cpu", "autostart": "true"}
    values["cameras"] = "[left, right]"
    parameters = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
    rclpy.init(args=["--ros-args", "-r", "__ns:=/compiles", *parameters], context=context)
    life = NodeThread(lambda: DepthNode(context=context), context)
    life.start()
    client.wait(lambda: client.state(NAME) == "active", what="activation", pause_s=0.5)
    yield gate, compiled
    gate.set()
    life.end()
    context.try_shutdown()


def test_a_camera_of_a_new_size_waits_for_its_network_and_no_other_camera_does(two_cameras, client, camera, room):
    gate, compiled = two_cameras
    said = client.subscribe(DiagnosticArray, "/diagnostics")
    left, right = camera("/compiles/left"), camera("/compiles/right")
    for eye in (left, right):
        eye.send_until(lambda eye=eye: (eye.image_message(room), eye.info_message(160, 120)), eye.depth)
    gate.clear()
    known = list(compiled)
    sent = [left.send(*_upright(left, room)) for _ in range(2)]

    def verdicts(name):
        return [
            status.message
            for message in said.messages
            for status in message.status
            if status.name.endswith(f": {name}")
        ]

    client.wait(lambda: any("images of 120x160 wait for their network" in one for one in verdicts("left")), what="word")
    for _ in range(5):
        right.answer(right.depth, right.send(right.image_message(room), right.info_message(160, 120)))
    assert not any(left.depth.of_stamp(stamp) for stamp in sent)
    client.wait(lambda: any("preparing: 120x160; meanwhile" in one for one in verdicts("right")), what="word")
    sent.append(left.send(*_upright(left, room)))

    gate.set()
    assert left.answer(left.depth, sent[-1]).width == 120  # the newest, with no further image
    assert not any(left.depth.of_stamp(stamp) for stamp in sent[:-1])
    assert compiled[len(known) :].count((1, 64, 48)) == 1
    stats = client.wait(lambda: left.stats.of_stamp(sent[-1]), what="stats")
    assert (stats.frames_failed, stats.frames_refused, stats.frames_waiting) == (0, 0, 0)
    assert stats.frames_dropped in (1, 2)  # of two that are sent at once the middleware may keep the newer alone
    assert stats.frames_in == stats.frames_out + stats.frames_dropped
    client.wait(lambda: "wait for their network" not in verdicts("left")[-1], what="the end of it")
