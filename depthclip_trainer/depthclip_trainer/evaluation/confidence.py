# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Confidence as a probability: 1 / (1 + (spread / scale)^2), the scale chosen on pixels of known depth.

Order, and so AUSE, does not depend on the scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]

RIGHT_RATIO = 1.25
"""Confidence is calibrated to be the share of pixels within this ratio of the truth."""


def spread_of(confidence: Values, scale: float) -> Values:
    """The spread behind a confidence of this scale."""
    return scale * np.sqrt(np.maximum(1 / confidence.astype(np.float64).clip(1e-6, 1) - 1, 0))


def most_likely_scale(spread: Sequence[Values], predicted_m: Sequence[Values], truth_m: Sequence[Values]) -> float:
    """The scale under which confidence is most likely as the probability that a pixel is right; arrays [n] by frame."""
    spreads, predicted, truth = (np.concatenate(values) for values in (spread, predicted_m, truth_m))
    right = np.abs(np.log(predicted / truth)) < np.log(RIGHT_RATIO)

    def loss(scale: float) -> float:
        probability = (1 / (1 + (spreads / scale) ** 2)).clip(1e-4, 1 - 1e-4)
        return float(-np.log(np.where(right, probability, 1 - probability)).mean())

    return float(min(np.geomspace(0.02, 3.0, 120), key=loss))
