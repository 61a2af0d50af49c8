"""Frames from a rosbag2 or mcap recording, and how its topics are found."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from depthclip_ros.core.depth_encodings import decode_depth
from depthclip_ros.core.errors import InputError
from depthclip_ros.ros.camera_info import stamp_ns_of
from depthclip_ros.ros.conversions import read_image
from depthclip_ros.ros.sources import BAG_SUFFIXES, Frame, SourceOptions

if TYPE_CHECKING:
    from rosbags.interfaces import Connection

RAW = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
# Image topics whose name says that they are not what a camera sees.
NOT_COLOUR = ("depth", "confidence", "disparity", "ground_truth", "mask", "infra")
# How many later pictures a picture waits for its depth or camera_info: a recorder writes in order of arrival.
LOOK_AHEAD = 8
# The recording's rate is read off its first images: a bag may begin long before its camera does.
RATE_IMAGES = 31


@contextmanager
def opened_bag(path: Path) -> Iterator[AnyReader]:
    """Reader of a rosbag2 folder, a folder without `metadata.yaml` (the recorder was killed), a `.db3` or an `.mcap`.

    Raises:
        InputError: it is missing or no bag.
    """
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        storages = sorted(p for p in path.iterdir() if p.suffix in BAG_SUFFIXES)
        if len(storages) != 1:
            raise InputError(f"{path} has no metadata.yaml and {len(storages)} storage files; give the one to read")
        path = storages[0]
    try:
        reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
        reader.open()
    except Exception as error:  # rosbags lets errors of sqlite, zstd and its parsers through
        raise InputError(f"cannot read the bag {path}: {error}") from error
    with closing(reader):
        yield reader


def sibling_camera_info(image_topic: str) -> str:
    """`camera_info` beside an image topic, by image_transport's rule: `/cam/image/compressed` → `/cam/camera_info`."""
    base = image_topic.removesuffix("/compressed")
    return f"{base.rpartition('/')[0]}/camera_info"


def find_image_topic(connections: Collection[Connection], wanted: str = "") -> str:
    """The topic of the colour camera: `wanted`, or the likeliest (camera_info beside, raw, most messages).

    Raises:
        InputError: no such topic, or none at all; the message lists what the bag has.
    """
    images = {c.topic: c for c in connections if c.msgtype in {RAW, COMPRESSED}}
    if wanted:
        if wanted in images:
            return wanted
        if f"{wanted}/compressed" in images:
            return f"{wanted}/compressed"
        raise InputError(f"the bag has no image topic {wanted!r}; it has {_listed(connections)}")
    infos = {c.topic for c in connections if c.msgtype == CAMERA_INFO}
    colour = [c for c in images.values() if c.msgcount and not any(word in c.topic.lower() for word in NOT_COLOUR)]
    if not colour:
        raise InputError(f"the bag has no colour image topic; it has {_listed(connections)}")
    best = max(colour, key=lambda c: (sibling_camera_info(c.topic) in infos, c.msgtype == RAW, c.msgcount))
    return best.topic


def _listed(connections: Collection[Connection]) -> str:
    topics = [f"{c.topic} ({c.msgtype.rpartition('/')[2]})" for c in connections]
    return ", ".join(sorted(topics)) or "no topics"


def depth_to_metres(message: Any) -> NDArray[np.float32]:
    """32FC1 metres or 16UC1 millimetres (0 = none) → float32 [H, W] metres, NaN where there is none.

    Raises:
        InputError: another encoding, or too little data.
    """
    return decode_depth(
        message.data, message.encoding, message.width, message.height, message.step, bool(message.is_bigendian)
    )


