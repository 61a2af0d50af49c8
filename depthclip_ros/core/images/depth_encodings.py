# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Depth as cameras send it, by its ROS name, to metres (REP-118): raw images and image_transport's compressedDepth."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.images.compressed import decode_depth_values
from depthclip_ros.core.images.encodings import check_size

# Floating-point depth is metres, whole numbers are millimetres.
DEPTH_ENCODINGS = {"32FC1": "f4", "16UC1": "u2", "mono16": "u2"}
MILLIMETRE = np.float32(1000)
# compressed_depth_image_transport's ConfigHeader: an enum and the two quantisation parameters of 32FC1.
COMPRESSED_DEPTH_HEADER = struct.Struct("<iff")


def decode_depth(
    data: Any, encoding: str, width_px: int, height_px: int, step_bytes: int, is_bigendian: bool = False
) -> NDArray[np.float32]:
    """Metres float32 [H, W] of 32FC1 (metres) or 16UC1 (millimetres, 0 = none); NaN where there is no reading.

    Args:
        data: the image's bytes, any object with the buffer protocol.
        encoding: one of DEPTH_ENCODINGS.
        width_px: columns.
        height_px: rows.
        step_bytes: length of a row with its padding.
        is_bigendian: byte order.

    Raises:
        InputError: another encoding, an empty size, or too little data.
    """
    if encoding not in DEPTH_ENCODINGS:
        raise InputError(f"depth has encoding {encoding!r}; allowed are {', '.join(DEPTH_ENCODINGS)}")
    check_size(width_px, height_px)
    dtype = np.dtype((">" if is_bigendian else "<") + DEPTH_ENCODINGS[encoding])
    flat = np.frombuffer(data, np.uint8)
    if step_bytes < width_px * dtype.itemsize or flat.size < step_bytes * height_px:
        raise InputError(
            f"depth of {width_px}x{height_px} has step {step_bytes} and {flat.size} bytes, which is too short"
        )
    rows = flat[: step_bytes * height_px].reshape(height_px, step_bytes)[:, : width_px * dtype.itemsize]
    return _metres(np.ascontiguousarray(rows).view(dtype))


def decode_compressed_depth(data: Any, format: str) -> NDArray[np.float32]:  # noqa: A002, the message's field name
    """Metres float32 [H, W] of a `compressedDepth` PNG, NaN where there is no reading.

    32FC1 travels as quantised inverse depth, metres = a / (value - b), with a and b in the header before the PNG.

    Raises:
        InputError: no PNG, or a broken one.
    """
    head = bytes(data[: COMPRESSED_DEPTH_HEADER.size])
    try:
        raw = decode_depth_values(np.frombuffer(data, np.uint8)[COMPRESSED_DEPTH_HEADER.size :])
    except InputError as error:
        raise InputError(
            f"compressed depth of format {format!r} with {len(data)} bytes is no 16-bit PNG ({error}); record it as "
            "png or raw"
        ) from error
    if "32FC1" not in format:
        return _metres(raw)
    _, a, b = COMPRESSED_DEPTH_HEADER.unpack(head)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth_m = np.float32(a) / (raw.astype(np.float32) - np.float32(b))
    depth_m[raw == 0] = np.nan
    return np.asarray(depth_m, np.float32)


def _metres(raw: NDArray[Any]) -> NDArray[np.float32]:
    if raw.dtype.kind == "f":
        depth_m: NDArray[np.float32] = raw.astype(np.float32)
        depth_m[~np.isfinite(depth_m)] = np.nan
        return depth_m
    depth_m = raw.astype(np.float32) / MILLIMETRE
    depth_m[raw == 0] = np.nan
    return depth_m
