# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Depth as ROS messages say it. Reads and fills whatever has the messages' fields, from rclpy or from rosbags.

The functions return a dict of field values, arrays as numpy; `assign` puts one into an rclpy message, and
`Type(header=header, **values)` makes a rosbags message of it.
"""

from __future__ import annotations

import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.images.compressed import decode_compressed
from depthclip_ros.core.images.depth_encodings import decode_compressed_depth, decode_depth
from depthclip_ros.core.images.encodings import decode
from depthclip_ros.core.level_scan import LevelScan, ScanLimits
from depthclip_ros.core.types import Intrinsics

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image

Values = dict[str, Any]

FLOAT32 = 7  # sensor_msgs/PointField


def read_image(message: Image | CompressedImage) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3]; a view on the message where its pixels are RGB without padding.

    Raises:
        InputError: an unknown encoding, an empty size, too few bytes, a broken file.
    """
    if hasattr(message, "encoding"):
        return decode(
            message.data, message.encoding, message.width, message.height, message.step, bool(message.is_bigendian)
        )
    return decode_compressed(message.data, message.format)


def read_depth(message: Image | CompressedImage, *, keep_limits: bool = False) -> NDArray[np.float32]:
    """32FC1 metres, 16UC1 millimetres (0 = none) or compressedDepth → float32 [H, W] metres, NaN where there is none.

    Args:
        message: of depth.
        keep_limits: -Inf (too near) and +Inf (too far) of 32FC1 stay as they are.

    Raises:
        InputError: another encoding, too little data, or a broken file.
    """
    if hasattr(message, "format"):
        return decode_compressed_depth(message.data, message.format)
    height, width = message.height, message.width
    plain = message.encoding == "32FC1" and not message.is_bigendian and message.step == 4 * width
    if keep_limits and plain and len(message.data) >= height * message.step:
        return np.frombuffer(message.data, "<f4", count=height * width).reshape(height, width)
    return decode_depth(
        message.data, message.encoding, message.width, message.height, message.step, bool(message.is_bigendian)
    )


def _image(pixels: NDArray[Any], encoding: str) -> Values:
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    return {
        "height": height,
        "width": width,
        "encoding": encoding,
        "is_bigendian": 0,
        "step": pixels.nbytes // height,
        "data": pixels.reshape(-1).view(np.uint8),
    }


def depth_image(depth_m: NDArray[np.float32], encoding: str = "32FC1") -> Values:
    """Image of depth [H, W] in metres (REP-118).

    32FC1 keeps NaN and Inf as they are (REP-117); 16UC1 is whole millimetres, 0 where depth is not finite, not above
    0 or beyond 65.535 m.
    """
    if encoding == "32FC1":
        return _image(depth_m, encoding)
    mm = depth_m * np.float32(1000)
    mm[~((mm > 0) & (mm < 65535.5))] = 0
    return _image(np.rint(mm, out=mm).astype("<u2"), "16UC1")


def float_image(values: NDArray[np.float32]) -> Values:
    """32FC1 image of [H, W], such as confidence or uncertainty."""
    return _image(values, "32FC1")


def color_image(rgb: NDArray[np.uint8]) -> Values:
    """rgb8 image of [H, W, 3]."""
    return _image(rgb, "rgb8")


def camera_info(intrinsics: Intrinsics, offset_m: tuple[float, float] = (0.0, 0.0)) -> Values:
    """CameraInfo of a rectified image: no distortion, P holds K; `roi` and binning stay zero: the whole image.

    `offset_m`: see `stereo_offset_m`.
    """
    fx, fy, cx, cy = intrinsics.fx_px, intrinsics.fy_px, intrinsics.cx_px, intrinsics.cy_px
    return {
        "height": intrinsics.height_px,
        "width": intrinsics.width_px,
        "distortion_model": "plumb_bob",
        "d": np.zeros(5),
        "k": np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1], np.float64),
        "r": np.eye(3).reshape(-1),
        "p": np.array([fx, 0, cx, fx * offset_m[0], 0, fy, cy, fy * offset_m[1], 0, 0, 1, 0], np.float64),
        "binning_x": 0,
        "binning_y": 0,
    }


def stereo_offset_m(p: Sequence[float]) -> tuple[float, float]:
    """Where P of a stereo pair's second camera says that the first one is, in metres along x and y; else zeros."""
    return (float(p[3] / p[0]), float(p[7] / p[5])) if p[0] and p[5] else (0.0, 0.0)


def point_cloud(cloud: NDArray[np.void]) -> Values:
    """Organised PointCloud2 of a structured cloud [H, W] (`geometry.organised_cloud`)."""
    return {**cloud_layout(cloud.shape, cloud.dtype), "data": cloud.reshape(-1).view(np.uint8)}


def cloud_layout(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Values:
    """All but `data` of the PointCloud2 of an organised cloud, structured [H, W] (`geometry.organised_cloud`).

    `fields` are (name, offset, datatype) here; `assign` makes messages of them.
    """
    height, width = shape
    return {
        "height": height,
        "width": width,
        "fields": [(name, int((dtype.fields or {})[name][1]), FLOAT32) for name in dtype.names or ()],
        "is_bigendian": False,
        "point_step": dtype.itemsize,
        "row_step": dtype.itemsize * width,
        "is_dense": False,
    }


def laser_scan(scan: LevelScan, limits: ScanLimits) -> Values:
    """LaserScan of a level scan; the beams are of one moment, and there are no intensities."""
    return {
        "angle_min": scan.first_rad,
        "angle_max": scan.first_rad + (scan.ranges_m.size - 1) * scan.increment_rad,
        "angle_increment": scan.increment_rad,
        "time_increment": 0.0,
        "scan_time": 0.0,
        "range_min": limits.min_range_m,
        "range_max": limits.max_range_m,
        "ranges": array.array("f", scan.ranges_m.tobytes()),
    }


def assign(message: Any, header: Any, values: Values, point_field: Callable[..., Any] | None = None) -> Any:
    """Put values and header into an rclpy message, and return it. `point_field` makes the fields of a cloud.

    Bytes go in as array.array: any other type costs rclpy 10 to 50 ms for each megabyte. So do numbers whose count is
    free: Humble refuses NumPy's arrays there.
    """
    message.header = header
    for name, value in values.items():
        if name == "data":
            message.data = array.array("B")
            message.data.frombytes(value)
        elif name == "d":
            message.d = array.array("d", value)
        elif name == "fields" and point_field is not None:
            message.fields = [point_field(name=n, offset=o, datatype=t, count=1) for n, o, t in value]
        else:
            setattr(message, name, value)
    return message
