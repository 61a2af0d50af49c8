# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The pictures that an int8 network is calibrated on: rendered rooms, or a folder of the user's own."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.files import hash_file
from depthclip_ros.core.images.compressed import decode_picture
from depthclip_ros.core.runtimes.shipped_rooms import CALIBRATION, shipped_rooms

ROOMS = "rooms"
COUNT = 48
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True)
class CalibrationSet:
    """Where the pictures come from.

    Attributes:
        source: "rooms" (rendered, the same on every machine), or a folder with pictures of the robot's own places: as
            many as there are, of those at most 48, evenly over the names in order.

    Raises:
        ConfigError: neither, or a folder without pictures.
    """

    source: str = ROOMS

    def __post_init__(self) -> None:
        if self.source != ROOMS and not self._files:
            raise ConfigError(
                f"calibration is {self.source!r}; allowed: {ROOMS}, or a folder with pictures ({', '.join(SUFFIXES)})"
            )

    @functools.cached_property
    def _files(self) -> tuple[Path, ...]:
        folder = Path(self.source).expanduser()
        found = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
        chosen = sorted({round(index) for index in np.linspace(0, len(found) - 1, COUNT)}) if found else []
        return tuple(found[index] for index in chosen)

    @property
    def identity(self) -> str:
        """Changes when another set would be used."""
        if self.source == ROOMS:
            return hash_file(CALIBRATION)
        text = "\n".join(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in self._files)
        return hashlib.sha256(text.encode()).hexdigest()

    def pixels(self, width: int, height: int) -> NDArray[np.uint8]:
        """The pictures at a network's input size: uint8 [N, height, width, 3] RGB.

        Raises:
            ConfigError: a picture that cannot be read.
            DeviceError: see `shipped_rooms`.
        """
        if self.source == ROOMS:
            return shipped_rooms(CALIBRATION, width, height)
        pictures = []
        for path in self._files:
            try:
                picture = decode_picture(path.read_bytes())
            except (OSError, InputError) as error:
                raise ConfigError(
                    f"calibration picture {path} cannot be read ({error}); take it out of the folder"
                ) from error
            pictures.append(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))
        return np.stack(pictures)
