# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A message that is filled where it is sent from is what rclpy would send."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS installation, or the package's extra `ros`")

import threading

import numpy as np
import rclpy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

from depthclip_ros.core.geometry import organised_cloud
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros import conversions, wire
from depthclip_ros.ros.wire import WireMessage

DEPTH_M = np.linspace(0.5, 9, 48 * 64, dtype=np.float32).reshape(48, 64)
RGB = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
CAMERA = Intrinsics(50, 55, 31.5, 23.5, 64, 48)
CASES = {
    "depth": (Image, conversions.depth_image(DEPTH_M)),
    "depth in millimetres": (Image, conversions.depth_image(DEPTH_M, "16UC1")),
    "picture": (Image, conversions.color_image(RGB)),
    "cloud": (PointCloud2, conversions.point_cloud(organised_cloud(DEPTH_M, RGB, CAMERA))),
    "cloud without colour": (PointCloud2, conversions.point_cloud(organised_cloud(DEPTH_M, None, CAMERA, stride=3))),
}


def _header(frame_id):
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = 12, 345
    return header


@pytest.mark.parametrize("frame_id", ["", "eye", "a_frame_whose_name_is_long"])  # each moves what follows
@pytest.mark.parametrize("case", CASES)
def test_it_is_what_rclpy_would_send(case, frame_id):
    kind, values = CASES[case]
    message = WireMessage(kind)
    for _ in range(2):
        message.fill(_header(frame_id), values)
        expected = conversions.assign(kind(), _header(frame_id), values, PointField)
        # Not compared byte by byte: what the serialisation leaves between fields is anything.
        assert message._buffer.size == len(serialize_message(expected))
        assert deserialize_message(message._buffer.tobytes(), kind) == expected


def test_nothing_is_left_of_a_message_before_and_memory_is_kept_while_the_size_is():
    message = WireMessage(Image)
    for depth_m in (DEPTH_M, DEPTH_M[:10], DEPTH_M):
        message.fill(_header("eye"), conversions.depth_image(depth_m))
        read = deserialize_message(message._buffer.tobytes(), Image)
        np.testing.assert_array_equal(np.frombuffer(read.data, "<f4").reshape(depth_m.shape), depth_m)
        memory = message._buffer
        message.fill(_header("eye"), conversions.depth_image(depth_m + 1))
        assert message._buffer is memory


@pytest.mark.parametrize("library", ["rcl", "none", "pads"])
def test_it_arrives_whether_rcl_is_found_or_not_and_by_a_middleware_that_pads(ros_environment, monkeypatch, library):
    if library == "none":
        monkeypatch.setattr(wire, "_rcl", lambda: None)
    elif library == "pads":
        # As a middleware that fills each message up to a multiple of 4 bytes.
        monkeypatch.setattr(wire, "serialize_message", lambda m: (s := serialize_message(m)) + bytes(-len(s) % 4))
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("wire", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    received, come = [], threading.Event()
    publisher = node.create_publisher(PointCloud2, "cloud", 1)
    node.create_subscription(PointCloud2, "cloud", lambda cloud: (received.append(cloud), come.set()), 1)
    message = WireMessage(PointCloud2)
    for _ in range(2):
        message.fill(_header("eye"), CASES["cloud"][1])
    assert message._plain is (library != "rcl")
    try:
        for _ in range(100):
            message.publish(publisher)
            executor.spin_once(timeout_sec=0.1)
            if come.is_set():
                break
        assert received[0].header == _header("eye")
        assert received[0].data.tobytes() == CASES["cloud"][1]["data"].tobytes()
        assert not received[0].is_dense
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context, uninstall_handlers=False)
