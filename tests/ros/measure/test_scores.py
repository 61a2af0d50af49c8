# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math

import numpy as np
import pytest

from depthclip_ros.ros.measure.scores import Score, TruthStatistics, mean, score, share_within


def test_definitions_on_numbers_worked_by_hand() -> None:
    truth = np.array([[1.0, 2.0], [4.0, np.nan]], np.float32)
    depth = np.array([[1.2, 2.6], [4.0, 9.0]], np.float32)
    one = score(depth, truth)
    assert one is not None
    assert one.delta1 == pytest.approx(2 / 3)  # ratios 1.2, 1.3, 1
    assert one.abs_rel == pytest.approx((0.2 + 0.3 + 0) / 3, rel=1e-5)
    assert one.rmse_m == pytest.approx(math.sqrt((0.04 + 0.36) / 3), rel=1e-5)
    assert one.coverage == 1.0


def test_no_depth_counts_as_the_nearest_and_too_far_as_the_farthest() -> None:
    truth = np.array([[2.0, 8.5, 2.0, 2.0]], np.float32)
    depth = np.array([[np.nan, np.inf, -np.inf, 40.0]], np.float32)
    one = score(depth, truth)
    assert one is not None
    assert one.coverage == pytest.approx(0.25)
    assert one.delta1 == pytest.approx(0.25), "10 m for 8.5 m alone is within 1.25"
    assert one.abs_rel == pytest.approx((1.999 / 2 * 2 + 1.5 / 8.5 + 8 / 2) / 4, rel=1e-4)


def test_frames_without_truth_in_range_are_left_out() -> None:
    assert score(np.ones((2, 2), np.float32), np.full((2, 2), np.nan, np.float32)) is None
    assert score(np.ones((2, 2), np.float32), np.full((2, 2), 12.0, np.float32)) is None
    assert mean([]) is None
    assert mean([Score(1, 0, 0), Score(0, 1, 1)]) == Score(0.5, 0.5, 0.5, 1.0)


def test_constants_score_as_depth_images_would() -> None:
    rng = np.random.default_rng(0)
    truths = [rng.uniform(1, 5, (60, 80)).astype(np.float32), rng.uniform(2, 9, (60, 80)).astype(np.float32)]
    statistics = TruthStatistics()
    for truth in truths:
        statistics.add(truth)
    found = statistics.best_constant()
    assert found is not None
    constant, claimed = found

    def scored(constants: list[float]) -> Score:
        pairs = zip(truths, constants, strict=True)
        scores = [score(np.full_like(truth, c), truth) for truth, c in pairs]
        result = mean([one for one in scores if one is not None])
        assert result is not None
        return result

    exact = scored([constant, constant])
    for name in ("delta1", "abs_rel", "rmse_m"):
        assert getattr(claimed, name) == pytest.approx(getattr(exact, name), abs=0.01)
    for other in np.arange(1.0, 9.0, 0.5):
        assert scored([other, other]).delta1 <= exact.delta1 + 0.01
    medians = statistics.frame_medians()
    assert medians is not None
    assert medians.abs_rel == pytest.approx(scored([float(np.median(t)) for t in truths]).abs_rel, abs=0.01)


def test_share_within_counts_true_depths_inside_both_ends_of_their_interval() -> None:
    depth_m = np.full((1, 6), 2.0, np.float32)
    uncertainty_m = np.full((1, 6), 1.0, np.float32)  # e^h is 1.5: from 1.33 to 3 m
    truth_m = np.array([[1.3, 1.4, 2.9, 3.1, np.nan, 2.0]], np.float32)
    assert share_within(depth_m, uncertainty_m, truth_m) == pytest.approx(3 / 5)
    assert np.isnan(share_within(depth_m, uncertainty_m, np.full((1, 6), np.nan, np.float32)))


def test_only_truth_between_a_fifth_of_a_metre_and_ten_metres_counts() -> None:
    truth = np.array([[0.19, 0.21, 9.99, 10.01, 0.0, 15.0]], np.float32)
    one = score(truth * np.float32(2), truth)
    assert one is not None
    assert one.abs_rel == pytest.approx((1 + 0.01 / 9.99) / 2, rel=1e-3)  # 0.42 for 0.21, and 10 for 9.99
    statistics = TruthStatistics()
    statistics.add(truth)
    assert statistics.score_constants(np.array([9.99])).delta1 == pytest.approx(0.5)


@pytest.mark.parametrize(("ratio", "right"), [(1.24, 1.0), (1.26, 0.0), (1 / 1.24, 1.0), (1 / 1.26, 0.0)])
def test_delta1_is_within_a_quarter_either_way(ratio: float, right: float) -> None:
    truth = np.full((1, 4), 2.0, np.float32)
    one = score(truth * np.float32(ratio), truth)
    assert one is not None
    assert one.delta1 == right
    statistics = TruthStatistics()
    statistics.add(truth)
    found = statistics.score_constants(np.array([2.005 * ratio]))
    assert (found.delta1, found.abs_rel) == (right, pytest.approx(abs(ratio - 1), rel=1e-3))
    assert found.rmse_m == pytest.approx(2.005 * abs(ratio - 1), rel=1e-3)


def test_without_a_frame_there_is_no_constant() -> None:
    assert TruthStatistics().best_constant() is None
    assert TruthStatistics().frame_medians() is None
    far = TruthStatistics()
    far.add(np.full((2, 2), 9.9, np.float32))
    constant, best = far.best_constant() or (0.0, None)
    assert best is not None
    assert best.delta1 == 1.0
    assert 7.9 < constant < 10.0
    medians = TruthStatistics()
    medians.add(np.array([[1.0, 3.0, 3.0]], np.float32))
    found = medians.frame_medians()
    assert found is not None
    assert found.delta1 == pytest.approx(2 / 3)


def test_only_known_depth_above_zero_is_within_or_not() -> None:
    depth_m = np.array([[2.0, 0.0, 2.0, 2.0]], np.float32)
    uncertainty_m = np.array([[1.0, 1.0, np.nan, 1.0]], np.float32)
    truth_m = np.array([[2.0, 2.0, 2.0, 0.0]], np.float32)
    assert share_within(depth_m, uncertainty_m, truth_m) == 1.0
