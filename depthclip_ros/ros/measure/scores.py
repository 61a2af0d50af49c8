# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Depth against exact depth, frame by frame, and beside it what knows nothing of the picture.

Definitions: δ1 = share of pixels with max(g/p, p/g) < 1.25 · AbsRel = mean |g−p|/g · RMSE = √mean (g−p)², each per
image over the pixels with 0.2 m < g < 10 m, then the mean over images. As in the usual protocols a prediction is
clipped to 0.001..10 m, with NaN and "too near" counted as 0.001 m and "too far" as 10 m: no pixel is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError

MIN_TRUTH_M, MAX_TRUTH_M = 0.2, 10.0
MIN_PREDICTION_M, MAX_PREDICTION_M = 0.001, 10.0
PROTOCOL = "exact depth 0.2..10 m, prediction clipped to 0.001..10 m, NaN as 0.001 m, no alignment, mean over frames"
BIN_M = 0.01


@dataclass(frozen=True)
class Score:
    """Errors of one frame or the mean over frames; `coverage`: share of scored pixels with finite depth."""

    delta1: float
    abs_rel: float
    rmse_m: float
    coverage: float = 1.0


def score(depth_m: NDArray[np.float32], truth_m: NDArray[np.float32]) -> Score | None:
    """Errors of one depth image [H, W] against exact depth [H, W]; None where no pixel has exact depth in range."""
    valid = (truth_m > MIN_TRUTH_M) & (truth_m < MAX_TRUTH_M)
    g = truth_m[valid]
    if not g.size:
        return None
    raw = depth_m[valid]
    coverage = float(np.isfinite(raw).mean())
    p = np.nan_to_num(raw, nan=MIN_PREDICTION_M, posinf=MAX_PREDICTION_M, neginf=MIN_PREDICTION_M)
    np.clip(p, MIN_PREDICTION_M, MAX_PREDICTION_M, out=p)
    error_m = np.abs(g - p)
    # max(g/p, p/g) < 1.25 without a logarithm or a second division
    near = (g < 1.25 * p) & (p < 1.25 * g)
    squared = float(np.einsum("i,i->", error_m, error_m, dtype=np.float64))
    return Score(float(near.mean()), float((error_m / g).mean()), math.sqrt(squared / g.size), coverage)


def resized_depth(depth_m: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Depth at another size of the same view, bilinear between pixels' centres; NaN and infinities stay.

    Args:
        depth_m: [H, W] metres; +Inf: too far, -Inf: too near.
        shape: (h, w) of the result, of the same aspect within 2 %.

    Raises:
        InputError: another aspect.
    """
    if depth_m.shape == shape:
        return depth_m
    require_same_view(depth_m.shape, shape)
    size = shape[1], shape[0]
    # An infinity times a weight of 0 would be NaN: between what is too far and what is not, 10 m are too far.
    finite = np.nan_to_num(depth_m, nan=np.nan, posinf=MAX_PREDICTION_M, neginf=MIN_PREDICTION_M)
    resized = np.asarray(cv2.resize(finite, size, interpolation=cv2.INTER_LINEAR), np.float32)
    nearest = np.asarray(cv2.resize(depth_m, size, interpolation=cv2.INTER_NEAREST_EXACT))
    return np.where(np.isinf(nearest), nearest, resized)


def require_same_view(shape: tuple[int, ...], reference: tuple[int, ...]) -> None:
    """Refuse depth [H, W] and a reference [h, w] that cannot be of one view.

    Raises:
        InputError: another aspect.
    """
    (height, width), (to_height, to_width) = shape, reference
    if abs(width * to_height / (height * to_width) - 1) > 0.02:
        raise InputError(
            f"depth is {width}x{height} and the reference {to_width}x{to_height}: they do not show the same; "
            "take the camera's depth aligned to colour"
        )


def mean(scores: list[Score]) -> Score | None:
    """Mean over frames; None without any."""
    if not scores:
        return None
    names = ("delta1", "abs_rel", "rmse_m", "coverage")
    return Score(*(float(np.mean([getattr(one, name) for one in scores])) for name in names))


@dataclass
class TruthStatistics:
    """Histograms of the exact depth, one per frame: enough to score any constant after the run (to half a bin)."""

    histograms: list[NDArray[np.int32]] = field(default_factory=list)

    def add(self, truth_m: NDArray[np.float32]) -> None:
        """Take in the exact depth [H, W] of one scored frame."""
        valid = truth_m[(truth_m > MIN_TRUTH_M) & (truth_m < MAX_TRUTH_M)]
        bins = np.bincount((valid / np.float32(BIN_M)).astype(np.int32), minlength=round(MAX_TRUTH_M / BIN_M) + 1)
        self.histograms.append(bins.astype(np.int32))

    def score_constants(self, constants_m: NDArray[np.float64]) -> Score:
        """Mean score over frames of one constant for each frame: `constants_m` [frames]."""
        counts = np.stack(self.histograms).astype(np.float64)  # [frames, bins]
        shares = counts / counts.sum(axis=1, keepdims=True)
        g = (np.arange(counts.shape[1]) + 0.5) * BIN_M
        p = constants_m[:, None]
        near = (g < 1.25 * p) & (p < 1.25 * g)
        delta1 = (shares * near).sum(axis=1)
        abs_rel = (shares * np.abs(g - p) / g).sum(axis=1)
        rmse_m = np.sqrt((shares * (g - p) ** 2).sum(axis=1))
        return Score(float(delta1.mean()), float(abs_rel.mean()), float(rmse_m.mean()))

    def best_constant(self) -> tuple[float, Score] | None:
        """The constant depth in metres with the best δ1 over the whole run, chosen with the truth in hand."""
        if not self.histograms:
            return None
        candidates = np.arange(0.3, MAX_TRUTH_M, 0.05)
        scored = [(float(c), self.score_constants(np.full(len(self.histograms), c))) for c in candidates]
        return max(scored, key=lambda pair: pair[1].delta1)

    def frame_medians(self) -> Score | None:
        """Each frame's own true median in place of a prediction."""
        if not self.histograms:
            return None
        cumulative = np.cumsum(np.stack(self.histograms), axis=1)
        medians = (np.argmax(cumulative >= cumulative[:, -1:] / 2, axis=1) + 0.5) * BIN_M
        return self.score_constants(medians)


def share_within(
    depth_m: NDArray[np.float32], uncertainty_m: NDArray[np.float32], truth_m: NDArray[np.float32]
) -> float:
    """Share of true depths within d e^-h .. d e^h, where u = d (e^h - 1) is given; NaN where nothing is known."""
    known = np.isfinite(truth_m) & np.isfinite(uncertainty_m) & (truth_m > 0) & (depth_m > 0)
    ratio = 1 + uncertainty_m[known] / depth_m[known]  # e^h
    off = truth_m[known] / depth_m[known]
    return float(np.mean((off <= ratio) & (off * ratio >= 1))) if known.any() else float("nan")
