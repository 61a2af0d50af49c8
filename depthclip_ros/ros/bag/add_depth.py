# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Add the node's depth topics to a recorded bag, without ROS: the same frame pipeline, read and written by rosbags."""

from __future__ import annotations

import bisect
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from depthclip_ros.core.calibration import is_rectified_by_name, sibling_camera_info, stamp_ns_of
from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.files import naming
from depthclip_ros.core.recordings.bags import Recording
from depthclip_ros.core.transforms import Transforms
from depthclip_ros.ros.bag.depth_writer import TOPICS, USUAL, DepthWriter
from depthclip_ros.ros.bag.image_topic import find_image_topic
from depthclip_ros.ros.depth_node.mailbox import RateLimit
from depthclip_ros.ros.depth_node.pipeline import FramePipeline

if TYPE_CHECKING:
    from rosbags.interfaces import Connection

STORAGES = {".db3": StoragePlugin.SQLITE3, ".mcap": StoragePlugin.MCAP}


@dataclass
class BagSummary:
    """What was done: topic names, counts, and a line for each image that has no depth (the first twenty).

    `left_out` are the channels that hold no ROS 2 messages: a bag of ROS 2 has no place for them. `skipped` images are
    more than `input.max_rate`, by the times of the bag; `no_scan` says why an image has no scan.
    """

    image_topic: str
    camera_info_topic: str
    left_out: list[str]
    copied: int = 0
    frames: int = 0
    refused: int = 0
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)
    written: dict[str, int] = field(default_factory=dict)
    depth_s: float = 0.0
    no_scan: str = ""


