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
    with pytest.raises(InputError, match=r"range is .* m; a distance of 0\.1 to 4 m above 0 is needed"):
        measure_range(wall(), range_m, FORWARD, field_of_view_rad=BEAM, least_m=0.1, most_m=4.0)


def test_a_beam_beside_the_view_is_refused(wall):
    with pytest.raises(InputError, match=r"0% of the beam lies in the image .* inverted transform"):
        measure_range(wall(), 2.0, np.linalg.inv(FORWARD), field_of_view_rad=BEAM)
    with pytest.raises(InputError, match="field_of_view is"):
        measure_range(wall(), 2.0, FORWARD, field_of_view_rad=math.inf)
