# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from depthclip_ros.core.anchors.estimator import PRIOR_SD, ScaleEstimate, ScaleEstimator, prior_sd_of
from depthclip_ros.core.anchors.measurement import Measurement
from depthclip_ros.core.uncertainty import Uncertainty

RATE_HZ = 10
PLACE, NOISE = 0.15**2, 0.02**2
STILL = np.full((48, 64), 2.0, np.float32)
ELSEWHERE = np.full((48, 64), 3.0, np.float32)


class Robot:
    """A camera that sees a place, and anchors that read."""

    def __init__(self, **settings: float) -> None:
        self.estimator = ScaleEstimator(**settings)
        self.now_s = 100.0
        self.rng = np.random.default_rng(1)

    def look(self, seconds: float, depth_m: np.ndarray = STILL, **anchors) -> ScaleEstimate:
        """So long, with what each anchor says: a log scale, or a function of the generator."""
        for _ in range(round(seconds * RATE_HZ)):
            self.now_s += 1 / RATE_HZ
            self.estimator.see(self.now_s, depth_m)
            for name, says in anchors.items():
                value = says(self.rng) if callable(says) else says
                self.estimator.add(name, self.now_s, Measurement(value + self.rng.normal(0, 0.02), PLACE, NOISE))
        return self.estimator.estimate

    def verdict(self, name: str):
        return {one.name: one for one in self.estimator.verdicts(self.now_s)}[name]


def test_without_a_reading_there_is_no_estimate():
    assert Robot().look(1.0) == ScaleEstimate(0.0, None)
    assert ScaleEstimate().factor == 1.0


def test_an_anchor_is_followed_within_half_a_second():
    found = Robot().look(0.5, beam=0.3)
    # Bayes by hand: the prior's share of what is said is PLACE / (PLACE + prior), and the sd that of both
    weight = PRIOR_SD**2 / (PRIOR_SD**2 + PLACE)
    assert found.log_scale == pytest.approx(weight * 0.3, abs=0.02)
    assert found.log_scale_sd == pytest.approx(math.sqrt(weight * PLACE), rel=0.05)


def test_a_thousand_readings_of_one_wall_are_one_look_at_one_wall():
    robot = Robot()
    soon = robot.look(2.0, beam=0.3)
    late = robot.look(20.0, beam=0.3)
    assert late.log_scale_sd > 0.9 * soon.log_scale_sd


def test_two_anchors_that_agree_are_more_certain_than_one():
    alone, both = Robot().look(2.0, beam=0.3), Robot().look(2.0, beam=0.3, scan=0.25)
    assert both.log_scale_sd < 0.8 * alone.log_scale_sd
    assert 0.22 < both.log_scale < 0.3


@pytest.mark.parametrize("after_s", [0.0, 3.0])
def test_a_third_of_wild_readings_moves_nothing(after_s):
    robot = Robot()
    good = robot.look(3.0, beam=0.3).log_scale

    def wild(rng):
        return rng.uniform(-2, 2) if rng.random() < 0.3 else 0.3

    robot = Robot()
    if after_s:
        robot.look(after_s, beam=0.3)
    for _ in range(20):
        found = robot.look(0.5, beam=wild)
        assert found.log_scale == pytest.approx(good, abs=0.05)


@pytest.mark.parametrize("wrong", [-1.5, -0.4, 1.0, 0.35])
def test_five_seconds_of_a_wrong_constant_in_a_still_scene_move_nothing(wrong):
    robot = Robot()
    good = robot.look(3.0, beam=0.0).log_scale
    assert robot.look(5.0, beam=wrong).log_scale == pytest.approx(good, abs=0.05)
    assert robot.verdict("beam").state == "disagrees"
    assert robot.look(2.0, beam=0.0).log_scale == pytest.approx(good, abs=0.05)
    assert robot.verdict("beam").state == "accepted"


def test_what_is_said_for_long_is_believed_in_the_end():
    robot = Robot()
    robot.look(3.0, beam=0.0)
    assert robot.look(12.0, beam=0.8).log_scale == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("says", [0.0, 1.5], ids=["what is believed", "what was said against it"])
