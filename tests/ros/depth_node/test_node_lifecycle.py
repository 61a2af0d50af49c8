# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""depth_node's states, parameters, diagnostics and end."""

from __future__ import annotations

import pickle
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

NODE = "/life/depth_node"


@pytest.fixture(scope="module")
def managed(start_node, small_weights, camera, room):
    """A node that waits for its lifecycle manager, by torch where that is, and the camera that feeds it."""
    node = start_node("/life", {"autostart": False, "model.weights": small_weights})
    eye = camera("/life")
    eye.node = node
    eye.good = lambda: (eye.image_message(room), eye.info_message(160, 120))
    return eye


def _up(eye) -> None:
    if eye.client.state(NODE) == "unconfigured":
        assert eye.client.transition(NODE, "configure")
    if eye.client.state(NODE) == "inactive":
        assert eye.client.transition(NODE, "activate")


def _down(eye) -> None:
    if eye.client.state(NODE) == "active":
        assert eye.client.transition(NODE, "deactivate")
    if eye.client.state(NODE) == "inactive":
        assert eye.client.transition(NODE, "cleanup")


def test_up_and_down_again_and_again_leaks_no_thread(managed):
    process = psutil.Process(managed.node.process.pid)
    threads = []
    for _ in range(4):
        assert managed.client.state(NODE) == "unconfigured"
        _up(managed)
        managed.send_until(managed.good, managed.depth)
        threads.append(process.num_threads())
        _down(managed)
    assert threads[-1] <= threads[1]


def test_an_inactive_node_is_silent(managed):
    _up(managed)
    managed.send_until(managed.good, managed.depth)
    assert managed.client.transition(NODE, "deactivate")
    stamp = managed.send(*managed.good())
    assert managed.client.transition(NODE, "activate")
    managed.send_until(managed.good, managed.depth)
    assert managed.depth.of_stamp(stamp) is None


def test_a_transition_that_the_state_does_not_have_is_refused(managed):
    _down(managed)
    assert not managed.client.transition(NODE, "activate")
    assert not managed.client.transition(NODE, "cleanup")
    assert managed.client.state(NODE) == "unconfigured"


def _broken_weights(kind: str, good: Path, folder: Path) -> Path:
    path = folder / f"{kind}.safetensors"
    if kind == "truncated":
        path.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"weight": [1.0]}))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind in ("nan", "version"):
        with safe_open(good, "np") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
        if kind == "nan":
            tensors[next(iter(tensors))].fill(np.nan)
        else:
            metadata["format_version"] = "999"
        save_file(tensors, path, metadata)
    return path


@pytest.mark.parametrize("kind", ["missing", "truncated", "pickle", "empty", "version", "nan"])
def test_weights_that_cannot_be_loaded_fail_configure_with_one_sentence(managed, small_weights, tmp_path, kind):
    _down(managed)
    path = _broken_weights(kind, small_weights, tmp_path)
    assert managed.client.set_parameter(NODE, "model.weights", str(path)).successful
    assert not managed.client.transition(NODE, "configure")
    managed.node.wait_for_log(path.name)
    errors = [line for line in managed.node.log().splitlines() if "cannot configure" in line and path.name in line]
    assert len(errors) == 1
    assert "Traceback" not in managed.node.log()
    assert managed.client.state(NODE) == "unconfigured"
    assert managed.client.set_parameter(NODE, "model.weights", str(small_weights)).successful
    _up(managed)
    managed.send_until(managed.good, managed.depth)


def test_a_device_that_is_not_there_fails_configure(managed):
    _down(managed)
    assert managed.client.set_parameter(NODE, "model.device", "cuda:99").successful
    assert not managed.client.transition(NODE, "configure")
    managed.node.wait_for_log("cannot configure: ")
    assert managed.client.set_parameter(NODE, "model.device", "cpu").successful
    _up(managed)


def _depth_of(managed, **wanted):
    """Parameters set, then the depth image of a frame sent after that."""
    for name, value in wanted.items():
        result = managed.client.set_parameter(NODE, name.replace("__", "."), value)
        assert result.successful, result.reason
    managed.send_until(managed.good, managed.cloud)
    return managed.answer(managed.depth, managed.send(*managed.good()))


