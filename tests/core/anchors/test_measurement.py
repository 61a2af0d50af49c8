# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math

import numpy as np
import pytest

from depthclip_ros.core.anchors.measurement import Prediction, from_pairs, weighted_median
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics


def test_the_ratio_of_all_pairs_is_their_median(wall):
    pixels = np.array([[10.0, 10.0], [150, 120], [300, 200], [200, 30]])
    found = from_pairs(wall(2.0, 1.25), pixels, np.array([2.0, 2.0, 2.0, 9.0]), 1e-4)
    assert found.log_ratio == pytest.approx(math.log(1.25), abs=1e-6)


def test_many_readings_of_one_region_count_as_one_region(wall):
    """A thousand points on one spot say as much of the image as one there; a few all over it say more."""
    rng = np.random.default_rng(0)
    one_spot = from_pairs(wall(), 20 + rng.random((1000, 2)), np.full(1000, 2.0), 1e-4)
    spread = from_pairs(wall(), rng.random((40, 2)) * (320, 240), np.full(40, 2.0), 1e-4)
    assert one_spot.place_variance > 0.7 * 0.15**2
    assert spread.place_variance < one_spot.place_variance / 3
    assert one_spot.noise_variance == pytest.approx(1e-7, rel=0.6)


def test_a_row_of_regions_tells_less_than_an_image_of_them(wall):
    row = np.stack([np.arange(0, 320, 8.0), np.full(40, 120.0)], axis=-1)
    rng = np.random.default_rng(0)
    whole = rng.random((40, 2)) * (320, 240)
    of_row, of_whole = (from_pairs(wall(), pixels, np.full(40, 2.0), 1e-4) for pixels in (row, whole))
    assert of_row.place_variance > 2 * of_whole.place_variance


def test_regions_that_differ_make_the_variance_larger():
    camera = Intrinsics(200.0, 200.0, 159.5, 119.5, 320, 240)
    depth_m = np.full((240, 320), 2.0, np.float32)
    depth_m[:, 160:] = 3.0
    pixels = np.stack(np.meshgrid(np.arange(5, 320, 20.0), np.arange(5, 240, 20.0)), axis=-1).reshape(-1, 2)
    flat = from_pairs(Prediction(depth_m, camera), pixels, depth_m[tuple(pixels.astype(int).T[::-1])], 1e-4)
    bent = from_pairs(Prediction(depth_m, camera), pixels, np.full(len(pixels), 2.4), 1e-4)
    assert bent.place_variance > 2 * flat.place_variance


