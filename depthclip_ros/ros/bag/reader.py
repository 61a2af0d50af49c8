"""A recorded bag to be read, and which of its topics are the camera's."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from depthclip_ros.core.errors import InputError
from depthclip_ros.ros.camera_info import sibling_camera_info

if TYPE_CHECKING:
    from rosbags.interfaces import Connection

RAW = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
# Image topics whose name says that they are not what a camera sees.
NOT_COLOUR = ("depth", "confidence", "disparity", "ground_truth", "mask", "infra")
BAG_SUFFIXES = (".db3", ".mcap")


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
        raise InputError(f"the bag has no image topic {wanted!r}; it has {listed(connections)}")
    infos = {c.topic for c in connections if c.msgtype == CAMERA_INFO}
    colour = [c for c in images.values() if c.msgcount and not any(word in c.topic.lower() for word in NOT_COLOUR)]
    if not colour:
        raise InputError(f"the bag has no colour image topic; it has {listed(connections)}")
    best = max(colour, key=lambda c: (sibling_camera_info(c.topic) in infos, c.msgtype == RAW, c.msgcount))
    return best.topic


def listed(connections: Collection[Connection]) -> str:
    """The topics and their types, for a sentence."""
    topics = [f"{c.topic} ({c.msgtype.rpartition('/')[2]})" for c in connections]
    return ", ".join(sorted(topics)) or "no topics"


def is_bag(path: Path) -> bool:
    """Whether the path is a rosbag2 folder or one of its storage files."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or any(p.suffix in BAG_SUFFIXES for p in path.iterdir())
    return path.suffix.lower() in BAG_SUFFIXES
