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
