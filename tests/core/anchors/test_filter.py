# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The estimator's filter against Bayes by hand: readings without noise of their own, so that every figure is exact."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depthclip_ros.core.anchors.estimator import ScaleEstimator
from depthclip_ros.core.anchors.measurement import Measurement

PRIOR, PLACE, NOISE, FLICKER = 0.25, 0.15**2, 0.02**2, 0.04**2
ONE_MEDIAN = NOISE + FLICKER  # the variance of what a few readings say, beside their place
WALL = np.full((48, 64), 2.0, np.float32)
STEP_S = 0.125  # exact in binary


class Readings:
    """Times of an eighth of a second; each anchor says one value."""

    def __init__(self) -> None:
        self.estimator = ScaleEstimator(math.sqrt(PRIOR))
        self.now_s = 100.0

    def add(self, count: int, *, place=PLACE, **said: float):
        for _ in range(count):
            for name, log_ratio in said.items():
                self.estimator.add(name, self.now_s, Measurement(log_ratio, place, NOISE))
            self.now_s += STEP_S
        return self.estimator.estimate

    def move(self, steps: int, log_depth: float = 0.1) -> None:
        """The picture moves on, a step at a time."""
        self.estimator.see(self.now_s, WALL)
        for step in range(1, steps + 1):
            self.estimator.see(self.now_s, WALL * np.float32(math.exp(log_depth * step)))

    def verdict(self, name: str):
        return {one.name: one for one in self.estimator.verdicts(self.now_s)}[name]


def after(variance: float, noise: float) -> float:
    """Variance after a reading of this variance."""
    return 1 / (1 / variance + 1 / noise)


def test_readings_of_the_first_second_are_weighed_as_one():
    alone = Readings()
    assert alone.add(2, beam=0.3).log_scale_sd is None
    known = PRIOR + PLACE + ONE_MEDIAN
    for count in (1, 5):  # three, then eight readings
        found = alone.add(count, beam=0.3)
        assert found.log_scale == pytest.approx(0.3 * PRIOR / known)
        assert found.log_scale_sd**2 == pytest.approx(after(PRIOR, PLACE + ONE_MEDIAN))
        assert found.factor == pytest.approx(math.exp(found.log_scale))


def test_a_later_median_counts_as_one_reading_among_as_many_as_its_window_holds():
    robot = Readings()
    robot.add(8, beam=0.3)
    found = robot.add(1, beam=0.3)  # the ninth, a second after the first
    noise = PLACE + 1 / (1 / ONE_MEDIAN + 1 / (9 * ONE_MEDIAN))
    assert found.log_scale_sd**2 == pytest.approx(after(PRIOR, noise))
    assert found.log_scale == pytest.approx(0.3 * PRIOR / (PRIOR + noise))


def test_two_anchors_are_two_independent_looks():
    found = Readings().add(3, beam=0.3, scan=0.2)
    one = PLACE + ONE_MEDIAN
    assert found.log_scale == pytest.approx(0.25 * PRIOR / (PRIOR + one / 2))
    assert found.log_scale_sd**2 == pytest.approx(after(PRIOR, one / 2))


def test_an_anchor_that_comes_late_joins_as_a_look_of_its_own():
    robot = Readings()
    robot.add(8, beam=0.3)
    robot.add(3, scan=0.3)
    expected = after(PRIOR, (PLACE + ONE_MEDIAN) / 2)
    assert robot.estimator.estimate.log_scale_sd**2 == pytest.approx(expected)


def test_a_moving_scene_widens_the_variance_by_its_way():
    robot = Readings()
    before = robot.add(8, beam=0.3).log_scale_sd ** 2
    robot.move(1)
    found = robot.estimator.estimate
    assert found.log_scale_sd**2 == pytest.approx(PRIOR - (PRIOR - before) * math.exp(-2 * 0.1 / 2), rel=1e-4)
    robot.estimator.see(robot.now_s, WALL)  # and back: as far again
    assert robot.estimator.estimate.log_scale_sd**2 > found.log_scale_sd**2


