# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What many points tell of depth's exponent and of the width of its intervals, in scenes whose error is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from depthclip_ros.core.anchors.estimator import ScaleEstimator
from depthclip_ros.core.anchors.measurement import Measurement, Prediction
from depthclip_ros.core.anchors.points import SeenPoints, measure_points
from depthclip_ros.core.anchors.shape import FADE_S, NO_SHAPE, RIDGE, STEP, Shape, ShapeEstimator, _fit
from depthclip_ros.core.anchors.track import RECENT_S
from depthclip_ros.core.types import Intrinsics

CAMERA = Intrinsics(200.0, 200.0, 159.5, 119.5, 320, 240)
V, U = np.mgrid[:240, :320]
ROOM = (1.0 + 3.0 * U / 320 + 2.0 * (V < 120)).astype(np.float32)  # 1 to 6 m: what the network says
EVERYWHERE = np.stack(np.meshgrid(np.arange(10.0, 320, 25), np.arange(10.0, 240, 25)), -1).reshape(-1, 2)
ONE_ROW = EVERYWHERE[EVERYWHERE[:, 1] == 110]


def stretched(depth_m, exponent=1.4, pivot_m=2.5, scale=1.2):
    return scale * pivot_m * (depth_m / pivot_m) ** exponent


class Robot:
    """Reads points of one place again and again, and sees depth as it is corrected by then."""

    def __init__(self, predicted_m=ROOM, true_m=None, pixels=EVERYWHERE, noise=0.01, seed=0):
        self.predicted_m = predicted_m
        self.true_m = stretched(predicted_m) if true_m is None else true_m
        self.pixels, self.noise = pixels, noise
        self.estimator, self.rng, self.now_s = ScaleEstimator(), np.random.default_rng(seed), 100.0

    @property
    def shape(self):
        return self.estimator.estimate.shape

    def read(self, count, *, wild=0.0, shift=0.0):
        for _ in range(count):
            self.now_s += 0.1
            shape = self.shape
            prediction = Prediction(shape.stretched(self.predicted_m), CAMERA)
            self.estimator.see(self.now_s, prediction.depth_m)
            at = tuple(self.pixels[:, ::-1].astype(int).T)
            true_m = self.true_m[at] * np.exp(shift + self.rng.normal(0, self.noise, len(self.pixels)))
            random_m = self.rng.uniform(0.1, 10, len(true_m))
            seen = SeenPoints(self.pixels, np.where(self.rng.random(len(true_m)) < wild, random_m, true_m))
            if self.estimator.add("points", self.now_s, measure_points(prediction, seen)):
                self.estimator.learn_shape(prediction, shape, seen)
        return self

    @property
    def error(self):
        """AbsRel of the corrected depth."""
        estimate = self.estimator.estimate
        return np.mean(np.abs(estimate.shape.stretched(self.predicted_m) * estimate.factor / self.true_m - 1))

    @property
    def error_of_scale_alone(self):
        ratio = np.log(self.true_m / self.predicted_m)
        return np.mean(np.abs(self.predicted_m * math.exp(np.median(ratio)) / self.true_m - 1))


def test_an_exponent_is_found_and_depth_is_right_with_it():
    robot = Robot().read(20)
    assert robot.shape.exponent == pytest.approx(1.4, abs=0.06)
    assert robot.shape.pivot_m == pytest.approx(np.median(ROOM), rel=0.1)
    assert robot.error_of_scale_alone > 0.12
    assert robot.error < 0.03


def test_a_shift_in_disparity_is_mostly_mended():
    robot = Robot(true_m=1 / (1 / ROOM.astype(float) + 0.15)).read(20)
    assert robot.shape.exponent < 0.9
    assert robot.error < 0.4 * robot.error_of_scale_alone


def test_depth_moves_on_and_does_not_jump():
    robot = Robot().read(2)
    assert robot.shape == NO_SHAPE, "three readings that agree come first"
    before = 1.0
    for _ in range(10):
        exponent = robot.read(1).shape.exponent
        assert exponent <= before * math.exp(STEP) * (1 + 1e-9)
        before = exponent
    assert before > 1.2


def test_without_spread_there_is_no_exponent():
    wall = np.full_like(ROOM, 2.0)
    robot = Robot(wall, true_m=wall * np.float32(1.3)).read(20)
    assert robot.shape.exponent == 1.0
    assert robot.estimator.estimate.factor == pytest.approx(1.3, rel=0.02)


