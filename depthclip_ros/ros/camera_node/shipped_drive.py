# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The drive that travels with the package: what `rendered_drive` makes of the default options, packed once.

A zipped RGB-D folder: `rgb/NNN.jpg`, `depth/NNN.png` (uint16), `meta.json` with intrinsics, depth units, the room's
settings and the pose of each frame. Unpacked it is a folder that `--source` and the trainer read.

Depth is the rendering's, bit for bit: quarter millimetres, so that the largest error is 0.125 mm. The pictures are JPEG
of quality 90, as cameras send: by it a network's depth changes by 0.6 % in the mean (`default`) or 0.4 % (`fast`), and
its AbsRel by less than 0.001 (15 frames, OpenVINO in float32).
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import DepthClipError, InputError
from depthclip_ros.core.images.compressed import decode_compressed, decode_depth_values

DRIVE = Path(__file__).resolve().parents[2] / "data" / "room_drive.zip"
"""By `scripts/make_drive.py`."""


class ShippedDrive:
    """Pictures uint8 [H, W, 3], depth uint16 [H, W] and poses float64 [4, 4], unpacked as they are asked for.

    Attributes:
        meta: what `meta.json` says.

    Raises:
        DepthClipError: the file is missing or damaged.
    """

    def __init__(self, path: Path = DRIVE) -> None:
        self._path = path
        try:
            self._files = zipfile.ZipFile(path)
            self.meta = json.loads(self._files.read("meta.json"))
            self._poses = np.array(self.meta["camera_to_world"], np.float64).reshape(-1, 4, 4)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise self._broken(error) from error

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float64]]]:
        for number, pose in enumerate(self._poses):
            try:
                rgb = decode_compressed(self._files.read(f"rgb/{number:03d}.jpg"))
                depth = decode_depth_values(self._files.read(f"depth/{number:03d}.png"))
            except (OSError, KeyError, InputError, zipfile.BadZipFile) as error:
                raise self._broken(error) from error
            yield rgb, depth, pose

    def _broken(self, error: Exception) -> DepthClipError:
        return DepthClipError(f"the drive {self._path} is missing or damaged ({error}); reinstall the package")