def test_silence_is_nothing_said_for_long(says):
    robot = Robot()
    robot.look(5.0, beam=0.0)
    robot.look(1.0, beam=1.5)
    quiet = robot.look(10.5)
    for _ in range(3):
        found = robot.look(0.1, beam=says)
        assert found.log_scale == pytest.approx(quiet.log_scale, abs=0.05)
        assert found.log_scale_sd < 1.05 * quiet.log_scale_sd
    assert robot.look(12.0, beam=1.5).log_scale == pytest.approx(1.5, abs=0.2)


def test_ten_seconds_of_readings_that_do_not_agree_with_each_other_change_nothing():
    robot = Robot()
    before = robot.look(5.0, beam=0.0)
    robot.look(1.0, beam=1.5)
    found = robot.look(15.0, beam=lambda rng: rng.uniform(-2, 2))
    assert found.log_scale == pytest.approx(before.log_scale, abs=0.05)
    assert found.log_scale_sd == pytest.approx(before.log_scale_sd, rel=0.05)


def test_what_an_anchor_said_a_minute_ago_does_not_join_when_another_speaks():
    robot = Robot()
    robot.look(2.0, scan=0.0, beam=0.75)
    assert robot.verdict("beam").state == "disagrees"
    robot.look(60.0)
    assert robot.look(0.3, tag=0.0).log_scale == pytest.approx(0.0, abs=0.05)
    assert robot.estimator._anchors["beam"].accepted_s < robot.now_s - 50


@pytest.mark.parametrize("step", [math.log(1.3), -math.log(1.3), 0.9])
def test_after_a_cut_the_new_scale_is_found_within_two_seconds(step):
    robot = Robot()
    before = robot.look(10.0, beam=0.1).log_scale
    found = robot.look(2.0, ELSEWHERE, beam=0.1 + step)
    assert found.log_scale - before == pytest.approx(step, abs=0.095)


def test_a_wild_first_reading_of_a_place_is_outvoted():
    robot = Robot()
    robot.look(5.0, beam=0.0)
    robot.look(0.1, ELSEWHERE, beam=1.0)
    assert robot.look(1.0, ELSEWHERE, beam=0.2).log_scale == pytest.approx(0.2, abs=0.05)


def test_pictures_tell_places_apart_whose_depth_is_alike():
    robot = Robot()
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[:, :32] = 200
    robot.estimator.see(robot.now_s, STILL, rgb)
    robot.look(5.0, beam=0.0)
    robot.estimator.see(robot.now_s, STILL, rgb[:, ::-1])
    assert robot.estimator.estimate.log_scale_sd == pytest.approx(PRIOR_SD)
    assert robot.look(1.0, beam=0.5).log_scale == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("back_s", [3.0, 600.0])
def test_a_clock_that_goes_back_keeps_the_scale_and_the_gate(back_s):
    robot = Robot()
    robot.look(5.0, beam=0.3)
    robot.now_s -= back_s
    known = robot.look(5.0, beam=0.3)
    assert known.log_scale == pytest.approx(0.3, abs=0.05)
    found = robot.look(2.0, beam=1.1)
    assert found.log_scale == pytest.approx(known.log_scale, abs=0.02)
    assert robot.verdict("beam").state == "disagrees"
    robot.now_s -= back_s
    robot.look(5.0)
    assert robot.verdict("beam").state == "silent", "what it said before the clock went back is old"


def test_a_reading_that_is_a_little_late_is_no_new_timeline():
    robot = Robot()
    robot.look(2.0, beam=0.3)
    robot.estimator.add("late", robot.now_s - 1.5, Measurement(0.3, PLACE, NOISE))
    robot.look(0.1)
    assert robot.estimator._time_s == pytest.approx(robot.now_s)


def test_silence_lets_the_variance_grow_back_to_the_prior_and_keeps_the_scale():
    robot = Robot()
    known = robot.look(3.0, beam=0.3)
    sds = [robot.look(20.0).log_scale_sd for _ in range(8)]
    assert all(a < b for a, b in zip([known.log_scale_sd, *sds], sds, strict=False))
    assert sds[-1] == pytest.approx(PRIOR_SD, rel=0.02)
    assert robot.estimator.estimate.log_scale == pytest.approx(known.log_scale)
    assert robot.verdict("beam").state == "silent"


