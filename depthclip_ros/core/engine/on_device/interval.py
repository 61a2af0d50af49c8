# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`engine/interval.py` on a device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthclip_ros.core.engine.interval import LEAST_CONFIDENCE, WIDEST
from depthclip_ros.core.uncertainty import Uncertainty


def half_width(
    confidence: Tensor,
    depth_m: Tensor,
    uncertainty: Uncertainty,
    level: float,
    log_scale_sd: float | None,
    width: float = 1.0,
) -> Tensor:
    """Half-width h of each pixel's interval, of the shape of `depth_m`, in ln depth, at most `WIDEST`.

    Args:
        confidence: the network's, 0..1.
        depth_m: metres, above 0.
        uncertainty: of the weights.
        level: rate at which the intervals should hold.
        log_scale_sd: see `Uncertainty.factors`.
        width: multiplies all of them.
    """
    q, scale_sd = uncertainty.factors(level, log_scale_sd)
    spread2 = confidence.clamp(LEAST_CONFIDENCE, 1).reciprocal() - 1
    s = (uncertainty.gain**2 * spread2 + (uncertainty.floor**2 + scale_sd**2)).sqrt()
    return (s * _interpolate(depth_m.log(), np.log(uncertainty.depths_m), q * width)).clamp(max=WIDEST)


def confidence_of(half_width: Tensor, even_odds: float) -> Tensor:
    """Confidence 0..1 of half-widths: 1/2 at `even_odds`, falling, so that the two never disagree."""
    return (half_width / even_odds).square_().add_(1).reciprocal_()


def _interpolate(x: Tensor, places: NDArray[np.float64], values: NDArray[np.float64]) -> Tensor:
    """As `numpy.interp` of x at ascending places: linear between, constant beyond."""
    if len(places) == 1:
        return torch.full_like(x, float(values[0]))
    at, value = (torch.tensor(array, dtype=x.dtype, device=x.device) for array in (places, values))
    after = torch.bucketize(x, at[1:-1]) + 1
    before = after - 1
    share = ((x - at[before]) / (at[after] - at[before])).clamp(0, 1)
    return torch.lerp(value[before], value[after], share)
