# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Compressed pictures to pixels: whole, or refused. The one reader for messages, files, data sets and shards."""

from __future__ import annotations

import contextlib
import re
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.images.encodings import OF_DEPTH, check_encoding, check_size, decode

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Of picture files, in lower case."""

_TIFF_ORIENTATION = 274  # TIFF 6.0, section 8
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
# A camera that pads the last segment of a JPEG has lost nothing; anywhere else such bytes are what is left of a loss.
_PADDED_END = "extraneous bytes before marker 0xd9"


def decode_compressed(data: Any, format: str = "") -> NDArray[np.uint8]:  # noqa: A002, the message's field name
    """RGB uint8 [H, W, 3] of a JPEG or PNG, told apart by their first bytes.

    Grey becomes grey RGB, 16 bits become 8, transparency is dropped, an EXIF orientation is ignored (the pixels stay
    where the camera's intrinsics say). The size in the file's header is checked before anything is decoded. What stands
    behind the picture's end is ignored: padded buffers, motion photos. A Bayer mosaic that was compressed as it is
    becomes colour.

    Args:
        data: the file's bytes, any object with the buffer protocol.
        format: what the message calls it: "jpeg", or with what was compressed, "rgb8; jpeg compressed bgr8".

    Raises:
        InputError: neither JPEG nor PNG, damaged or cut short, empty or too large, or depth by its format.
    """
    encoding = format.partition(";")[0].strip()
    if encoding in OF_DEPTH:
        check_encoding(encoding)
    flat = np.frombuffer(data, np.uint8)
    start = flat[:8].tobytes()
    if start.startswith(_JPEG):
        return _demosaiced(_decode_jpeg(flat), format)
    if start == _PNG:
        check_png(flat)
        return _demosaiced(_by_opencv(flat, "PNG"), format)
    raise InputError(f"compressed image of format '{format}' is neither JPEG nor PNG; those two are allowed")


def decode_picture(data: bytes) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of a picture file of any format of `SUFFIXES`; see `decode_compressed`.

    Raises:
        InputError: damaged, cut short, empty, too large, or no picture.
    """
    if data.startswith((_JPEG, _PNG)):
        return decode_compressed(data)
    return _by_opencv(np.frombuffer(_unturned(data), np.uint8), "picture")


def decode_depth_values(data: Any) -> NDArray[np.uint16]:
    """The values uint16 [H, W] of a depth PNG, in the units of whoever wrote it.

    Raises:
        InputError: no PNG, damaged or cut short, or not of one channel and 16 bits.
    """
    flat = np.frombuffer(data, np.uint8)
    if flat[:8].tobytes() != _PNG:
        raise InputError(f"depth of {flat.size} bytes is no PNG; depth is a one-channel 16-bit PNG")
    check_png(flat)
    values = _decoded(flat, cv2.IMREAD_UNCHANGED, "PNG")
    if values.ndim != 2 or values.dtype != np.uint16:
        channels = 1 if values.ndim == 2 else values.shape[2]
        raise InputError(
            f"it has {channels} channels of {8 * values.dtype.itemsize} bits; depth is a one-channel 16-bit PNG, "
            "whose unit is known"
        )
    return np.asarray(values, np.uint16)


def check_png(flat: NDArray[np.uint8]) -> None:
    """Walk through a PNG's chunks up to its end and compare every checksum: OpenCV returns half a picture silently.

    Raises:
        InputError: a header without a size, a size out of range, a chunk that is damaged, no end.
    """
    if flat.size < 33 or flat[12:16].tobytes() != b"IHDR":
        raise InputError(f"PNG of {flat.size} bytes is broken: its header names no size")
    check_size(*struct.unpack(">II", flat[16:24].tobytes()))
    position = 8
    while position + 12 <= flat.size:
        length, kind = struct.unpack(">I4s", flat[position : position + 8].tobytes())
        end = position + 12 + length
        if end > flat.size:
            break
        (checksum,) = struct.unpack(">I", flat[end - 4 : end].tobytes())
        if zlib.crc32(flat[position + 4 : end - 4].data) != checksum:
            raise InputError(f"PNG of {flat.size} bytes is damaged: the checksum at byte {position} is wrong")
        if kind == b"IEND":
            return
        position = end
    raise InputError(f"PNG of {flat.size} bytes is cut short: its end is missing")


def _demosaiced(rgb: NDArray[np.uint8], format: str) -> NDArray[np.uint8]:  # noqa: A002
    """Colour of a grey picture that is a mosaic by its message's format, "bayer_rggb8; jpeg compressed ".

    That is what image_transport writes that compresses mosaics; where it compresses grey of them, the format ends in
    mono8.
    """
    encoding, _, how = format.partition(";")
    compressed = how.partition("compressed")[2].strip() or encoding.strip()
    if not compressed.startswith("bayer_") or (rgb != rgb[..., :1]).any():
        return rgb
    height, width = rgb.shape[:2]
    of_8_bits = re.sub("16$", "8", compressed)  # which the pixels are by now
    return decode(np.ascontiguousarray(rgb[..., 0]), of_8_bits, width, height, width)


def _decode_jpeg(flat: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """By libjpeg-turbo, whose warnings count: it fills what is missing with grey and would call that a success."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(flat, strict=False)
    except (ValueError, KeyError) as error:  # KeyError: a header without a colour space
        raise InputError(f"JPEG of {flat.size} bytes is broken: its header names no size") from error
    check_size(width, height)
    try:
        rgb = simplejpeg.decode_jpeg(flat, "RGB")
    except ValueError as error:
        if not str(error).endswith(_PADDED_END):
            raise InputError(f"JPEG of {flat.size} bytes is damaged or cut short: {error}") from error
        rgb = simplejpeg.decode_jpeg(flat, "RGB", strict=False)
    return np.asarray(rgb, np.uint8)


def _unturned(data: bytes) -> bytes:
    """A TIFF whose orientation says "upright": OpenCV turns those, whatever it is told."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return data
    with contextlib.suppress(struct.error):  # cut short: decoding judges
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            if struct.unpack_from(f"{order}H", data, entry)[0] == _TIFF_ORIENTATION:
                changed = bytearray(data)
                struct.pack_into(f"{order}H", changed, entry + 8, 1)
                return bytes(changed)
    return data


def _by_opencv(flat: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    bgr = _decoded(flat, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, kind)
    check_size(bgr.shape[1], bgr.shape[0])
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), np.uint8)


def _decoded(flat: NDArray[np.uint8], flags: int, kind: str) -> NDArray[Any]:
    try:
        pixels = cv2.imdecode(flat, flags) if flat.size else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise InputError(f"{kind} of {flat.size} bytes is broken and cannot be decoded")
    return np.asarray(pixels)
