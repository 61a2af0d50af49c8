# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Frames from a rosbag2 or mcap recording."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from depthclip_ros.core.calibration import sibling_camera_info, stamp_ns_of
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.recordings.bags import CAMERA_INFO, COMPRESSED, RAW, Recording, listed
from depthclip_ros.ros.bag.image_topic import find_image_topic
from depthclip_ros.ros.camera_node.source import Frame, SourceOptions
from depthclip_ros.ros.conversions import read_depth, read_image

# How many later pictures a picture waits for its depth or camera_info: a recorder writes in order of arrival.
LOOK_AHEAD = 8
# The recording's rate is read off its first images: a bag may begin long before its camera does.
RATE_IMAGES = 31


class BagSource:
    """The colour images of a bag with their CameraInfo, and a depth topic as ground truth where one is named.

    Raises:
        InputError: no bag, or topics that it does not have or that hold something else.
    """

    kind = "bag"

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self.path = path
        self.skipped: list[str] = []
        with Recording(self.path) as reader:
            self.image_topic = find_image_topic(reader, options.image_topic)
            topics = {c.topic: c for c in reader.connections}
            info = options.camera_info_topic or sibling_camera_info(self.image_topic)
            allowed = ((options.camera_info_topic, (CAMERA_INFO,)), (options.depth_topic, (RAW, COMPRESSED)))
            for wanted, types in allowed:
                if wanted and wanted not in topics:
                    raise InputError(f"the bag has no topic {wanted!r}; it has {listed(reader.connections)}")
                if wanted and topics[wanted].msgtype not in types:
                    names = " or ".join(one.rpartition("/")[2] for one in types)
                    raise InputError(f"topic {wanted!r} has no {names}; the bag has {listed(reader.connections)}")
            self.camera_info_topic = info if info in topics else ""
            self.depth_topic = options.depth_topic
            images = reader.messages([c for c in reader.connections if c.topic == self.image_topic])
            times_ns = [time_ns for _, time_ns, _ in itertools.islice(images, RATE_IMAGES)]
            step_ns = float(np.median(np.diff(times_ns))) if len(times_ns) > 1 else 0.0
            self.rate_hz = 1e9 / step_ns if step_ns > 0 else None
            self._first_camera = reader.first(self.camera_info_topic)

    def __iter__(self) -> Iterator[Frame]:
        self.skipped.clear()
        waiting: deque[tuple[int, Any]] = deque()  # stamp and image
        cameras: dict[int, Any] = {}
        depths: dict[int, Any] = {}
        newest_camera = self._first_camera
        with Recording(self.path) as reader:
            wanted = (self.image_topic, self.camera_info_topic, self.depth_topic)
            connections = [c for c in reader.connections if c.topic and c.topic in wanted]
            for connection, _, data in reader.messages(connections):
                try:
                    message = reader.deserialize(data, connection.msgtype)
                except InputError as error:
                    self.skipped.append(f"{connection.topic}: {error}")
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
            depth_m = read_depth(depths[stamp_ns]) if stamp_ns in depths else None
            if depth_m is not None and depth_m.shape != rgb.shape[:2]:
                raise InputError(f"depth is {depth_m.shape[::-1]} and the image {rgb.shape[1::-1]}: not aligned")
            yield Frame(rgb, camera, depth_m, stamp_ns, f"{self.image_topic} at {stamp_ns / 1e9:.3f} s")
        except InputError as error:
            self.skipped.append(f"{self.image_topic} at {stamp_ns / 1e9:.3f} s: {error}")
        for kept in (cameras, depths):
            for old in [s for s in kept if s <= stamp_ns]:
                del kept[old]
