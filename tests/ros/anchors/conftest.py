# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A robot with sensors beside its camera, and a running depth_node that takes them for anchors."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

NUMBERS = itertools.count()


class Robot:
    """A camera that sees one picture, and whatever else is published beside it."""

    def __init__(self, client, eye, room) -> None:
        self.client, self.eye, self.room, self.namespace = client, eye, room, eye.namespace
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
        t.x, t.y, t.z = (float(value) for value in xyz)
        q.x, q.y, q.z, q.w = (float(value) for value in quaternion)
        self.publish("/tf_static", TFMessage(transforms=[one]), durability=DurabilityPolicy.TRANSIENT_LOCAL)

    def beam(self, metres, frame_id="sonar", shift_s=0.0) -> None:
        """One reading of a narrow beam; `shift_s`: of its clock."""
        from sensor_msgs.msg import Range

        message = Range(header=self.header(frame_id, shift_s), radiation_type=1, field_of_view=0.14)
        message.min_range, message.max_range, message.range = 0.02, 20.0, float(metres)
        self.publish(f"{self.namespace}/anchors/range", message)

    def anchors(self, diagnostics) -> dict[str, str]:
        """What /diagnostics, an inbox, says last of each anchor."""
        for message in reversed(diagnostics.messages):
            for status in message.status:
                if status.name.startswith(self.namespace[1:]):
                    return {one.key.removeprefix("anchor "): one.value for one in status.values}
        return {}

    @staticmethod
    def depth_of(message) -> np.ndarray:
        """Metres, float32 [H, W]."""
        return np.frombuffer(message.data, "<f4").reshape(message.height, message.width)

    def leave(self) -> None:
        """Take the publishers away: what is latched reaches nobody any more."""
        for publisher in self._publishers.values():
            self.client.node.destroy_publisher(publisher)

    def see(self):
        """One more picture; its stamp."""
        return self.eye.send(self.eye.image_message(self.room), self.eye.info_message(160, 120))

    def drive(self, read, until, limit_s=150.0):
        """Pictures and readings at 10 Hz until the newest stats satisfy a condition; these."""
        end_s = time.monotonic() + limit_s
        while time.monotonic() < end_s:
            self.see()
            read()
            time.sleep(0.1)
            if self.eye.stats.messages and until(self.eye.stats.messages[-1]):
                return self.eye.stats.messages[-1]
        pytest.fail(f"not within {limit_s} s; last: {self.eye.stats.messages[-1:]}")


@pytest.fixture
def sensors(client):
    """What stands beside a camera: `sensors(camera, picture)`; it goes with its test, what is latched too."""
    made: list[Robot] = []

    def make(eye, picture=None):
        made.append(Robot(client, eye, picture))
        return made[-1]

    yield make
    for one in made:
        one.leave()


@pytest.fixture
def robot(start_node, camera, sensors, room):
    """Start a node with anchors: `robot("range", **parameters)`; its own depth comes first."""

    def make(*names, **parameters):
        namespace = f"/anchors{next(NUMBERS)}"
        values = {"anchors": f"[{', '.join(names)}]", **{k.replace("__", "."): v for k, v in parameters.items()}}
        node = start_node(namespace, values)
        eye = camera(namespace)
        eye.node, eye.name = node, namespace
        one = sensors(eye, room)
        first = eye.send_until(lambda: (eye.image_message(room), eye.info_message(160, 120)), eye.depth)
        one.depth_m = one.depth_of(first)
        return one

    return make
