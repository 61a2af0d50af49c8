# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a CameraInfo says about a camera, without ROS: made from intrinsics, read from a calibration file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from depthclip_ros.core.calibration import read_calibration
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros.conversions import camera_info


@dataclass
class RegionOfInterest:
    """Fields of sensor_msgs/RegionOfInterest; all zero means the whole image."""

    x_offset: int = 0
    y_offset: int = 0
    height: int = 0
    width: int = 0
    do_rectify: bool = False


@dataclass
class CameraFields:
    """Fields of sensor_msgs/CameraInfo under the message's own names, so that either may stand for the other."""

    width: int
    height: int
    distortion_model: str
    d: Sequence[float]
    k: Sequence[float]  # 3x3, row by row
    r: Sequence[float]  # 3x3
    p: Sequence[float]  # 3x4
    binning_x: int = 0
    binning_y: int = 0
    roi: Any = field(default_factory=RegionOfInterest)

    @classmethod
    def from_intrinsics(cls, intrinsics: Intrinsics) -> CameraFields:
        """The undistorted camera that `intrinsics` describes."""
        return cls(**camera_info(intrinsics))

    @classmethod
    def from_file(cls, path: Path) -> CameraFields:
        """A calibration file's camera.

        Raises:
            ConfigError: names the file, and what is missing or wrong in it.
        """
        camera = read_calibration(path)
        return cls(
            width=camera.width_px,
            height=camera.height_px,
            distortion_model=camera.distortion_model or "plumb_bob",
            d=camera.d,
            k=camera.k,
            r=camera.r,
            p=camera.p or (0.0,) * 12,  # "not known", as CameraInfo says it
        )


def copy_camera(source: Any, target: Any) -> None:
    """Copy the fields of one CameraInfo-like object to another, all but the header."""
    target.width, target.height = int(source.width), int(source.height)
    target.distortion_model = str(source.distortion_model)
    target.d = [float(value) for value in source.d]
    for name in ("k", "r", "p"):
        setattr(target, name, [float(value) for value in getattr(source, name)])
    target.binning_x, target.binning_y = int(source.binning_x), int(source.binning_y)
    for name in ("x_offset", "y_offset", "height", "width"):
        setattr(target.roi, name, int(getattr(source.roi, name)))
    target.roi.do_rectify = bool(source.roi.do_rectify)
