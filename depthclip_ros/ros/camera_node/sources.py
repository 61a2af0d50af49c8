# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Where frames come from without a camera: the rendered room, a folder of images, a video, a bag.

`open_source` looks at what it is given and picks the kind from the table `KINDS`. No ROS is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.recordings.bags import is_bag
from depthclip_ros.ros.camera_node.file_sources import VIDEO_SUFFIXES, FolderSource, VideoSource
from depthclip_ros.ros.camera_node.source import Source, SourceOptions


def _room(path: Path, options: SourceOptions) -> Source:
    from depthclip_ros.ros.camera_node.room_source import RoomSource

    return RoomSource(options)


def _bag(path: Path, options: SourceOptions) -> Source:
    from depthclip_ros.ros.camera_node.bag_source import BagSource

    return BagSource(path, options)


# What a source is, tried from the top.
KINDS: tuple[tuple[str, Callable[[Path], bool], Callable[[Path, SourceOptions], Source]], ...] = (
    ("room: a camera driving through a rendered room", lambda path: str(path) == "room", _room),
    ("rosbag2 folder, .db3 or .mcap", is_bag, _bag),
    ("folder of pictures", lambda path: path.is_dir(), FolderSource),
    ("video", lambda path: path.suffix.lower() in VIDEO_SUFFIXES, VideoSource),
)


def open_source(spec: str, options: SourceOptions | None = None) -> Source:
    """Open what `spec` names: "room" or a path.

    Raises:
        InputError: nothing there, or none of the kinds; the message lists them.
    """
    path = Path(spec).expanduser()
    if spec != "room" and not path.exists():
        raise InputError(f"the source {spec!r} does not exist; give `room` or the path of a folder, a video or a bag")
    for _, matches, make in KINDS:
        if matches(path):
            return make(path, options or SourceOptions())
    raise InputError(f"{spec} is none of: {'; '.join(name for name, _, _ in KINDS)}")
