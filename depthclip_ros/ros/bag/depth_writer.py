# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The depth topics of a bag: from an image of it to serialised messages."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability
from rosbags.interfaces import QosTime as Time
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from depthclip_ros.core.calibration import stamp_ns_of
from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.transforms import Transforms
from depthclip_ros.ros import conversions
from depthclip_ros.ros.depth_node.frames import FrameDepth, summary
from depthclip_ros.ros.depth_node.pipeline import FramePipeline
from depthclip_ros.ros.processes import PACKAGE

if TYPE_CHECKING:
    from rosbags.rosbag2 import Writer
    from rosbags.typesys.store import Typestore

# What --topics may name, the topic it becomes and its type.
TOPICS: dict[str, tuple[str, str]] = {
    "depth": ("depth/image", "sensor_msgs/msg/Image"),
    "camera_info": ("depth/camera_info", "sensor_msgs/msg/CameraInfo"),
    "points": ("depth/points", "sensor_msgs/msg/PointCloud2"),
    "points_clear": ("depth/points_clear", "sensor_msgs/msg/PointCloud2"),
    "scan": ("depth/scan", "sensor_msgs/msg/LaserScan"),
    "confidence": ("depth/confidence", "sensor_msgs/msg/Image"),
    "uncertainty": ("depth/uncertainty", "sensor_msgs/msg/Image"),
    "stats": ("depth/stats", f"{PACKAGE}/msg/DepthStats"),
}
RAYS = ("points_clear", "scan")  # for maps: written where they are asked for
USUAL = tuple(key for key in TOPICS if key not in RAYS)
# As the node publishes: reliable, keep last 1, volatile.
DEPTH_QOS = Qos(
    history=QosHistory.KEEP_LAST,
    depth=1,
    reliability=QosReliability.RELIABLE,
    durability=QosDurability.VOLATILE,
    deadline=Time(2147483647, 4294967295),
    lifespan=Time(2147483647, 4294967295),
    liveliness=QosLiveliness.AUTOMATIC,
    liveliness_lease_duration=Time(2147483647, 4294967295),
    avoid_ros_namespace_conventions=False,
)


def depth_stats_definition() -> str:
    """The text of DepthStats.msg.

    Raises:
        ConfigError: the file is not part of this installation.
    """
    below = Path("share") / PACKAGE / "msg" / "DepthStats.msg"
    installed = [folder / below for folder in (*Path(__file__).absolute().parents, Path(sys.prefix))]
    source_tree = Path(__file__).resolve().parents[3] / "msg" / "DepthStats.msg"
    for path in (*installed, source_tree):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise ConfigError("DepthStats.msg is not installed here; leave `stats` out of --topics")


