# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Scale and shift between a prediction and measured depth: what a relative prediction is compared by, or given.

numpy only. Relative depth is 1 / disparity; a prediction is aligned in disparity, s / depth + t = 1 / truth, as MiDaS
(arXiv 1907.01341, section 5) and Depth Anything (arXiv 2401.10891) evaluate it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import ConfigError, InputError

NONE, MEDIAN, SCALE_SHIFT = "none", "median", "scale-shift"
ALIGNMENTS = (NONE, MEDIAN, SCALE_SHIFT)
_LEAST_DISPARITY = 1e-6
_HUBER = 1.345  # robust standard deviations at which an error stops to count in full: 95 % efficient for normal errors
_ROUNDS = 50


@dataclass(frozen=True)
class Alignment:
    """From a predicted depth to one in the truth's units: 1 / (scale / depth + shift)."""

    scale: float = 1.0
    shift: float = 0.0

    def apply(self, depth: NDArray[np.floating]) -> NDArray[np.float32]:
        """Aligned depth; what comes to a disparity of zero or less is +Inf, an unknown stays unknown."""
        with np.errstate(divide="ignore", invalid="ignore"):
            disparity = self.scale / depth.astype(np.float64) + self.shift
            far = disparity < _LEAST_DISPARITY
            aligned = np.where(far, np.inf, 1 / np.where(far, 1.0, disparity))
        return np.asarray(aligned, np.float32)


def alignment_for(how: str, metric: bool) -> str:
    """What "auto" means: nothing for metric depth, scale and shift for relative depth; else what was asked for.

    Raises:
        ConfigError: an unknown alignment, or none for relative depth.
    """
    if how == "auto":
        return NONE if metric else SCALE_SHIFT
    if how not in ALIGNMENTS:
        raise ConfigError(f"alignment is {how!r}; allowed: auto, {', '.join(ALIGNMENTS)}")
    if how == NONE and not metric:
        raise ConfigError(f"alignment is none, but the weights give relative depth; allowed: {MEDIAN}, {SCALE_SHIFT}")
    return how


def align(depth: NDArray[np.floating], truth_m: NDArray[np.floating], how: str) -> Alignment:
    """The alignment of one image.

    Args:
        depth: predicted, 1-D, the pixels that count; only finite ones above 0 are looked at.
        truth_m: measured, 1-D, the same pixels, all above 0.
        how: of ALIGNMENTS; scale-shift is the least squares of disparities, median makes the medians equal.

    Raises:
        InputError: fewer than two pixels to go by.
    """
    if how == NONE:
        return Alignment()
    known = np.isfinite(depth) & (depth > 0)
    if np.count_nonzero(known) < 2:
        raise InputError(
            f"an image has {np.count_nonzero(known)} pixels with predicted and measured depth; 2 are needed"
        )
    p, g = depth[known].astype(np.float64), truth_m[known].astype(np.float64)
    if how == MEDIAN:
        return Alignment(scale=float(np.median(p) / np.median(g)))
    return Alignment(*least_squares(1 / p, 1 / g))


def least_squares(
    disparity: NDArray[np.float64], target: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> tuple[float, float]:
    """(s, t) with the least weighted mean of (s * disparity + t - target)^2; s is 0 where disparity does not vary."""
    w = np.full(len(disparity), 1.0) if weights is None else weights
    w = w / w.sum()
    mean_x, mean_y = float(w @ disparity), float(w @ target)
    x = disparity - mean_x
    variance = float(w @ (x * x))
    scale = float(w @ (x * (target - mean_y))) / variance if variance > 0 else 0.0
    return scale, mean_y - scale * mean_x


def robust_least_squares(
    disparity: NDArray[np.float64], target: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> tuple[float, float]:
    """(s, t) as `least_squares`, but errors beyond what most have count linearly (Huber's weights, iterated).

    So the wrong readings of a depth camera (edges, glass) do not move the line. The scale of the errors is their median
    absolute value / 0.6745, as Huber, "Robust Statistics", 1981, takes it.
    """
    given = np.full(len(disparity), 1.0) if weights is None else weights
    found = least_squares(disparity, target, given)
    for _ in range(_ROUNDS):
        error = np.abs(found[0] * disparity + found[1] - target)
        limit = max(_HUBER * float(np.median(error)) / 0.6745, 1e-12)
        again = least_squares(disparity, target, given * np.minimum(1, limit / np.maximum(error, 1e-12)))
        if np.allclose(again, found, rtol=1e-7, atol=1e-10):
            return again
        found = again
    return found