def test_live_parameters_take_effect_with_the_next_frame(managed):
    _up(managed)
    plain = np.frombuffer(_depth_of(managed).data, "<f4")
    assert np.isfinite(plain).all()
    doubled = np.frombuffer(_depth_of(managed, scale__factor=2.0).data, "<f4")
    np.testing.assert_allclose(doubled, plain * 2, rtol=1e-4)
    middle = float(np.median(plain))
    image = _depth_of(managed, scale__factor=1.0, output__max_depth=middle)
    far = np.frombuffer(image.data, "<f4")
    np.testing.assert_array_equal(np.isposinf(far), plain > np.float32(middle))
    image = _depth_of(managed, output__max_depth=10.0, output__min_depth=middle)
    np.testing.assert_array_equal(np.isneginf(np.frombuffer(image.data, "<f4")), plain < np.float32(middle))
    image = _depth_of(managed, output__encoding="16UC1")
    assert (image.encoding, image.step) == ("16UC1", 320)
    mm = np.frombuffer(image.data, "<u2")
    assert (mm[plain < np.float32(middle)] == 0).all()
    assert np.abs(mm[plain > middle] - plain[plain > middle] * 1000).max() < 1
    image = _depth_of(managed, output__min_depth=0.1, output__encoding="32FC1", output__confidence_threshold=1.0)
    assert np.isnan(np.frombuffer(image.data, "<f4")).any()
    image = _depth_of(managed, output__confidence_threshold=0.0, cloud__stride=4, cloud__color=False)
    cloud = managed.answer(managed.cloud, image.header.stamp)
    assert (cloud.width, cloud.height) == (40, 30)
    assert [field.name for field in cloud.fields] == ["x", "y", "z"]
    image = _depth_of(managed, cloud__stride=1, cloud__color=True, cloud__max_range=middle)
    cloud = managed.answer(managed.cloud, image.header.stamp)
    z = np.frombuffer(cloud.data, "<f4").reshape(-1, 4)[:, 2]
    np.testing.assert_array_equal(np.isnan(z), plain > np.float32(middle))
    _depth_of(managed, cloud__max_range=0.0)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("output.encoding", "mono8", "allowed: 32FC1, 16UC1"),
        ("input.rectify", "sometimes", "allowed: auto, never, require"),
        ("output.max_depth", -1.0, "1000"),
        ("output.max_depth", float("nan"), "1000"),
        ("output.min_depth", 500.0, "must be below"),
        ("cloud.stride", 0, "64"),
        ("cloud.stride", "two", "INTEGER"),
    ],
)
def test_bad_parameters_are_refused_with_the_allowed_values(managed, name, value, said):
    result = managed.client.set_parameter(NODE, name, value)
    assert not result.successful
    assert said in result.reason


def test_a_whole_number_is_taken_where_a_float_is_wanted(managed):
    assert managed.client.set_parameter(NODE, "output.max_depth", 8).successful
    assert managed.client.set_parameter(NODE, "output.max_depth", 10.0).successful


def test_other_parameters_say_that_they_wait_for_a_configure(managed):
    _up(managed)
    result = managed.client.set_parameter(NODE, "input.assumed_hfov", 70.0)
    assert result.successful
    assert "next configure" in result.reason
    _down(managed)
    result = managed.client.set_parameter(NODE, "input.assumed_hfov", 60.0)
    assert (result.successful, result.reason) == (True, "")


def test_a_parameter_cannot_be_deleted(managed):
    """As `ros2 param delete` asks; rclpy would grant it for lists, and know the parameter no more."""
    deleted = managed.client.set_parameter(NODE, "cloud.fields", None)
    assert not deleted.successful
    assert deleted.reason == "cloud.fields cannot be deleted; set it to what is wanted, a list to []"
    assert managed.client.set_parameter(NODE, "cloud.fields", ["uncertainty"]).successful
    assert managed.client.set_parameter(NODE, "cloud.fields", []).successful


def test_every_parameter_describes_itself(managed):
    from rcl_interfaces.srv import DescribeParameters

    from depthclip_ros.ros.depth_node.parameters.values import TABLE

    request = DescribeParameters.Request(names=[row.name for row in TABLE])
    for row, descriptor in zip(
        TABLE, managed.client.call(DescribeParameters, f"{NODE}/describe_parameters", request).descriptors, strict=True
    ):
        assert descriptor.description.startswith(row.description)
        assert descriptor.read_only == (row.name == "autostart")  # which is read once
        ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
        # ROS has no ranges for lists, and none with a value beside them.
        assert bool(ranges) == (row.minimum is not None and row.element is None and not row.zero)
        if row.zero:
            assert row.allowed in descriptor.additional_constraints
        for limits in ranges:
            assert (limits.from_value, limits.to_value) == (row.minimum, row.maximum)


