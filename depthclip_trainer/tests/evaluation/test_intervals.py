# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from depthclip_trainer.data.sample import Sample
from depthclip_trainer.evaluation import intervals
from depthclip_trainer.evaluation.intervals import Pixels, coverage_of, fit_uncertainty, half_widths

from depthclip_ros.core.engine.interval import half_width
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Depth, Intrinsics
from depthclip_ros.core.uncertainty import LEVEL


def frames_of(seed, places, scale_sd=0.3, frames=4, pixels=500):
    """Places with one error of scale each; the error of a pixel follows the spread that it says."""
    rng = np.random.default_rng(seed)
    found = []
    for place in range(places):
        scale = rng.normal(0, scale_sd)
        for _ in range(frames):
            spread2 = rng.uniform(0.1, 3, pixels)
            predicted_m = np.exp(rng.uniform(np.log(0.4), np.log(8), pixels))
            error = scale + 0.2 * np.sqrt(spread2) * rng.normal(0, 1, pixels)
            found.append(Pixels(f"room {place}", spread2, predicted_m, predicted_m * np.exp(error)))
    return found


def test_intervals_hold_at_their_rate_in_places_that_were_not_seen():
    table = fit_uncertainty(frames_of(0, 80))
    unseen = frames_of(1, 80)
    for level in (0.5, 0.8, 0.9):
        assert coverage_of(unseen, table, level)["coverage"] == pytest.approx(level, abs=0.06)
    assert table.scale_sd == pytest.approx(0.3, rel=0.25)
    assert (table.places, table.frames) == (80, 320)


def test_a_known_scale_leaves_the_error_of_shape():
    table = fit_uncertainty(frames_of(0, 80))
    known = frames_of(1, 80, scale_sd=0.0)
    wide = [half_widths(table, f.spread2, f.predicted_m, LEVEL, 0.0) for f in known]
    inside = np.mean([np.mean(np.abs(f.log_error) <= w) for f, w in zip(known, wide, strict=True)])
    assert inside == pytest.approx(0.9, abs=0.02)
    assert np.mean(wide) < 0.7 * coverage_of(known, table)["half_width"]


def test_intervals_follow_the_spread_and_beat_one_constant_width():
    frames = frames_of(2, 60, scale_sd=0.02)
    table = fit_uncertainty(frames)
    own = coverage_of(frames, table)
    error = np.concatenate([frame.log_error for frame in frames])
    width = float(np.quantile(np.abs(error), own["coverage"]))
    assert own["interval_score"] < 0.9 * intervals.interval_score(error, width).mean()


def test_a_room_of_many_frames_counts_as_much_as_a_room_of_one():
    good = frames_of(3, 30, scale_sd=0.0)
    bad = [Pixels("bad", f.spread2, f.predicted_m, f.truth_m * 3) for f in frames_of(4, 1, frames=200)]
    assert coverage_of([*good, *bad], fit_uncertainty([*good, *bad]))["coverage"] > 0.85
    few = fit_uncertainty([*good, *bad[:1]])
    assert fit_uncertainty([*good, *bad]).scale_sd == pytest.approx(few.scale_sd, rel=0.1)


def test_few_places_give_wide_intervals_rather_than_sure_ones():
    """The quantile allows for one more place that is worse than all."""
    table = fit_uncertainty(frames_of(5, 9))
    assert coverage_of(frames_of(5, 9), table)["coverage"] > 0.97


def test_what_is_fitted_is_what_the_engine_gives():
    frame = frames_of(6, 20)[0]
    table = fit_uncertainty(frames_of(6, 20))
    confidence, predicted_m = (values.astype(np.float32) for values in (1 / (1 + frame.spread2), frame.predicted_m))
    engine = half_width(confidence, predicted_m, table, 0.9, None)
    np.testing.assert_allclose(engine, half_widths(table, frame.spread2, frame.predicted_m), rtol=1e-3)


def test_no_frame_is_refused():
    with pytest.raises(InputError, match="no frame has depth"):
        fit_uncertainty([])