class DepthWriter:
    """Runs the pipeline on an image and writes what came of it.

    Attributes:
        counts: messages written, by key of `TOPICS`.
        no_scan: why the last image without a scan has none; "" where all have.
    """

    def __init__(
        self, writer: Writer, names: dict[str, str], pipeline: FramePipeline, transforms: Transforms | None = None
    ) -> None:
        self._store: Typestore = get_typestore(Stores.ROS2_JAZZY)
        if "stats" in names:
            self._store.register(get_types_from_msg(depth_stats_definition(), TOPICS["stats"][1]))
        self._writer, self._pipeline = writer, pipeline
        self._connections = {
            key: writer.add_connection(name, TOPICS[key][1], typestore=self._store, offered_qos_profiles=[DEPTH_QOS])
            for key, name in names.items()
        }
        self.counts = dict.fromkeys(names, 0)
        self.no_scan = ""
        self._transforms = transforms or Transforms()
        self._asks = {"cloud": "points" in names, "rays": any(key in names for key in RAYS)}

    def write(self, image: Any, info: Any | None, time_ns: int, frames: dict[str, int]) -> None:
        """Depth topics of one image, at its bag time and with its header; the counts `frames` go into DepthStats.

        Raises:
            InputError: an image or CameraInfo that cannot be used.
        """
        result = self._pipeline.infer(self._pipeline.prepare(image, info), **self._asks)
        started_s = time.perf_counter()
        settings, frame = self._pipeline.settings, result.frame
        values: dict[str, Callable[[], dict[str, Any] | None]] = {
            "depth": lambda: conversions.depth_image(result.depth_m, settings.output_encoding),
            "camera_info": lambda: {
                **conversions.camera_info(frame.intrinsics, frame.offset_m),
                "roi": self._type("sensor_msgs/msg/RegionOfInterest")(0, 0, 0, 0, False),
            },
            "points": lambda: self._cloud(result.make_cloud() if result.cloud is None else result.cloud),
            "points_clear": lambda: self._cloud(result.make_clearing_cloud()),
            "scan": lambda: self._scan(result, image.header),
            "confidence": lambda: conversions.float_image(result.confidence),
            "uncertainty": lambda: conversions.float_image(result.uncertainty_m),
            "stats": lambda: self._stats(result, frames, (time.perf_counter() - started_s) * 1e3),
        }
        header = self._header(image.header)
        for key, connection in self._connections.items():
            # Without intrinsics there is no cloud: the node's rule.
            if not frame.has_camera and key in {"points", "camera_info", *RAYS}:
                continue
            made = values[key]()
            if made is None:
                continue
            message = self._type(connection.msgtype)(**{"header": header, **made})
            self._writer.write(connection, time_ns, self._store.serialize_cdr(message, connection.msgtype))
            self.counts[key] += 1

    def _type(self, name: str) -> Any:
        return self._store.types[name]

    def _header(self, header: Any, frame_id: str = "") -> Any:
        stamp = self._type("builtin_interfaces/msg/Time")(header.stamp.sec, header.stamp.nanosec)
        return self._type("std_msgs/msg/Header")(stamp=stamp, frame_id=frame_id or header.frame_id)

    def _scan(self, result: FrameDepth, header: Any) -> dict[str, Any] | None:
        """None where the recorded transforms do not say where the camera is; the header's frame is the scan's own."""
        settings, stamp_ns = result.frame.settings, stamp_ns_of(header.stamp)
        try:
            to_scan = self._transforms.between(header.frame_id, stamp_ns, settings.scan_frame, stamp_ns)
        except InputError as error:
            self.no_scan = str(error)
            return None
        scan = conversions.laser_scan(result.make_scan(to_scan), result.scan_limits)
        none = np.zeros(0, np.float32)
        own = {"header": self._header(header, settings.scan_frame.lstrip("/")), "intensities": none}
        return {**scan, **own, "ranges": np.array(scan["ranges"], np.float32)}

    def _cloud(self, points: NDArray[np.void]) -> dict[str, Any]:
        cloud = conversions.point_cloud(points)
        field_type = self._type("sensor_msgs/msg/PointField")
        cloud["fields"] = [field_type(name, offset, datatype, 1) for name, offset, datatype in cloud["fields"]]
        return cloud

    def _stats(self, result: FrameDepth, frames: dict[str, int], publish_ms: float) -> dict[str, Any]:
        engine = self._pipeline.engine
        timings = {f"{name}_ms": result.timings_ms.get(name, 0.0) for name in ("preprocess", "network", "postprocess")}
        values = summary(result)
        values["scene_weights"] = np.array(values["scene_weights"], np.float32)
        return {
            "camera": "",
            **{f"anchors_{state}": [] for state in ("accepted", "refused", "disagreeing")},
            "system": engine.info.system,
            "weights": engine.info.sha256[:12],
            "device": engine.device,
            "receive_ms": float("nan"),
            "interval_coverage": float("nan"),
            "wait_ms": 0.0,
            **timings,
            "batch_size": 1,
            "publish_ms": publish_ms,
            "latency_ms": float("nan"),
            **dict.fromkeys(("frames_dropped", "frames_failed", "frames_unwatched", "frames_waiting"), 0),
            **{f"frames_{what}": count for what, count in frames.items()},
            "outputs_dropped": 0,
            **values,
        }
