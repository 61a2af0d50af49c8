# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math

import pytest

from depthclip_ros.core.anchors.measurement import Measurement
from depthclip_ros.core.anchors.track import AnchorTrack

PLACE, NOISE = 0.1**2, 0.02**2


def track(
    *log_ratios: float, step_s: float = 0.1, ways=None, place: float = PLACE, noise: float = NOISE
) -> AnchorTrack:
    one = AnchorTrack()
    for index, log_ratio in enumerate(log_ratios):
        one.add(100 + index * step_s, ways[index] if ways else 0.0, Measurement(log_ratio, place, noise))
    return one


def test_a_second_of_readings_is_kept_and_never_less_than_three():
    often = track(*[0.0] * 16, step_s=0.125)
    assert [said.time_s for said in often.readings] == [100.875 + 0.125 * index for index in range(9)]
    assert len(track(*[0.0] * 30, step_s=0.01).readings) == 15, "of a fast sensor the last fifteen"
    assert len(track(*[0.0] * 6, step_s=2.0).readings) == 3, "of a slow one the last three"


def test_readings_of_another_view_are_let_go():
    ways = [0.0, 0.1, 0.19, 0.21, 0.3, 0.35]
    assert [said.way for said in track(*[0.0] * 6, ways=ways).readings] == [0.19, 0.21, 0.3, 0.35]


def test_three_readings_are_needed_and_their_median_is_what_is_said():
    assert track(0.1, 0.1).consensus() is None
    said = track(0.08, 0.1, 0.11).consensus()
    assert said == Measurement(0.1, pytest.approx(PLACE), pytest.approx(NOISE))


def test_the_variances_are_those_in_the_middle():
    one = AnchorTrack()
    for index, factor in enumerate((1, 2, 9)):
        one.add(100.0 + index / 10, 0.0, Measurement(0.0, factor * PLACE, factor * NOISE))
    said = one.consensus()
    assert (said.place_variance, said.noise_variance) == pytest.approx((2 * PLACE, 2 * NOISE))


@pytest.mark.parametrize(("off", "agrees"), [(0.15, True), (0.17, False)])
def test_readings_agree_within_three_deviations_of_noise_and_one_of_their_place(off, agrees):
    """3 * 0.02 + 0.1 = 0.16: the third of three readings lies within, or leaves two, which are too few."""
    assert (track(0.0, 0.0, off).consensus() is not None) is agrees


@pytest.mark.parametrize(("wild", "agrees"), [(4, True), (5, False)])
def test_of_ten_readings_six_must_agree(wild, agrees):
    said = track(*[0.0] * (10 - wild), *[2.0 + index for index in range(wild)]).consensus()
    assert (said is not None) is agrees
    assert said is None or said.log_ratio == 0.0


def test_the_median_of_those_that_agree_leaves_the_wild_ones_out():
    assert track(0.0, 0.02, 0.04, 0.06, 5.0, 5.0, 0.03).consensus().log_ratio == pytest.approx(0.03)


def test_on_the_way_readings_may_differ_by_half_of_it():
    """The first of three is 0.25 off: too far for one view (0.16), not where the scene has moved by 0.2 since."""
    said = (-0.25, 0.0, 0.0)
    assert track(*said, ways=(0.0, 0.0, 0.0)).consensus() is None
    assert track(*said, ways=(0.0, 0.2, 0.2)).consensus() is not None
    still = track(*said, ways=(0.0, 0.0, 0.0))
    assert still.consensus(0.2) is not None
    assert still.consensus(0.1) is None


def test_the_way_is_told_from_the_newest_reading_where_nobody_says_it():
    assert track(0.2, 0.0, 0.0, ways=[0.0, 0.0, 0.18]).consensus() is not None, "0.16, and half of 0.18"
    assert track(0.2, 0.0, 0.0, ways=[0.18, 0.18, 0.18]).consensus() is None


def test_verdicts_say_what_became_of_it():
    new = track(0.5, 0.5)
    verdict = new.verdict("beam", 100.2)
    assert (verdict.name, verdict.state) == ("beam", "waiting")
    assert verdict.reason == "2 readings, 3 that agree are needed"
    assert math.isnan(verdict.factor)

    one = track(0.5, 0.5, 0.5)
    assert one.verdict("beam", 100.3).state == "waiting"
    one.accept(100.2)
    assert one.verdict("beam", 102.1).state == "accepted"
    assert one.verdict("beam", 102.1).reason == ""
    assert one.verdict("beam", 102.1).factor == pytest.approx(math.exp(0.5))
    silent = one.verdict("beam", 102.3)
    assert (silent.state, silent.reason) == ("silent", "nothing came for 2 s")

    one.oppose(103.0, "both")
    one.oppose(104.0, "both now")
    assert one.opposed_since_s == 103.0
    one.add(104.0, 0.0, Measurement(0.5, PLACE, NOISE))
    assert (one.verdict("beam", 104.0).state, one.verdict("beam", 104.0).reason) == ("disagrees", "both now")
    one.accept(104.1)
    assert one.opposed_since_s is None
    assert one.verdict("beam", 104.1).state == "accepted"


def test_refusals_and_readings_that_contradict_each_other_are_refused():
    wild = track(0.0, 1.0, 2.0)
    assert wild.verdict("beam", 100.3).state == "refused"
    assert wild.verdict("beam", 100.3).reason == "its readings do not agree with each other"
    wild.refusal, wild.refused_s = "the floor is not seen", 103.0
    assert wild.verdict("beam", 104.9).reason == "the floor is not seen"
    assert wild.verdict("beam", 105.1).state == "silent"


def test_a_new_place_begins_without_readings_and_without_a_quarrel():
    one = track(0.0, 0.0, 0.0)
    one.oppose(100.0, "both")
    one.begin()
    assert (len(one.readings), one.opposed_since_s, one.disagrees) == (0, None, "")
