"""How far the picture has moved on: what the scale of a place may change by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GRID = (12, 16)
STILL = 0.06  # of ln depth: less is the network's own flicker


class SceneChange:
    """Compares each depth image with the last that differed, cell by cell of a coarse grid."""

    def __init__(self) -> None:
        self._reference: NDArray[np.float64] | None = None

    def update(self, depth_m: NDArray[np.float32]) -> float:
        """The middle change of ln depth since the reference; 0 while the scene stands still.

        Args:
            depth_m: float32 [H, W], as the network gives it: a change of the anchors' scale is none of the scene.
        """
        grid = self._grid(depth_m)
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

    @staticmethod
    def _grid(depth_m: NDArray[np.float32]) -> NDArray[np.float64]:
        height, width = depth_m.shape
        rows = ((np.arange(GRID[0]) + 0.5) * height / GRID[0]).astype(int)
        columns = ((np.arange(GRID[1]) + 0.5) * width / GRID[1]).astype(int)
        sample = depth_m[np.ix_(rows, columns)].astype(np.float64)
        return np.log(np.where(np.isfinite(sample) & (sample > 0), sample, np.nan))