def test_after_a_long_way_a_reading_is_an_independent_look_at_another_place():
    """2 in ln depth are many times the length on which offsets change, so nothing is left of the first one."""
    robot = Readings()
    first = robot.add(8, beam=0.3, scan=0.3)
    robot.move(20)
    grown = PRIOR - (PRIOR - first.log_scale_sd**2) * math.exp(-2.0)
    assert robot.estimator.estimate.log_scale_sd**2 == pytest.approx(grown, rel=1e-4)
    assert robot.estimator.estimate.log_scale == pytest.approx(first.log_scale)
    robot.estimator.add("beam", robot.now_s, Measurement(0.3, PLACE, NOISE))
    readings = 3  # of the window, the last one of this view
    found = robot.estimator.estimate
    assert found.log_scale_sd**2 == pytest.approx(after(grown, PLACE + readings * ONE_MEDIAN), rel=2e-3)
    robot.estimator.add("scan", robot.now_s, Measurement(0.3, PLACE, NOISE))
    both = after(grown, (PLACE + readings * ONE_MEDIAN) / 2)
    assert robot.estimator.estimate.log_scale_sd**2 == pytest.approx(both, rel=4e-3)


def test_halfway_an_offset_is_partly_the_old_one():
    """By matrices: s and b after the settling, faded by the way, and one median more."""
    robot = Readings()
    robot.add(8, beam=0.3)
    seen = np.ones(2)
    covariance = np.diag([PRIOR, PLACE])
    gain = covariance @ seen / (seen @ covariance @ seen + ONE_MEDIAN)
    mean, covariance = gain * 0.3, covariance - np.outer(gain, covariance @ seen)
    robot.move(1)
    fade = np.diag([1.0, math.exp(-0.1 / 0.3)])
    mean, covariance = fade @ mean, fade @ covariance @ fade
    covariance += np.diag([(PRIOR - covariance[0, 0]) * (1 - math.exp(-0.1)), PLACE * (1 - math.exp(-0.2 / 0.3))])
    found = robot.add(1, beam=0.3)
    gain = covariance @ seen / (seen @ covariance @ seen + 9 * ONE_MEDIAN)
    mean, covariance = mean + gain * (0.3 - seen @ mean), covariance - np.outer(gain, covariance @ seen)
    assert found.log_scale == pytest.approx(mean[0], rel=1e-4)
    assert found.log_scale_sd**2 == pytest.approx(covariance[0, 0], rel=1e-4)


def test_silence_widens_the_variance_from_two_seconds_on():
    robot = Readings()
    before = robot.add(8, beam=0.3).log_scale_sd ** 2
    heard_s = robot.now_s - STEP_S
    for second in (1, 2):
        robot.estimator.see(heard_s + second, WALL)
        assert robot.estimator.estimate.log_scale_sd**2 == pytest.approx(before)
    for second in range(3, 33):
        robot.estimator.see(heard_s + second, WALL)
    expected = PRIOR - (PRIOR - before) * math.exp(-2 * 30 / 60)
    assert robot.estimator.estimate.log_scale_sd**2 == pytest.approx(expected)
    robot.estimator.see(heard_s + 5, WALL)  # a stamp of before
    assert robot.estimator.estimate.log_scale_sd**2 == pytest.approx(expected)


@pytest.mark.parametrize("sign", [1, -1])
def test_in_a_new_place_four_deviations_are_believed(sign):
    sd = math.sqrt(PRIOR + PLACE + ONE_MEDIAN)
    assert Readings().add(3, beam=sign * 3.95 * sd).log_scale_sd is not None
    robot = Readings()
    assert robot.add(3, beam=sign * 4.05 * sd).log_scale_sd is None
    assert robot.verdict("beam").state == "disagrees"


