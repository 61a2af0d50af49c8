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


@pytest.mark.parametrize("share", [0.3, 0.4, 0.45])
def test_an_attitude_is_fitted_to_the_plane_that_most_of_the_lower_points_lie_on(floor, share):
    """A ramp, which a floor might be by its pitch, in less than half of the view."""
    depth_m, _ = floor(0.8, 15)
    ramp_m, _ = floor(0.8, 35)
    mixed = np.where(np.arange(320) < share * 320, ramp_m, depth_m).astype(np.float32)
    assert measure_ground(Prediction(mixed, CAMERA), 0.8, None).log_ratio == pytest.approx(0, abs=0.05)


def test_an_attitude_is_fitted_to_the_lower_half_of_the_view(floor):
    """A ramp, which a floor might be by its pitch, in all that is above."""
    depth_m, _ = floor(0.8, 15)
    ramp_m, _ = floor(0.8, 35)
    mixed = np.where(np.arange(240)[:, None] < 130, ramp_m, depth_m).astype(np.float32)
    assert measure_ground(Prediction(mixed, CAMERA), 0.8, None).log_ratio == pytest.approx(0, abs=0.05)


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


def seen_cotangents(down, depth_m, height_m):
    """Of the angle at which each pixel's ray meets the floor, where it shows the floor and not what stands on it."""
    v, u = np.mgrid[:240, :320]
    rays = np.stack([(u - 159.5) / 200, (v - 119.5) / 200, np.ones((240, 320))], axis=-1)
    sine = rays @ down / np.linalg.norm(rays, axis=-1)
    on_floor = (sine > 0.1) & (np.abs(depth_m * (rays @ down) - height_m) < 1e-3)
    return np.sqrt(1 - sine[on_floor] ** 2) / sine[on_floor]


@pytest.mark.parametrize("height_sd_m", [0.02, 0.1])
def test_the_variance_is_that_of_height_tilt_and_half_of_the_shape(floor, height_sd_m):
    depth_m, down = floor(0.8, 25)
    found = measure_ground(Prediction(depth_m, CAMERA, shape_sd=0.1), 0.8, down, height_sd_m=height_sd_m)
    cotangent = float(np.median(seen_cotangents(down, depth_m, 0.8)))
    common = 0.1**2 / 2 + (height_sd_m / 0.8) ** 2 + (math.radians(1) * cotangent) ** 2
    assert common < found.place_variance < common + 0.1**2 / 2  # the rest: many regions, that agree
    fitted = measure_ground(Prediction(depth_m, CAMERA, shape_sd=0.1), 0.8, None, height_sd_m=height_sd_m)
    more = (math.radians(3) ** 2 - math.radians(1) ** 2) * cotangent**2
    assert fitted.place_variance - found.place_variance == pytest.approx(more, rel=0.1)
    assert found.noise_variance < 1e-6, "thousands of pixels"


@pytest.mark.parametrize(("off_deg", "is_floor"), [(17, True), (23, False)])
def test_a_plane_may_be_tilted_by_twenty_degrees(floor, off_deg, is_floor):
    depth_m, _ = floor(0.8, 40)
    _, said = floor(0.8, 40 - off_deg)
    if is_floor:
        measure_ground(Prediction(depth_m, CAMERA), 0.8, said)
    else:
        with pytest.raises(InputError, match=r"tilted by 2\d degrees against the camera's attitude; at most 20"):
            measure_ground(Prediction(depth_m, CAMERA), 0.8, said)


def rolled(height_m, pitch_deg, roll_deg):
    """Depth of a floor alone under a camera that looks down and leans to a side."""
    pitch, roll = math.radians(pitch_deg), math.radians(roll_deg)
    down = np.array([math.cos(pitch) * math.sin(roll), math.cos(pitch) * math.cos(roll), math.sin(pitch)])
    v, u = np.mgrid[:240, :320]
    rays = np.stack([(u - 159.5) / 200, (v - 119.5) / 200, np.ones((240, 320))], axis=-1)
    with np.errstate(divide="ignore"):
        return np.where(rays @ down > 0.02, height_m / (rays @ down), np.nan).astype(np.float32), down