def test_errors_of_things_that_have_nothing_to_do_with_depth_are_no_exponent():
    # A table top: near and far parts differ by little, and each thing on it is off by an amount of its own.
    table = (0.8 + 0.2 * V / 240).astype(np.float32)
    for seed in range(6):
        things = np.random.default_rng(seed).normal(0, 0.15, (6, 8)).repeat(40, 0).repeat(40, 1)
        robot = Robot(table, true_m=table * np.exp(things), seed=seed).read(15)
        alone = Robot(table, true_m=table * np.exp(things), seed=seed)
        alone.estimator.learn_shape = lambda *_: None
        assert robot.error <= 1.01 * alone.read(15).error, seed


def test_one_thing_at_the_end_of_a_scan_is_no_exponent():
    """The line through all eight columns follows it; each column left out is told better by the scale alone."""
    deep = (1.0 + 3.0 * U / 320).astype(np.float32)
    true_m = np.where(U >= 280, 1.5 * deep, deep)
    assert Robot(deep, true_m, ONE_ROW.repeat(3, 0)).read(15).shape.exponent == 1.0


def test_what_a_line_fits_by_chance_is_left_out_and_not_believed():
    """Columns whose errors have nothing to do with their depth: fitted to all, half of such places had an exponent."""
    deep = (1.0 + 3.0 * U / 320).astype(np.float32)
    believed = []
    for seed in range(40):
        off = np.random.default_rng(seed).normal(0, 0.2, 8).repeat(40)
        robot = Robot(deep, deep * np.exp(off[None]), ONE_ROW.repeat(3, 0)).read(5)
        believed.append(robot.shape.exponent != 1)
    assert np.mean(believed) < 0.35


def test_little_spread_tells_little_of_an_exponent():
    shallow = (2.0 * np.exp(0.2 * (U / 320 - 0.5))).astype(np.float32)
    x = np.log(shallow[tuple(EVERYWHERE[:, ::-1].astype(int).T)])
    robot = Robot(shallow, stretched(shallow, 1.4, 2.0), noise=0.0).read(20)
    assert robot.shape.exponent == pytest.approx(1 + 0.4 * x.var() / (x.var() + RIDGE), abs=0.02)
    assert robot.shape.exponent < 1.15


@pytest.mark.parametrize("pixels", [EVERYWHERE[:15], EVERYWHERE[np.all(EVERYWHERE < 80, axis=1)].repeat(4, 0)])
def test_few_points_and_few_blocks_tell_no_exponent(pixels):
    assert Robot(pixels=pixels).read(15).shape.exponent == 1.0


def test_a_row_of_a_scan_tells_one_from_block_to_block():
    assert Robot(pixels=ONE_ROW.repeat(3, 0)).read(15).shape.exponent == pytest.approx(1.4, abs=0.15)


def test_four_blocks_tell_one_and_three_do_not():
    column = ONE_ROW[:, 0] // 40
    four = Robot(pixels=ONE_ROW[np.isin(column, (0, 2, 5, 7))].repeat(6, 0)).read(15)
    assert four.shape.exponent == pytest.approx(1.4, abs=0.15)
    three = Robot(pixels=ONE_ROW[np.isin(column, (0, 3, 7))].repeat(8, 0)).read(15)
    assert three.shape.exponent == 1.0


def test_a_block_is_two_by_two_regions_and_three_of_them_tell_nothing():
    x = np.linspace(-1.0, 1.0, 60)
    corner = np.resize([0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13], 60)  # six columns of two rows: three blocks
    exponent, middle, errors = _fit(x, 1.4 * x, corner)
    assert (exponent, errors) == (1.0, (1.0, 1.0))
    assert middle == pytest.approx(0.0, abs=0.04)
    exponent, _, (alone, with_exponent) = _fit(x, 1.4 * x, np.where(corner == 5, 30, corner))
    assert exponent == pytest.approx(1.4, abs=0.03)
    assert with_exponent < 0.2 * alone


def test_what_is_a_little_off_bends_the_line_little_whatever_the_scale():
    """A twentieth of the points, all at one end, off by less than what is wild."""
    x = np.linspace(-1.0, 1.0, 200)
    y = x + np.where(x > 0.9, 0.085, 0.0)
    everywhere = np.resize(np.arange(48), 200)
    off = _fit(x, y, everywhere)[0] - 1
    assert 0 < off < 0.65 * (np.polyfit(x, y, 1)[0] - 1), "least squares would go along"
    for of_depth, of_scale in ((-2.0, 0.0), (0.0, 2.0), (3.0, -1.0)):
        exponent, middle, _ = _fit(x + of_depth, y + of_depth + of_scale, everywhere)
        assert exponent - 1 == pytest.approx(off, rel=0.1)
        assert middle == pytest.approx(of_depth, abs=0.02)


