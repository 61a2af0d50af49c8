# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What many points tell beside the scale: how the network stretches depth here, and how wide its errors are.

A network that has not seen such a place draws near and far together, or apart. With d its depth, p the middle of it
and s the scale:

    ln z = ln s + ln p + exponent (ln d - ln p)

One more number than the scale, and whatever it is, what was finite and above 0 stays so. (A shift in disparity,
1/z = a/d + b, is the same idea to first order; it is no better, and sends some depths beyond infinity:
docs/uncertainty.md.) It is used only where leave-one-out says so: each block of the image is predicted from the others,
and over several readings the exponent must do it clearly better than the scale alone.

The width of the intervals is judged by the same points: how far off depth is there, against how far off the table of
the weights says it should be. Few regions of the image say little of the others: then the table counts.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.anchors.measurement import (
    MAD_TO_SD,
    REGIONS,
    SHAPE_WORTH,
    Points,
    Prediction,
    weighted_median,
)
from depthclip_ros.core.anchors.points import SeenPoints
from depthclip_ros.core.anchors.track import LEAST_READINGS, RECENT_S, WINDOW, WINDOW_S
from depthclip_ros.core.geometry import Float, bent

JUDGED_AT = 0.8
"""The rate at which intervals are held against what was measured: beyond it a few wild points decide."""
LEAST_GAIN = 0.05  # of the mean error where it was left out
LEAST_POINTS, MOST_POINTS, LEAST_BLOCKS = 20, 500, 4
# Spread of ln depth, squared, at which the points say as much of the exponent as is known without: it is 1.
RIDGE = 0.01
EXPONENT, WIDTH = (0.5, 2.0), (0.5, 2.0)  # beyond these something else is wrong
STEP = 0.05  # of the exponent by one reading: depth moves on, it does not jump
ROUNDS, HUBER_SD, WILD_SD, LEAST_SD = 5, 1.5, 3.0, 0.03
WILD_TIMES = 5.0  # the middle error: what is farther off than so much tells of the sensor
FADE_S = 10.0  # of silence, after which 1/e is left


@dataclass(frozen=True)
class Shape:
    """How depth is to be corrected beside its scale.

    Attributes:
        exponent: see the module; 1 changes nothing.
        pivot_m: p, metres of the network's depth before the anchors' scale.
        width: what the half-widths of the weights' table are to be multiplied by.
    """

    exponent: float = 1.0
    pivot_m: float = 1.0
    width: float = 1.0

    def stretched(self, depth_m: NDArray[Float]) -> NDArray[Float]:
        """Depth above 0 as it is corrected; of any shape."""
        return bent(depth_m, self.pivot_m, self.exponent)

    def unstretched(self, depth_m: Points) -> Points:
        """The opposite of `stretched`."""
        return self.pivot_m * (depth_m / self.pivot_m) ** (1 / self.exponent)


NO_SHAPE = Shape()


@dataclass(frozen=True)
class _Look:
    """What one reading says. Errors: mean |ln| of blocks left out, by the scale alone and with the exponent."""

    time_s: float
    exponent: float
    log_pivot: float
    errors: tuple[float, float]
    log_width: float


