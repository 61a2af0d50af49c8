# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math

import numpy as np
import pytest
from depthclip_trainer.evaluation.metrics import (
    Readings,
    ause,
    confidence_metrics,
    depth_edges,
    depth_metrics,
    edge_metrics,
    interval_metrics,
)


def test_depth_metrics_equal_their_definitions():
    rng = np.random.default_rng(1)
    g = rng.uniform(0.5, 8.0, 500)
    p = g * np.exp(rng.normal(0.05, 0.3, 500))
    found = depth_metrics(g.astype(np.float64), p)
    n = len(g)
    ratios = [max(a / b, b / a) for a, b in zip(g, p, strict=True)]
    e = [math.log(b) - math.log(a) for a, b in zip(g, p, strict=True)]
    expected = {
        "delta1": sum(r < 1.25 for r in ratios) / n,
        "delta2": sum(r < 1.5625 for r in ratios) / n,
        "delta3": sum(r < 1.953125 for r in ratios) / n,
        "abs_rel": sum(abs(a - b) / a for a, b in zip(g, p, strict=True)) / n,
        "sq_rel": sum((a - b) ** 2 / a for a, b in zip(g, p, strict=True)) / n,
        "rmse": math.sqrt(sum((a - b) ** 2 for a, b in zip(g, p, strict=True)) / n),
        "rmse_log": math.sqrt(sum(x * x for x in e) / n),
        "log10": sum(abs(math.log10(a) - math.log10(b)) for a, b in zip(g, p, strict=True)) / n,
        "silog": 100 * math.sqrt(sum(x * x for x in e) / n - (sum(e) / n) ** 2),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


def test_delta_is_strict_at_its_threshold():
    assert depth_metrics(np.array([1.0]), np.array([1.25]))["delta1"] == 0.0
    assert depth_metrics(np.array([1.0]), np.array([1.249]))["delta1"] == 1.0


def test_float32_input_is_summed_in_double_precision():
    g = np.full(300_000, 3.0, np.float32)
    assert depth_metrics(g, g * np.float32(1.1))["abs_rel"] == pytest.approx(0.1, abs=1e-6)


def test_ause_equals_a_direct_computation():
    rng = np.random.default_rng(2)
    errors, confidence = rng.random(1000), rng.random(1000)

    def remaining(order: np.ndarray) -> list[float]:
        return [float(np.mean(errors[order[k * 10 :]])) for k in range(100)]

    by_confidence, oracle = remaining(np.argsort(confidence)), remaining(np.argsort(-errors))
    assert ause(errors, confidence) == pytest.approx(float(np.mean(np.subtract(by_confidence, oracle))), abs=1e-6)


def test_confidence_that_orders_errors_has_no_ause_and_one_that_reverses_them_has_more_than_chance():
    rng = np.random.default_rng(3)
    g = np.full(2000, 2.0)
    p = g + rng.uniform(0, 1, 2000)
    good = confidence_metrics(g, p, 1 - (p - g))
    bad = confidence_metrics(g, p, p - g)
    assert good["ause"] == pytest.approx(0.0, abs=1e-12)
    assert good["confidence_correlation"] == pytest.approx(-1.0)
    assert bad["ause"] > bad["ause_random"] > 0.05


def test_constant_confidence_has_no_correlation():
    g = np.array([1.0, 2.0, 3.0])
    assert confidence_metrics(g, g * 1.1, np.ones(3))["confidence_correlation"] == 0.0


def test_edges_are_what_lies_within_two_pixels_of_a_step():
    truth = np.full((9, 12), 2.0, np.float32)
    truth[:, 6:] = 2.19  # below a step of 10 %
    assert not depth_edges(truth).any()
    truth[:, 6:] = 2.21
    assert np.flatnonzero(depth_edges(truth)[4]).tolist() == [3, 4, 5, 6, 7, 8]
    truth[:, 7] = 0.0  # no reading: neither an edge nor a part of one
    assert np.flatnonzero(depth_edges(truth)[4]).tolist() == [3, 4, 5, 6, 8]
    truth[:, 6] = 0.0  # across a hole no step is known
    assert not depth_edges(truth).any()


def test_edge_error_is_that_of_edges_alone():
    truth = np.full((4, 12), 2.0, np.float32)
    truth[:, 6:] = 4.0
    predicted = truth.copy()
    predicted[:, 5] = 3.0
    predicted[:, 0] = 9.0
    assert edge_metrics(truth, predicted)["abs_rel_edges"] == pytest.approx(0.5 / 6)
    assert math.isnan(edge_metrics(np.ones((4, 4), np.float32), np.ones((4, 4), np.float32))["abs_rel_edges"])


def test_intervals_of_no_pixel_are_not_known_and_those_of_some_are_shares_and_means():
    nothing = interval_metrics(np.empty(0), np.empty(0))
    assert nothing.keys() == {"coverage", "half_width", "interval_score"}
    assert all(math.isnan(value) for value in nothing.values())
    found = interval_metrics(np.array([0.1, -0.2, 0.5, 0.0]), np.array([0.1, 0.1, 0.2, 0.2]), 0.5)
    assert found["coverage"] == 0.5
    assert found["half_width"] == pytest.approx(0.15)
    assert found["interval_score"] == pytest.approx(np.mean([0.2, 0.2 + 4 * 0.1, 0.4 + 4 * 0.3, 0.4]))


def test_errors_or_confidences_that_are_all_the_same_correlate_with_nothing():
    truth = np.array([1.0, 2.0, 4.0])
    for predicted, confidence in ((truth * 1.5, np.array([0.1, 0.5, 0.9])), (truth + 1, np.full(3, 0.5))):
        assert confidence_metrics(truth, predicted, confidence)["confidence_correlation"] == 0.0


def test_readings_of_sixteen_bits_take_little_memory_and_come_back():
    rng = np.random.default_rng(2)
    depth_m = (rng.integers(500, 4500, 300_000) / 1000).astype(np.float32)
    kept = Readings.of(depth_m)
    assert kept.values_m.nbytes + kept.counts.nbytes < depth_m.nbytes / 30
    np.testing.assert_array_equal(kept.all_m(), np.sort(depth_m))
    fine_m = rng.uniform(0.5, 4.5, 1000).astype(np.float32)  # all different
    kept = Readings.of(fine_m)
    assert kept.counts is None
    np.testing.assert_array_equal(kept.all_m(), np.sort(fine_m))
