# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Reader of RGB-D folders: `rgb/NAME.(png|jpg)`, `depth/NAME.png` (uint16), `meta.json`.

metres = value / `depth_units_per_metre`; 0 is no reading. Intrinsics stand in `intrinsics` or, by frame, in
`per_frame`; nulls mean that none were published.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.images.compressed import SUFFIXES
from depthclip_ros.core.types import Intrinsics
from depthclip_trainer.data.readers.image_files import files_by_stem, frame_of, read_colour, read_depth
from depthclip_trainer.data.sample import Sample

ASSUMED_HFOV_DEG = 60.0


@dataclass(frozen=True)
class RgbdFolder:
    """An RGB-D folder that was checked: it exists, its metadata reads, and it lists frames. A `FrameSet`."""

    path: Path
    name: str
    units_per_metre: float
    meta: dict[str, Any]
    images: dict[str, Path]
    depths: dict[str, Path]

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Names of the depth frames, in order."""
        return tuple(sorted(self.depths))

    @property
    def licence(self) -> str:
        """The licence as the folder states it."""
        return str(self.meta.get("licence", "not stated"))

    def read(self, name: str) -> Sample:
        """One frame.

        Raises:
            InputError: a file is missing or broken, image and depth differ in size.
        """
        if name not in self.images:
            raise InputError(f"{self.path}/rgb/{name} is missing; the depth frame has no image")
        image = read_colour(self.images[name])
        depth_m = read_depth(self.depths[name], self.units_per_metre)
        intrinsics, assumed = self._intrinsics(name, image.shape[1], image.shape[0])
        return frame_of(image, depth_m, intrinsics, f"{self.name}/{name}", assumed)

    def _intrinsics(self, name: str, width_px: int, height_px: int) -> tuple[Intrinsics, bool]:
        published = self.meta.get("per_frame", {}).get(name) or self.meta.get("intrinsics") or {}
        values = [published.get(key) for key in ("fx", "fy", "cx", "cy")]
        if any(value is None for value in values):
            return Intrinsics.from_hfov(ASSUMED_HFOV_DEG, width_px, height_px), True
        fx, fy, cx, cy = (float(value) for value in values)
        return Intrinsics(fx, fy, cx, cy, width_px, height_px), False


def open_folder(path: str | Path) -> RgbdFolder:
    """Opens one folder of the layout above.

    Raises:
        InputError: no meta.json, metadata that does not read, no frames.
    """
    folder = Path(path)
    meta_path = folder / "meta.json"
    if not meta_path.is_file():
        raise InputError(f"{folder} has no meta.json; an RGB-D folder holds rgb/, depth/ and meta.json")
    try:
        meta = json.loads(meta_path.read_text())
        units = float(meta["depth_units_per_metre"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{meta_path} does not read ({error!r}); it needs a number depth_units_per_metre") from error
    if not units > 0:
        raise InputError(f"{meta_path} has depth_units_per_metre {units}; it must be above 0")
    depths = files_by_stem(folder / "depth", (".png",))
    if not depths:
        raise InputError(f"{folder}/depth holds no .png; nothing to read")
    images = files_by_stem(folder / "rgb", SUFFIXES)
    return RgbdFolder(folder, str(meta.get("source", folder.name)), units, meta, images, depths)