GRID = np.stack(np.meshgrid(np.arange(20, 320, 40.0), np.arange(20, 240, 40.0)), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize(
    ("pixels", "areas", "of_median"),
    [
        (GRID[:1], 1.0, 1.0),
        (GRID[:2], 4 / 3, 1.0),
        (GRID[[0, 1, 8, 9]], 2.0, 1.0),
        (GRID[[0, 1, 2, 8, 9, 10, 16, 17, 18]], 3.0, math.pi / 2),
        (GRID, 48 / 7, math.pi / 2),
    ],
    ids=["one", "two in a row", "2 x 2", "3 x 3", "the image"],
)
def test_the_variance_is_that_of_as_many_regions_as_are_seen(wall, pixels, areas, of_median):
    """By hand: readings that agree leave 4 of 4 + n parts of the network's own variance, over n regions."""
    found = from_pairs(wall(shape_sd=0.2), pixels, np.full(len(pixels), 2.0), 0.01, 0.5)
    shape = 4 * 0.2**2 / (4 + areas)
    assert found.place_variance == pytest.approx(of_median * shape / areas + 0.5)
    assert found.noise_variance == pytest.approx(of_median * 0.01 / len(pixels))
    assert found.variance == pytest.approx(found.place_variance + found.noise_variance)


def test_half_of_the_regions_off_by_two_tenths_widen_the_variance_by_as_much(wall):
    """Of two halves the nearer has the greater weight, so the middle of the distances from it is 0.2."""
    log_ratio = np.where(np.arange(48) % 2 == 0, -0.2, 0.2)
    found = from_pairs(wall(2.0, 1.0), GRID, 2.0 * np.exp(log_ratio), 1e-4)
    assert found.log_ratio == pytest.approx(-0.2, abs=1e-6)
    areas, spread = 48 / 7, 1.4826 * 0.2
    shape = (4 * 0.15**2 + areas * spread**2) / (4 + areas)
    assert found.place_variance == pytest.approx(math.pi / 2 * shape / areas, rel=1e-3)


def test_a_region_full_of_readings_says_no_more_of_the_spread_than_one_with_a_few(wall):
    """500 readings of one region agree; the other 47 regions, of one reading each, are half off by 0.4."""
    crowd = np.full((500, 2), 20.0)
    pixels = np.concatenate([crowd, GRID[1:]])
    log_ratio = np.concatenate([np.zeros(500), np.where(np.arange(47) % 3 == 0, 0.0, 0.4)])
    found = from_pairs(wall(2.0, 1.0), pixels, 2.0 * np.exp(log_ratio), 1e-4)
    assert found.log_ratio == pytest.approx(0.0, abs=1e-6)
    areas, spread = 48 / 7, 1.4826 * 0.4
    shape = (4 * 0.15**2 + areas * spread**2) / (4 + areas)
    assert found.place_variance == pytest.approx(math.pi / 2 * shape / areas, rel=1e-3)


@pytest.mark.parametrize(
    ("good", "wild", "off", "expected"),
    [(5, 1, -10.0, 0.0), (2, 1, -10.0, -10.0), (2, 3, 5.0, 0.0), (2, 6, 5.0, 5.0)],
    ids=["one far too short of six", "one of three", "three far too long of five", "six of eight"],
)
def test_a_reading_weighs_by_how_short_it_is_and_never_more_than_e_times(wall, good, wild, off, expected):
    """Relative errors are least: what is too long weighs less, what is too short more, by at most e either way."""
    log_ratio = np.concatenate([np.zeros(good), np.full(wild, off)])
    found = from_pairs(wall(2.0, 1.0), GRID[: good + wild], 2.0 * np.exp(log_ratio), 1e-4)
    assert found.log_ratio == pytest.approx(expected, abs=1e-6)


def test_noisy_readings_weigh_less_than_sure_ones(wall):
    log_ratio, noise = np.array([0.0, 0.0, 0.1, 0.1, 0.1]), np.array([1e-4, 1e-4, 1.0, 1.0, 1.0])
    found = from_pairs(wall(2.0, 1.0), GRID[:5], 2.0 * np.exp(log_ratio), noise)
    assert found.log_ratio == pytest.approx(0.0, abs=1e-6)


def test_a_pixel_is_the_nearest_one_and_its_region_one_of_six_by_eight(wall):
    prediction = wall(2.0, 1.0)
    prediction.depth_m[0, 0], prediction.depth_m[239, 319], prediction.depth_m[0, 319] = 5.0, 7.0, 9.0
    prediction.depth_m[100, :3] = 0.0, -1.0, np.inf
    pixels = np.array([[-0.4, -0.4], [319.4, 239.4], [319.4, -0.4], [10.6, 20.4]])
    np.testing.assert_array_equal(prediction.at(pixels), [5.0, 7.0, 9.0, 2.0])
    outside = np.array([[-0.6, 0.0], [0.0, -0.6], [319.6, 0.0], [0.0, 239.6], [1e300, 0.0], [0.0, -np.inf]])
    assert np.isnan(prediction.at(outside)).all()
    assert np.isnan(prediction.at(np.array([[0.0, 100], [1, 100], [2, 100]]))).all(), "no depth"
    where = np.array([[0.0, 0.0], [39.9, 0.0], [40.0, 0.0], [0.0, 40.0], [319.4, 239.4], [-0.4, -0.4], [330.0, 0.0]])
    np.testing.assert_array_equal(prediction.regions(where), [0, 0, 1, 8, 47, 0, 7])


def test_what_lies_outside_or_where_nothing_is_known_does_not_count(wall):
    prediction = wall()
    prediction.depth_m[:, :100] = np.nan
    prediction.depth_m[:, 100:110] = np.inf
    pixels = np.array([[50.0, 50], [105, 50], [-1, 50], [400, 50], [np.nan, 3], [200, 50]])
    assert from_pairs(prediction, pixels, np.full(6, 2.0), 1e-4).log_ratio == pytest.approx(math.log(1.25), abs=1e-6)
    with pytest.raises(InputError, match="1 of its 6 depths lie in the image where depth is known; 2 are needed"):
        from_pairs(prediction, pixels, np.full(6, 2.0), 1e-4, least=2)


def test_a_weighted_median():
    assert weighted_median(np.array([3.0, 1, 2]), np.ones(3)) == 2
    assert weighted_median(np.array([1.0, 2, 3, 4]), np.ones(4)) == 2.5
    assert weighted_median(np.array([1.0, 2, 3]), np.array([5.0, 1, 1])) == 1
    assert weighted_median(np.array([1.0, 2, 3]), np.array([1.0, 1, 5])) == 3
    assert weighted_median(np.array([4.0]), np.array([0.1])) == 4


def test_depth_of_another_size_than_its_intrinsics_is_refused(wall):
    with pytest.raises(InputError, match="rows, columns"):
        Prediction(np.ones((3, 4), np.float32), wall().intrinsics)