def test_nothing_is_computed_for_nobody(start_node, client, room):
    """A camera that is heard by a node that nobody listens to: every frame is counted, none is computed."""
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import Image

    node = start_node("/idle")
    diagnostics = client.subscribe(DiagnosticArray, "/diagnostics")
    publisher = client.node.create_publisher(Image, "/idle/image", 1)

    def figures():
        for message in reversed(diagnostics.messages):
            for status in message.status:
                if status.name == "idle/depth_node: depth":
                    return {item.key: item.value for item in status.values}
        return {}

    def heard():
        image = Image(height=120, width=160, encoding="rgb8", step=480)
        image.data.frombytes(room.tobytes())
        image.header.stamp = client.node.get_clock().now().to_msg()
        publisher.publish(image)
        return int(figures().get("frames in", 0)) >= 5

    client.wait(heard, what="frames in /diagnostics")
    last = figures()
    assert last["frames without subscriber"] == last["frames in"]
    assert last["frames out"] == "0"
    assert last["frames dropped"] == "0"
    node.kill()


def test_diagnostics_come_each_second_in_every_state(managed):
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

    diagnostics = managed.client.subscribe(DiagnosticArray, "/diagnostics")

    def status_with(text):
        def found():
            for message in reversed(diagnostics.messages):
                for status in message.status:
                    if status.name == "life/depth_node: depth" and text in status.message:
                        return status
            return None

        return managed.client.wait(found, what=f"a status with {text!r}")

    _down(managed)
    assert status_with("unconfigured").level == DiagnosticStatus.OK
    _up(managed)
    silent = status_with("images on /life/image") if managed.depth.messages is None else status_with("image")
    assert silent.level in (DiagnosticStatus.OK, DiagnosticStatus.WARN)
    managed.send_until(managed.good, managed.depth)

    def flowing():
        managed.send(*managed.good())
        for message in reversed(diagnostics.messages[-5:]):
            for status in message.status:
                if status.name == "life/depth_node: depth" and "latency p50" in status.message:
                    return status
        return None

    status = managed.client.wait(flowing, what="a status with a latency")
    figures = {item.key: item.value for item in status.values}
    assert status.level == DiagnosticStatus.OK
    assert status.hardware_id == "cpu"
    assert float(figures["rate out (Hz)"]) > 0
    assert float(figures["latency p95 (ms)"]) >= float(figures["latency p50 (ms)"]) > 0
    assert len(figures["weights sha256"]) == 64
    assert float(figures["camera_info age (s)"]) < 60
    assert figures["image topic"] == "/life/image"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["unconfigured", "configuring", "working"])
def test_a_signal_ends_the_node_cleanly(start_node, camera, room, number, moment):
    namespace = f"/signal/{moment}_{number.name.lower()}"
    node = start_node(namespace, {"autostart": moment != "unconfigured"})
    client = camera(namespace).client
    client.wait(
        lambda: client.node.count_publishers(f"{namespace}/depth_node/transition_event"), what="the node's discovery"
    )
    if moment == "working":
        eye = camera(namespace)
        eye.send_until(lambda: (eye.image_message(room), eye.info_message(160, 120)), eye.depth)
        eye.send(eye.image_message(room), eye.info_message(160, 120))
    assert node.signal(number) == 0
    assert "Traceback" not in node.log()
    assert "terminate called" not in node.log()


def test_a_bad_value_at_the_start_is_one_sentence_and_exit_code_1(start_node):
    for name, value, said in (("output.encoding", "mono8", "32FC1"), ("cloud.stride", "0", "64")):
        node = start_node("/wrong", {name: value})
        assert node.process.wait(60) == 1
        assert said in node.log()
        assert "Traceback" not in node.log()


def test_what_is_misspelt_and_who_has_the_same_name_is_said_at_start(start_node, tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("depth:\n  ros__parameters:\n    scale.factor: 2.0\n")
    given = {"autostart": False, "output.max_dept": 8.0, "scale_factor": 2.0}
    nodes = [start_node("/twin", given, params_file=file), start_node("/twin", {"autostart": False})]
    nodes[0].wait_for_log("output.max_dept, and its value is not used; did you mean output.max_depth?")
    nodes[0].wait_for_log("scale_factor, and its value is not used; did you mean scale.factor?")
    nodes[0].wait_for_log(f"{file} has parameters for /depth but none for /twin/depth_node")
    for node in nodes:
        node.wait_for_log("another node is named /twin/depth_node too")
    for node in nodes:
        node.kill()
