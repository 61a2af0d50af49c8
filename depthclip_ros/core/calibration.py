# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A camera from whatever has a CameraInfo's fields, or from a calibration file; what names and stamps say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.geometry import crop_intrinsics, scale_intrinsics
from depthclip_ros.core.rectify import FISHEYE, CameraModel
from depthclip_ros.core.types import Intrinsics


def stamp_ns_of(stamp: Any) -> int:
    """Nanoseconds of a builtin_interfaces/Time."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def base_topic(topic: str) -> str:
    """The topic that an image_transport topic belongs to: `/cam/image/compressed` → `/cam/image`."""
    return topic.removesuffix("/compressed").removesuffix("/compressedDepth")


def sibling_camera_info(image_topic: str) -> str:
    """`camera_info` beside an image topic, by image_transport's rule: `/cam/image/compressed` → `/cam/camera_info`."""
    return f"{base_topic(image_topic).rpartition('/')[0]}/camera_info"


def is_rectified_by_name(image_topic: str) -> bool:
    """Whether the topic's name says that its images are rectified, as image_proc names them."""
    return "rect" in base_topic(image_topic).rpartition("/")[2].split("_")


def is_uncalibrated(info: Any) -> bool:
    """Whether a CameraInfo is that of a camera that nobody calibrated.

    ROS's mark for it is zeros in K and in P (camera_info_manager: usb_cam, v4l2_camera, camera_ros). image_publisher
    sends focal lengths of 1 pixel where its field_of_view is not set.
    """
    k, p = ([float(value) for value in matrix] for matrix in (info.k, info.p))
    focal_px = {matrix[place] for matrix, places in ((k, (0, 4)), (p, (0, 5))) for place in places if any(matrix)}
    return focal_px <= {1.0}


def camera_model(info: Any, width_px: int, height_px: int, *, rectified: bool = False) -> CameraModel:
    """The camera of an image of width_px x height_px.

    K and P of a CameraInfo belong to the full resolution of the sensor; region of interest and binning say what of it
    the image shows (REP-104). The returned model is that of the image itself.

    Args:
        info: a CameraInfo, or what has its fields.
        width_px: of the image.
        height_px: of the image.
        rectified: the image comes rectified: P (K where P is zero) is its camera, and K and D are those of another.

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

    def of_image(values: Any, columns: int) -> list[float]:
        """A matrix of the sensor (K or P in row order) with the focal lengths and principal point of the image."""
        matrix = [float(value) for value in values]
        if not any(matrix):
            return matrix  # not known
        fx, cx, fy, cy = places = (0, 2, columns + 1, columns + 2)
        camera = Intrinsics(matrix[fx], matrix[fy], matrix[cx], matrix[cy], info.width, info.height)
        if not whole:
            camera = crop_intrinsics(camera, left, top, roi_width, roi_height)
        if binning != (1, 1):
            camera = scale_intrinsics(camera, width_px, height_px)
        for place, value in zip(places, (camera.fx_px, camera.cx_px, camera.fy_px, camera.cy_px), strict=True):
            matrix[place] = value
        return matrix

    try:
        p = of_image(info.p, 4)
        if rectified and any(p):
            return CameraModel.from_numbers(width_px, height_px, (*p[:3], *p[4:7], *p[8:11]))
        k = of_image(info.k, 3)
        if rectified:
            return CameraModel.from_numbers(width_px, height_px, k)
        return CameraModel.from_numbers(width_px, height_px, k, info.d, info.distortion_model, info.r, p)
    except InputError as error:
        raise InputError(f"camera_info is not usable: {error}; is the camera calibrated?") from None


def misplaced_centre(k: Sequence[float], p: Sequence[float] | None, width_px: int, height_px: int) -> str:
    """What is doubtful about a principal point outside the middle half of its image; "" where there is nothing.

    Args:
        k: of the sensor, in row order.
        p: likewise; it counts where K is zero.
        width_px: of the sensor.
        height_px: of the sensor.
    """
    cx_px, cy_px = (k[2], k[5]) if any(k) or p is None else (p[2], p[6])
    if abs(cx_px / width_px - 0.5) <= 0.25 and abs(cy_px / height_px - 0.5) <= 0.25:
        return ""
    return (
        f"the principal point ({cx_px:g}, {cy_px:g}) lies outside the middle half of the {width_px}x{height_px} image: "
        "the calibration may be of a binned, resized or cropped one, and depth is off by as much as it is wrong"
    )


# What calibration files call a field of CameraInfo, without case and underscores: camera_calibration's
# name, that of ROS 1 and 2, that of OpenCV's samples.
_NAMES = {
    "image_width": ("imagewidth", "width"),
    "image_height": ("imageheight", "height"),
    "camera_matrix": ("cameramatrix", "k"),
    "distortion_coefficients": ("distortioncoefficients", "distcoeffs", "d"),
    "distortion_model": ("distortionmodel", "cameramodel"),
    "rectification_matrix": ("rectificationmatrix", "r"),
    "projection_matrix": ("projectionmatrix", "p"),
}
_FORMATS = "camera_calibration's YAML, a CameraInfo as ROS prints it, and OpenCV's YAML are read"


class _Loader(yaml.SafeLoader):
    """Reads OpenCV's matrices as mappings."""

    def matrix(self, node: yaml.MappingNode) -> dict[Any, Any]:
        return self.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:opencv-matrix", _Loader.matrix)


def read_calibration(path: Path) -> CameraModel:
    """Read a calibration file: camera_calibration's, OpenCV's, or a CameraInfo message as printed by ROS 1 or 2.

    Raises:
        ConfigError: names the file, and what is missing or wrong in it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        # OpenCV's first line is none that YAML knows; a printed message ends with the separator of the next document.
        text = text.partition("\n")[2] if text.startswith("%YAML:") else text
        documents = [one for one in yaml.load_all(text, _Loader) if one is not None]
    except OSError as error:
        raise ConfigError(f"camera info {path} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"camera info {path} is not YAML: {str(error).splitlines()[0]}; {_FORMATS}") from error
    values = documents[0] if documents else None
    if not isinstance(values, Mapping):
        raise ConfigError(f"camera info {path} holds no calibration; {_FORMATS}")
    fields = {str(name).replace("_", "").lower(): value for name, value in values.items()}
    missing = [name for name in ("image_width", "image_height", "camera_matrix") if _field(fields, name) is None]
    if missing:
        raise ConfigError(f"camera info {path} has no {' and no '.join(missing)}; {_FORMATS}")
    try:
        d = _field(fields, "distortion_coefficients")
        model = str(_field(fields, "distortion_model") or "")
        if not model and "opencv-matrix" in text:
            # OpenCV has two models: its samples write which; of more than four coefficients only one can be.
            fisheye = fields.get("fisheyemodel")
            if fisheye is not None or np.size(d) > 4:
                model = FISHEYE if fisheye else "plumb_bob"
        return CameraModel.from_numbers(
            int(_field(fields, "image_width")),
            int(_field(fields, "image_height")),
            _field(fields, "camera_matrix"),
            () if d is None else d,
            model,
            _field(fields, "rectification_matrix"),
            _field(fields, "projection_matrix"),
        )
    except (KeyError, TypeError, ValueError, OverflowError, InputError) as error:
        raise ConfigError(f"camera info {path} cannot be used: {error}") from error


def _field(fields: Mapping[str, Any], name: str) -> Any:
    """A field by any of its names, None where it has none; matrices without the rows and columns around their data."""
    value = next((fields[known] for known in _NAMES[name] if fields.get(known) is not None), None)
    return value.get("data") if isinstance(value, Mapping) else value
