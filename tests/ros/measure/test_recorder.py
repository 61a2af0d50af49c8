# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What the demo and the bench hear, until they have heard enough."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS installation, or the package's extra `ros`")

import numpy as np
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from depthclip_ros.ros import conversions
from depthclip_ros.ros.measure.recorder import recording


def test_a_finished_recorder_counts_no_more_and_takes_nothing_from_its_waiting_thread(client):
    """rclpy reports a failed callback with a traceback where a subscription goes while a thread waits for it."""
    publisher = client.node.create_publisher(Image, "/heard/depth/image", QoSProfile(depth=5))
    depth = conversions.depth_image(np.full((4, 6), 2.0, np.float32))

    def send():
        message = conversions.assign(Image(), Image().header, depth)
        message.header.stamp = client.node.get_clock().now().to_msg()
        publisher.publish(message)

    with recording(None, namespace="/heard", pictures=False) as recorder:
        client.wait(lambda: (send(), recorder.record.depths)[1] > 2, what="depth", pause_s=0.02)
        record = recorder.finish()
        counted = record.depths
        for _ in range(10):
            send()
            time.sleep(0.02)
        assert record.depths <= counted + 1  # one may have been in work
        assert publisher.get_subscription_count() == 1
    client.wait(lambda: publisher.get_subscription_count() == 0, what="the end of the subscription")
    client.node.destroy_publisher(publisher)


def test_depth_counts_from_when_the_camera_is_heard_too(client):
    """DDS may make the camera known three seconds after the depth node: a short demo had depth and no picture."""
    publishers = {
        topic: client.node.create_publisher(Image, f"/late/{topic}", QoSProfile(depth=5))
        for topic in ("depth/image", "image_raw")
    }
    depth = conversions.depth_image(np.full((4, 6), 2.0, np.float32))
    images = {"depth/image": depth, "image_raw": conversions.color_image(np.zeros((4, 6, 3), np.uint8))}

    def send(topic, second):
        message = conversions.assign(Image(), Image().header, images[topic])
        message.header.stamp.sec = second
        publishers[topic].publish(message)

    with recording(None, namespace="/late") as recorder:
        client.wait(lambda: all(one.get_subscription_count() for one in publishers.values()), what="the recorder")
        for second in range(1, 4):
            send("depth/image", second)
        client.wait(lambda: (send("image_raw", 4), recorder.record.images)[1], what="an image", pause_s=0.2)
        client.wait(lambda: (send("depth/image", 4), recorder.record.depths)[1], what="depth", pause_s=0.2)
        record = recorder.finish()
    assert set(record.stamps_ns) == {4_000_000_000}
    assert [sample.stamp_ns for sample in record.samples][:1] == [4_000_000_000]
    for publisher in publishers.values():
        client.node.destroy_publisher(publisher)
