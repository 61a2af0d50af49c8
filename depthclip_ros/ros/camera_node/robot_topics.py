# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The topics of the rendered robot: `range`, `scan`, `odom`, /tf and /tf_static."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import Quaternion, TransformStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import LaserScan, Range
from std_msgs.msg import Header

from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros.camera_node import robot
from depthclip_ros.ros.camera_node.source import Frame
from tf2_msgs.msg import TFMessage


class RobotTopics:
    """Publishes what the robot under the camera knows at each frame, with the frame's stamp.

    The beam looks along the optical axis, from the camera; the scan is level, at the camera's height.
    """

    def __init__(self, node: Node, camera_frame: str) -> None:
        self._camera_frame = camera_frame
        self._rng = np.random.default_rng(0)
        qos = QoSProfile(depth=5)
        self._range = node.create_publisher(Range, "range", qos)
        self._scan = node.create_publisher(LaserScan, "scan", qos)
        self._odom = node.create_publisher(Odometry, "odom", qos)
        self._tf = node.create_publisher(TFMessage, "/tf", QoSProfile(depth=100))
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._tf_static = node.create_publisher(TFMessage, "/tf_static", latched)
        self._fixed = False

    def publish(self, frame: Frame, camera: Intrinsics, stamp: Any) -> None:
        """All of one frame that has a pose and depth."""
        assert frame.pose is not None
        assert frame.depth_m is not None
        base = robot.base_pose(frame.pose)
        if not self._fixed:
            self._fixed = True
            level = np.eye(4)
            level[2, 3] = frame.pose[2, 3]
            beam = np.linalg.inv(robot.OPTICAL)
            fixed = [
                _transform(stamp, robot.BASE, robot.LASER, level),
                _transform(stamp, self._camera_frame, robot.BEAM, beam),
            ]
            self._tf_static.publish(TFMessage(transforms=fixed))
        moving = [
            _transform(stamp, robot.ODOM, robot.BASE, base),
            _transform(stamp, robot.BASE, self._camera_frame, np.linalg.inv(base) @ frame.pose),
        ]
        self._tf.publish(TFMessage(transforms=moving))
        odometry = Odometry(header=Header(stamp=stamp, frame_id=robot.ODOM), child_frame_id=robot.BASE)
        position = odometry.pose.pose.position
        position.x, position.y, position.z = (float(one) for one in base[:3, 3])
        odometry.pose.pose.orientation = _quaternion(base)
        self._odom.publish(odometry)
        if self._range.get_subscription_count():
            self._range.publish(
                Range(
                    header=Header(stamp=stamp, frame_id=robot.BEAM),
                    radiation_type=Range.INFRARED,
                    field_of_view=robot.BEAM_RAD,
                    min_range=0.05,
                    max_range=robot.MOST_M,
                    range=robot.range_m(frame.depth_m, camera, self._rng),
                )
            )
        if self._scan.get_subscription_count():
            ranges, first_rad = robot.scan_m(frame.depth_m, camera, frame.pose, self._rng)
            self._scan.publish(
                LaserScan(
                    header=Header(stamp=stamp, frame_id=robot.LASER),
                    angle_min=first_rad,
                    angle_max=first_rad + (len(ranges) - 1) * robot.SCAN_STEP_RAD,
                    angle_increment=robot.SCAN_STEP_RAD,
                    range_min=0.05,
                    range_max=robot.MOST_M,
                    ranges=ranges.tolist(),
                )
            )


def _quaternion(matrix: robot.Matrix) -> Quaternion:
    x, y, z, w = robot.quaternion(matrix[:3, :3])
    return Quaternion(x=x, y=y, z=z, w=w)


def _transform(stamp: Any, parent: str, child: str, matrix: robot.Matrix) -> TransformStamped:
    one = TransformStamped(header=Header(stamp=stamp, frame_id=parent), child_frame_id=child)
    translation = one.transform.translation
    translation.x, translation.y, translation.z = (float(value) for value in matrix[:3, 3])
    one.transform.rotation = _quaternion(matrix)
    return one