def test_confidence_is_calibrated_to_the_share_of_right_pixels(monkeypatch):
    class Known(torch.nn.Module):
        """A model that has nothing but a confidence to calibrate."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("confidence_scale", torch.tensor(3.0))

    class KnownEngine:
        """Spread 0.1 and the right depth in bright pixels, 0.6 and half as much again in dark ones."""

        def __init__(self, model, **_) -> None:
            self.scale = float(model.confidence_scale)

        def infer(self, images, intrinsics, limits):
            right = images[..., 0] > 127
            confidence = 1 / (1 + (np.where(right, 0.1, 0.6) / self.scale) ** 2)
            return Depth(np.where(right, 2.0, 3.0).astype(np.float32), confidence.astype(np.float32), [1.0])

        def close(self) -> None:
            pass

    image = np.zeros((8, 8, 3), np.uint8)
    image[:, :4] = 255
    depth_m = np.full((8, 8), 2.0, np.float32)
    sample = Sample(image, depth_m, depth_m > 0, Intrinsics(300.0, 300.0, 4.0, 4.0, 8, 8), "x")
    monkeypatch.setattr(intervals, "DepthEngine", KnownEngine)
    model = Known()
    frames = [("x", sample)]
    table, _ = intervals.calibrate(model, intervals.pixels_of(model, frames), intervals.describe(frames))
    assert 0.1 < float(model.confidence_scale) < 0.6
    assert table.data == "1 of x"
    surely, hardly = table.even_odds_at(LEVEL) > half_widths(table, np.array([0.0, 9.0]), np.array([2.0, 3.0]))
    assert surely
    assert not hardly


def test_bands_hold_as_much_weight_each_and_are_fewer_where_places_are_few():
    frames = frames_of(7, 80, pixels=60)
    depths_m = fit_uncertainty(frames).depths_m
    assert len(depths_m) == intervals.BANDS
    expected = np.quantile(np.concatenate([f.predicted_m for f in frames]), [0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(depths_m, expected, rtol=0.05)
    twenty = frames_of(7, 20, pixels=60)
    near = [dataclasses.replace(f, predicted_m=f.predicted_m * (0.01 if i < 20 else 1)) for i, f in enumerate(twenty)]
    few = [frames[0], frames[4], frames[8]]
    assert len(fit_uncertainty(few).depths_m) == 1, "three frames are fewer than a band needs"
    # five of twenty places are near: a band of a quarter or a fifth would have them alone, and eight are needed
    assert len(fit_uncertainty(near).depths_m) == 3


def test_a_quantile_is_the_first_value_that_enough_weight_lies_at_or_under():
    values, weight = np.array([3.0, 1.0, 2.0]), np.array([1.0, 2.0, 1.0])
    found = [intervals._quantile(values, weight, level) for level in (0.0, 0.5, 0.51, 0.75, 0.76, 1.0, 1.1)]
    assert found == [1, 1, 2, 2, 3, 3, 3]


def test_floor_and_gain_are_those_of_the_errors():
    """Errors of 0.2 in each pixel and 0.3 times its own spread: both parts are found."""
    rng = np.random.default_rng(0)
    found = []
    for place in range(40):
        spread2, predicted_m = rng.uniform(0, 4, 500), rng.uniform(1, 5, 500)
        error = rng.normal(0, 1, 500) * np.sqrt(0.2**2 + 0.3**2 * spread2)
        found.append(Pixels(f"room {place}", spread2, predicted_m, predicted_m * np.exp(error)))
    table = fit_uncertainty(found)
    assert table.floor == pytest.approx(0.2, abs=0.04)
    assert table.gain == pytest.approx(0.3, abs=0.04)
    assert table.scale_sd < 0.05


def test_higher_levels_have_wider_intervals_and_more_places_narrower_ones():
    table = fit_uncertainty(frames_of(8, 80, pixels=60))
    for rows in (table.free, table.anchored):
        assert (np.diff(np.array(rows), axis=0) >= 0).all()
    one = Pixels("a", np.ones(100), np.full(100, 2.0), 2.0 * np.exp(np.linspace(-1, 1, 100)))
    few, many = ([dataclasses.replace(one, place=f"{i}") for i in range(count)] for count in (9, 90))
    widths = [fit_uncertainty(frames).free[intervals.LEVELS.index(0.9)][0] for frames in (few, many)]
    # of |errors| from 0 to 1: the quantile at 0.9 * (n + 1) / n, which of nine places is the largest there is
    assert widths[0] / widths[1] == pytest.approx(1.0 / (0.9 * 91 / 90), rel=0.03)


def test_coverage_counts_each_place_alike():
    table = fit_uncertainty(frames_of(9, 40, pixels=60))
    right = Pixels("right", np.ones(50), np.full(50, 2.0), np.full(50, 2.0))
    wrong = [Pixels("wrong", np.ones(n), np.full(n, 2.0), np.full(n, 40.0)) for n in (10, 700)]
    assert coverage_of([right, *wrong], table)["coverage"] == pytest.approx(0.5)
    with pytest.raises(InputError, match="nothing to score"):
        coverage_of([], table)


def test_pixels_are_drawn_where_both_depths_are_known(monkeypatch):
    class Engine:
        def __init__(self, model, **_) -> None:
            pass

        def infer(self, images, intrinsics, limits):
            depth_m = np.full(images.shape[:3], 2.0, np.float32)
            depth_m[:, 0], depth_m[:, 1] = np.nan, np.inf
            return Depth(depth_m, np.full_like(depth_m, 0.25), [1.0])

        def close(self) -> None:
            pass

    monkeypatch.setattr(intervals, "DepthEngine", Engine)
    truth_m = np.full((8, 8), 3.0, np.float32)
    truth_m[2] = 0
    camera = Intrinsics(300.0, 300.0, 4.0, 4.0, 8, 8)
    sample = Sample(np.zeros((8, 8, 3), np.uint8), truth_m, truth_m > 0, camera, "a/1")
    blind = Sample(sample.image, truth_m, np.zeros((8, 8), bool), camera, "a/2")
    (found,) = intervals.pixels_of(torch.nn.Identity(), [("x", sample), ("x", blind)])
    assert len(found.truth_m) == intervals.PIXELS
    assert set(found.predicted_m) == {2.0}
    assert set(found.truth_m) == {3.0}
    np.testing.assert_allclose(found.spread2, 1 / 0.25 - 1)
    assert intervals.describe([("x", sample), ("y", sample), ("x", blind)]) == "2 of x, 1 of y"
    rescaled = intervals.rescaled([found], 4.0)[0]
    np.testing.assert_allclose(rescaled.spread2, 12.0)


def test_two_bands_are_the_fewest_that_are_more_than_one():
    """Sixteen frames of one depth each are enough for two bands of eight, and fifteen for none."""
    rng = np.random.default_rng(0)
    frames = [
        Pixels(f"room {i}", np.ones(50), np.full(50, 1.0 + i), (1.0 + i) * np.exp(rng.normal(0, 0.1, 50)))
        for i in range(16)
    ]
    assert fit_uncertainty(frames).depths_m == (4.0, 12.0)
    assert len(fit_uncertainty(frames[:15]).depths_m) == 1


def test_a_places_frames_share_its_weight_and_a_frames_pixels_its_own():
    one, two = (Pixels("a", np.ones(n), np.full(n, 2.0), np.full(n, 2.0)) for n in (4, 8))
    other = Pixels("b", np.ones(2), np.full(2, 2.0), np.full(2, 2.0))
    weights = intervals._weights([one, two, other])
    assert [w.tolist() for w in weights] == [[1 / 8] * 4, [1 / 16] * 8, [1 / 2] * 2]
    assert intervals._units([one, two, other]).tolist() == [0] * 4 + [1] * 8 + [2] * 2, "too few places: by frames"
    places = [dataclasses.replace(other, place=f"{i}") for i in (0, 0, *range(8))]
    assert intervals._units(places).tolist() == [0] * 6 + [i for i in range(1, 8) for _ in range(2)]


def test_the_quantiles_of_a_band_allow_for_one_more_unit_and_never_fall():
    """Ten units of one score each, 1 to 10: at half of eleven the sixth is first, at .9 of eleven the tenth."""
    scores, units = np.arange(1.0, 11.0), np.arange(10)
    (row,) = np.array(intervals._factors(scores, np.ones(10), units, np.zeros(10, int), 1)).T
    assert row.tolist() == [6.0, 7.0, 8.0, 9.0, 10.0, 10.0, 10.0, 10.0]
