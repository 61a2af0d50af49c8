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
from depthclip_trainer.data.readers.image_files import read_colour
from depthclip_trainer.data.readers.unlabelled import find_pictures

AT_ONCE = 512
"""Photographs in memory: 180 MB."""


@dataclass(frozen=True)
class Photographs:
    """Squares of a folder's photographs.

    Attributes:
        bank: as `scene.tracing.textures.photograph_bank` gives it.
        name, licence: of the folder.
        sha256: of the list of its pictures.
    """

    bank: Tensor
    name: str
    licence: str
    sha256: str

    @property
    def account(self) -> dict[str, str]:
        """What is kept beside rooms that show them; a cache is not gone on with by those of another folder."""
        return {"name": self.name, "licence": self.licence, "sha256": self.sha256}


def read_photographs(folder: Path, seed: int, count: int = AT_ONCE) -> Photographs:
    """At most `count` photographs of a folder, drawn by the seed, a square of each: half to all of its shorter side.

    Raises:
        InputError: no folder, or no picture in it that can be read.
    """
    found = find_pictures(folder, AT_ONCE)
    paths = [path for piece in found.pieces if not piece.is_shard for path in piece.paths]
    rng = np.random.default_rng((seed, len(paths)))
    crops = []
    for index in rng.permutation(len(paths)):
        share, x, y = rng.random(3)
        try:
            image = read_colour(paths[index])
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
        raise InputError(f"{folder} has no picture that can be read; give a folder with photographs, not with shards")
    return Photographs(photograph_bank(np.stack(crops)), found.description, found.licence, found.sha256)
