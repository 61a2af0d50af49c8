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


def test_depth_of_another_size_than_its_intrinsics_is_refused(wall):
    with pytest.raises(InputError, match="rows, columns"):
        Prediction(np.ones((3, 4), np.float32), wall().intrinsics)
