"""What a CameraInfo says about a camera, without ROS: made from intrinsics, read from a calibration file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros.conversions import camera_info

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


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


def read_camera_yaml(path: Path) -> CameraFields:
    """Read a calibration as camera_calibration and camera_info_manager write it.

    Raises:
        InputError: the file is missing, is no YAML, or lacks a field; the message names file and field.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        k = [float(value) for value in content["camera_matrix"]["data"]]
        rectification = content.get("rectification_matrix", {}).get("data", IDENTITY)
        projection = content.get("projection_matrix", {}).get("data", (*k[:3], 0.0, *k[3:6], 0.0, *k[6:9], 0.0))
        camera = CameraFields(
            width=int(content["image_width"]),
            height=int(content["image_height"]),
            distortion_model=str(content.get("distortion_model", "plumb_bob")),
            d=[float(value) for value in content.get("distortion_coefficients", {}).get("data", ())],
            k=k,
            r=[float(value) for value in rectification],
            p=[float(value) for value in projection],
        )
    except OSError as error:
        raise InputError(f"cannot read the calibration {path}: {error.strerror or error}") from error
    except KeyError as error:
        raise InputError(f"the calibration {path} has no field {error}") from error
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a camera calibration in YAML: {error}") from error
    for name, count in (("k", 9), ("r", 9), ("p", 12)):
        if len(getattr(camera, name)) != count:
            raise InputError(f"the calibration {path} has {len(getattr(camera, name))} numbers for {name}, not {count}")
    return camera
