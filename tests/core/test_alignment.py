# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import numpy as np
import pytest

from depthclip_ros.core.alignment import (
    MEDIAN,
    NONE,
    SCALE_SHIFT,
    Alignment,
    align,
    alignment_for,
    least_squares,
    robust_least_squares,
)
from depthclip_ros.core.errors import ConfigError, InputError

RNG = np.random.default_rng(0)


def test_scale_and_shift_of_disparity_are_found():
    truth_m = RNG.uniform(0.5, 8, 500)
    relative = 1 / ((1 / truth_m - 0.1) / 0.03)
    found = align(relative, truth_m, SCALE_SHIFT)
    assert (found.scale, found.shift) == pytest.approx((0.03, 0.1))
    np.testing.assert_allclose(found.apply(relative), truth_m, rtol=1e-5)


def test_least_squares_are_numpys():
    x, y, w = RNG.normal(size=60), RNG.normal(size=60), RNG.uniform(0.1, 2, 60)
    assert least_squares(x, y, w) == pytest.approx(tuple(np.polyfit(x, y, 1, w=np.sqrt(w))))
    assert least_squares(np.ones(4), np.arange(4.0)) == (0.0, 1.5)


def test_wrong_readings_do_not_move_the_robust_line():
    x = RNG.uniform(0, 2, 1000)
    y = 0.4 * x + 0.1 + RNG.normal(0, 0.005, 1000)
    y[:150] = 3.0
    assert robust_least_squares(x, y) == pytest.approx((0.4, 0.1), abs=0.01)
    assert least_squares(x, y)[1] > 0.3
    clean = 0.4 * x + 0.1
    assert robust_least_squares(x, clean) == pytest.approx((0.4, 0.1))


def test_the_robust_line_is_where_hubers_weights_leave_no_slope():
    """Its definition: errors below 1.345 times their scale count by their square, those beyond linearly."""
    rng = np.random.default_rng(4)
    x, given = rng.uniform(0, 2, 400), rng.uniform(0.5, 2, 400)
    y = 0.4 * x + 0.1 + rng.standard_t(2, 400) * 0.05
    scale, shift = robust_least_squares(x, y, given)
    error = scale * x + shift - y
    limit = 1.345 * np.median(np.abs(error)) / 0.6745
    pull = given * np.clip(error, -limit, limit)
    assert abs(pull.mean()) < 1e-6
    assert abs((pull * x).mean()) < 1e-6


def test_medians_become_equal():
    depth, truth_m = RNG.uniform(10, 20, 99), RNG.uniform(1, 2, 99)
    assert np.median(align(depth, truth_m, MEDIAN).apply(depth)) == pytest.approx(np.median(truth_m))
    assert align(depth, truth_m, NONE) == Alignment()


def test_what_is_unknown_or_behind_infinity():
    aligned = Alignment(1.0, -0.5).apply(np.array([1.0, 2.0, 4.0, np.nan, np.inf]))
    np.testing.assert_array_equal(aligned, np.array([2.0, np.inf, np.inf, np.nan, np.inf], np.float32))
    depth = np.array([1.0, 2.0, np.nan, 0.0, np.inf, 5.0])
    assert align(depth, np.array([2.0, 4.0, 1.0, 1.0, 1.0, 10.0]), SCALE_SHIFT).scale == pytest.approx(0.5)
    with pytest.raises(InputError, match="1 pixels"):
        align(np.array([1.0, np.nan]), np.ones(2), SCALE_SHIFT)


def test_auto_aligns_what_has_no_scale():
    assert (alignment_for("auto", True), alignment_for("auto", False)) == (NONE, SCALE_SHIFT)
    assert alignment_for(MEDIAN, True) == MEDIAN
    with pytest.raises(ConfigError, match="relative depth"):
        alignment_for(NONE, False)
    with pytest.raises(ConfigError, match="auto, none, median, scale-shift"):
        alignment_for("mean", True)
