# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Image files: colour, and depth as 16-bit PNG. A truncated file is an error, never half a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.images.compressed import decode_depth_values, decode_picture
from depthclip_ros.core.types import Intrinsics
from depthclip_trainer.data.sample import Sample


def decode_colour(data: bytes, name: object) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB of an encoded image, as its pixels are stored; `name` is for messages.

    Raises:
        InputError: damaged, cut short or no image.
    """
    try:
        return decode_picture(data)
    except InputError as error:
        raise InputError(f"{name} does not decode: {error}") from error


def decode_depth(data: bytes, name: object, units_per_metre: float) -> NDArray[np.float32]:
    """float32 [H, W] metres of a 16-bit PNG, `value / units_per_metre`; 0 stays 0, no reading.

    Raises:
        InputError: damaged, cut short, or not of one channel and 16 bits.
    """
    try:
        values = decode_depth_values(data)
    except InputError as error:
        raise InputError(f"{name} is no depth: {error}") from error
    return values.astype(np.float32) / np.float32(units_per_metre)


def files_by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The files of a folder with one of these endings, in whatever case, by their name without it."""
    return {path.stem: path for path in sorted(folder.glob("*")) if path.suffix.lower() in suffixes}


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