def test_a_third_of_wild_points_neither_hides_an_exponent_nor_makes_one():
    assert Robot().read(20, wild=0.3).shape.exponent == pytest.approx(1.4, abs=0.15)
    slight = Robot(true_m=stretched(ROOM, 1.06)).read(20, wild=0.3)
    assert slight.shape.exponent == pytest.approx(1.06, abs=0.025), "what is wild does not judge either"
    flat = Robot(true_m=1.2 * ROOM).read(20, wild=0.3)
    assert flat.shape.exponent == pytest.approx(1.0, abs=0.05)
    assert flat.error < 0.05


def test_a_wrong_constant_in_a_still_scene_teaches_nothing():
    robot = Robot().read(20)
    learnt, error = robot.shape, robot.error
    robot.read(50, shift=math.log(0.4))
    assert robot.shape.exponent == pytest.approx(learnt.exponent, rel=0.25), "it fades, as in silence"
    assert robot.error < error + 0.05


def test_silence_fades_it_back_to_the_scale_alone():
    robot = Robot().read(20)
    learnt = robot.shape
    shape = robot.estimator._shape
    assert shape.at(robot.now_s + RECENT_S) == learnt
    faded = shape.at(robot.now_s + RECENT_S + FADE_S)
    assert math.log(faded.exponent) == pytest.approx(math.log(learnt.exponent) / math.e, rel=1e-6)
    assert shape.at(robot.now_s + 200).exponent == pytest.approx(1.0, abs=1e-3)
    shape._shape = replace(learnt, width=1.8)
    assert math.log(shape.at(robot.now_s + RECENT_S + FADE_S).width) == pytest.approx(math.log(1.8) / math.e, rel=1e-6)


def test_after_a_silence_it_goes_on_from_where_it_had_faded_to():
    robot = Robot().read(20)
    assert robot.shape.exponent > 1.3
    robot.now_s += 30.0
    robot.estimator.see(robot.now_s, robot.predicted_m)
    faded = robot.shape.exponent
    assert faded < 1.05
    assert robot.read(1).shape.exponent == pytest.approx(faded, rel=math.expm1(STEP) + 1e-6)
    assert robot.read(20).shape.exponent > 1.3


def test_a_cut_ends_it_at_once():
    robot = Robot().read(20)
    rgb = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    other = np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8)
    robot.estimator.see(robot.now_s + 0.1, ROOM, rgb)
    robot.estimator.see(robot.now_s + 0.2, ROOM[::-1] * np.float32(2), other)
    assert robot.shape == NO_SHAPE


def test_depth_stays_above_zero_and_finite_whatever_the_exponent():
    depth_m = np.array([1e-3, 0.1, 2.0, 10.0, 100.0], np.float32)
    for exponent in (0.5, 0.9, 1.3, 2.0):
        shape = Shape(exponent, 2.0)
        found = shape.stretched(depth_m)
        assert found.dtype == np.float32
        assert (np.diff(found) > 0).all()
        assert (found > 0).all()
        assert np.isfinite(found).all()
        assert found[2] == pytest.approx(2.0)
        np.testing.assert_allclose(shape.unstretched(found.astype(float)), depth_m, rtol=1e-4)
    assert np.isnan(Shape(1.2, 2.0).stretched(np.array([np.nan]))[0])


def width_of(pixels, errors, readings=1, usual=1.0, of_frame=1.0):
    """The width that points with these |ln| errors tell, where the table says 0.4."""
    estimator = ShapeEstimator()
    prediction = Prediction(np.full((240, 320), 2.0, np.float32), CAMERA)
    wide = np.full((240, 320), 0.4 * of_frame, np.float32)
    for reading in range(readings):
        seen = SeenPoints(pixels, 2.0 * np.exp(np.resize(errors, len(pixels))))
        estimator.add(reading * 0.1, prediction, Shape(width=of_frame), seen, 1.0, wide, usual)
    return estimator.at(0.1 * readings).width


