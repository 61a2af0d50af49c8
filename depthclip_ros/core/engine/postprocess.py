# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""From the network's depth to metric depth at the image's size, with REP-117's infinities and unknowns, on the CPU."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthclip_ros.core.engine.interval import confidence_of, half_width
from depthclip_ros.core.geometry import bent
from depthclip_ros.core.types import DepthLimits
from depthclip_ros.core.uncertainty import Uncertainty

Map = NDArray[np.float32]
"""A value for each pixel, [rows, columns]."""


def metric_depth(
    depth: Map,
    confidence: Map,
    scale: float,
    size: tuple[int, int],
    limits: DepthLimits,
    max_depth_m: float,
    uncertainty: Uncertainty | None = None,
) -> tuple[Map, Map, Map | None]:
    """Depth in metres, confidence and half-width of ln depth, float32 [H, W], at the image's size.

    What is unknown stays unknown: a pixel that the network, the confidence or an edge makes NaN is never infinite. What
    the network puts at or behind the lens is unknown.

    Args:
        depth: [h, w], the network's units; not changed, nor is `confidence`.
        confidence: [h, w], 0..1.
        scale: metres per unit of `depth`.
        size: (width, height) of the image.
        limits: see `DepthLimits`.
        max_depth_m: what the model was made for; farther depth is +Inf whatever the limits say.
        uncertainty: of the weights; without one there are no half-widths, and the confidence is the network's own.
    """
    depth = stretched(depth, scale, limits)
    # Interpolating a NaN would spread it; pixels that touch one become NaN again below. Depth is
    # above 0: what is not would be a number that nobody measured.
    broken = ~((depth > 0) & (depth < math.inf) & np.isfinite(confidence))
    any_broken = bool(broken.any())
    if any_broken:
        depth = np.where(broken, np.float32(1), depth)
        confidence = np.where(broken, np.float32(0), confidence)
    coarse_m = depth * np.float32(scale)
    metres = _resize(coarse_m, size)
    wide = None
    if uncertainty is None:
        certainty = _resize(np.clip(confidence, 0, 1), size)
    else:
        table = half_width(confidence, coarse_m, uncertainty, limits.level, limits.log_scale_sd, limits.width)
        wide = _resize(table, size)
        certainty = confidence_of(wide, uncertainty.even_odds_at(limits.level))
    unknown: NDArray[np.bool_] | None = None
    if any_broken:
        unknown = _resize(broken.astype(np.float32), size) > 0
    if limits.confidence_threshold > 0:
        doubtful = certainty < np.float32(limits.confidence_threshold)
        unknown = doubtful if unknown is None else unknown | doubtful
    if limits.edge_threshold > 0:
        flying = flying_pixels(depth, size, limits.edge_threshold)
        unknown = flying if unknown is None else unknown | flying
    # Interpolated depth lies within the network's own: where that keeps the limits, nothing is looked for.
    farthest_m = np.float32(min(limits.max_depth_m, max_depth_m))
    if coarse_m.max() > farthest_m:
        np.copyto(metres, np.float32(math.inf), where=metres > farthest_m)
    nearest_m = np.float32(limits.min_depth_m)
    if coarse_m.min() < nearest_m:
        np.copyto(metres, np.float32(-math.inf), where=metres < nearest_m)
    if unknown is not None:
        np.copyto(metres, np.float32(math.nan), where=unknown)
    return metres, certainty, wide


def stretched(depth: Map, scale: float, limits: DepthLimits) -> Map:
    """Depth [h, w] in the network's units as `DepthLimits.exponent` has it; what is no depth stays none."""
    return bent(depth, limits.pivot_m / scale, limits.exponent)


def flying_pixels(depth: Map, size: tuple[int, int], threshold: float) -> NDArray[np.bool_]:
    """Pixels that hang between a near and a far surface, bool [H, W].

    Where depth is enlarged these are the pixels interpolated across a step between neighbours of the network's own
    grid: at the image's size the same step is smeared over many pixels, each too small to tell. Where it is not
    enlarged, they are both sides of a step between neighbours of the image.

    Args:
        depth: [h, w], as the network gives it, in any unit: limits are no steps.
        size: (width, height) of the image.
        threshold: a step is a difference above this share of the nearer depth.
    """
    (rows, columns), (width, height) = depth.shape, size
    if height > rows and width > columns:
        step = _window_step(depth, threshold)  # [h + 1, w + 1]: window (i, j) ends at cell (i, j)
        column, row = _first_cell(columns, width) + 1, _first_cell(rows, height) + 1
        return np.take(np.take(step, column, axis=1), row, axis=0)  # columns first: rows are then copied whole
    resized = _resize(depth, size)
    far = _over_windows(np.pad(resized, 1, constant_values=-math.inf), 3, np.maximum)
    near = _over_windows(np.pad(resized, 1, constant_values=math.inf), 3, np.minimum)
    above = np.float32(1 + threshold)
    flying: NDArray[np.bool_] = (far > above * resized) | (resized > above * near)
    return flying


def _window_step(depth: Map, threshold: float) -> NDArray[np.bool_]:
    """Whether each 2x2 window holds a step, bool [h + 1, w + 1]; windows reach over the border by one cell."""
    padded = np.pad(depth, 1, mode="edge")
    far, near = (_over_windows(padded, 2, function) for function in (np.maximum, np.minimum))
    step: NDArray[np.bool_] = far - near > np.float32(threshold) * near
    return step


def _over_windows(values: Map, side: int, function: np.ufunc) -> Map:
    """The largest or smallest of every side x side window, [H - side + 1, W - side + 1]; NaN where one is in it."""
    height, width = (length - side + 1 for length in values.shape)
    rows: Map = values[:height]
    for offset in range(1, side):
        rows = function(rows, values[offset : offset + height])
    found: Map = rows[:, :width]
    for offset in range(1, side):
        found = function(found, rows[:, offset : offset + width])
    return found


def _first_cell(cells: int, pixels: int) -> NDArray[np.int64]:
    """The upper or left of the two cells that each pixel is interpolated from, -1..cells - 1: int64 [pixels]."""
    return np.asarray(np.floor((np.arange(pixels) + 0.5) * (cells / pixels) - 0.5), np.int64)


def _resize(values: Map, size: tuple[int, int]) -> Map:
    """[h, w] to [height, width]: bilinear, averaging where it shrinks. Always a new array."""
    width, height = size
    if values.shape == (height, width):
        return np.array(values, np.float32)
    if height < values.shape[0] or width < values.shape[1]:  # as torch's antialias; OpenCV would leave pixels out
        return np.array(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR), np.float32)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR), np.float32)
