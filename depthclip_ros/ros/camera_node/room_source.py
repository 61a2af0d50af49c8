# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The rendered room as a camera: the drive that is shipped, or one of another size, seed or length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from depthclip_ros.ros.camera_fields import CameraFields
from depthclip_ros.ros.camera_node.rendered_drive import DEPTH_UNITS_PER_METRE, RenderedDrive, RoomSettings
from depthclip_ros.ros.camera_node.shipped_drive import ShippedDrive
from depthclip_ros.ros.camera_node.source import Frame, SourceOptions


def room_of(options: SourceOptions) -> RoomSettings:
    """Which drive is asked for."""
    return RoomSettings(options.width_px, options.height_px, options.seed, options.frames)


SHIPPED = room_of(SourceOptions())


class RoomSource:
    """Frames of the drive with intrinsics and exact depth. That of the default options is shipped and plays at once.

    Raises:
        ConfigError: another drive is asked for, which the cache has not, and torch is not installed to render it.
        DepthClipError: the shipped drive is missing or damaged; rendering failed, or the cache cannot be written.
    """

    kind = "room"
    rate_hz: float | None = 30.0

    def __init__(self, options: SourceOptions) -> None:
        self.skipped: list[str] = []
        room = room_of(options)
        self._camera = CameraFields.from_intrinsics(room.intrinsics)
        self._drive = ShippedDrive() if room == SHIPPED else RenderedDrive(room, options.progress)

    def __iter__(self) -> Iterator[Frame]:
        for number, (rgb, depth, pose) in enumerate(self._drive):
            depth_m = depth.astype(np.float32) / np.float32(DEPTH_UNITS_PER_METRE)
            depth_m[depth == 0] = np.nan
            yield Frame(rgb, self._camera, depth_m, None, f"room frame {number}", pose)
