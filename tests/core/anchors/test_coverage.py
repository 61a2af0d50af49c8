# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math

import numpy as np
import pytest

from depthclip_ros.core.anchors.coverage import WINDOW_S, RunningCoverage, share_inside
from depthclip_ros.core.anchors.measurement import Prediction
from depthclip_ros.core.anchors.points import SeenPoints
from depthclip_ros.core.types import Intrinsics

CAMERA = Intrinsics(100.0, 100.0, 19.5, 9.5, 40, 20)


def test_points_within_and_beyond_their_intervals_are_told_apart():
    depth_m = np.full((20, 40), 2.0, np.float32)
    half_width = np.full((20, 40), 0.1, np.float32)
    half_width[:, 20:] = 0.5
    depth_m[0] = np.nan  # nothing was published there
    pixels = np.array([[5, 5], [5, 5], [30, 5], [30, 5], [5, 0], [50, 5]], np.float64)
    true_m = np.array([2.15, 2.3, 2.3, 3.5, 2.0, 2.0])  # ln ratios .07, .14, .14, .56; then without depth, and outside
    seen = SeenPoints(pixels, true_m)
    assert share_inside(Prediction(depth_m, CAMERA), half_width, seen) == pytest.approx(2 / 4)
    nothing = SeenPoints(pixels[4:], true_m[4:])
    assert math.isnan(share_inside(Prediction(depth_m, CAMERA), half_width, nothing))


def test_the_last_seconds_count_most_and_a_new_timeline_begins_anew():
    running = RunningCoverage()
    assert math.isnan(running.share)
    running.add(100.0, 1.0)
    assert running.share == pytest.approx(1.0)
    running.add(100.0 + WINDOW_S, 0.0)
    assert running.share == pytest.approx(math.exp(-1))
    running.add(100.5 + WINDOW_S, math.nan)  # says nothing
    assert running.share == pytest.approx(math.exp(-1))
    running.add(5.0, 0.25)
    assert running.share == pytest.approx(0.25)
