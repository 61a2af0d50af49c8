# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import numpy as np
import pytest
from depthclip_trainer.evaluation.confidence import most_likely_scale, spread_of


@pytest.mark.parametrize("scale", [0.05, 0.3, 2.0])
def test_the_spread_behind_a_confidence_is_found_again(scale):
    spread = np.array([0.0, 0.01, 0.2, 3.0])
    found = spread_of(1 / (1 + (spread / scale) ** 2), scale)
    np.testing.assert_allclose(found, spread, atol=1e-9)
    assert np.isfinite(spread_of(np.array([0.0]), scale)).all()


@pytest.mark.parametrize("true_scale", [0.1, 0.5])
@pytest.mark.parametrize("ratio", [1.25, 1 / 1.25])
def test_the_scale_is_that_by_which_pixels_are_right_as_often_as_is_said(true_scale, ratio):
    """Right is within a ratio of 1.25 either way; drawn by the confidence that the true scale gives."""
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.02, 1.5, 20_000)
    right = rng.random(20_000) < 1 / (1 + (spread / true_scale) ** 2)
    off = ratio ** np.where(right, 0.98, 1.02)
    halves = [slice(None, 10_000), slice(10_000, None)]
    found = most_likely_scale([spread[h] for h in halves], [off[h] for h in halves], [np.ones(10_000)] * 2)
    assert found == pytest.approx(true_scale, rel=0.06)


def test_where_all_are_right_or_wrong_the_ends_are_taken():
    spread, ones = [np.full(100, 0.3)], [np.ones(100)]
    assert most_likely_scale(spread, ones, ones) == pytest.approx(3.0)
    assert most_likely_scale(spread, [np.full(100, 2.0)], ones) == pytest.approx(0.02)
