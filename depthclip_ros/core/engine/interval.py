# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The half-width of each pixel's interval; `core/uncertainty.py` says what it is."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.uncertainty import Uncertainty

Float = TypeVar("Float", bound=np.floating[Any])
WIDEST = 4.0
"""Largest half-width h: a factor of 55 either way says that nothing is known."""
LEAST_CONFIDENCE = 1e-4


def half_width(
    confidence: NDArray[Float],
    depth_m: NDArray[Float],
    uncertainty: Uncertainty,
    level: float,
    log_scale_sd: float | None,
    width: float = 1.0,
) -> NDArray[Float]:
    """Half-width h of each pixel's interval, of the shape and type of `depth_m`, in ln depth, at most `WIDEST`.

    Args:
        confidence: the network's, 0..1.
        depth_m: metres, above 0.
        uncertainty: of the weights.
        level: rate at which the intervals should hold.
        log_scale_sd: see `Uncertainty.factors`.
        width: multiplies all of them.
    """
    q, scale_sd = uncertainty.factors(level, log_scale_sd)
    spread2 = 1 / np.clip(confidence, LEAST_CONFIDENCE, 1) - 1
    s = np.sqrt(uncertainty.gain**2 * spread2 + (uncertainty.floor**2 + scale_sd**2))
    wide = s * np.interp(np.log(depth_m), np.log(uncertainty.depths_m), q * width)
    return np.asarray(np.minimum(wide, WIDEST), depth_m.dtype)


def confidence_of(half_width: NDArray[np.float32], even_odds: float) -> NDArray[np.float32]:
    """Confidence 0..1 of half-widths: 1/2 at `even_odds`, falling, so that the two never disagree."""
    certainty: NDArray[np.float32] = half_width / np.float32(even_odds)
    np.square(certainty, out=certainty)
    certainty += 1
    np.reciprocal(certainty, out=certainty)
    return certainty