def add_depth_to_bag(
    source: Path,
    target: Path,
    pipeline: FramePipeline,
    *,
    image_topic: str = "",
    camera_info_topic: str = "",
    topics: Collection[str] = USUAL,
    namespace: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BagSummary:
    """Write the messages of `source`, byte for byte, and depth for each image of one topic to a new bag.

    Args:
        source: rosbag2 folder, `.db3` or `.mcap`; it is only read.
        target: `NAME.mcap` or `NAME.db3` becomes a file, anything else a rosbag2 folder with the storage of `source`.
        pipeline: engine and settings.
        image_topic: "" takes the likeliest.
        camera_info_topic: "" takes the image topic's sibling where the bag has it.
        topics: keys of `TOPICS`; `scan` needs the recorded transforms.
        namespace: put before the depth topics.
        progress: called with messages done and messages in all.

    Raises:
        ConfigError: `target` exists, an unknown topic key, or a depth topic that the bag has already.
        InputError: `source` is no bag, or lacks the topics named.
        OSError: `target` cannot be written.
    """
    if target.exists():
        raise ConfigError(f"{target} exists; it is never overwritten: give another name or remove it")
    if unknown := sorted(set(topics) - set(TOPICS)):
        raise ConfigError(f"unknown topic {unknown[0]!r}; allowed are {', '.join(TOPICS)}")
    with Recording(source) as reader:
        result = _resolve(reader, image_topic, camera_info_topic)
        names = {key: _resolved(namespace, TOPICS[key][0]) for key in topics}
        if taken := sorted(set(names.values()) & set(reader.topics)):
            raise ConfigError(f"the bag has a topic {taken[0]} already; put the new ones elsewhere with --namespace")
        pipeline.image_topic = result.image_topic
        pipeline.already_rectified = is_rectified_by_name(result.image_topic)
        with _new_bag(target, _storage_of(source, target)) as writer:
            copies = _copy_connections(reader, writer)
            output = DepthWriter(writer, names, pipeline, _transforms(reader) if "scan" in names else None)
            rate = RateLimit()
            infos = _CameraInfos(reader, result.camera_info_topic)
            total = reader.message_count
            for connection, time_ns, data in reader.messages():
                writer.write(copies[connection.topic, connection.msgtype], time_ns, data)
                result.copied += 1
                if connection.topic == result.image_topic:
                    result.frames += 1
                    if rate.passes(pipeline.settings.input_max_rate, time_ns / 1e9):
                        read = partial(reader.deserialize, data, connection.msgtype)
                        _one_frame(read, infos, time_ns, output, result)
                    else:
                        result.skipped += 1
                progress(result.copied, total)
        result.written = {names[key]: count for key, count in output.counts.items()}
        result.no_scan = output.no_scan
    return result


def _one_frame(
    read: Callable[[], Any], infos: _CameraInfos, time_ns: int, output: DepthWriter, result: BagSummary
) -> None:
    started_s = time.perf_counter()
    stamp_ns = time_ns
    try:
        image = read()
        stamp_ns = stamp_ns_of(image.header.stamp)
        info = infos.of(stamp_ns, time_ns)
        counts = {"in": result.frames, "refused": result.refused, "skipped": result.skipped}
        output.write(image, info, time_ns, {**counts, "out": result.frames - result.refused - result.skipped})
    except InputError as error:
        result.refused += 1
        if len(result.reasons) < 20:
            result.reasons.append(f"image at {stamp_ns / 1e9:.3f} s: {error}")
    result.depth_s += time.perf_counter() - started_s


def _resolve(reader: Recording, image_topic: str, camera_info_topic: str) -> BagSummary:
    found = find_image_topic(reader, image_topic)
    if camera_info_topic and camera_info_topic not in reader.topics:
        raise InputError(f"the bag has no topic {camera_info_topic!r}; it has {', '.join(sorted(reader.topics))}")
    sibling = sibling_camera_info(found)
    return BagSummary(found, camera_info_topic or (sibling if sibling in reader.topics else ""), reader.left_out)


def _resolved(namespace: str, name: str) -> str:
    return "/" + "/".join(part for part in (namespace.strip("/"), name) if part)


def _storage_of(source: Path, target: Path) -> StoragePlugin:
    if target.suffix in STORAGES:
        return STORAGES[target.suffix]
    inside = [source] if source.is_file() else sorted(source.iterdir())
    # A compressed storage is called NAME.db3.zstd.
    suffixes = {suffix for path in inside for suffix in path.suffixes}
    return STORAGES[".mcap" if ".mcap" in suffixes else ".db3"]


@contextmanager
def _new_bag(target: Path, storage: StoragePlugin) -> Iterator[Writer]:
    """A writer whose bag appears at `target` only when it is whole; nothing is left of one that fails.

    Raises:
        OSError: no room or no right to write; names `target`.
    """
    single = target.suffix in STORAGES
    with naming(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with naming(target), tempfile.TemporaryDirectory(prefix=f".{target.name[:99]}.", dir=target.parent) as folder:
        partial = Path(folder) / (target.stem if single else target.name)
        with Writer(partial, version=8, storage_plugin=storage) as writer:
            yield writer
        whole = partial / f"{partial.name}{target.suffix}" if single else partial
        if target.exists():
            raise ConfigError(f"{target} was made by another program meanwhile; it is not overwritten")
        shutil.move(whole, target)


def _copy_connections(reader: Recording, writer: Writer) -> dict[tuple[str, str], Connection]:
    """The same topics in the new bag, by name and type: a split recording has a connection in each of its files."""
    known = get_typestore(Stores.ROS2_JAZZY)
    copies: dict[tuple[str, str], Connection] = {}
    for old in reader.connections:
        if (old.topic, old.msgtype) in copies:
            continue
        definition: dict[str, Any] = {}
        has_text = old.msgdef.format == MessageDefinitionFormat.MSG or old.msgdef.data.startswith("=" * 80 + "\nIDL: ")
        if old.msgdef.format != MessageDefinitionFormat.NONE and has_text:
            digest = old.digest or reader.typestore.hash_rihs01(old.msgtype)
            definition = {"msgdef": old.msgdef.data, "rihs01": digest}
        elif old.msgtype in reader.typestore.fielddefs:
            definition = {"typestore": reader.typestore}
        elif old.msgtype in known.fielddefs:
            definition = {"typestore": known}
        elif writer.storage_plugin == StoragePlugin.SQLITE3:
            # A custom type in a bag that carries no definitions (before Iron): copied as bytes, again without one.
            writer.added_types.add(old.msgtype)
            definition = {"msgdef": "", "rihs01": old.digest or "unknown"}
        else:
            raise InputError(
                f"the bag does not say what {old.msgtype} of {old.topic} is, and .mcap needs that; write a .db3 instead"
            )
        copies[old.topic, old.msgtype] = writer.add_connection(
            old.topic,
            old.msgtype,
            serialization_format=old.ext.serialization_format,
            offered_qos_profiles=old.ext.offered_qos_profiles,
            **definition,
        )
    return copies


def _transforms(reader: Recording) -> Transforms:
    """All that the bag knows of frames: a scan of its first image may need a transform that was recorded later."""
    tree = Transforms()
    connections = [c for c in reader.connections if c.msgtype == "tf2_msgs/msg/TFMessage"]
    for connection, _, data in reader.messages(connections) if connections else ():
        try:
            message = reader.deserialize(data, connection.msgtype)
        except InputError:  # torn
            continue
        tree.add(message, is_static=connection.topic.endswith("tf_static"))
    return tree


class _CameraInfos:
    """The CameraInfo of an image: that of its stamp, else the newest before it, else the first of the bag."""

    def __init__(self, reader: Recording, topic: str) -> None:
        self._by_stamp: dict[int, Any] = {}
        self._times_ns: list[int] = []
        self._messages: list[Any] = []
        connections = [c for c in reader.connections if topic and c.topic == topic]
        for connection, time_ns, data in reader.messages(connections) if connections else ():
            try:
                message = reader.deserialize(data, connection.msgtype)
            except InputError:
                continue
            self._by_stamp[stamp_ns_of(message.header.stamp)] = message
            self._times_ns.append(time_ns)
            self._messages.append(message)

    def of(self, stamp_ns: int, time_ns: int) -> Any | None:
        if not self._messages:
            return None
        newest = self._messages[max(0, bisect.bisect_right(self._times_ns, time_ns) - 1)]
        return self._by_stamp.get(stamp_ns, newest)
