# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""How far the picture has moved on: what the scale of a place may change by."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

GRID = (12, 16)
STILL = 0.06  # of ln depth: less is the network's own flicker
CUT = 0.12  # twice that, from one image to the next: a new place, unless its picture is that of the one before
LIKE, ALIKE = 0.6, 0.85  # correlation of two pictures' brightness: below, they show two places; above, one


@dataclass(frozen=True)
class Change:
    """From one image to the next.

    Attributes:
        distance: the middle change of ln depth since the last image that differed; 0 while the scene stands still.
        is_cut: the image shows another place.
    """

    distance: float = 0.0
    is_cut: bool = False


class SceneChange:
    """Compares each depth image with the last that differed, cell by cell of a coarse grid."""

    def __init__(self) -> None:
        self._reference: NDArray[np.float64] | None = None
        self._brightness: NDArray[np.float64] | None = None

    def update(self, depth_m: NDArray[np.float32], rgb: NDArray[np.uint8] | None = None) -> Change:
        """How far the scene has moved on.

        Args:
            depth_m: float32 [H, W], as the network gives it: a change of the anchors' scale is none of the scene.
            rgb: uint8 [H, W, 3], its picture, which tells two places apart whose depth is alike.
        """
        grid = self._grid(depth_m)
        likeness = None if rgb is None else self._likeness(rgb)
        reference, self._reference = self._reference, grid if self._reference is None else self._reference
        if reference is None:
            return Change()
        known = np.isfinite(grid) & np.isfinite(reference)
        distance = 0.0
        if np.count_nonzero(known) >= grid.size // 4:
            distance = float(np.median(np.abs(grid[known] - reference[known])))
        elsewhere = likeness is not None and likeness < LIKE
        if distance < STILL and not elsewhere:
            return Change()
        self._reference = grid
        return Change(distance, elsewhere or (distance >= CUT and (likeness is None or likeness < ALIKE)))

    def _likeness(self, rgb: NDArray[np.uint8]) -> float | None:
        """Correlation with the picture before; None for the first, and where one of the two is of one brightness."""
        small = cv2.resize(rgb, GRID[::-1], interpolation=cv2.INTER_AREA).mean(axis=2, dtype=np.float64)
        small -= small.mean()
        before, self._brightness = self._brightness, small
        if before is None:
            return None
        size = float(np.linalg.norm(before) * np.linalg.norm(small))
        return float(np.vdot(before, small)) / size if size > 1e-9 else None

    @staticmethod
    def _grid(depth_m: NDArray[np.float32]) -> NDArray[np.float64]:
        height, width = depth_m.shape
        rows = ((np.arange(GRID[0]) + 0.5) * height / GRID[0]).astype(int)
        columns = ((np.arange(GRID[1]) + 0.5) * width / GRID[1]).astype(int)
        sample = depth_m[np.ix_(rows, columns)].astype(np.float64)
        log_depth: NDArray[np.float64] = np.log(np.where(np.isfinite(sample) & (sample > 0), sample, np.nan))
        return log_depth
