# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Photographs cut to squares, for the surfaces of rendered rooms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from depthclip_ros.core.errors import InputError
from depthclip_ros.scene.tracing.patterns import SIDE
from depthclip_ros.scene.tracing.textures import photograph_bank
from depthclip_trainer.data.readers.unlabelled import ImageFolder

AT_ONCE = 512
"""Photographs in memory: 180 MB."""


@dataclass(frozen=True)
class Photographs:
    """Squares of a folder's photographs.

    Attributes:
        bank: as `scene.tracing.textures.photograph_bank` gives it.
        name, licence: of the folder.
    """

    bank: Tensor
    name: str
    licence: str

    @property
    def account(self) -> dict[str, str]:
        """What is kept beside rooms that show them."""
        return {"name": self.name, "licence": self.licence}


def read_photographs(folder: Path, seed: int, count: int = AT_ONCE) -> Photographs:
    """At most `count` photographs of a folder, drawn by the seed, a square of each: half to all of its shorter side.

    Raises:
        InputError: no folder, or no picture in it that can be read.
    """
    frames = ImageFolder(folder)
    rng = np.random.default_rng((seed, len(frames.frame_names)))
    crops = []
    for index in rng.permutation(len(frames.frame_names)):
        share, x, y = rng.random(3)
        try:
            image = frames.read(frames.frame_names[index]).image
        except InputError:  # one broken file among thousands; all of them are an error below
            continue
        height_px, width_px = image.shape[:2]
        side = max(1, round((0.5 + share / 2) * min(height_px, width_px)))
        left, top = round(x * (width_px - side)), round(y * (height_px - side))
        crop = image[top : top + side, left : left + side]
        crops.append(cv2.resize(crop, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA))
        if len(crops) == count:
            break
    if not crops:
        raise InputError(f"{folder} has no picture that can be read; give a folder with photographs")
    return Photographs(photograph_bank(np.stack(crops)), frames.name, frames.licence)