@pytest.mark.parametrize(
    ("pitch_deg", "roll_deg", "is_floor"),
    [(20, 10, True), (20, -10, True), (20, 15, False), (20, -15, False), (60, 0, True), (72, 0, False), (-8, 0, True)],
)
def test_an_attitude_that_is_fitted_is_that_of_a_robots_camera(pitch_deg, roll_deg, is_floor):
    depth_m, down = rolled(0.8, pitch_deg, roll_deg)
    prediction = Prediction(depth_m, CAMERA)
    if is_floor:
        assert measure_ground(prediction, 0.8).log_ratio == pytest.approx(0, abs=0.02)
    else:
        with pytest.raises(InputError, match="the floor is not seen"):
            measure_ground(prediction, 0.8)
    assert measure_ground(prediction, 0.8, down).log_ratio == pytest.approx(0, abs=0.01), (
        "where it is given any will do"
    )


def looking_down(*parts):
    """A camera that looks straight down on levels: (share of the image's columns, metres below it)."""
    depth_m, start = np.empty((240, 320), np.float32), 0
    for share, below_m in parts:
        end = start + round(320 * share)
        depth_m[:, start:end] = below_m
        start = end
    assert start == 320
    return Prediction(depth_m, CAMERA), np.array([0.0, 0.0, 1.0])


@pytest.mark.parametrize(("share", "is_floor"), [(0.3, True), (0.2, False)])
def test_a_quarter_of_what_looks_down_is_a_floor(share, is_floor):
    """Beside it things of all heights, none of which is a level."""
    prediction, down = looking_down((share, 1.0), (1 - share, 0.5))
    rng = np.random.default_rng(0)
    clutter = prediction.depth_m[:, round(320 * share) :]
    clutter[:] = rng.uniform(0.2, 0.85, clutter.shape) ** 2
    if is_floor:
        assert measure_ground(prediction, 1.0, down).log_ratio == pytest.approx(0, abs=0.01)
    else:
        with pytest.raises(InputError, match="lies on no common level"):
            measure_ground(prediction, 1.0, down)


@pytest.mark.parametrize(("below", "is_floor"), [(0.05, True), (0.15, False)])
def test_a_level_with_a_twelfth_below_it_is_a_table(below, is_floor):
    prediction, down = looking_down((1 - below, 0.8), (below, 1.6))
    if is_floor:
        assert measure_ground(prediction, 0.8, down).log_ratio == pytest.approx(0, abs=0.01)
    else:
        with pytest.raises(InputError, match=r"1\d% of what looks down lies below the level that may be it"):
            measure_ground(prediction, 0.8, down)


def test_of_two_levels_the_lower_one_is_the_floor():
    prediction, down = looking_down((0.6, 0.5), (0.4, 1.0))
    assert measure_ground(prediction, 1.2, down).log_ratio == pytest.approx(math.log(1.2))


def test_a_rough_floor_is_its_middle():
    prediction, down = looking_down((1.0, 1.0))
    prediction.depth_m[:] = np.exp(np.random.default_rng(0).uniform(-0.08, 0.08, (240, 320)))
    assert measure_ground(prediction, 1.0, down).log_ratio == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(("regions", "enough"), [(4, True), (3, False)])
def test_four_regions_of_floor_are_needed(regions, enough):
    """Of 40 x 40 pixels each, as many of clutter under them, and nothing else is known."""
    prediction, down = looking_down((1.0, 1.0))
    floor_m = prediction.depth_m
    floor_m[80:] = floor_m[:, 40 * regions :] = np.nan
    floor_m[40:80] *= np.random.default_rng(0).uniform(0.2, 0.85, (40, 320)) ** 2
    if enough:
        assert measure_ground(prediction, 1.0, down).log_ratio == pytest.approx(0, abs=0.01)
    else:
        with pytest.raises(InputError, match="what may be it covers too little of the image"):
            measure_ground(prediction, 1.0, down)


@pytest.mark.parametrize(("rows", "reason"), [(40, None), (20, "too little depth is known")])
def test_a_tenth_of_the_pixels_with_depth_is_enough(rows, reason):
    prediction, down = looking_down((1.0, 1.0))
    prediction.depth_m[rows:] = np.nan
    prediction.depth_m[:2] = 0.0
    if reason is None:
        measure_ground(prediction, 1.0, down)
    else:
        with pytest.raises(InputError, match=reason):
            measure_ground(prediction, 1.0, down)