def width_after(readings):
    """The width after readings at these times, seconds, whose points are off by these |ln| errors."""
    estimator, prediction = ShapeEstimator(), Prediction(np.full((240, 320), 2.0, np.float32), CAMERA)
    wide = np.full((240, 320), 0.4, np.float32)
    for time_s, error in readings:
        seen = SeenPoints(EVERYWHERE, 2.0 * np.exp(np.resize([error, -error], len(EVERYWHERE))))
        estimator.add(time_s, prediction, NO_SHAPE, seen, 1.0, wide, 1.0)
    return estimator.at(readings[-1][0]).width


def test_the_width_is_that_of_the_points_as_far_as_their_regions_tell():
    all_regions = 2 / (1 / 6 + 1 / 8)
    assert width_of(EVERYWHERE, [0.3, -0.3]) == pytest.approx(
        (0.3 / 0.4) ** (all_regions / (all_regions + 4)), rel=1e-5
    )
    assert width_of(EVERYWHERE, [0.6, -0.6]) == pytest.approx(
        (0.6 / 0.4) ** (all_regions / (all_regions + 4)), rel=1e-5
    )
    row = 2 / (1 / 1 + 1 / 8)
    assert width_of(ONE_ROW.repeat(3, 0), [0.2, -0.2]) == pytest.approx(0.5 ** (row / (row + 4)), rel=1e-5)


def test_the_width_goes_by_the_rate_that_is_judged_and_by_the_tables_own_width():
    assert width_of(EVERYWHERE, [0.2, -0.2], usual=0.5) == pytest.approx(1.0)
    assert width_of(EVERYWHERE, [0.4, -0.4], of_frame=0.7) == pytest.approx(1.0), "published narrower: not once more"
    # of five equal shares the fourth is reached at 80 %
    shares = width_of(EVERYWHERE, [0.1, 0.2, 0.3, 0.4, 3.0])
    assert shares == pytest.approx(1.0, abs=0.05)


def test_wild_points_tell_of_the_sensor_and_widen_nothing():
    tame = width_of(EVERYWHERE, [0.3, -0.3])
    assert width_of(EVERYWHERE, [0.3, -0.3, 0.3, 2.0, -0.3, 0.3, -0.3, -2.5, 0.3, 3.0]) == pytest.approx(tame, rel=0.01)


def test_a_width_has_limits_and_one_reading_moves_it_little():
    assert width_of(EVERYWHERE, [1e-4]) == 0.5
    assert width_of(EVERYWHERE, [4.0, -4.0]) == 2.0
    assert width_after([(0.1 * i, error) for i, error in enumerate([0.4, 0.4, 3.0, 0.4, 0.4])]) == pytest.approx(1.0)


def test_weights_without_intervals_keep_their_width():
    assert Robot().read(10).shape.width == 1.0


def test_what_was_read_more_than_a_second_ago_does_not_count():
    late = width_after([(0.0, 0.6), (0.05, 0.6), (0.1, 0.6), (0.9, 0.2), (1.2, 0.2)])
    assert late == pytest.approx(width_of(EVERYWHERE, [0.2, -0.2]), rel=1e-6)


def test_a_width_is_judged_at_the_scale_that_is_believed():
    """Depth that is right but for its scale: the intervals are far too wide, whatever the scale."""
    estimator, prediction = ScaleEstimator(), Prediction(ROOM, CAMERA)
    seen = SeenPoints(EVERYWHERE, 2.5 * ROOM[tuple(EVERYWHERE[:, ::-1].astype(int).T)])
    for reading in range(10):
        estimator.see(reading * 0.1, ROOM)
        estimator.add("points", reading * 0.1, measure_points(prediction, seen))
        estimator.learn_shape(prediction, NO_SHAPE, seen, np.full((240, 320), 0.4, np.float32))
    assert estimator.estimate.factor == pytest.approx(2.5, rel=0.1)
    assert estimator.estimate.shape.width < 0.6


def test_nothing_is_learnt_before_a_scale_is_believed():
    estimator = ScaleEstimator()
    prediction = Prediction(ROOM, CAMERA)
    seen = SeenPoints(EVERYWHERE, stretched(ROOM)[tuple(EVERYWHERE[:, ::-1].astype(int).T)])
    estimator.see(0.0, ROOM)
    for _ in range(20):
        estimator.learn_shape(prediction, NO_SHAPE, seen)
    assert estimator.estimate.shape == NO_SHAPE
    for reading in range(3):
        estimator.add("points", reading * 0.1, Measurement(0.2, 0.01, 1e-4))
    assert estimator.estimate.shape == NO_SHAPE, "nor remembered"
