# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math

import numpy as np
import pytest

from depthclip_ros.core.anchors.depth_image import depth_pixels, measure_depth
from depthclip_ros.core.anchors.measurement import Prediction
from depthclip_ros.core.anchors.points import SeenPoints, measure_points, scan_points, seen_points
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
    for angles in ((math.inf, 0.1), (0.0, math.nan)):
        with pytest.raises(InputError, match=r"angle_min is .* and angle_increment .* rad; both must be finite"):
            scan_points(ranges, *angles, 0.1, 10.0)


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


CORNERS = np.array([[20.0, 20], [300, 20], [20, 220], [300, 220], [160, 120]])


def test_a_slope_of_depth_widens_what_a_point_says_by_what_the_next_pixels_differ(wall):
    """A hundredth of a radian is 2 pixels of this camera; depth grows by e to the 0.01 a column, 0.005 a row."""
    v, u = np.mgrid[:240, :320]
    rows, columns = CORNERS.astype(int).T[::-1]
    slanted = Prediction(np.exp(0.01 * u + 0.005 * v).astype(np.float32), wall().intrinsics)
    seen = SeenPoints(CORNERS, slanted.depth_m[rows, columns].astype(np.float64))
    found = measure_points(slanted, seen)
    slope = 0.02**2 + 0.01**2
    flat = measure_points(wall(2.0, 1.0), SeenPoints(CORNERS, np.full(5, 2.0)))
    assert found.log_ratio == pytest.approx(0.0, abs=1e-6)
    assert found.place_variance - flat.place_variance == pytest.approx(slope, rel=1e-3)
    noise = np.mean((0.02 / seen.true_m) ** 2) + slope
    assert found.noise_variance == pytest.approx(math.pi / 2 * noise / 5, rel=1e-3)
    assert flat.noise_variance == pytest.approx(math.pi / 2 * (0.02 / 2.0) ** 2 / 5)


def test_a_step_of_depth_counts_as_one_and_no_more(wall):
    prediction = wall(2.0, 1.0)
    prediction.depth_m[:, 22::40] = 200.0  # two columns beside three of the points
    prediction.depth_m[:, 162] = prediction.depth_m[:, 302] = 200.0
    found = measure_points(prediction, SeenPoints(CORNERS, np.full(5, 2.0)))
    flat = measure_points(wall(2.0, 1.0), SeenPoints(CORNERS, np.full(5, 2.0)))
    assert found.place_variance - flat.place_variance == pytest.approx(1.0)


def test_five_points_in_the_image_are_enough_and_its_edge_is_half_a_pixel_out(wall):
    """The plane of depth 1 m: pixel u is at x = (u - 159.5) / 200."""

    def at(*pixels):
        u, v = np.array(pixels, np.float64).T
        return np.stack([np.ones(len(u)), -(u - 159.5) / 200, -(v - 119.5) / 200], axis=-1)

    inside = [(-0.4, 0), (319.4, 0), (0, -0.4), (0, 239.4), (160, 120)]
    np.testing.assert_allclose(seen_points(at(*inside), FORWARD, wall()).pixels, inside, atol=1e-9)
    for outside in ((-0.6, 0), (319.6, 0), (0, -0.6), (0, 239.6)):
        with pytest.raises(InputError, match="4 of 5 points lie in the image; 5 are needed"):
            seen_points(at(outside, *inside[1:]), FORWARD, wall())
    measure_points(wall(), SeenPoints(CORNERS, np.full(5, 2.0)))
    with pytest.raises(InputError, match="4 of its 4 depths lie in the image where depth is known; 5 are needed"):
        measure_points(wall(), SeenPoints(CORNERS[:4], np.full(4, 2.0)))


def test_a_scan_turns_to_the_left_from_its_first_angle(wall):
    np.testing.assert_allclose(
        scan_points(np.array([1.0, 2.0, math.nan, 4.0]), 0.0, math.pi / 2, 1.0, 4.0),
        [[1, 0, 0], [0, 2, 0], [0, -4, 0]],
        atol=1e-12,
    )


def test_a_depth_image_is_read_on_a_regular_grid_of_about_two_thousand_pixels(wall):
    """76800 / 2000 pixels are a square of 6: from the fourth row and column on."""
    seen = depth_pixels(wall(), np.full((240, 320), 2.0, np.float32))
    np.testing.assert_array_equal(np.unique(seen.pixels[:, 0]), np.arange(3, 320, 6))
    np.testing.assert_array_equal(np.unique(seen.pixels[:, 1]), np.arange(3, 240, 6))
    found = measure_depth(wall(2.0, 1.0), seen)
    assert found.noise_variance == pytest.approx(math.pi / 2 * (0.002 * 2.0) ** 2 / len(seen.pixels))
    small = depth_pixels(wall(), np.full((24, 32), 2.0, np.float32))
    np.testing.assert_allclose(
        small.pixels[[0, -1]], [[4.5, 4.5], [314.5, 234.5]]
    )  # (0.5, 31.5) times ten, less a half
    assert len(small.pixels) == 24 * 32


@pytest.mark.parametrize(("known", "enough"), [(50, True), (49, False)])
def test_fifty_pixels_of_a_depth_image_are_enough(wall, known, enough):
    measured_m = np.zeros((24, 32), np.float32)
    measured_m.ravel()[:known] = 2.0
    measured_m.ravel()[known : known + 20] = -1.0
    if enough:
        assert len(depth_pixels(wall(), measured_m).true_m) == 50
    else:
        with pytest.raises(InputError, match="49 of 768 pixels have depth; 50 are needed"):
            depth_pixels(wall(), measured_m)


@pytest.mark.parametrize(
    ("size", "fits"),
    [((241, 320), True), ((480, 640), True), ((120, 161), True), ((243, 320), False), ((120, 164), False)],
)
def test_proportions_may_be_off_by_two_pixels(wall, size, fits):
    measured_m = np.full(size, 2.0, np.float32)
    if fits:
        depth_pixels(wall(), measured_m)
    else:
        with pytest.raises(InputError, match="it must be registered"):
            depth_pixels(wall(), measured_m)


def test_what_is_nearer_than_a_metre_is_measured_too(wall):
    seen = depth_pixels(wall(), np.full((240, 320), 0.3, np.float32))
    np.testing.assert_allclose(seen.true_m, 0.3, rtol=1e-6)
