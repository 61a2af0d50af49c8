# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Pixels as cameras send them, by their ROS name, to RGB. Every byte count is checked before a byte is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError

MAX_PIXELS = 64_000_000

Planes = NDArray[Any]  # rows of an image without their padding
Image = NDArray[np.uint8]  # uint8 [H, W, 3] RGB


@dataclass(frozen=True)
class _Encoding:
    """Row length in bytes, rows per image row, and what turns the rows into RGB."""

    bytes_per_pixel: int
    to_rgb: Callable[[Planes], Image]
    bits: int = 8
    even_width: bool = False
    half_height_chroma: bool = False  # NV12, NV21: another half image of rows below the first


def _by_opencv(code: int, channels: int) -> Callable[[Planes], Image]:
    def convert(rows: Planes) -> Image:
        shape = (rows.shape[0], rows.shape[1] // channels, channels) if channels > 1 else rows.shape
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(rows).reshape(shape), code), np.uint8)

    return convert


def _as_it_is(rows: Planes) -> Image:
    return rows.reshape(rows.shape[0], -1, 3)  # a view wherever the rows are contiguous


def _to_8_bits(rows: Planes) -> NDArray[np.uint8]:
    # The whole 16 bit range onto 8 bits, as cv_bridge does: a range taken from each image would make video flicker.
    # A 10 or 12 bit camera has to send its bits left-aligned to look right, here as there.
    return np.asarray(cv2.convertScaleAbs(rows, alpha=1 / 257), np.uint8)


# ROS names a Bayer pattern by its first two rows, OpenCV by the second and third pixel of its second row: ROS rggb is
# OpenCV BG. UYVY is called yuv422 in older messages and uyvy in newer ones, YUY2 likewise yuv422_yuy2 and yuyv.
_UYVY = _Encoding(2, _by_opencv(cv2.COLOR_YUV2RGB_UYVY, 2), even_width=True)
_YUYV = _Encoding(2, _by_opencv(cv2.COLOR_YUV2RGB_YUY2, 2), even_width=True)
ENCODINGS: dict[str, _Encoding] = {
    "rgb8": _Encoding(3, _as_it_is),
    "bgr8": _Encoding(3, _by_opencv(cv2.COLOR_BGR2RGB, 3)),
    "rgba8": _Encoding(4, _by_opencv(cv2.COLOR_RGBA2RGB, 4)),
    "bgra8": _Encoding(4, _by_opencv(cv2.COLOR_BGRA2RGB, 4)),
    "mono8": _Encoding(1, _by_opencv(cv2.COLOR_GRAY2RGB, 1)),
    "bayer_rggb8": _Encoding(1, _by_opencv(cv2.COLOR_BayerBG2RGB, 1)),
    "bayer_bggr8": _Encoding(1, _by_opencv(cv2.COLOR_BayerRG2RGB, 1)),
    "bayer_gbrg8": _Encoding(1, _by_opencv(cv2.COLOR_BayerGR2RGB, 1)),
    "bayer_grbg8": _Encoding(1, _by_opencv(cv2.COLOR_BayerGB2RGB, 1)),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": _Encoding(1, _by_opencv(cv2.COLOR_YUV2RGB_NV12, 1), even_width=True, half_height_chroma=True),
    "nv21": _Encoding(1, _by_opencv(cv2.COLOR_YUV2RGB_NV21, 1), even_width=True, half_height_chroma=True),
}
# What industrial cameras send, and OpenCV's names for pixels whose colours nobody has named: taken as RViz takes them.
_16_BIT = ("rgb", "bgr", "rgba", "bgra", "mono", "bayer_rggb", "bayer_bggr", "bayer_gbrg", "bayer_grbg")
ENCODINGS |= {
    f"{name}16": replace(ENCODINGS[f"{name}8"], bytes_per_pixel=2 * ENCODINGS[f"{name}8"].bytes_per_pixel, bits=16)
    for name in _16_BIT
}
ENCODINGS |= {"8UC1": ENCODINGS["mono8"], "8UC3": ENCODINGS["bgr8"], "8UC4": ENCODINGS["bgra8"]}
OF_DEPTH = ("16UC1", "32FC1", "64FC1")


def check_encoding(encoding: str) -> None:
    """Refuse what is no picture.

    Raises:
        InputError: an encoding of depth, or an unknown one.
    """
    if encoding in OF_DEPTH:
        raise InputError(f"image encoding '{encoding}' is of depth, not of a picture; give the colour camera's topic")
    if encoding not in ENCODINGS:
        raise InputError(f"image encoding '{encoding}' is not known; allowed are {', '.join(ENCODINGS)}")


def check_size(width_px: int, height_px: int) -> None:
    """Refuse an image without pixels or with more than this package takes.

    Raises:
        InputError: a side below 1, or more than 64 million pixels.
    """
    if width_px < 1 or height_px < 1:
        raise InputError(f"image size is {width_px}x{height_px}; both sides must be at least 1 pixel")
    if width_px * height_px > MAX_PIXELS:
        raise InputError(
            f"image size is {width_px}x{height_px}; at most {MAX_PIXELS // 1_000_000} megapixels are taken"
        )


def decode(
    data: Any, encoding: str, width_px: int, height_px: int, step_bytes: int, is_bigendian: bool = False
) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of an uncompressed image.

    For `rgb8` without row padding the result is a view on `data`, read-only if `data` is.

    Args:
        data: the image's bytes: any object with the buffer protocol (bytes, array.array, memoryview, ndarray).
        encoding: one of ENCODINGS.
        width_px: columns.
        height_px: rows.
        step_bytes: length of a row with its padding; for nv12 and nv21 of a row of either plane.
        is_bigendian: byte order of 16 bit pixels.

    Raises:
        InputError: an unknown encoding, an empty or too large size, a step or data too short, an odd size where the
            encoding shares colour between pixels.
    """
    check_encoding(encoding)
    layout = ENCODINGS[encoding]
    check_size(width_px, height_px)
    if (layout.even_width and width_px % 2) or (layout.half_height_chroma and height_px % 2):
        raise InputError(
            f"image size is {width_px}x{height_px}; {encoding} shares colour between pixels and needs even sides"
        )
    row_bytes = width_px * layout.bytes_per_pixel
    if step_bytes < row_bytes:
        raise InputError(f"image step is {step_bytes} bytes; {width_px} pixels of {encoding} take at least {row_bytes}")
    rows = height_px * 3 // 2 if layout.half_height_chroma else height_px
    flat = np.frombuffer(data, np.uint8)
    if flat.size < rows * step_bytes:
        raise InputError(
            f"image data is {flat.size} bytes; {width_px}x{height_px} {encoding} with a step of {step_bytes} takes "
            f"{rows * step_bytes}"
        )
    pixels: Planes = flat[: rows * step_bytes].reshape(rows, step_bytes)[:, :row_bytes]
    if layout.bits == 16:
        values = np.ascontiguousarray(pixels).view(">u2" if is_bigendian else "<u2").astype(np.uint16, copy=False)
        pixels = _to_8_bits(values)
    return layout.to_rgb(pixels)