def test_a_scene_that_moves_on_makes_it_less_certain():
    still, moving = Robot(), Robot()
    still.look(3.0, beam=0.3)
    moving.look(3.0, beam=0.3)
    still.look(2.0)
    for step in range(20):
        moving.look(0.1, STILL * np.float32(1 - 0.02 * step))
    assert moving.estimator.estimate.log_scale_sd > 1.3 * still.estimator.estimate.log_scale_sd


def test_what_is_forgotten_goes_by_the_way_of_the_scene_and_a_look_at_its_end_is_a_new_one():
    robot = Robot()
    before = robot.look(2.0, beam=0.3).log_scale_sd ** 2
    depth_m = STILL
    for _ in range(12):  # 0.96 of ln depth, in steps that are no cut
        depth_m = depth_m * np.float32(math.exp(0.08))
        moved = robot.look(0.1, depth_m).log_scale_sd ** 2
    prior = PRIOR_SD**2
    assert prior - moved == pytest.approx((prior - before) * math.exp(-2 * 0.96 / 2.0), rel=1e-3)
    again = robot.look(1.0, depth_m, beam=0.3).log_scale_sd ** 2
    assert again == pytest.approx(moved * PLACE / (moved + PLACE), rel=0.1)


def test_two_anchors_that_disagree_are_named_with_both_values():
    robot = Robot()
    robot.look(3.0, scan=0.0)
    robot.look(2.0, scan=0.0, beam=1.0)
    assert robot.verdict("scan").state == "accepted"
    verdict = robot.verdict("beam")
    assert verdict.state == "disagrees"
    assert "depth times 2.7" in verdict.reason
    assert "says 1.0" in verdict.reason
    assert verdict.factor == pytest.approx(math.e, rel=0.03)
    assert abs(robot.look(20.0, scan=0.0, beam=1.0).log_scale) < 0.05  # the other never falls silent


def test_the_most_that_agree_win_whoever_came_first():
    robot = Robot()
    found = robot.look(2.0, glass=1.2, scan=0.0, ground=0.05)
    assert abs(found.log_scale) < 0.06
    assert robot.verdict("glass").state == "disagrees"


def test_readings_that_do_not_agree_with_each_other_are_refused():
    robot = Robot()
    found = robot.look(3.0, beam=lambda rng: rng.uniform(-3, 3))
    assert found.log_scale_sd is None or found.log_scale_sd > 0.12
    robot.estimator.refuse("ground", robot.now_s, "the floor is not seen")
    assert (robot.verdict("ground").state, robot.verdict("ground").reason) == ("refused", "the floor is not seen")


def test_reset_forgets_everything():
    robot = Robot()
    robot.look(3.0, beam=0.3)
    robot.estimator.reset()
    assert robot.estimator.estimate == ScaleEstimate()
    assert robot.estimator.verdicts(robot.now_s) == []


def test_the_standard_deviation_is_that_of_its_errors():
    """Places drawn from the model: the error over the standard deviation is of size one."""
    rng = np.random.default_rng(3)
    ratios = []
    for _ in range(60):
        robot = Robot()
        true = rng.normal(0, PRIOR_SD)
        found = robot.look(1.5, a=true + rng.normal(0, 0.15), b=true + rng.normal(0, 0.15))
        if found.log_scale_sd is not None:
            ratios.append((found.log_scale - true) / found.log_scale_sd)
    assert len(ratios) > 55
    assert 0.8 < np.sqrt(np.mean(np.square(ratios))) < 1.25


def test_a_prior_is_as_wide_as_the_weights_say_and_never_so_narrow_that_the_gate_refuses_a_sensor():
    table = Uncertainty(0.1, 0.2, 0.7, (0.9,), (2.0,), ((1.6,),), ((1.4,),), 0.5, 9, 30)
    assert prior_sd_of(table) == 0.7
    assert prior_sd_of(dataclasses.replace(table, scale_sd=0.05)) == PRIOR_SD
    assert prior_sd_of(None) == PRIOR_SD
