"""The depth topics of a bag: from an image of it to serialised messages."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability
from rosbags.interfaces import QosTime as Time
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from depthclip_ros.core.errors import ConfigError
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
    "confidence": ("depth/confidence", "sensor_msgs/msg/Image"),
    "uncertainty": ("depth/uncertainty", "sensor_msgs/msg/Image"),
    "stats": ("depth/stats", f"{PACKAGE}/msg/DepthStats"),
}
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
    """

    def __init__(self, writer: Writer, names: dict[str, str], pipeline: FramePipeline) -> None:
        self._store: Typestore = get_typestore(Stores.ROS2_JAZZY)
        if "stats" in names:
            self._store.register(get_types_from_msg(depth_stats_definition(), TOPICS["stats"][1]))
        self._writer, self._pipeline = writer, pipeline
        self._connections = {
            key: writer.add_connection(name, TOPICS[key][1], typestore=self._store, offered_qos_profiles=[DEPTH_QOS])
            for key, name in names.items()
        }
        self.counts = dict.fromkeys(names, 0)

    def write(self, image: Any, info: Any | None, time_ns: int, *, frames_in: int, frames_refused: int) -> None:
        """Depth topics of one image, at its bag time and with its header; the counters go into DepthStats.

        Raises:
            InputError: an image or CameraInfo that cannot be used.
        """
        result = self._pipeline.infer(self._pipeline.prepare(image, info), cloud="points" in self._connections)
        started_s = time.perf_counter()
        settings, frame = self._pipeline.settings, result.frame
        values: dict[str, Callable[[], dict[str, Any]]] = {
            "depth": lambda: conversions.depth_image(result.depth_m, settings.output_encoding),
            "camera_info": lambda: {
                **conversions.camera_info(frame.intrinsics, frame.offset_m),
                "roi": self._type("sensor_msgs/msg/RegionOfInterest")(0, 0, 0, 0, False),
            },
            "points": lambda: self._cloud(result),
            "confidence": lambda: conversions.float_image(result.confidence),
            "uncertainty": lambda: conversions.float_image(result.uncertainty_m),
            "stats": lambda: self._stats(result, frames_in, frames_refused, (time.perf_counter() - started_s) * 1e3),
        }
        header = self._header(image.header)
        for key, connection in self._connections.items():
            # Without intrinsics there is no cloud: the node's rule.
            if not frame.has_camera and key in {"points", "camera_info"}:
                continue
            message = self._type(connection.msgtype)(header=header, **values[key]())
            self._writer.write(connection, time_ns, self._store.serialize_cdr(message, connection.msgtype))
            self.counts[key] += 1

    def _type(self, name: str) -> Any:
        return self._store.types[name]

    def _header(self, header: Any) -> Any:
        stamp = self._type("builtin_interfaces/msg/Time")(header.stamp.sec, header.stamp.nanosec)
        return self._type("std_msgs/msg/Header")(stamp=stamp, frame_id=header.frame_id)

    def _cloud(self, result: FrameDepth) -> dict[str, Any]:
        cloud = conversions.point_cloud(result.make_cloud() if result.cloud is None else result.cloud)
        field_type = self._type("sensor_msgs/msg/PointField")
        cloud["fields"] = [field_type(name, offset, datatype, 1) for name, offset, datatype in cloud["fields"]]
        return cloud

    def _stats(self, result: FrameDepth, frames_in: int, frames_refused: int, publish_ms: float) -> dict[str, Any]:
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
            "wait_ms": 0.0,
            **timings,
            "batch_size": 1,
            "publish_ms": publish_ms,
            "latency_ms": float("nan"),
            "frames_in": frames_in,
            "frames_out": frames_in - frames_refused,
            "frames_dropped": 0,
            "frames_refused": frames_refused,
            **dict.fromkeys(("frames_failed", "frames_unwatched", "frames_waiting"), 0),
            "outputs_dropped": 0,
            **values,
        }
