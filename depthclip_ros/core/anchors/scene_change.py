"""How far the picture has moved on: what the scale of a place may change by."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

GRID = (12, 16)
STILL = 0.06  # of ln depth: less is the network's own flicker
LIKE = 0.6  # correlation of two pictures' brightness: less, from one to the next, is another place
ANOTHER_PLACE = 1.0  # the change that this counts as


class SceneChange:
    """Compares each depth image with the last that differed, cell by cell of a coarse grid."""

    def __init__(self) -> None:
        self._reference: NDArray[np.float64] | None = None
        self._brightness: NDArray[np.float64] | None = None

    def update(self, depth_m: NDArray[np.float32], rgb: NDArray[np.uint8] | None = None) -> float:
        """The middle change of ln depth since the reference; 0 while the scene stands still.

        Args:
            depth_m: float32 [H, W], as the network gives it: a change of the anchors' scale is none of the scene.
            rgb: uint8 [H, W, 3], its picture, which tells two places apart whose depth is alike.
        """
        grid = self._grid(depth_m)
        if rgb is not None and self._is_elsewhere(rgb):
            self._reference = grid
            return ANOTHER_PLACE
        reference, self._reference = self._reference, grid if self._reference is None else self._reference
        if reference is None:
            return 0.0
        known = np.isfinite(grid) & np.isfinite(reference)
        if np.count_nonzero(known) < grid.size // 4:
            self._reference = grid
            return 0.0
        change = float(np.median(np.abs(grid[known] - reference[known])))
        if change < STILL:
            return 0.0
        self._reference = grid
        return change

    def _is_elsewhere(self, rgb: NDArray[np.uint8]) -> bool:
        """Whether this picture has little to do with the one before."""
        small = cv2.resize(rgb, GRID[::-1], interpolation=cv2.INTER_AREA).mean(axis=2, dtype=np.float64)
        small -= small.mean()
        before, self._brightness = self._brightness, small
        if before is None:
            return False
        size = float(np.linalg.norm(before) * np.linalg.norm(small))
        return size > 0 and float(np.vdot(before, small)) < LIKE * size

    @staticmethod
    def _grid(depth_m: NDArray[np.float32]) -> NDArray[np.float64]:
        height, width = depth_m.shape
        rows = ((np.arange(GRID[0]) + 0.5) * height / GRID[0]).astype(int)
        columns = ((np.arange(GRID[1]) + 0.5) * width / GRID[1]).astype(int)
        sample = depth_m[np.ix_(rows, columns)].astype(np.float64)
        return np.log(np.where(np.isfinite(sample) & (sample > 0), sample, np.nan))
