# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math

import numpy as np
import pytest

from depthclip_ros.core.anchors.ground import measure_ground
from depthclip_ros.core.anchors.measurement import Prediction
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics

CAMERA = Intrinsics(200.0, 200.0, 159.5, 119.5, 320, 240)


@pytest.mark.parametrize(("height_m", "pitch_deg"), [(0.8, 15.0), (0.3, 5.0), (1.5, 35.0)])
@pytest.mark.parametrize("attitude", ["given", "fitted"])
def test_the_floor_gives_the_scale_by_the_cameras_height(floor, height_m, pitch_deg, attitude):
    depth_m, down = floor(height_m, pitch_deg)
    found = measure_ground(
        Prediction(depth_m / np.float32(1.3), CAMERA), height_m, down if attitude == "given" else None
    )
    assert found.log_ratio == pytest.approx(math.log(1.3), abs=0.02)


def test_a_low_camera_and_an_attitude_that_is_only_fitted_are_less_certain(floor):
    def variance(height_m, pitch_deg, given):
        depth_m, down = floor(height_m, pitch_deg)
        return measure_ground(Prediction(depth_m, CAMERA), height_m, down if given else None).place_variance

    assert variance(0.2, 15, True) > variance(0.8, 15, True) + 0.5 * (0.02 / 0.2) ** 2
    assert variance(0.8, 15, False) > variance(0.8, 15, True)
    assert variance(0.8, 5, True) > variance(0.8, 40, True)  # near the horizon a tilt moves the floor more


def test_things_on_the_floor_do_not_move_it(floor):
    depth_m, down = floor()
    depth_m[150:200, 60:140] = depth_m[200, 100]  # a box
    assert measure_ground(Prediction(depth_m, CAMERA), 0.8, down).log_ratio == pytest.approx(0, abs=0.01)


def test_a_table_with_the_floor_beside_it_is_not_taken_for_the_floor(floor):
    """Two thirds of what looks down shows a table half way up; the rest is the floor."""
    depth_m, down = floor(1.2, 30)
    table_m, _ = floor(0.6, 30)
    mixed = np.where(np.arange(320) < 200, table_m, depth_m).astype(np.float32)
    assert measure_ground(Prediction(mixed, CAMERA), 1.2, down).log_ratio == pytest.approx(0, abs=0.02)


def test_where_no_floor_is_seen_it_is_refused(floor):
    up = np.array([0.0, math.cos(0.6), -math.sin(0.6)])
    cases = {
        "the camera looks along it or above it": (np.full((240, 320), 3.0, np.float32), up),
        "lies on no common level": (np.random.default_rng(0).uniform(0.3, 5, (240, 320)).astype(np.float32), None),
        "too little depth is known": (np.full((240, 320), np.nan, np.float32), None),
    }
    _, level = floor()
    for reason, (depth_m, down) in cases.items():
        with pytest.raises(InputError, match=reason):
            measure_ground(Prediction(depth_m, CAMERA), 0.8, level if down is None else down)


def test_a_plane_that_lies_as_no_floor_does_is_refused(floor):
    """The same floor, and an attitude that is 30 degrees off."""
    depth_m, _ = floor(0.8, 40)
    _, wrong = floor(0.8, 10)
    with pytest.raises(InputError, match="the floor is not seen"):
        measure_ground(Prediction(depth_m, CAMERA), 0.8, wrong)
    wall = np.full((240, 320), 2.0, np.float32)
    bent = wall + np.linspace(0, 0.02, 240, dtype=np.float32)[:, None]
    for depth_m in (wall, bent):
        with pytest.raises(InputError, match="the floor is not seen"):
            measure_ground(Prediction(depth_m, CAMERA), 0.8, None)


@pytest.mark.parametrize("height_m", [0.0, -1.0, math.nan, math.inf])
def test_a_height_that_is_none_is_refused(floor, height_m):
    depth_m, down = floor()
    with pytest.raises(InputError, match=r"the camera's height is .* it must be above 0"):
        measure_ground(Prediction(depth_m, CAMERA), height_m, down)