class ShapeEstimator:
    """Of one camera, of what `scan`, `points` and `depth` measure. Times are stamps in seconds."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Another place or camera: nothing is known of it."""
        self._looks: deque[_Look] = deque(maxlen=WINDOW)
        self._shape = NO_SHAPE

    def at(self, time_s: float) -> Shape:
        """The present one; it fades as the points fall silent."""
        if not self._looks:
            return NO_SHAPE
        silent_s = time_s - self._looks[-1].time_s - RECENT_S
        if silent_s <= 0:
            return self._shape
        kept = math.exp(-silent_s / FADE_S)
        return Shape(self._shape.exponent**kept, self._shape.pivot_m, self._shape.width**kept)

    def add(
        self,
        time_s: float,
        prediction: Prediction,
        shape: Shape,
        seen: SeenPoints,
        factor: float,
        half_width: NDArray[np.float32] | None = None,
        usual: float = 1.0,
    ) -> None:
        """A reading that was believed.

        Args:
            time_s: its stamp.
            prediction: the network's depth as `shape` has stretched it, without the scale.
            shape: of this frame.
            seen: what was measured.
            factor: the scale as it is known now.
            half_width: of the intervals, float32 [H, W], `shape.width` in them; None: there are none.
            usual: half-width at the rate `JUDGED_AT` as a share of `half_width`.
        """
        few = SeenPoints(*(one[:: -(-len(seen.true_m) // MOST_POINTS)] for one in (seen.pixels, seen.true_m)))
        stretched_m = prediction.at(few.pixels)
        known = np.isfinite(stretched_m)
        if np.count_nonzero(known) < LEAST_POINTS:
            return
        pixels, true_m, stretched_m = few.pixels[known], few.true_m[known], stretched_m[known]
        regions = prediction.regions(pixels)
        found = _fit(np.log(shape.unstretched(stretched_m)), np.log(true_m), regions)
        log_width = 0.0
        if half_width is not None:
            wide = half_width[tuple(np.rint(pixels[:, ::-1]).astype(int).T)] / shape.width
            log_width = _log_width(np.abs(np.log(true_m / (factor * stretched_m))) / (usual * wide), regions)
        self._shape = self.at(time_s)  # what silence has faded does not come back at once
        while self._looks and self._looks[0].time_s < time_s - WINDOW_S:
            self._looks.popleft()
        self._looks.append(_Look(time_s, *found, log_width))
        self._shape = self._next()

    def _next(self) -> Shape:
        looks = self._looks
        wanted = 0.0
        if len(looks) >= LEAST_READINGS:
            alone, with_exponent = (float(np.mean([one.errors[i] for one in looks])) for i in (0, 1))
            if with_exponent < (1 - LEAST_GAIN) * alone:
                wanted = math.log(float(np.median([one.exponent for one in looks])))
        now = math.log(self._shape.exponent)
        exponent = math.exp(now + min(max(wanted - now, -STEP), STEP))
        pivot_m = math.exp(float(np.median([one.log_pivot for one in looks])))
        width = math.exp(float(np.median([one.log_width for one in looks])))
        return Shape(exponent, pivot_m, min(max(width, WIDTH[0]), WIDTH[1]))


def _fit(x: Points, y: Points, regions: NDArray[np.int64]) -> tuple[float, float, tuple[float, float]]:
    """Exponent, the middle of x, and the errors of y where a block was left out; x and y: ln depth [N]."""
    _, index, sizes = np.unique(regions, return_inverse=True, return_counts=True)
    weight = 1 / np.sqrt(sizes[index])  # a region of many points says little more than one of few
    middle = weighted_median(x, weight)
    x = x - middle
    off = np.abs(y - x - weighted_median(y - x, weight))
    good = off <= WILD_SD * max(MAD_TO_SD * weighted_median(off, weight), LEAST_SD)  # the wild ones judge nothing
    x, y, weight, regions = x[good], y[good], weight[good], regions[good]
    rows, columns = np.divmod(regions, REGIONS[1])
    block = columns if len(np.unique(rows)) == 1 else rows // 2 * REGIONS[1] + columns // 2
    _, block = np.unique(block, return_inverse=True)
    blocks = int(block.max()) + 1
    if blocks < LEAST_BLOCKS:
        return 1.0, middle, (1.0, 1.0)
    exponents, errors = [], []
    for is_free in (False, True):
        slope: Points = np.ones(1)
        offset: Points = np.zeros(1)
        for _ in range(ROUNDS):
            residual = np.abs(y - offset[0] - slope[0] * x)
            limit = HUBER_SD * max(MAD_TO_SD * weighted_median(residual, weight), LEAST_SD)
            slope, offset = _solve(x, y, weight / np.maximum(1, residual / limit), block, blocks, is_free=is_free)
        exponents.append(float(slope[0]))
        left_out = np.abs(y - offset[1:][block] - slope[1:][block] * x)
        of_block = np.bincount(block, weight * left_out) / np.bincount(block, weight)
        errors.append(float(of_block.mean()))
    exponent = min(max(exponents[1], EXPONENT[0]), EXPONENT[1])
    return exponent, middle, (errors[0], errors[1])


def _solve(
    x: Points, y: Points, weight: Points, block: NDArray[np.int64], blocks: int, *, is_free: bool
) -> tuple[Points, Points]:
    """Slope and offset [1 + blocks] of y over x by least squares: of all, and of all but one block each."""
    sums = [np.bincount(block, weight * value, blocks) for value in (1.0, x, y, x * x, x * y)]
    w, wx, wy, wxx, wxy = (np.concatenate([[one.sum()], one.sum() - one]) for one in sums)
    mean_x, mean_y = wx / w, wy / w
    spread, together = wxx / w - mean_x**2, wxy / w - mean_x * mean_y
    slope = (together + RIDGE) / (spread + RIDGE) if is_free else np.ones_like(w)
    return slope, mean_y - slope * mean_x


def _log_width(scores: Points, regions: NDArray[np.int64]) -> float:
    """Ln of what makes the share `JUDGED_AT` of the scores at most 1, as far as so many regions can tell."""
    tame = scores <= WILD_TIMES * np.median(scores)
    scores, regions = scores[tame], regions[tame]
    _, index, sizes = np.unique(regions, return_inverse=True, return_counts=True)
    order = np.argsort(scores)
    share = np.cumsum((1 / sizes[index])[order])
    judged = float(scores[order][np.searchsorted(share, JUDGED_AT * share[-1])])
    rows, columns = (len(np.unique(one)) for one in np.divmod(regions, REGIONS[1]))
    areas = 2 / (1 / rows + 1 / columns)
    return math.log(max(judged, 1e-3)) * areas / (areas + SHAPE_WORTH)