class BagSource:
    """The colour images of a bag with their CameraInfo, and a depth topic as ground truth where one is named.

    Raises:
        InputError: no bag, or topics that it does not have.
    """

    kind = "bag"

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self.path = path
        self.skipped: list[str] = []
        with opened_bag(self.path) as reader:
            self.image_topic = find_image_topic(reader.connections, options.image_topic)
            topics = {c.topic: c for c in reader.connections}
            info = options.camera_info_topic or sibling_camera_info(self.image_topic)
            for wanted in (options.camera_info_topic, options.depth_topic):
                if wanted and wanted not in topics:
                    raise InputError(f"the bag has no topic {wanted!r}; it has {_listed(reader.connections)}")
            self.camera_info_topic = info if info in topics else ""
            self.depth_topic = options.depth_topic
            images = reader.messages([c for c in reader.connections if c.topic == self.image_topic])
            times_ns = [time_ns for _, time_ns, _ in itertools.islice(images, RATE_IMAGES)]
            step_ns = float(np.median(np.diff(times_ns))) if len(times_ns) > 1 else 0.0
            self.rate_hz = 1e9 / step_ns if step_ns > 0 else None
            self._first_camera = self._first(reader, self.camera_info_topic)

    @staticmethod
    def _first(reader: AnyReader, topic: str) -> Any | None:
        connections = [c for c in reader.connections if c.topic == topic]
        if not topic or not connections:
            return None
        for connection, _, data in reader.messages(connections):
            return reader.deserialize(data, connection.msgtype)
        return None

    def __iter__(self) -> Iterator[Frame]:
        self.skipped.clear()
        waiting: deque[tuple[int, Any]] = deque()  # stamp and image
        cameras: dict[int, Any] = {}
        depths: dict[int, Any] = {}
        newest_camera = self._first_camera
        with opened_bag(self.path) as reader:
            wanted = (self.image_topic, self.camera_info_topic, self.depth_topic)
            connections = [c for c in reader.connections if c.topic and c.topic in wanted]
            for connection, _, data in reader.messages(connections):
                try:
                    message = reader.deserialize(data, connection.msgtype)
                except Exception as error:  # a torn message raises whatever its bytes lead to
                    self.skipped.append(f"{connection.topic}: a message cannot be read: {error}")
                    continue
                stamp_ns = stamp_ns_of(message.header.stamp)
                if connection.topic == self.camera_info_topic:
                    cameras[stamp_ns] = newest_camera = message
                elif connection.topic == self.depth_topic:
                    depths[stamp_ns] = message
                else:
                    waiting.append((stamp_ns, message))
                while waiting and (self._complete(waiting[0][0], cameras, depths) or len(waiting) > LOOK_AHEAD):
                    yield from self._frame(waiting, cameras, depths, newest_camera)
            while waiting:
                yield from self._frame(waiting, cameras, depths, newest_camera)

    def _complete(self, stamp_ns: int, cameras: dict[int, Any], depths: dict[int, Any]) -> bool:
        return (not self.camera_info_topic or stamp_ns in cameras) and (not self.depth_topic or stamp_ns in depths)

    def _frame(
        self,
        waiting: deque[tuple[int, Any]],
        cameras: dict[int, Any],
        depths: dict[int, Any],
        newest_camera: Any | None,
    ) -> Iterator[Frame]:
        stamp_ns, image = waiting.popleft()
        camera = cameras.get(stamp_ns, newest_camera)
        try:
            rgb = read_image(image)
            depth_m = depth_to_metres(depths[stamp_ns]) if stamp_ns in depths else None
            if depth_m is not None and depth_m.shape != rgb.shape[:2]:
                raise InputError(f"depth is {depth_m.shape[::-1]} and the image {rgb.shape[1::-1]}: not aligned")
            yield Frame(rgb, camera, depth_m, stamp_ns, f"{self.image_topic} at {stamp_ns / 1e9:.3f} s")
        except InputError as error:
            self.skipped.append(f"{self.image_topic} at {stamp_ns / 1e9:.3f} s: {error}")
        for kept in (cameras, depths):
            for old in [s for s in kept if s <= stamp_ns]:
                del kept[old]
