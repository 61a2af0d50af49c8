# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Reader of rosbag2 recordings (sqlite3 or MCAP), without ROS: a colour camera with the depth measured beside it.

Depth is an image aligned with the colour image (16UC1 millimetres, 32FC1 metres, or `compressedDepth`), or the points
of a LiDAR projected through the recorded transforms. Distorted images are rectified, and their depth with them.
"""

from __future__ import annotations

import functools
import logging
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.calibration import camera_model, misplaced_centre, stamp_ns_of
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.images.compressed import decode_compressed
from depthclip_ros.core.images.depth_encodings import decode_compressed_depth, decode_depth
from depthclip_ros.core.images.encodings import decode
from depthclip_ros.core.lidar import cloud_points, sparse_depth
from depthclip_ros.core.recordings.bags import BAG_SUFFIXES, Recording
from depthclip_ros.core.rectify import rectifier_for
from depthclip_ros.core.transforms import Transforms
from depthclip_ros.core.types import Intrinsics
from depthclip_trainer.data.readers.bag_topics import TF, BagTopics, choose_topics
from depthclip_trainer.data.sample import Sample

log = logging.getLogger(__name__)

Place = tuple[int, int]
"""Of a message: its header's stamp, and the time under which the bag has it, both in ns."""


@dataclass(frozen=True)
class BagOptions:
    """How a bag is read.

    Attributes:
        image_topic, depth_topic, camera_info_topic: empty: found (`bag_topics.py`).
        tolerance_s: largest difference between the stamps of an image and its depth; 0 takes 0.02 s for depth images
            and 0.06 s for clouds, where the transforms take out how the robot moved in between.
    """

    image_topic: str = ""
    depth_topic: str = ""
    camera_info_topic: str = ""
    tolerance_s: float = 0.0


@dataclass(frozen=True)
class BagIndex:
    """What a bag holds.

    Attributes:
        topics: that are read.
        pairs: where image and depth of each frame are, by its name.
        info: the first CameraInfo.
        transforms: all that were recorded, where depth is a cloud.
    """

    topics: BagTopics
    pairs: dict[str, tuple[Place, Place]]
    info: Any
    transforms: Transforms


class BagFrames:
    """Frames of one bag; a `FrameSet`. The bag stays open until `close`; several threads may read.

    Attributes:
        name: of the bag.
        frame_names: six digits each, in the order of time.
        times_s: stamps of the frames, of the same length.
        topics: that are read.

    Raises:
        InputError: no bag or one that breaks off, no CameraInfo, no depth, no chain of transforms, no pair in time.
    """

    licence = "a recording of the user's"

    def __init__(self, path: Path, options: BagOptions | None = None) -> None:
        options = options or BagOptions()
        self.path, self.name = path, path.stem if path.suffix in BAG_SUFFIXES else path.name
        index = _index_of(path, options, _state_of(path))
        self.topics, self._pairs, self._info, self._transforms = index.topics, index.pairs, index.info, index.transforms
        self._reader = Recording(path)
        self._one_at_a_time = threading.Lock()  # a storage has one place in its file
        self._closing = weakref.finalize(self, self._reader.close)
        self.frame_names = tuple(self._pairs)
        self.times_s = tuple(image[0] / 1e9 for image, _ in self._pairs.values())

    def read(self, name: str) -> Sample:
        """One frame, rectified.

        Raises:
            InputError: it cannot be decoded, image and depth differ in size, or a transform is not known at its time.
        """
        (image_ns, image_at), (depth_ns, depth_at) = self._pairs[name]
        message = self._message(self.topics.image, image_at, image_ns)
        depth = self._message(self.topics.depth, depth_at, depth_ns)
        image = _colour(message)
        height_px, width_px = image.shape[:2]
        camera = camera_model(self._info, width_px, height_px, rectified=self.topics.is_rectified)
        rectifier = rectifier_for(camera)
        image = rectifier.rectify(image)
        if self.topics.is_cloud:
            rotation = np.eye(3) if rectifier.is_identity else np.reshape(camera.r, (3, 3))
            depth_m = self._projected(depth, depth_ns, message, image_ns, rotation, rectifier.intrinsics)
        else:
            depth_m = np.nan_to_num(_depth(depth), nan=0.0)
            if depth_m.shape != (height_px, width_px):
                raise InputError(
                    f"{self.topics.depth} is {depth_m.shape[1]}x{depth_m.shape[0]} but {self.topics.image} is "
                    f"{width_px}x{height_px}; depth must be aligned with the image"
                )
            depth_m = rectifier.rectify(depth_m, nearest=True)
        valid = np.isfinite(depth_m) & (depth_m > 0)
        if rectifier.valid is not None:
            valid &= rectifier.valid
        return Sample(
            image, np.where(valid, depth_m, np.float32(0)), valid, rectifier.intrinsics, f"{self.name}/{name}"
        )

    def close(self) -> None:
        """Let go of the bag."""
        self._closing()

    def _message(self, topic: str, time_ns: int, stamp_ns: int) -> Any:
        connections = [c for c in self._reader.connections if c.topic == topic]
        with self._one_at_a_time:
            found = list(self._reader.messages(connections, start=time_ns, stop=time_ns + 1))
        for connection, _, data in found:
            message = self._reader.deserialize(data, connection.msgtype)
            if stamp_ns_of(message.header.stamp) == stamp_ns:
                return message
        raise InputError(f"{self.path} has lost the message of {topic} at {time_ns / 1e9:.3f} s since it was opened")

    def _projected(
        self, cloud: Any, cloud_ns: int, image: Any, image_ns: int, rotation: NDArray[np.float64], camera: Intrinsics
    ) -> NDArray[np.float32]:
        frame = image.header.frame_id or self._info.header.frame_id
        matrix = self._transforms.between(cloud.header.frame_id, cloud_ns, frame, image_ns)
        points = cloud_points(cloud) @ (rotation @ matrix[:3, :3]).T + rotation @ matrix[:3, 3]
        return sparse_depth(points, camera)


