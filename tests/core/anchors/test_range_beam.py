# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math

import numpy as np
import pytest

from depthclip_ros.core.anchors.range_beam import INFRARED, ULTRASOUND, measure_range
from depthclip_ros.core.errors import InputError

FORWARD = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
BEAM = math.radians(8)


def test_a_beam_ahead_measures_the_wall_ahead(wall):
    found = measure_range(wall(2.0, 1.25), 2.0, FORWARD, field_of_view_rad=BEAM, radiation=INFRARED)
    # the middle of the cone: rays at up to 4 degrees are shorter along the optical axis by 1 - cos
    assert found.log_ratio == pytest.approx(math.log(1.25), abs=0.002)
    assert found.noise_variance == pytest.approx((math.hypot(0.01, 0.02) / 2.0) ** 2)
    assert found.place_variance == pytest.approx(0.15**2, rel=0.01)


def test_a_beam_that_looks_aside_is_longer_than_depth(wall):
    """30 degrees to the left of the axis a wall 2 m ahead is 2 / cos 30 away."""
    angle = math.radians(30)
    turned = np.eye(4)
    turned[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    found = measure_range(
        wall(2.0, 1.0), 2 / math.cos(angle), FORWARD @ turned, field_of_view_rad=0.0, radiation=INFRARED
    )
    assert found.log_ratio == pytest.approx(0.0, abs=1e-6)


def test_a_beam_from_elsewhere_falls_on_its_own_pixels(wall):
    """From 0.5 m to the right a beam meets a wall 2 m ahead at column 159.5 + 200 * 0.5 / 2 = 209.5."""
    prediction = wall(2.0, 1.0)
    prediction.depth_m[:, :190] = 7.0
    mounted = FORWARD.copy()
    mounted[0, 3] = 0.5
    found = measure_range(prediction, 2.0, mounted, field_of_view_rad=BEAM, radiation=INFRARED)
    assert found.log_ratio == pytest.approx(0.0, abs=0.003)


def test_an_echo_comes_from_the_nearest_thing_in_the_cone(wall):
    """A box 1 m away fills a third of the cone; the wall behind it is 3 m away."""
    prediction = wall(3.0, 1.0)
    prediction.depth_m[:, :155] = 1.0
    wide = {"field_of_view_rad": math.radians(30)}
    near = measure_range(prediction, 1.0, FORWARD, radiation=ULTRASOUND, **wide)
    assert near.log_ratio == pytest.approx(0.0, abs=0.04)
    alone = measure_range(wall(3.0, 1.0), 3.0, FORWARD, radiation=ULTRASOUND, **wide)
    assert near.place_variance > alone.place_variance + 0.1  # what the cone covers is not of one depth


@pytest.mark.parametrize("range_m", [math.nan, math.inf, -math.inf, 0.0, -1.0, 0.05, 9.0])
def test_what_is_no_distance_is_refused(wall, range_m):
    with pytest.raises(InputError, match=r"range is .* m; a distance of 0\.1 to 4 m is needed"):
        measure_range(wall(), range_m, FORWARD, field_of_view_rad=BEAM, least_m=0.1, most_m=4.0)


@pytest.mark.parametrize("variance_m2", [math.nan, math.inf, -1.0])
def test_a_variance_that_is_none_is_refused(wall, variance_m2):
    with pytest.raises(InputError, match=r"variance is .*; allowed: a finite number, 0: not known"):
        measure_range(wall(), 2.0, FORWARD, field_of_view_rad=BEAM, variance_m2=variance_m2)


def test_a_distance_of_less_than_a_millimetre_is_none(wall):
    with pytest.raises(InputError, match=r"range is 1e-30 m; a distance of 0\.001 to inf m is needed"):
        measure_range(wall(), 1e-30, FORWARD, field_of_view_rad=BEAM)


def test_a_beam_beside_the_view_is_refused(wall):
    with pytest.raises(InputError, match=r"0% of the beam lies in the image .* inverted transform"):
        measure_range(wall(), 2.0, np.linalg.inv(FORWARD), field_of_view_rad=BEAM)
    with pytest.raises(InputError, match="field_of_view is"):
        measure_range(wall(), 2.0, FORWARD, field_of_view_rad=math.inf)


@pytest.mark.parametrize("range_m", [0.1, 4.0])
def test_both_ends_of_a_sensors_range_are_readings(wall, range_m):
    found = measure_range(
        wall(range_m, 1.25), range_m, FORWARD, field_of_view_rad=BEAM, least_m=0.1, most_m=4.0, radiation=INFRARED
    )
    assert found.log_ratio == pytest.approx(math.log(1.25), abs=0.002)


def test_a_variance_that_the_sensor_states_is_taken(wall):
    found = measure_range(wall(), 2.0, FORWARD, field_of_view_rad=BEAM, variance_m2=0.04)
    assert found.noise_variance == pytest.approx(0.04 / 2.0**2)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_an_echo_counts_from_a_tenth_of_the_cone_on_and_its_spread_is_that_of_the_whole_cone(wall, share):
    """A plate 1 m away fills a part of the cone before a wall 3 m away: the mean square of what is not the middle."""
    prediction = wall(3.0, 1.0)
    half_deg, reach_px = 10.0, 200 * math.tan(math.radians(10))
    edge = 159.5 + reach_px * _chord(share)
    prediction.depth_m[:, : round(edge)] = 1.0
    found = measure_range(prediction, 1.0, FORWARD, field_of_view_rad=math.radians(2 * half_deg))
    assert found.log_ratio == pytest.approx(0.0, abs=0.02)
    of_minority = min(share, 1 - share)
    assert found.place_variance - 0.15**2 == pytest.approx(of_minority * math.log(3) ** 2, rel=0.15)


def _chord(share):
    """Where a line cuts this share off a disk of radius one."""
    at = np.linspace(-1, 1, 2001)
    area = np.cumsum(np.sqrt(1 - at**2))
    return float(np.interp(share, area / area[-1], at))


def test_half_of_a_beam_in_the_view_is_enough(wall):
    """A beam of 20 degrees about the right end of the image's 77: half of it is seen; turned further, less is."""

    def turned(deg):
        angle, matrix = math.radians(-deg), np.eye(4)
        matrix[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        return FORWARD @ matrix

    edge_deg = math.degrees(math.atan(160 / 200))
    wide = {"field_of_view_rad": math.radians(20), "radiation": INFRARED}
    range_m = 2.0 / math.cos(math.radians(edge_deg))
    assert abs(measure_range(wall(2.0, 1.0), range_m, turned(edge_deg - 1), **wide).log_ratio) < 0.1
    with pytest.raises(InputError, match=r"4\d% of the beam lies in the image where depth is known; 50% is needed"):
        measure_range(wall(2.0, 1.0), range_m, turned(edge_deg + 1), **wide)


@pytest.mark.parametrize("field_of_view_rad", [-0.01, math.pi, math.nan])
def test_a_cone_that_is_none_is_refused(wall, field_of_view_rad):
    with pytest.raises(InputError, match=r"field_of_view is .* allowed: 0 to below pi"):
        measure_range(wall(), 2.0, FORWARD, field_of_view_rad=field_of_view_rad)
