# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A camera and predictions whose error is known, for all anchors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depthclip_ros.core.anchors.measurement import Prediction
from depthclip_ros.core.types import Intrinsics

CAMERA = Intrinsics(200.0, 200.0, 159.5, 119.5, 320, 240)
FORWARD = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])  # x forward, z up -> optical


@pytest.fixture
def wall():
    """Predictions of a wall `true_m` ahead, of which the network says `true_m / factor`."""

    def make(true_m: float = 2.0, factor: float = 1.25, **changed) -> Prediction:
        return Prediction(np.full((240, 320), true_m / factor, np.float32), CAMERA, **changed)

    return make


@pytest.fixture
def floor():
    """Depth of a floor under a camera that looks down by `pitch_deg`, and of a wall behind it; and down's direction."""

    def make(height_m: float = 0.8, pitch_deg: float = 15.0, wall_m: float = 6.0):
        pitch = math.radians(pitch_deg)
        down = np.array([0.0, math.cos(pitch), math.sin(pitch)])
        forward = np.array([0.0, -math.sin(pitch), math.cos(pitch)])
        v, u = np.mgrid[:240, :320]
        rays = np.stack([(u - 159.5) / 200, (v - 119.5) / 200, np.ones((240, 320))], axis=-1)
        with np.errstate(divide="ignore"):
            on_floor = np.where(rays @ down > 0, height_m / (rays @ down), np.inf)
        depth_m = np.minimum(on_floor, wall_m / (rays @ forward)).astype(np.float32)
        return depth_m, down

    return make