def _state_of(path: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Names, inodes, sizes and times of a bag's files: another state is another bag."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    states = [(file.name, file.stat()) for file in files if file.is_file()]
    return tuple((name, state.st_ino, state.st_size, state.st_mtime_ns) for name, state in states)


@functools.lru_cache(maxsize=4)
def _index_of(path: Path, options: BagOptions, state: tuple[tuple[str, int, int, int], ...]) -> BagIndex:
    """Reads a whole bag once: an adaptation opens the same one five times, and it may be gigabytes.

    Raises:
        InputError: see `BagFrames`.
    """
    with Recording(path) as reader:
        topics = choose_topics(reader, options.image_topic, options.depth_topic, options.camera_info_topic)
        found: dict[str, list[Place]] = {topics.image: [], topics.depth: []}
        frame_ids = {topics.image: "", topics.depth: ""}
        info, transforms, broken = None, Transforms(), 0
        wanted = {*found, topics.camera_info}
        connections = [c for c in reader.connections if c.topic in wanted or (topics.is_cloud and c.msgtype == TF)]
        for connection, time_ns, data in reader.messages(connections):
            try:
                message = reader.deserialize(data, connection.msgtype)
            except InputError:
                broken += 1
                continue
            if hasattr(message, "transforms"):
                transforms.add(message, is_static=connection.topic.endswith("tf_static"))
            elif connection.topic == topics.camera_info:
                info = info or message
            else:
                found[connection.topic].append((stamp_ns_of(message.header.stamp), time_ns))
                frame_ids[connection.topic] = message.header.frame_id
    if broken:
        log.warning("%s: %d messages that cannot be read are left out", path, broken)
    if info is None:
        raise InputError(f"{path} has no message on {topics.camera_info}; depth needs the lens")
    if doubt := misplaced_centre(info.k, info.p, info.width, info.height):
        log.warning("%s: %s", path, doubt)
    if topics.is_cloud:
        transforms.common_frames(frame_ids[topics.depth], frame_ids[topics.image])
    images, depths = sorted(found[topics.image]), sorted(found[topics.depth])
    tolerance_s = options.tolerance_s or (0.06 if topics.is_cloud else 0.02)
    pairs = pair_stamps([s for s, _ in images], [s for s, _ in depths], round(tolerance_s * 1e9))
    if not pairs:
        raise InputError(
            f"{path} has {len(images)} images of {topics.image} and {len(depths)} depths of {topics.depth}, "
            f"but none within {tolerance_s:g} s of each other"
        )
    named = {f"{i:06d}": (images[a], depths[b]) for i, (a, b) in enumerate(pairs)}
    return BagIndex(topics, named, info, transforms)


def open_bag(path: str | Path, options: BagOptions | None = None) -> BagFrames:
    """Opens a rosbag2 folder, a `.db3` or an `.mcap` as a set of frames.

    Raises:
        InputError: see `BagFrames`.
    """
    return BagFrames(Path(path), options)


def pair_stamps(images_ns: list[int], depths_ns: list[int], tolerance_ns: int) -> list[tuple[int, int]]:
    """Indices (image, depth) of the nearest in time, each used at most once; both lists ascending."""
    if not images_ns:
        return []
    stamps = np.array(images_ns, np.int64)
    best: dict[int, tuple[int, int]] = {}  # image → how far apart, depth
    for j, depth_ns in enumerate(depths_ns):
        after = int(np.searchsorted(stamps, depth_ns))
        near = [i for i in (after - 1, after) if 0 <= i < len(stamps)]
        i = min(near, key=lambda k: abs(int(stamps[k]) - depth_ns))
        apart = abs(int(stamps[i]) - depth_ns)
        if apart <= tolerance_ns and (i not in best or apart < best[i][0]):
            best[i] = (apart, j)
    return [(i, best[i][1]) for i in sorted(best)]


def _colour(message: Any) -> NDArray[np.uint8]:
    if hasattr(message, "format"):
        return decode_compressed(message.data, message.format)
    m = message
    return np.ascontiguousarray(decode(m.data, m.encoding, m.width, m.height, m.step, bool(m.is_bigendian)))


def _depth(message: Any) -> NDArray[np.float32]:
    if not hasattr(message, "format"):
        m = message
        return decode_depth(m.data, m.encoding, m.width, m.height, m.step, bool(m.is_bigendian))
    # image_transport's plain `compressed` has no header before the PNG
    header = b"" if "compressedDepth" in message.format else bytes(12)
    return decode_compressed_depth(header + bytes(message.data), message.format)
