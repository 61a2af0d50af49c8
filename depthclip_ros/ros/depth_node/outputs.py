# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The publishers of one camera's depth: who listens, and what a frame's depth is to them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2

from depthclip_ros.core.calibration import stamp_ns_of
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.images.depth_colours import SteadyRange, colorize
from depthclip_ros.core.transforms import TransformNotYetError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.msg import DepthStats
from depthclip_ros.ros import conversions
from depthclip_ros.ros.anchors.inputs import LiveTransforms
from depthclip_ros.ros.depth_node.diagnostics import Throttle
from depthclip_ros.ros.depth_node.frames import FrameDepth, summary
from depthclip_ros.ros.qos import output_overrides, output_qos
from depthclip_ros.ros.wire import WireMessage

CloudType = tuple[tuple[int, ...], np.dtype[np.void]]

# What is waited for, and what a thread of its own makes afterwards.
DEPTH, INFO = "depth/image", "depth/camera_info"
POINTS, CLEAR, SCAN = "depth/points", "depth/points_clear", "depth/scan"
FIRST: dict[str, Any] = {DEPTH: Image, INFO: CameraInfo}
LATE: dict[str, Any] = {
    POINTS: PointCloud2,
    CLEAR: PointCloud2,
    SCAN: LaserScan,
    "depth/confidence": Image,
    "depth/uncertainty": Image,
    "depth/image_color": Image,
    "depth/stats": DepthStats,
}
RAYS = {CLEAR, SCAN}  # made of FrameDepth.flying


@dataclass(frozen=True)
class LateFrame:
    """A frame whose depth image is out, for `Outputs.publish_late`.

    Attributes:
        wanted: topics that somebody subscribes to.
        header: the input image's.
        result: the frame's depth.
        stats: fields of DepthStats that are known when the depth image is out.
        publish_ms: time that publishing took so far.
    """

    wanted: frozenset[str]
    header: Any
    result: FrameDepth
    stats: dict[str, Any]
    publish_ms: float


class Outputs:
    """One publisher for each topic. Messages are kept and filled again: fresh memory costs more than filling it.

    Two threads may publish at the same time, one what is in `FIRST`, the other what is in `LATE`; each message has one
    thread that fills it.
    """

    def __init__(self, node: Node, prefix: str, transforms: LiveTransforms) -> None:
        """Make the publishers.

        Args:
            node: theirs.
            prefix: before every topic's name, e.g. "front/".
            transforms: where `scan.frame` is.
        """
        self._node = node
        self._prefix = prefix
        self._transforms = transforms
        self._throttle = Throttle()
        topics = {**FIRST, **LATE}
        self._publishers: dict[str, Any] = {}
        with ExitStack() as made:
            made.callback(self.destroy)
            for topic, message in topics.items():
                self._publishers[topic] = node.create_publisher(
                    message, f"{prefix}{topic}", output_qos(), qos_overriding_options=output_overrides()
                )
            made.pop_all()
        self._colour_range = SteadyRange()
        self._large = {topic: WireMessage(kind) for topic, kind in topics.items() if kind in (Image, PointCloud2)}
        self._small = {topic: kind() for topic, kind in topics.items() if topic not in self._large}

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

    def publish_depth(self, header: Any, result: FrameDepth) -> None:
        """The depth image."""
        self._send(DEPTH, header, conversions.depth_image(result.depth_m, result.frame.settings.output_encoding))

    def publish_camera_info(self, header: Any, intrinsics: Intrinsics, offset_m: tuple[float, float]) -> None:
        """The camera of a rectified image; `offset_m`: see `conversions.stereo_offset_m`."""
        self._send(INFO, header, conversions.camera_info(intrinsics, offset_m))

    def publish_late(self, late: LateFrame) -> None:
        """All else that is wanted of one frame."""
        start_s = time.perf_counter()
        header, result, frame = late.header, late.result, late.result.frame
        if POINTS in late.wanted and frame.has_camera:
            if result.cloud is not None:
                self._send(POINTS, header, conversions.point_cloud(result.cloud))
            else:
                self._send_cloud(POINTS, header, result.cloud_type, result.make_cloud)
        if CLEAR in late.wanted and frame.has_camera:
            self._send_cloud(CLEAR, header, result.clearing_cloud_type, result.make_clearing_cloud)
        if "depth/confidence" in late.wanted:
            self._send("depth/confidence", header, conversions.float_image(result.confidence))
        if "depth/uncertainty" in late.wanted:
            self._send("depth/uncertainty", header, conversions.float_image(result.uncertainty_m))
        if "depth/image_color" in late.wanted:
            picture = colorize(result.depth_m, *self._colour_range.update(result.depth_m))
            self._send("depth/image_color", header, conversions.color_image(picture))
        if "depth/stats" in late.wanted:
            publish_ms = late.publish_ms + (time.perf_counter() - start_s) * 1e3
            self._send("depth/stats", header, {**late.stats, **summary(result), "publish_ms": publish_ms})

    def has_scan_of(self, late: LateFrame) -> bool:
        """Whether somebody wants a frame's scan, and its camera is known."""
        return SCAN in late.wanted and late.result.frame.has_camera

    def may_scan(self, late: LateFrame) -> bool:
        """Whether `publish_scan` need not wait: False while a transform of the frame's time may still come."""
        try:
            self._to_scan(late)
        except TransformNotYetError:
            return False
        except InputError:
            pass
        return True

    def publish_scan(self, late: LateFrame) -> None:
        """The scan of a frame that has one; where no transform leads to its frame, that is said."""
        header, result = late.header, late.result
        settings = result.frame.settings
        try:
            to_scan = self._to_scan(late)
        except InputError as error:
            reason = f"no {self._prefix}{SCAN}: {error}; its frame is the parameter scan.frame"
            if self._transforms.settled and self._throttle.passes(reason):
                self._node.get_logger().warning(reason)
            return
        header = type(header)(stamp=header.stamp, frame_id=settings.scan_frame.lstrip("/"))
        self._send(SCAN, header, conversions.laser_scan(result.make_scan(to_scan), result.scan_limits))

    def _to_scan(self, late: LateFrame) -> NDArray[np.float64]:
        stamp_ns = stamp_ns_of(late.header.stamp)
        scan_frame = late.result.frame.settings.scan_frame
        return self._transforms.between(late.header.frame_id, stamp_ns, scan_frame, stamp_ns)

    def _send_cloud(self, topic: str, header: Any, kind: CloudType, make: Callable[[NDArray[np.void]], Any]) -> None:
        """A cloud that is made where it is sent from."""
        (shape, dtype), message = kind, self._large[topic]
        room = message.room(header, conversions.cloud_layout(shape, dtype), math.prod(shape) * dtype.itemsize)
        make(room.view(dtype).reshape(shape))
        message.publish(self._publishers[topic])

    def _send(self, topic: str, header: Any, values: dict[str, Any]) -> None:
        if topic in self._large:
            self._large[topic].fill(header, values)
            self._large[topic].publish(self._publishers[topic])
        else:
            self._publishers[topic].publish(conversions.assign(self._small[topic], header, values))
