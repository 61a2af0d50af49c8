# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What the simulated sensors read before a wall 2 m away, by a generator whose draws are known."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from depthclip_trainer.evaluation.anchors import simulated
from depthclip_trainer.evaluation.anchors.simulated import Place, true_floor

from depthclip_ros.core.anchors.measurement import Prediction
from depthclip_ros.core.types import Intrinsics

CAMERA = Intrinsics(100.0, 100.0, 79.5, 59.5, 160, 120)
WALL = np.full((120, 160), 2.0, np.float32)
LEFT_HALF_RAD = math.atan(79.5 / 100)


class Draws:
    """No noise, the largest of a range, and three quarters as chance; `sds` and `ranges` are what was asked for."""

    def __init__(self):
        self.sds, self.ranges = [], []

    def normal(self, mean, sd, size=None):
        self.sds.append(np.asarray(sd))
        return mean if size is None else np.full(size, mean, np.float64)

    def uniform(self, low, high, size=None):
        self.ranges.append((low, high))
        return high if size is None else np.full(size, high)

    def random(self, size=None):
        return 0.75 if size is None else np.full(size, 0.75)


@pytest.fixture
def told(monkeypatch):
    """What a function of the module was handed: `told("measure_range")` is filled by the next reading."""

    def record(name):
        seen = SimpleNamespace()

        def take(*positional, **named):
            seen.args, seen.named = positional, named
            return positional[1] if name == "scan_points" else seen

        monkeypatch.setattr(simulated, name, take)
        return seen

    return record


def read(name, depth_m=WALL, wild=0.0, camera=CAMERA):
    place, draws = Place.of(depth_m, camera), Draws()
    simulated.sensors_of(place)[name](Prediction(place.depth_m, camera), draws, wild)
    return draws


@pytest.mark.parametrize(("name", "share"), [("range", 0.5), ("range, ultrasound", 0.03)])
def test_a_beam_reads_a_share_of_its_cone_of_four_degrees_about_its_axis(told, name, share):
    """Of a disk before the sensor that share lies within its square root of the radius."""
    seen = told("measure_range")
    draws = read(name)
    expected = 2.0 * math.sqrt(1 + share * math.tan(math.radians(4)) ** 2)
    assert seen.args[1] == pytest.approx(expected, abs=4e-4)
    assert draws.sds[0] == pytest.approx(math.hypot(0.01, 0.01 * expected), rel=1e-3)
    np.testing.assert_allclose(seen.args[2] @ [0, 0, 0, 1], [0.03, 0.05, 0, 1])
    np.testing.assert_allclose(seen.args[2] @ [1, 2, 3, 0], [-2, -3, 1, 0])
    assert seen.named["field_of_view_rad"] == pytest.approx(math.radians(8))
    assert read(name, wild=1.0).ranges == [(0.1, 10.0)]
    assert seen.args[1] == 10.0


@pytest.mark.parametrize("known_px", [20, 19])
def test_a_beam_needs_twenty_pixels_in_its_cone(told, known_px):
    """It meets the wall at pixel (81, 62): 4 x 5 about it are known, or one less."""
    seen = told("measure_range")
    depth_m = np.full((120, 160), np.nan, np.float32)
    depth_m[60:64, 79:84] = 2.0
    if known_px == 19:
        depth_m[60, 79] = np.nan
    read("range", depth_m)
    assert math.isfinite(seen.args[1]) is (known_px == 20)


def test_a_scan_has_a_beam_each_half_degree_of_the_middle_row(told, monkeypatch):
    monkeypatch.setattr(simulated, "seen_points", lambda points, *_: points)
    monkeypatch.setattr(simulated, "measure_points", lambda prediction, points: points)
    seen = told("scan_points")
    depth_m = np.full((120, 160), 7.0, np.float32)
    depth_m[60] = 2.0  # 59.5 rounds to the even row
    depth_m[60, 150:] = np.nan
    draws = read("scan", depth_m)
    ranges, first, step, least_m, most_m = seen.args
    assert (first, step, least_m, most_m) == (pytest.approx(-LEFT_HALF_RAD), math.radians(0.5), 0.1, 10.0)
    angles = first + step * np.arange(len(ranges))
    assert angles[-1] < LEFT_HALF_RAD <= angles[-1] + step
    columns = 79.5 - 100 * np.tan(angles)
    known = columns < 149
    np.testing.assert_allclose(ranges[known], 2.0 / np.cos(angles[known]), rtol=1e-6)
    assert np.isinf(ranges[columns > 150]).all()
    assert draws.sds == [0.01]
    read("scan", depth_m, wild=1.0)
    assert (seen.args[0] == 10.0).all()


