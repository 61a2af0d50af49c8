# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Anchors of a running depth_node over DDS: a range beam, a scan, the floor, and what is wrong with each."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest

NUMBERS = itertools.count()
SENSOR_Q = (0.5, -0.5, 0.5, 0.5)  # x forward, z up, seen from the optical frame


class Robot:
    """A camera that sees one picture, and whatever else is published beside it."""

    def __init__(self, client, eye, room) -> None:
        self.client, self.eye, self.room = client, eye, room
        self._publishers: dict = {}

    def publish(self, topic, message, **qos) -> None:
        from rclpy.qos import QoSProfile

        if topic not in self._publishers:
            profile = QoSProfile(depth=10, **qos)
            self._publishers[topic] = self.client.node.create_publisher(type(message), topic, profile)
        self._publishers[topic].publish(message)

    def header(self, frame_id, shift_s=0.0):
        from std_msgs.msg import Header

        now = self.client.node.get_clock().now().nanoseconds + round(shift_s * 1e9)
        header = Header(frame_id=frame_id)
        header.stamp.sec, header.stamp.nanosec = divmod(now, 10**9)
        return header

    def transform(self, parent, child, xyz, quaternion) -> None:
        from geometry_msgs.msg import TransformStamped
        from rclpy.qos import DurabilityPolicy

        from tf2_msgs.msg import TFMessage

        one = TransformStamped(header=self.header(parent), child_frame_id=child)
        t, q = one.transform.translation, one.transform.rotation
        t.x, t.y, t.z = xyz
        q.x, q.y, q.z, q.w = (float(value) for value in quaternion)
        self.publish("/tf_static", TFMessage(transforms=[one]), durability=DurabilityPolicy.TRANSIENT_LOCAL)

    def see(self):
        """One more picture; its stamp."""
        return self.eye.send(self.eye.image_message(self.room), self.eye.info_message(160, 120))

    def drive(self, read, until, limit_s=60.0):
        """Pictures and readings at 10 Hz until the newest stats satisfy a condition; these."""
        end_s = time.monotonic() + limit_s
        while time.monotonic() < end_s:
            self.see()
            read()
            time.sleep(0.1)
            if self.eye.stats.messages and until(self.eye.stats.messages[-1]):
                return self.eye.stats.messages[-1]
        pytest.fail(f"not within {limit_s} s; last: {self.eye.stats.messages[-1:]}")


def depth_of(message) -> np.ndarray:
    return np.frombuffer(message.data, "<f4").reshape(message.height, message.width)


@pytest.fixture
def robot(start_node, camera, client, room):
    """Start a node with anchors: `robot("range", **parameters)`; its own depth comes first."""

    def make(*names, **parameters):
        namespace = f"/anchors{next(NUMBERS)}"
        values = {"anchors": f"[{', '.join(names)}]", **{k.replace("__", "."): v for k, v in parameters.items()}}
        node = start_node(namespace, values)
        eye = camera(namespace)
        eye.node, eye.name = node, namespace
        one = Robot(client, eye, room)
        first = eye.send_until(lambda: (eye.image_message(room), eye.info_message(160, 120)), eye.depth)
        one.namespace, one.depth_m = namespace, depth_of(first)
        return one

    return make


def beam(robot, metres, frame_id="sonar", shift_s=0.0):
    from sensor_msgs.msg import Range

    message = Range(header=robot.header(frame_id, shift_s), radiation_type=1, field_of_view=0.14)
    message.min_range, message.max_range, message.range = 0.02, 20.0, float(metres)
    robot.publish(f"{robot.namespace}/anchors/range", message)


def test_a_range_beam_scales_the_depth_that_follows(robot):
    rig = robot("range")
    rig.transform("camera_optical_frame", "sonar", (0.0, 0.0, 0.0), SENSOR_Q)
    middle_m = float(np.median(rig.depth_m[55:65, 75:85]))
    stats = rig.drive(lambda: beam(rig, 1.5 * middle_m), lambda one: "range" in one.anchors_accepted)
    stats = rig.drive(lambda: beam(rig, 1.5 * middle_m), lambda one: one.anchor_scale > 1.3)
    assert stats.anchor_scale == pytest.approx(1.47, abs=0.1)
    assert 0.1 < stats.anchor_scale_sd < 0.3
    depth = rig.eye.answer(rig.eye.depth, stats.header.stamp)
    known = np.isfinite(depth_of(depth)) & np.isfinite(rig.depth_m)
    np.testing.assert_allclose(depth_of(depth)[known], rig.depth_m[known] * stats.anchor_scale, rtol=0.02)
    # what was learnt outlives deactivate and activate
    name = f"{rig.namespace}/depth_node"
    assert rig.client.transition(name, "deactivate")
    assert rig.client.transition(name, "activate")
    rig.eye.node.wait_for_log("to begin with it next time, set scale.factor")
    stats = rig.drive(lambda: None, lambda one: one.frames_in < 5)
    assert stats.anchor_scale == pytest.approx(1.47, abs=0.1)


