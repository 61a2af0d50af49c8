"""A camera from whatever has a CameraInfo's fields, or from a calibration file; a stamp as a number."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.geometry import crop_intrinsics, scale_intrinsics
from depthclip_ros.core.rectify import CameraModel
from depthclip_ros.core.types import Intrinsics


def stamp_ns_of(stamp: Any) -> int:
    """Nanoseconds of a builtin_interfaces/Time."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def camera_model(info: Any, width_px: int, height_px: int) -> CameraModel:
    """The camera of an image of width_px x height_px.

    K and P of a CameraInfo belong to the full resolution of the sensor; region of interest and binning say what of it
    the image shows (REP-104). The returned model is that of the image itself.

    Raises:
        InputError: a size that is not the image's, focal lengths that are not finite and above 0, a distortion that
            no known model describes.
    """
    roi = info.roi
    whole = not (roi.width and roi.height)
    left, top = (0, 0) if whole else (roi.x_offset, roi.y_offset)
    roi_width, roi_height = (info.width, info.height) if whole else (roi.width, roi.height)
    binning = (max(1, info.binning_x), max(1, info.binning_y))
    fits = all(
        side // by <= got <= -(-side // by)
        for side, by, got in zip((roi_width, roi_height), binning, (width_px, height_px), strict=True)
    )
    if not fits or not (info.width and info.height):
        part = "" if whole else f", region of interest {roi_width}x{roi_height}"
        part += "" if binning == (1, 1) else f", binning {binning[0]}x{binning[1]}"
        raise InputError(
            f"camera_info is {info.width}x{info.height}{part} but the image is {width_px}x{height_px}; "
            "publish the camera_info of this image, or remap `camera_info` to it"
        )

    def of_image(fx: float, fy: float, cx: float, cy: float) -> Intrinsics:
        camera = Intrinsics(fx, fy, cx, cy, info.width, info.height)
        if not whole:
            camera = crop_intrinsics(camera, left, top, roi_width, roi_height)
        return camera if binning == (1, 1) else scale_intrinsics(camera, width_px, height_px)

    k, p = [float(value) for value in info.k], [float(value) for value in info.p]
    try:
        raw = of_image(k[0], k[4], k[2], k[5])
        rectified = of_image(p[0], p[5], p[2], p[6]) if any(p) else None
    except InputError as error:
        raise InputError(f"camera_info is not usable: {error}; is the camera calibrated?") from None
    return CameraModel.from_numbers(
        width_px,
        height_px,
        k=_matrix(raw, k, columns=3),
        d=info.d,
        distortion_model=info.distortion_model,
        r=info.r,
        p=None if rectified is None else _matrix(rectified, p, columns=4),
    )


def _matrix(camera: Intrinsics, full: list[float], columns: int) -> list[float]:
    """`full` (K or P in row order) with the focal lengths and principal point of `camera`."""
    matrix = list(full)
    matrix[0], matrix[2] = camera.fx_px, camera.cx_px
    matrix[columns + 1], matrix[columns + 2] = camera.fy_px, camera.cy_px
    return matrix


# What camera_calibration calls a field of CameraInfo.
_FILE_NAMES = {
    "width": "image_width",
    "height": "image_height",
    "k": "camera_matrix",
    "d": "distortion_coefficients",
    "r": "rectification_matrix",
    "p": "projection_matrix",
}


def read_calibration(path: Path) -> CameraModel:
    """Read a calibration file: as camera_calibration writes it, or a CameraInfo message as printed.

    Raises:
        ConfigError: names the file, and what is missing or wrong in it.
    """
    try:
        # A message printed by `ros2 topic echo` ends with the separator of the next document.
        documents = [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one is not None]
    except OSError as error:
        raise ConfigError(f"camera info {path} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"camera info {path} is not YAML: {str(error).splitlines()[0]}") from error
    values = documents[0] if documents else None
    if not isinstance(values, Mapping):
        raise ConfigError(f"camera info {path} holds no calibration; camera_matrix and image_width are expected")
    try:
        return CameraModel.from_numbers(
            int(_field(values, "width")),
            int(_field(values, "height")),
            _field(values, "k"),
            _field(values, "d", ()),
            str(values.get("distortion_model", "")),
            _field(values, "r", None),
            _field(values, "p", None),
        )
    except KeyError as error:
        raise ConfigError(f"camera info {path} has no {error.args[0]}") from error
    except (TypeError, ValueError, InputError) as error:
        raise ConfigError(f"camera info {path} cannot be used: {error}") from error


_REQUIRED = object()


def _field(values: Mapping[str, Any], name: str, default: Any = _REQUIRED) -> Any:
    """A field by either of its names; matrices without the rows and columns around their data."""
    file_name = _FILE_NAMES[name]
    value = values.get(file_name, values.get(name, default))
    if value is _REQUIRED:
        raise KeyError(file_name)
    return value["data"] if isinstance(value, Mapping) else value
