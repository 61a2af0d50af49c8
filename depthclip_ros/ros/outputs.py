"""The publishers of depth_node: who listens, and what a frame's depth is to them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

from depthclip_ros.core.picture import SteadyRange, colorize
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.msg import DepthStats
from depthclip_ros.ros import conversions
from depthclip_ros.ros.parameters import Settings
from depthclip_ros.ros.pipeline import FrameDepth, summary
from depthclip_ros.ros.qos import output_overrides, output_qos

TOPICS: dict[str, Any] = {
    "depth/image": Image,
    "depth/camera_info": CameraInfo,
    "depth/points": PointCloud2,
    "depth/confidence": Image,
    "depth/image_color": Image,
    "depth/stats": DepthStats,
}


class Outputs:
    """One publisher for each topic. Messages are kept and filled again: fresh memory costs more than filling it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publishers = {
            topic: node.create_publisher(message, topic, output_qos(), qos_overriding_options=output_overrides())
            for topic, message in TOPICS.items()
        }
        self._colour_range = SteadyRange()
        self._messages = {topic: message() for topic, message in TOPICS.items()}

    def wanted(self) -> frozenset[str]:
        """Topics that somebody subscribes to."""
        return frozenset(
            topic for topic, publisher in self._publishers.items() if publisher.get_subscription_count() > 0
        )

    def destroy(self) -> None:
        """Unmake the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers = {}

    def publish_camera_info(self, header: Any, intrinsics: Intrinsics) -> None:
        """The camera of a rectified image."""
        self._send("depth/camera_info", header, conversions.camera_info(intrinsics))

    def publish(
        self,
        wanted: frozenset[str],
        header: Any,
        result: FrameDepth,
        settings: Settings,
        latency_ms: Callable[[], float],
        stats: dict[str, Any],
    ) -> float:
        """Send what is wanted of one frame; the depth image first, for it is waited for.

        Args:
            wanted: of `wanted`.
            header: the input image's.
            result: the frame's depth.
            settings: how to say it.
            latency_ms: asked once, when the depth image is out.
            stats: further fields of DepthStats.

        Returns:
            What `latency_ms` said.
        """
        start_s = time.perf_counter()
        frame = result.frame
        if "depth/image" in wanted:
            self._send("depth/image", header, conversions.depth_image(result.depth_m, settings.output_encoding))
        latency = latency_ms()
        if "depth/camera_info" in wanted and not frame.focal_assumed:
            self.publish_camera_info(header, frame.intrinsics)
        if "depth/points" in wanted and not frame.focal_assumed:
            cloud = conversions.point_cloud(
                result.depth_m,
                frame.rgb if settings.cloud_color else None,
                frame.intrinsics,
                stride=settings.cloud_stride,
                max_range_m=settings.cloud_max_range_m,
                into=self._messages["depth/points"],
            )
            self._send("depth/points", header, cloud)
        if "depth/confidence" in wanted:
            self._send("depth/confidence", header, conversions.confidence_image(result.confidence))
        if "depth/image_color" in wanted:
            self._send(
                "depth/image_color",
                header,
                conversions.color_image(colorize(result.depth_m, *self._colour_range.update(result.depth_m))),
            )
        if "depth/stats" in wanted:
            steps = ("preprocess", "network", "postprocess")
            timings = {f"{step}_ms": result.timings_ms.get(step, 0.0) for step in steps}
            publish_ms = (time.perf_counter() - start_s) * 1e3
            fields = {**stats, **timings, **summary(result), "publish_ms": publish_ms, "latency_ms": latency}
            self._send("depth/stats", header, fields)
        return latency

    def _send(self, topic: str, header: Any, values: dict[str, Any]) -> None:
        message = conversions.assign(self._messages[topic], header, values, point_field=PointField)
        self._publishers[topic].publish(message)
