# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Depth metrics of one image, and of its confidence; means over images are the caller's.

Definitions: Eigen et al. 2014, with the crops and caps of each protocol in `evaluate.py`. g is the truth, p the
prediction, both metres, 1-D float arrays of the same valid pixels; e = ln p - ln g.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.uncertainty import LEVEL

Values = NDArray[np.floating[Any]]

DEPTH_METRICS = ("delta1", "delta2", "delta3", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog")


def depth_metrics(truth_m: Values, predicted_m: Values) -> dict[str, float]:
    """The nine metrics of `DEPTH_METRICS` by name; both arrays must be finite and above 0, at least one value."""
    g, p = truth_m.astype(np.float64), predicted_m.astype(np.float64)
    ratio = np.maximum(g / p, p / g)
    e = np.log(p) - np.log(g)
    return {
        "delta1": float(np.mean(ratio < 1.25)),
        "delta2": float(np.mean(ratio < 1.25**2)),
        "delta3": float(np.mean(ratio < 1.25**3)),
        "abs_rel": float(np.mean(np.abs(g - p) / g)),
        "sq_rel": float(np.mean((g - p) ** 2 / g)),
        "rmse": float(np.sqrt(np.mean((g - p) ** 2))),
        "rmse_log": float(np.sqrt(np.mean(e**2))),
        "log10": float(np.mean(np.abs(np.log10(p) - np.log10(g)))),
        "silog": float(100 * np.sqrt(max(0.0, np.mean(e**2) - np.mean(e) ** 2))),
    }


@dataclass(frozen=True)
class Readings:
    """The true depths of a frame in little memory: 16-bit depth has few thousand values, however many pixels it has.

    Attributes:
        values_m: float32 [k], ascending, each once; where most are different float32 [n], all.
        counts: int32 [k], how often each is there; None where `values_m` has all.
    """

    values_m: NDArray[np.float32]
    counts: NDArray[np.int32] | None

    @classmethod
    def of(cls, depth_m: NDArray[np.float32]) -> Readings:
        """Of depths float32 [n], metres."""
        values_m, counts = np.unique(depth_m, return_counts=True)
        if 2 * len(values_m) > len(depth_m):
            return cls(np.sort(depth_m), None)
        return cls(values_m, counts.astype(np.int32))

    def all_m(self) -> NDArray[np.float32]:
        """All depths again, float32 [n], ascending."""
        return self.values_m if self.counts is None else np.repeat(self.values_m, self.counts)


EDGE_STEP, EDGE_RADIUS_PX = 0.1, 2


def depth_edges(truth_m: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels with a reading within 2 px of a step of more than 10 % in the true depth [H, W], 0 where there is none."""
    steps = np.zeros(truth_m.shape, np.uint8)
    ahead, behind, every = slice(1, None), slice(None, -1), slice(None)
    for one, other in (((every, ahead), (every, behind)), ((ahead, every), (behind, every))):
        a, b = truth_m[one], truth_m[other]
        step = (np.minimum(a, b) > 0) & (np.maximum(a, b) > (1 + EDGE_STEP) * np.minimum(a, b))
        steps[one] |= step
        steps[other] |= step
    side = 2 * EDGE_RADIUS_PX + 1
    return (cv2.dilate(steps, np.ones((side, side), np.uint8)) > 0) & (truth_m > 0)


def edge_metrics(truth_m: NDArray[np.float32], predicted_m: NDArray[np.float32]) -> dict[str, float]:
    """AbsRel over the depth edges of a frame [H, W]; NaN where it has none."""
    edges = depth_edges(truth_m)
    error = np.abs(truth_m[edges] - predicted_m[edges]) / truth_m[edges]
    return {"abs_rel_edges": float(error.mean()) if error.size else float("nan")}


def sparsification_curve(errors: Values, order: NDArray[np.intp], steps: int = 100) -> Values:
    """Mean error of what is left after the first k/steps of the pixels in `order` are taken away, [steps]."""
    sorted_errors = errors.astype(np.float64)[order]
    left = np.cumsum(sorted_errors[::-1])[::-1]  # sum of errors from i to the end
    n = len(errors)
    starts = (np.arange(steps) * n) // steps
    return left[starts] / (n - starts)


def ause(errors: Values, confidence: Values, steps: int = 100) -> float:
    """Area under the sparsification error curve: least confident first, less the oracle that knows the errors.

    Mean over removed shares 0, 1/steps, ..., (steps - 1)/steps of the two curves' difference, in the units of
    `errors`, not normalised. 0 is a confidence that orders the errors perfectly.
    """
    by_confidence = np.argsort(confidence, kind="stable")
    by_error = np.argsort(-errors, kind="stable")
    difference = sparsification_curve(errors, by_confidence, steps) - sparsification_curve(errors, by_error, steps)
    return float(difference.mean())


def confidence_metrics(truth_m: Values, predicted_m: Values, confidence: Values) -> dict[str, float]:
    """AUSE on AbsRel, what a confidence that knows nothing would get, and Pearson's correlation with |g - p| / g."""
    g, p = truth_m.astype(np.float64), predicted_m.astype(np.float64)
    errors = np.abs(g - p) / g
    oracle = sparsification_curve(errors, np.argsort(-errors, kind="stable")).mean()
    varies = np.ptp(errors) > 0 and np.ptp(confidence) > 0
    return {
        "ause": ause(errors, confidence),
        "ause_random": float(errors.mean() - oracle),
        "confidence_correlation": float(np.corrcoef(confidence.astype(np.float64), errors)[0, 1]) if varies else 0.0,
    }


def interval_score(log_error: Values, half_width: Values | float, level: float = LEVEL) -> Values:
    """Width plus a fine for what lies outside, [n] (Gneiting and Raftery 2007, eq. 43): the lower the better."""
    outside = np.maximum(np.abs(log_error) - half_width, 0)
    score: Values = 2 * half_width + 2 / (1 - level) * outside
    return score


def interval_metrics(log_error: Values, half_width: Values, level: float = LEVEL) -> dict[str, float]:
    """Share of ln(true / predicted) [n] within its half-width [n], the mean half-width, the mean interval score."""
    if not log_error.size:
        return dict.fromkeys(("coverage", "half_width", "interval_score"), float("nan"))
    return {
        "coverage": float(np.mean(np.abs(log_error) <= half_width)),
        "half_width": float(np.mean(half_width, dtype=np.float64)),
        "interval_score": float(interval_score(log_error, half_width, level).mean(dtype=np.float64)),
    }