def test_fifty_points_are_read_with_two_centimetres_of_noise_along_their_rays(told, monkeypatch):
    seen = told("measure_points")
    monkeypatch.setattr(simulated, "seen_points", lambda points, to_camera, prediction: (points, to_camera))
    depth_m = np.full((120, 160), 4.0, np.float32)
    draws = read("points", depth_m)
    points, to_camera = seen.args[1]
    assert points.shape == (50, 3)
    assert len(np.unique(points, axis=0)) == 50
    np.testing.assert_allclose(points[:, 2], 4.0)
    np.testing.assert_array_equal(to_camera, np.eye(4))
    assert draws.sds == [0.02]
    assert read("points", depth_m).ranges == [(0.1, 10.0)]
    np.testing.assert_array_equal(seen.args[1][0], points)
    read("points", depth_m, wild=1.0)
    np.testing.assert_allclose(seen.args[1][0], points * 10.0 / 4.0)
    nudged = SimpleNamespace(
        normal=lambda mean, sd, size: np.full(size, sd), uniform=Draws().uniform, random=Draws().random
    )
    simulated.points_sensor(Place.of(depth_m, CAMERA))(Prediction(depth_m, CAMERA), nudged, 0.0)
    np.testing.assert_allclose(seen.args[1][0][:, 2], 4.02)


def test_a_depth_camera_has_holes_of_an_eighth_of_its_sides_and_noise_of_a_hundredth_in_each_row(told, monkeypatch):
    seen = told("measure_depth")
    monkeypatch.setattr(simulated, "depth_pixels", lambda prediction, depth_m: depth_m)
    draws = read("depth")
    np.testing.assert_array_equal(seen.args[1], WALL)
    assert draws.sds == [0.01]
    place = Place.of(WALL, CAMERA)
    holes = np.random.default_rng(0).random((8, 8))

    class Holed(Draws):
        def random(self, size=None):
            return holes if size == (8, 8) else super().random(size)

    simulated.depth_sensor(place)(Prediction(WALL, CAMERA), Holed(), 0.0)
    np.testing.assert_array_equal(seen.args[1] == 0, np.kron(holes < 0.5, np.ones((15, 20))) > 0)
    simulated.depth_sensor(place)(Prediction(WALL, CAMERA), Draws(), 1.0)
    np.testing.assert_array_equal(seen.args[1], np.full_like(WALL, 10.0))


def floor(pitch_deg, roll_deg=0.0, height_m=0.8):
    """Depth of a floor alone; NaN where it is not seen or is farther than 9 m."""
    pitch, roll = math.radians(pitch_deg), math.radians(roll_deg)
    down = np.array([math.cos(pitch) * math.sin(roll), math.cos(pitch) * math.cos(roll), math.sin(pitch)])
    v, u = np.mgrid[:120, :160]
    onto = np.stack([(u - 79.5) / 100, (v - 59.5) / 100, np.ones((120, 160))], axis=-1) @ down
    with np.errstate(divide="ignore"):
        depth_m = np.where(onto > 0, height_m / onto, np.nan)
    return np.where(depth_m < 9.0, depth_m, np.nan).astype(np.float32), down


@pytest.mark.parametrize(
    ("pitch_deg", "roll_deg", "height_m", "is_floor"),
    [
        (25, 0, 0.8, True), (25, 13, 0.8, True), (25, -13, 0.8, True), (25, 17, 0.8, False), (25, -17, 0.8, False),
        (62, 0, 0.8, True), (68, 0, 0.8, False), (-13, 0, 0.8, True), (-17, 0, 0.8, False),
        (25, 0, 0.12, True), (25, 0, 0.08, False), (25, 0, 2.5, True),
    ],
)  # fmt: skip
def test_a_floor_lies_as_under_a_camera_that_is_nearly_upright(pitch_deg, roll_deg, height_m, is_floor):
    depth_m, down = floor(pitch_deg, roll_deg, height_m)
    found = true_floor(Place.of(depth_m, CAMERA))
    assert (found is not None) is is_floor
    if found is not None:
        assert found[0] == pytest.approx(height_m, rel=0.01)
        np.testing.assert_allclose(found[1], down, atol=0.01)
        assert np.linalg.norm(found[1]) == pytest.approx(1.0)
        assert "ground" in simulated.sensors_of(Place.of(depth_m, CAMERA))


@pytest.mark.parametrize(("below_px", "is_floor"), [(60, True), (400, False)])
def test_a_level_with_more_than_a_hundredth_clearly_below_it_is_no_floor(below_px, is_floor):
    depth_m, _ = floor(40)
    deeper, _ = floor(40, height_m=1.2)
    depth_m.ravel()[:: 19200 // below_px] = deeper.ravel()[:: 19200 // below_px]
    assert (true_floor(Place.of(depth_m, CAMERA)) is not None) is is_floor


@pytest.mark.parametrize(("share", "is_floor"), [(0.25, True), (0.08, False)])
def test_a_level_of_fifteen_hundredths_is_a_floor(share, is_floor):
    """Beside it clutter above the floor, on no level."""
    depth_m, _ = floor(40)
    clutter = depth_m[:, round(160 * share) :]
    clutter *= np.random.default_rng(0).uniform(0.3, 0.9, clutter.shape).astype(np.float32)
    found = true_floor(Place.of(depth_m, CAMERA))
    assert (found is not None) is is_floor


def test_the_floors_sensor_says_its_height_or_a_wild_one(told):
    seen = told("measure_ground")
    depth_m, down = floor(30)
    read("ground", depth_m)
    assert seen.args[1] == pytest.approx(0.8, rel=0.01)
    np.testing.assert_allclose(seen.args[2], down, atol=0.01)
    assert read("ground", depth_m, wild=1.0).ranges == [(0.1, 3.0)]
    assert seen.args[1] == 3.0
