# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Image files: found, read, and their lens as far as the file knows it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.commands.files.outputs import PICTURE_SUFFIXES
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.images.compressed import SUFFIXES, decode_picture
from depthclip_ros.core.images.encodings import check_size

_EXIF_IFD = 0x8769
_ORIENTATION = 0x0112
_FOCAL_LENGTH_IN_35MM_FILM = 0xA405
_FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)
# EXIF orientation to what turns the picture upright: mirrored first, then quarter turns counter-clockwise.
_UPRIGHT = {2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1)}


@dataclass(frozen=True)
class Picture:
    """An image file's pixels, uint8 [H, W, 3] RGB, and its focal length in pixels where the file tells it."""

    rgb: NDArray[np.uint8]
    focal_px: float | None


def find_images(paths: Iterable[Path]) -> list[Path]:
    """The files named, and the images in the folders named (not below them), in order; each file once.

    What an earlier run wrote into a folder is not taken for an image of it.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            found[path] = None
            continue
        for file in sorted(path.iterdir()):
            if file.suffix.lower() in SUFFIXES and not _was_written(file):
                found[file] = None
    return list(found)


def _was_written(file: Path) -> bool:
    stems = (file.name.removesuffix(suffix) for suffix in PICTURE_SUFFIXES if file.name.endswith(suffix))
    return any(file.with_name(f"{stem}{end}").exists() for stem in stems for end in (".npy", "_relative.npy"))


def read_picture(path: Path, *, upright: bool = True) -> Picture:
    """Read an image file.

    Args:
        path: JPEG, PNG, BMP, WebP, TIFF or PNM.
        upright: turn it as its EXIF orientation says; not for an image whose calibration belongs to the pixels as
            they are stored.

    Raises:
        InputError: names the file, and what is wrong with it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        orientation, film_focal_mm = _exif(path)
        rgb = decode_picture(data)
    except InputError as error:
        raise InputError(f"{path} is not an image that can be used: {error}") from error
    if upright and orientation in _UPRIGHT:
        mirrored, turns = _UPRIGHT[orientation]
        rgb = np.ascontiguousarray(np.rot90(rgb[:, ::-1] if mirrored else rgb, turns))
    focal_px = None
    if film_focal_mm:
        # The 35 mm equivalent compares diagonals (CIPA DCG-001), which also holds for a picture of another aspect.
        focal_px = film_focal_mm / _FILM_DIAGONAL_MM * math.hypot(*rgb.shape[:2])
    return Picture(rgb, focal_px)


def is_turned(path: Path) -> bool:
    """Whether EXIF says that a picture, which reads, is shown otherwise than it is stored."""
    return _exif(path)[0] in _UPRIGHT


def _exif(path: Path) -> tuple[int, float | None]:
    """(orientation, 35 mm equivalent focal length in mm or None), read without decoding the picture.

    Raises:
        InputError: no image, or one that is too large.
    """
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes, which are checked below, and of odd metadata
        try:
            with Image.open(path) as image:
                check_size(*image.size)
                exif = image.getexif()
                orientation = int(exif.get(_ORIENTATION, 1))
                focal_mm = float(exif.get_ifd(_EXIF_IFD).get(_FOCAL_LENGTH_IN_35MM_FILM, 0))
        except UnidentifiedImageError as error:
            raise InputError("no known image format") from error
        except Image.DecompressionBombError as error:
            raise InputError(str(error)) from error
        except (OSError, ValueError, TypeError, ZeroDivisionError, SyntaxError):
            return 1, None  # broken metadata does not make the picture unusable; decoding judges the rest
    return orientation, focal_mm if math.isfinite(focal_mm) and focal_mm > 0 else None
