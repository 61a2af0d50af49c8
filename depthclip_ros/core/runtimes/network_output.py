# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a network says about a batch, in the memory of the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INPUT = "pixels"
OUTPUTS = ("depth", "confidence", "scene_weights")  # the last one only of systems with scene labels


@dataclass
class NetworkOutput:
    """At the network's own output grid (h', w').

    Attributes:
        depth: float32 [B, h', w'], canonical units (metres where the configuration's `canonical_focal_px` is None).
        confidence: float32 [B, h', w'], 0..1.
        scene_weights: float32 [B, S]; each row sums to 1.
    """

    depth: NDArray[np.float32]
    confidence: NDArray[np.float32]
    scene_weights: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, outputs: Sequence[NDArray[np.float32]]) -> NetworkOutput:
        """From a runtime's outputs in the order of `OUTPUTS`."""
        return cls(outputs[0], outputs[1], outputs[2] if len(outputs) == len(OUTPUTS) else None)
