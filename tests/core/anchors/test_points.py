# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math

import numpy as np
import pytest

from depthclip_ros.core.anchors.depth_image import depth_pixels, measure_depth
from depthclip_ros.core.anchors.measurement import Prediction
from depthclip_ros.core.anchors.points import measure_points, scan_points, seen_points
from depthclip_ros.core.errors import InputError

FORWARD = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])


def test_a_scan_of_a_wall_measures_the_wall(wall):
    """Of a wall 2 m ahead a beam at angle a reads 2 / cos a; 0.3 m under the camera it falls on row 119.5 + 30."""
    angles = np.arange(-1.5, 1.5, 0.02)
    points = scan_points(2 / np.cos(angles), -1.5, 0.02, 0.1, 10.0)
    mounted = FORWARD.copy()
    mounted[1, 3] = 0.3
    seen = seen_points(points, mounted, wall())
    assert np.abs(seen.pixels[:, 1] - 149.5).max() <= 0.5
    np.testing.assert_allclose(seen.true_m, 2.0, rtol=1e-6)
    found = measure_points(wall(2.0, 1.25), seen)
    assert found.log_ratio == pytest.approx(math.log(1.25), abs=1e-6)
    assert found.noise_variance < 1e-5


def test_ranges_that_are_no_distance_are_left_out():
    ranges = np.array([math.nan, math.inf, 0.0, -1.0, 0.05, 50.0, 3.0])
    np.testing.assert_allclose(scan_points(ranges, 0.0, 0.0, 0.1, 10.0), [[3.0, 0, 0]])
    np.testing.assert_allclose(scan_points(ranges[[2, 6]], 0.0, 0.0, 0.0, 10.0), [[3.0, 0, 0]])  # range_min of 0
    with pytest.raises(InputError, match=r"none of the 6 ranges lies within 0\.1 to 10 m"):
        scan_points(ranges[:6], 0.0, 0.0, 0.1, 10.0)


def test_points_behind_the_camera_are_refused(wall):
    points = np.stack([np.full(50, 2.0), np.linspace(-1, 1, 50), np.zeros(50)], axis=-1)
    assert len(seen_points(points, FORWARD, wall()).true_m) == 50
    with pytest.raises(InputError, match="0 of 50 points lie in the image; 5 are needed"):
        seen_points(points * (-1, 1, 1), FORWARD, wall())


def test_what_the_camera_does_not_see_does_not_count(wall):
    """Points of a wall 4 m away, of which a plate 2 m away hides the middle from the camera."""
    y, z = (one.ravel() for one in np.meshgrid(np.linspace(-3, 3, 90), np.linspace(-2, 2, 60)))
    far = np.stack([np.full(y.size, 4.0), y, z], axis=-1)
    near = np.stack([np.full(y.size, 2.0), y / 10, z / 10], axis=-1)
    seen = seen_points(np.concatenate([far, near]), FORWARD, wall())
    middle = np.linalg.norm(seen.pixels - (159.5, 119.5), axis=1) < 15
    assert set(np.unique(seen.true_m[middle])) == {2.0}


def test_points_on_a_step_of_depth_say_little(wall):
    """A hundredth of a radian beside them the depth is another: a transform by hand is off by that."""
    prediction = wall(2.0, 1.0)
    steps = Prediction(prediction.depth_m.copy(), prediction.intrinsics)
    steps.depth_m[:, ::4] = 3.0
    steps.depth_m[:, 1::4] = 3.0
    y, z = (one.ravel() for one in np.meshgrid(np.linspace(-1, 1, 20), np.linspace(-1, 1, 15)))
    points = np.stack([np.full(y.size, 2.0), y, z], axis=-1)
    smooth, rough = (measure_points(one, seen_points(points, FORWARD, one)) for one in (prediction, steps))
    assert rough.variance > 4 * smooth.variance


def test_a_depth_camera_with_holes_measures_what_it_sees(wall):
    measured_m = np.full((240, 320), 2.0, np.float32)
    measured_m[:, :200] = 0
    measured_m[:40] = np.nan
    seen = depth_pixels(wall(), measured_m)
    assert seen.pixels[:, 0].min() >= 200
    assert seen.pixels[:, 1].min() >= 40
    found = measure_depth(wall(2.0, 1.25), seen)
    assert found.log_ratio == pytest.approx(math.log(1.25), abs=1e-6)
    whole = measure_depth(wall(), depth_pixels(wall(), np.full((240, 320), 2.0, np.float32)))
    assert whole.variance < found.variance < 0.15**2


def test_a_depth_image_of_half_the_size_lies_on_the_same_rays(wall):
    prediction = wall(2.0, 1.0)
    prediction.depth_m[:, 160:] = 4.0
    measured_m = np.full((120, 160), 2.0, np.float32)
    measured_m[:, 80:] = 4.0
    assert measure_depth(prediction, depth_pixels(prediction, measured_m)).log_ratio == pytest.approx(0, abs=1e-6)


def test_a_depth_image_that_cannot_be_registered_is_refused(wall):
    with pytest.raises(InputError, match="its image is 200x200 and the camera's 320x240; it must be registered"):
        depth_pixels(wall(), np.ones((200, 200), np.float32))
    with pytest.raises(InputError, match=r"0 of .* pixels have depth; 50 are needed"):
        depth_pixels(wall(), np.zeros((240, 320), np.float32))