def test_a_scan_scales_depth_and_diagnostics_say_so(robot):
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import LaserScan

    rig = robot("scan")
    rig.transform("camera_optical_frame", "laser", (0.0, 0.0, 0.0), SENSOR_Q)
    angles = np.linspace(-0.3, 0.3, 61)
    columns = np.rint(79.5 - 200 * np.tan(angles)).astype(int)

    def read():
        message = LaserScan(header=rig.header("laser"), angle_min=-0.3, angle_max=0.3, angle_increment=0.01)
        message.range_min, message.range_max = 0.02, 30.0
        ranges = 0.8 * rig.depth_m[60, columns] / np.cos(angles)
        message.ranges = [float(one) if np.isfinite(one) else math.inf for one in ranges]
        rig.publish(f"{rig.namespace}/anchors/scan", message)

    diagnostics = rig.client.subscribe(DiagnosticArray, "/diagnostics")
    stats = rig.drive(read, lambda one: "scan" in one.anchors_accepted and one.anchor_scale < 0.9)
    assert stats.anchor_scale == pytest.approx(0.81, abs=0.05)

    def said():
        for message in diagnostics.messages:
            for status in message.status:
                values = {one.key: one.value for one in status.values}
                if status.name.startswith(rig.namespace[1:]) and "accepted" in values.get("anchor scan", ""):
                    return values
        return None

    rig.drive(read, lambda _: said() is not None)
    assert float(said()["anchors' scale"]) == pytest.approx(0.81, abs=0.05)
    assert said()["anchors' scale, standard deviation"].endswith("%")


def test_the_floor_is_refused_where_there_is_none(robot):
    rig = robot("ground", anchor__ground__height_m=0.5)
    stats = rig.drive(lambda: None, lambda one: any("floor is not seen" in text for text in one.anchors_refused))
    assert stats.anchor_scale == 1.0
    assert math.isnan(stats.anchor_scale_sd)


BAD = {
    "zero": (lambda rig: beam(rig, 0.0), "range is 0.0 m"),
    "infinite": (lambda rig: beam(rig, math.inf), "range is inf m"),
    "unknown frame": (lambda rig: beam(rig, 2.0, frame_id="nowhere"), "no chain of transforms leads from 'nowhere'"),
    "another clock": (lambda rig: beam(rig, 2.0, shift_s=-5000.0), "another clock"),
    "inverted": (lambda rig: beam(rig, 2.0, frame_id="behind"), "0% of the beam lies in the image"),
    "never": (lambda rig: None, "nothing has come on"),
}


def test_bad_input_is_named_once_counted_and_does_nothing_to_depth(robot):
    rig = robot("range")
    rig.transform("camera_optical_frame", "sonar", (0.0, 0.0, 0.0), SENSOR_Q)
    rig.transform("camera_optical_frame", "behind", (0.0, 0.0, 0.0), (0.5, -0.5, -0.5, 0.5))
    for name in reversed(BAD):
        read, sentence = BAD[name]
        rig.drive(lambda read=read: read(rig), lambda _, sentence=sentence: sentence in rig.eye.node.log())
    for _ in range(10):
        beam(rig, 0.0)
        rig.see()
        time.sleep(0.1)
    for name, (_, sentence) in BAD.items():
        assert rig.eye.node.log().count(sentence) == 1, name
    last = rig.drive(lambda: None, lambda one: one.frames_out > 20)
    assert last.anchor_scale == 1.0
    assert last.frames_refused == 0
    np.testing.assert_array_equal(depth_of(rig.eye.answer(rig.eye.depth, last.header.stamp)), rig.depth_m)


def test_a_tag_without_its_side_is_a_configuration_that_is_refused(start_node):
    node = start_node("/tagless", {"anchors": "[tag]"})
    deadline = time.monotonic() + 60
    while "anchor.tag.side_m is 0" not in node.log():
        assert time.monotonic() < deadline, node.log()
        time.sleep(0.1)
