# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Transforms as a running node keeps them."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS installation, or the package's extra `ros`")

from geometry_msgs.msg import TransformStamped

from depthclip_ros.core.errors import InputError
from depthclip_ros.ros.anchors.inputs import HISTORY_S, LiveTransforms
from tf2_msgs.msg import TFMessage

SECOND = 10**9


def _moved(stamp_s, x_m):
    one = TransformStamped(child_frame_id="base")
    one.header.frame_id, one.header.stamp.sec = "odom", stamp_s
    one.transform.translation.x = float(x_m)
    return TFMessage(transforms=[one])


def _fixed():
    one = TransformStamped(child_frame_id="camera")
    one.header.frame_id = "base"
    return TFMessage(transforms=[one])


def test_after_a_jump_of_the_clock_only_what_is_fixed_is_known():
    live = LiveTransforms()
    live._add(_fixed(), is_static=True)
    for stamp_s in (4, 5):
        live._add(_moved(stamp_s, stamp_s), is_static=False)
    assert live.between("camera", 5 * SECOND, "odom", 5 * SECOND)[0, 3] == 5.0
    live.forget()
    live._add(_moved(1, 0.0), is_static=False)
    with pytest.raises(InputError, match=r"known from 1\.000 to 1\.000 s"):
        live.between("camera", 5 * SECOND, "odom", 5 * SECOND)
    assert live.between("camera", SECOND, "odom", SECOND)[0, 3] == 0.0


def test_the_clock_of_a_robot_that_is_corrected_by_seconds_is_followed():
    live = LiveTransforms()
    for stamp_s in (7, 8, 9, 2, 3, 4, 5):  # less than is kept: nothing else tells
        live._add(_moved(stamp_s, stamp_s), is_static=False)
    assert HISTORY_S > 9 - 2
    with pytest.raises(InputError):
        live.between("base", 8 * SECOND, "odom", 8 * SECOND)
    assert live.between("base", 3 * SECOND, "odom", 3 * SECOND)[0, 3] == 3.0
