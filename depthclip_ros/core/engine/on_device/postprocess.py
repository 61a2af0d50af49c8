# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`engine/postprocess.py` on a device: the same depth, of a batch."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from depthclip_ros.core.engine.on_device.interval import confidence_of, half_width
from depthclip_ros.core.types import DepthLimits
from depthclip_ros.core.uncertainty import Uncertainty


def metric_depth(
    depth: Tensor,
    confidence: Tensor,
    scale: Tensor,
    size: tuple[int, int],
    limits: DepthLimits,
    max_depth_m: float,
    uncertainty: Uncertainty | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Depth in metres, confidence and half-width of ln depth, float32 [B, H, W], at the image's size.

    What is unknown stays unknown: a pixel that the network, the confidence or an edge makes NaN is never infinite. What
    the network puts at or behind the lens is unknown.

    Args:
        depth: [B, h, w], the network's units.
        confidence: [B, h, w], 0..1.
        scale: [B], metres per unit of `depth`.
        size: (width, height) of the image.
        limits: see `DepthLimits`.
        max_depth_m: what the model was made for; farther depth is +Inf whatever the limits say.
        uncertainty: of the weights; without one there are no half-widths, and the confidence is the network's own.
    """
    width, height = size
    depth, confidence = stretched(depth.float(), scale, limits), confidence.float()
    # Interpolating a NaN would spread it; pixels that touch one become NaN again below. Depth is
    # above 0: what is not would be a number that nobody measured.
    broken = ~((depth > 0) & (depth < math.inf) & torch.isfinite(confidence))
    any_broken = bool(broken.any())
    if any_broken:
        depth = torch.where(broken, 1.0, depth)
        confidence = torch.where(broken, 0.0, confidence)
    coarse_m = depth * scale.view(-1, 1, 1)
    metres = _resize(coarse_m, height, width)
    wide = None
    if uncertainty is None:
        certainty = _resize(confidence.clamp(0, 1), height, width)
    else:
        coarse_wide = half_width(confidence, coarse_m, uncertainty, limits.level, limits.log_scale_sd, limits.width)
        wide = _resize(coarse_wide, height, width)
        certainty = confidence_of(wide, uncertainty.even_odds_at(limits.level))
    unknown = None
    if any_broken:
        unknown = _resize(broken.float(), height, width) > 0
    if limits.confidence_threshold > 0:
        doubtful = certainty < limits.confidence_threshold
        unknown = doubtful if unknown is None else unknown.logical_or_(doubtful)
    if limits.edge_threshold > 0:
        flying = flying_pixels(depth, size, limits.edge_threshold)
        unknown = flying if unknown is None else unknown.logical_or_(flying)
    farthest_m = min(limits.max_depth_m, max_depth_m)
    # What threshold_ keeps is above the threshold: the next number beyond the limit makes the limit itself stay. It is
    # twenty times as fast as filling by a mask, and nothing is NaN yet.
    if farthest_m < math.inf:
        torch.threshold_(metres.neg_(), -_next(farthest_m, math.inf), -math.inf).neg_()
    if limits.min_depth_m > 0:
        torch.threshold_(metres, _next(limits.min_depth_m, -math.inf), -math.inf)
    if unknown is not None:
        metres.masked_fill_(unknown, math.nan)
    return metres, certainty, wide


def stretched(depth: Tensor, scale: Tensor, limits: DepthLimits) -> Tensor:
    """Depth [B, h, w] in the network's units as `DepthLimits.exponent` has it; what is no depth stays none."""
    if limits.exponent == 1:
        return depth
    return depth * (depth * (scale / limits.pivot_m).view(-1, 1, 1)).pow(limits.exponent - 1)


def flying_pixels(depth: Tensor, size: tuple[int, int], threshold: float) -> Tensor:
    """Pixels that hang between a near and a far surface, bool [B, H, W].

    Where depth is enlarged these are the pixels interpolated across a step between neighbours of the network's own
    grid: at the image's size the same step is smeared over many pixels, each too small to tell. Where it is not
    enlarged, they are both sides of a step between neighbours of the image.

    Args:
        depth: [B, h, w], as the network gives it, in any unit: limits are no steps.
        size: (width, height) of the image.
        threshold: a step is a difference above this share of the nearer depth.
    """
    (rows, columns), (width, height) = depth.shape[-2:], size
    if height > rows and width > columns:
        step = _window_step(depth, threshold)  # [B, h + 1, w + 1]: window (i, j) ends at cell (i, j)
        row = _first_cell(rows, height, depth.device) + 1
        column = _first_cell(columns, width, depth.device) + 1
        return step.index_select(2, column).index_select(1, row)  # columns first: rows are then copied whole
    resized = _resize(depth, height, width)
    far = F.max_pool2d(resized[:, None], 3, stride=1, padding=1)[:, 0]
    near = -F.max_pool2d(-resized[:, None], 3, stride=1, padding=1)[:, 0]
    return (far > (1 + threshold) * resized) | (resized > (1 + threshold) * near)


def _window_step(depth: Tensor, threshold: float) -> Tensor:
    """Whether each 2x2 window holds a step, bool [B, h + 1, w + 1]; windows reach over the border by one cell."""
    padded = F.pad(depth[:, None], (1, 1, 1, 1), mode="replicate")
    far = F.max_pool2d(padded, 2, stride=1)[:, 0]
    near = -F.max_pool2d(-padded, 2, stride=1)[:, 0]
    return far - near > threshold * near


def _first_cell(cells: int, pixels: int, device: torch.device) -> Tensor:
    """The upper or left of the two cells that each pixel is interpolated from, -1..cells - 1: int64 [pixels]."""
    centres = (torch.arange(pixels, device=device, dtype=torch.float64) + 0.5) * (cells / pixels) - 0.5
    return centres.floor().long()


def _resize(values: Tensor, height: int, width: int) -> Tensor:
    """[B, h, w] to [B, height, width]: bilinear, averaging where it shrinks. Always a new tensor."""
    if values.shape[-2:] == (height, width):
        return values.clone()
    shrinks = height < values.shape[-2] or width < values.shape[-1]
    return F.interpolate(values[:, None], (height, width), mode="bilinear", antialias=shrinks)[:, 0]


def _next(limit: float, towards: float) -> float:
    """The float32 beside a limit."""
    return float(np.nextafter(np.float32(limit), np.float32(towards)))