@pytest.mark.parametrize("sign", [1, -1])
def test_later_three_deviations_are_believed(sign):
    sd = math.sqrt(after(PRIOR, PLACE + ONE_MEDIAN) + PLACE + ONE_MEDIAN)
    for deviations, state in ((2.95, "accepted"), (3.05, "disagrees")):
        robot = Readings()
        robot.add(8, beam=0.0)
        robot.add(3, scan=sign * deviations * sd)
        assert robot.verdict("scan").state == state


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_of_as_many_the_more_certain_are_believed(names):
    sure, unsure = names
    robot = Readings()
    for _ in range(4):
        robot.estimator.add(sure, robot.now_s, Measurement(0.0, 0.05**2, NOISE))
        robot.estimator.add(unsure, robot.now_s, Measurement(1.5, 0.3**2, NOISE))
        robot.now_s += STEP_S
    assert robot.estimator.estimate.log_scale == pytest.approx(0.0, abs=1e-9)
    verdict = robot.verdict(unsure)
    assert verdict.state == "disagrees"
    known = after(PRIOR, 0.05**2 + ONE_MEDIAN)
    assert verdict.reason == (
        f"it says depth times {math.exp(1.5):.2f} (± {math.sqrt(0.3**2 + NOISE):.0%}), what was believed so far says "
        f"1.00 (± {math.sqrt(known):.0%})"
    )


@pytest.mark.parametrize(("apart_sd", "agree"), [(2.9, True), (3.1, False)])
def test_two_anchors_agree_within_three_deviations_of_both(apart_sd, agree):
    apart = apart_sd * math.sqrt(2 * (PLACE + NOISE))
    robot = Readings()
    robot.add(4, beam=0.0, scan=apart)
    states = [robot.verdict(name).state for name in ("beam", "scan")]
    assert states.count("accepted") == (2 if agree else 1)


def test_ten_seconds_against_the_estimate_are_believed_in_the_end():
    robot = Readings()
    robot.add(16, beam=0.0)
    assert robot.add(9 * 8, beam=1.0).log_scale == pytest.approx(0.0, abs=0.01)
    assert robot.add(3 * 8, beam=1.0).log_scale == pytest.approx(PRIOR / (PRIOR + PLACE + ONE_MEDIAN), rel=0.02)
    assert robot.verdict("beam").state == "accepted"


def test_each_reading_is_answered_by_whether_it_was_believed():
    robot = Readings()
    said = [robot.estimator.add("beam", 100 + index * STEP_S, Measurement(0.1, PLACE, NOISE)) for index in range(10)]
    assert said == [False, False] + [True] * 8
    later = [robot.estimator.add("scan", 102 + index * STEP_S, Measurement(2.0, PLACE, NOISE)) for index in range(4)]
    assert later == [False] * 4


def test_an_anchor_that_fell_silent_two_seconds_ago_defends_the_estimate_no_longer():
    robot = Readings()
    robot.add(16, beam=0.0, scan=0.0)
    assert robot.add(12 * 8, beam=0.0, scan=1.0).log_scale == pytest.approx(0.0, abs=0.01)
    robot.add(14, scan=1.0)
    assert robot.estimator.estimate.log_scale == pytest.approx(0.0, abs=0.01), "not yet"
    robot.add(8, scan=1.0)
    assert robot.estimator.estimate.log_scale > 0.8


def test_a_scene_that_moves_on_right_after_a_cut_is_as_unknown_as_any():
    """Nothing was read in the new place yet: there are no offsets left to fade."""
    robot = Readings()
    robot.add(8, beam=0.3, scan=0.3)
    before = robot.estimator.estimate.log_scale
    for log_depth in (0.0, 0.5, 0.6):
        robot.estimator.see(robot.now_s, WALL * np.float32(math.exp(log_depth)))
    assert robot.estimator.estimate.log_scale_sd == pytest.approx(math.sqrt(PRIOR))
    assert robot.estimator.estimate.log_scale == pytest.approx(before)


@pytest.mark.parametrize("noise_sd", [1e-5, 0.03, 0.2])
@pytest.mark.parametrize(("deviations", "state"), [(3.95, "accepted"), (4.05, "disagrees")])
def test_a_gate_allows_for_what_network_and_sensor_themselves_move_by(deviations, state, noise_sd):
    """A prior and a place that are all but exact: what is left is the flicker, 0.04 of ln depth, and the sensor."""
    estimator, sd = ScaleEstimator(1e-4), math.hypot(0.04, noise_sd)
    for index in range(3):
        estimator.add("beam", 100 + index * STEP_S, Measurement(deviations * sd, 1e-9, noise_sd**2))
    (verdict,) = estimator.verdicts(100 + 3 * STEP_S)
    assert verdict.state == state
