"""Image files: colour, and depth as 16-bit PNG. A truncated file is an error, never half a picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics
from depthclip_trainer.data.sample import Sample

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
TAIL_BYTES = 4096
"""An end mark must stand this near to the end; some cameras write a little behind it."""

END_MARKS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}
"""First two bytes of a JPEG and a PNG, and what stands near their end. OpenCV fills what is missing with grey."""


def decode_colour(data: bytes, name: object) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB of an encoded image; `name` is for messages.

    Raises:
        InputError: truncated or broken.
    """
    bgr = _decoded(data, cv2.IMREAD_COLOR, name)
    return np.ascontiguousarray(bgr[..., ::-1])


def decode_depth(data: bytes, name: object, units_per_metre: float) -> NDArray[np.float32]:
    """float32 [H, W] metres of a 16-bit PNG, `value / units_per_metre`; 0 stays 0, no reading.

    Raises:
        InputError: truncated, broken, or not of one channel and 16 bits.
    """
    raw = _decoded(data, cv2.IMREAD_UNCHANGED, name)
    if raw.ndim != 2 or raw.dtype != np.uint16:
        channels = 1 if raw.ndim == 2 else raw.shape[2]
        raise InputError(
            f"{name} has {channels} channels of {8 * raw.dtype.itemsize} bits; depth is a one-channel 16-bit PNG"
        )
    return raw.astype(np.float32) / np.float32(units_per_metre)


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises:
        InputError: it is missing or unreadable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} does not read: {error.strerror or error}") from error


def read_colour(path: Path) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB; see `decode_colour`."""
    return decode_colour(read_bytes(path), path)


def read_depth(path: Path, units_per_metre: float) -> NDArray[np.float32]:
    """float32 [H, W] metres; see `decode_depth`."""
    return decode_depth(read_bytes(path), path, units_per_metre)


def frame_of(
    image: NDArray[np.uint8],
    depth_m: NDArray[np.float32],
    intrinsics: Intrinsics,
    path: str,
    assumed_intrinsics: bool = False,
) -> Sample:
    """A frame whose image [H, W, 3] and depth [H, W] show the same.

    Raises:
        InputError: two sizes.
    """
    if depth_m.shape != image.shape[:2]:
        raise InputError(
            f"{path}: depth is {depth_m.shape[1]}x{depth_m.shape[0]}, its image {image.shape[1]}x{image.shape[0]}; "
            "depth must be aligned with the image, pixel by pixel"
        )
    valid = np.isfinite(depth_m) & (depth_m > 0)
    return Sample(image, np.where(valid, depth_m, np.float32(0)), valid, intrinsics, path, assumed_intrinsics)


def _decoded(data: bytes, flags: int, name: object) -> NDArray[np.generic]:
    mark = END_MARKS.get(data[:2])
    if mark is not None and mark not in data[-TAIL_BYTES:]:
        raise InputError(f"{name} has no end; the file is truncated")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise InputError(f"{name} does not decode: {str(error).strip()}") from error
    if pixels is None:
        raise InputError(f"{name} does not decode; the file is broken or no image")
    return pixels
