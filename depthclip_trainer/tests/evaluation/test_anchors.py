# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import dataclasses
import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from depthclip_trainer.evaluation.anchors import replay
from depthclip_trainer.evaluation.anchors.simulated import Place, sensors_of, true_floor

from depthclip_ros.core.anchors.estimator import ScaleEstimator
from depthclip_ros.core.anchors.measurement import Measurement, Prediction
from depthclip_ros.core.types import Depth, Intrinsics

CAMERA = Intrinsics(100.0, 100.0, 79.5, 59.5, 160, 120)


def room(height_m: float = 0.8, pitch_deg: float = 15.0, wall_m: float = 4.0) -> np.ndarray:
    pitch = math.radians(pitch_deg)
    v, u = np.mgrid[:120, :160]
    rays = np.stack([(u - 79.5) / 100, (v - 59.5) / 100, np.ones((120, 160))], axis=-1)
    down, ahead = rays @ (0, math.cos(pitch), math.sin(pitch)), rays @ (0, -math.sin(pitch), math.cos(pitch))
    with np.errstate(divide="ignore"):
        return np.minimum(np.where(down > 0, height_m / down, np.inf), wall_m / ahead).astype(np.float32)


def shown(factor: float, source: str = "a", seed: int = 0) -> replay.Shown:
    """A room whose prediction is too small by `factor`."""
    rng = np.random.default_rng(seed)
    rgb = np.repeat(np.repeat(rng.integers(0, 255, (12, 16, 3), np.uint8), 10, 0), 10, 1)
    truth_m = room(wall_m=3 + 0.5 * seed)
    return replay.Shown(source, rgb, truth_m / np.float32(factor), truth_m, CAMERA)


def test_every_sensor_reads_the_place_it_stands_in():
    place = Place.of(room(), CAMERA)
    assert set(sensors_of(place)) == {"range", "range, ultrasound", "scan", "points", "depth", "ground"}
    height_m, down = true_floor(place)
    assert height_m == pytest.approx(0.8, abs=0.02)
    assert down[1] == pytest.approx(math.cos(math.radians(15)), abs=0.02)


def test_each_anchor_finds_the_scale_of_each_place():
    rows = replay.replay([shown(1.4, seed=seed) for seed in range(3)])
    for name, row in rows.items():
        assert row.silent == 0
        assert row.mean(row.published) == pytest.approx(1 - 1 / 1.4, abs=0.01)
        assert row.mean(row.median_scaled) == pytest.approx(0, abs=0.01)
        assert row.mean(row.anchored) < 0.05, name


def test_wild_readings_wrong_constants_and_cuts():
    frames = [shown(1.4, seed=seed) for seed in range(2)]
    wild = replay.replay(frames, wild=0.3)
    assert all(row.mean(row.anchored) < 0.08 for row in wild.values())
    wrong = replay.wrong_constant(frames)
    assert set(wrong) == set(wild)
    assert all(cost < 1.2 for cost, _ in wrong.values()), wrong  # of an AbsRel of next to nothing
    assert all(share == 1.0 and count == 1 for share, count in replay.cuts(frames).values())


def test_many_points_bend_what_the_network_drew_too_flat_and_narrow_its_intervals():
    frames = []
    for seed in range(2):
        one = shown(1.0, seed=seed)
        flat_m = 2.0 * (one.truth_m / 2.0) ** np.float32(0.7)

        def intervals(scale, flat_m=flat_m):
            depth_m = scale.shape.stretched(flat_m) * np.float32(scale.factor)
            return depth_m, np.full_like(depth_m, 0.5 * scale.shape.width)

        frames.append(dataclasses.replace(one, predicted_m=flat_m, intervals=intervals, usual=lambda _: 0.7))
    for name, row in replay.replay(frames).items():
        share = row.mean(row.anchored) / row.mean(row.median_scaled)
        assert share < 0.3 if name in ("points", "depth") else share > 0.6, name
        narrower = row.mean(row.half_widths) / row.mean(row.free_half_widths)
        assert narrower < 0.8 if name in ("points", "depth", "scan") else narrower == pytest.approx(1.0), name
        assert row.mean(row.covered) > 0.7, name


def test_a_place_without_a_floor_leaves_ground_silent():
    wall = np.full((120, 160), 2.0, np.float32)
    frames = [shown(1.4), replay.Shown("a", np.zeros((120, 160, 3), np.uint8), wall, wall, CAMERA)]
    assert replay.replay(frames)["ground"].silent == 1


def test_the_command_prints_a_table_and_writes_it(tmp_path, monkeypatch, capsys):
    from depthclip_trainer.commands import evaluate_anchors
    from depthclip_trainer.data.sample import Sample
    from depthclip_trainer.evaluation.protocols import protocol_named

    truth_m = room()
    sample = Sample(np.zeros((120, 160, 3), np.uint8), truth_m, truth_m > 0, CAMERA, "a/0")
    monkeypatch.setattr(evaluate_anchors, "predict", lambda *_, **__: (truth_m / np.float32(1.2), None))

    class Engine:
        """Depth that is 20 % too near, with intervals that an anchor narrows to a third."""

        uncertainty = SimpleNamespace(scale_sd=0.4, share=lambda *_: 0.8)

        def infer(self, images, intrinsics, limits):
            depth_m = (truth_m / np.float32(1.2) * np.float32(limits.scale_factor))[None]
            half_width = np.full_like(depth_m, 0.15 if limits.log_scale_sd is None else 0.05)
            return Depth(depth_m, np.ones_like(depth_m), [1.0], half_width=half_width)

    rows = evaluate_anchors.evaluate_anchors(Engine(), [("a", sample)] * 2, protocol_named("frames"), tmp_path)
    assert json.loads((tmp_path / "anchors.json").read_text())[0]["frames"] == 2
    assert {row["anchor"] for row in rows} >= {"range", "points"}
    assert "median-scaled" in capsys.readouterr().out
    points = next(row for row in rows if row["anchor"] == "points")
    assert points["covers"] == points["worst source"] == pytest.approx(1.0)  # without the anchor ln 1.2 is outside
    assert points["of that without"] == pytest.approx(1 / 3, rel=1e-3)


def test_scores_of_a_frame_are_those_of_its_counted_pixels():
    truth_m = np.array([[2.0, 4.0], [0.0, 0.5]], np.float32)
    predicted_m = np.array([[1.0, 2.0], [9.0, np.nan]], np.float32)

    def intervals(scale):
        return predicted_m * np.float32(scale.factor), np.array([[0.8, 0.6], [0.1, 0.1]], np.float32)

    one = replay.Shown("a", np.zeros((2, 2, 3), np.uint8), predicted_m, truth_m, CAMERA, intervals)
    assert one.abs_rel(1.0) == pytest.approx((0.5 + 0.5 + (0.5 - 1e-3) / 0.5) / 3)
    assert one.abs_rel(20.0) == pytest.approx((4.0 + 1.5 + (0.5 - 1e-3) / 0.5) / 3), "depth ends at 10 m"
    assert one.median_factor == pytest.approx(3.0 / 1.5)
    covered, wide = one.coverage(replay.NO_SCALE)
    assert (covered, wide) == (pytest.approx(0.5), pytest.approx(0.7)), "ln 2 = 0.69 is within 0.8 and not 0.6"
    assert one.free_half_width == pytest.approx(0.7)
    bare = replay.Shown("a", one.rgb, predicted_m, truth_m, CAMERA)
    assert all(math.isnan(value) for value in (*bare.coverage(replay.NO_SCALE), bare.free_half_width))


def test_a_row_counts_each_source_alike():
    row = replay.Row(sources=["a", "a", "b"])
    assert row.mean([1.0, 3.0, 10.0]) == pytest.approx(6.0)
    assert math.isnan(replay.Row().mean([]))


def test_rows_hold_a_figure_of_each_frame_that_was_read():
    rows = replay.replay([shown(1.4), shown(1.4, "b", 1)])
    row = rows["depth"]
    assert row.sources == ["a", "b"]
    for values in (row.published, row.median_scaled, row.anchored, row.deviations, row.sds, row.covered):
        assert len(values) == 2
    assert all(0.02 < sd < 0.12 for sd in row.sds)
    for one in rows.values():  # the scale is all that is wrong here
        off = np.expm1(np.multiply(one.deviations, one.sds))
        np.testing.assert_allclose(np.abs(off), one.anchored, rtol=1e-3)
        assert np.abs(one.deviations).max() < 3


@pytest.mark.parametrize(("height_m", "pitch_deg"), [(0.3, 10.0), (1.5, 40.0)])
def test_the_true_floor_is_found_at_any_height_and_pitch(height_m, pitch_deg):
    found_m, down = true_floor(Place.of(room(height_m, pitch_deg), CAMERA))
    assert found_m == pytest.approx(height_m, rel=0.02)
    expected = (0, math.cos(math.radians(pitch_deg)), math.sin(math.radians(pitch_deg)))
    np.testing.assert_allclose(down, expected, atol=0.03)


def test_a_table_with_more_below_it_is_no_floor_and_neither_is_a_wall():
    depth_m = room(0.6, 30.0, 9.0)
    depth_m[:, 60:] = room(1.2, 30.0, 9.0)[:, 60:]
    found_m, _ = true_floor(Place.of(depth_m, CAMERA))
    assert found_m == pytest.approx(1.2, rel=0.03)
    assert true_floor(Place.of(np.full((120, 160), 2.0, np.float32), CAMERA)) is None


def prediction_of(place):
    return Prediction(place.depth_m, place.camera)


@pytest.mark.parametrize("name", ["range", "range, ultrasound", "scan", "points", "depth", "ground"])
def test_readings_are_right_but_for_their_noise_and_wild_where_they_are_told_to_be(name):
    place = Place.of(room(), CAMERA)
    read = sensors_of(place)[name]
    rng = np.random.default_rng(0)
    ratios = [read(prediction_of(place), rng, 0.0)[0].log_ratio for _ in range(10)]
    assert abs(np.median(ratios)) < 0.06
    assert np.std(ratios) < 0.03
    if name in ("scan", "points", "ground"):
        assert np.std([read(prediction_of(place), rng, 1.0)[0].log_ratio for _ in range(10)]) > 0.1


def test_a_place_knows_what_lies_within_ten_metres_and_where():
    depth_m = np.zeros((120, 160), np.float32)
    depth_m[10, 20], depth_m[30, 40], depth_m[50, 60], depth_m[0, 0] = 2.0, np.nan, 10.0, 9.9
    place = Place.of(depth_m, CAMERA)
    np.testing.assert_array_equal(place.pixels, [[0, 0], [20, 10]])
    np.testing.assert_allclose(place.points[1], [(20 - 79.5) / 100 * 2, (10 - 59.5) / 100 * 2, 2.0], rtol=1e-6)


@pytest.fixture
def heard(monkeypatch):
    """One sensor, which says that all is as predicted: (middle depth of its place, readings) in order."""
    calls: list[float] = []

    def sensors(place):
        def read(prediction, rng, wild):
            calls.append(round(float(np.median(place.depth_m)), 3))
            return Measurement(0.0, 1e-4, 1e-4), None

        return {"sensor": read}

    monkeypatch.setattr(replay, "sensors_of", sensors)
    return lambda: [(depth_m, len([*same])) for depth_m, same in itertools.groupby(calls)]


def flat(predicted_m: float, truth_m: float, source: str = "a") -> replay.Shown:
    predicted, truth = (np.full((120, 160), depth_m, np.float32) for depth_m in (predicted_m, truth_m))
    return replay.Shown(source, np.zeros((120, 160, 3), np.uint8), predicted, truth, CAMERA)


def test_each_frame_is_held_for_two_seconds_of_eight_readings(heard):
    row = replay.replay([flat(2.0, 2.0), flat(4.0, 5.0)])["sensor"]
    assert heard() == [(2.0, 16), (5.0, 16)]
    assert row.published == pytest.approx([0.0, 0.2])


def test_a_wrong_constant_is_heard_for_five_seconds_after_five_of_the_truth(heard):
    costs = replay.wrong_constant([flat(2.0, 2.5)])
    assert heard() == [(2.5, 80)]
    assert costs == {"sensor": (pytest.approx(1.0), 1)}, "ln 0.4 is too far off to be believed"


def test_a_cut_changes_the_scale_by_three_tenths_and_is_watched_for_ten_seconds(heard):
    """Scales of 1.5, then 1.3 times that, then 1.3 times that; another source begins anew."""
    shares = replay.cuts([flat(2.0, 3.0), flat(1.0, 1.0), flat(3.0, 9.0), flat(2.0, 2.0, "b")])
    second_m, third_m = 1.5 * 1.3, 3 * 1.5 * 1.3**2
    assert heard() == [(3.0, 16), (round(second_m, 3), 16 + 64 + 16), (round(third_m, 3), 16 + 64)]
    assert shares["sensor"][1] == 2


@pytest.mark.parametrize(("moved", "within"), [(0.09, 1.0), (0.12, 0.0), (-0.12, 0.0)])
def test_a_scale_within_a_tenth_of_where_it_settles_is_found(monkeypatch, moved, within):
    """Of an estimator that says 0 for two seconds and `moved` from there on."""

    class Estimator(ScaleEstimator):
        @property
        def estimate(self):
            return replay.ScaleEstimate(moved if self.added > 32 else 0.0, 0.1)

        added = 0

        def add(self, name, time_s, measurement):
            self.added += 1
            return True

    monkeypatch.setattr(replay, "ScaleEstimator", Estimator)
    monkeypatch.setattr(replay, "sensors_of", lambda place: {"sensor": lambda *_: (Measurement(0.0, 1e-4, 1e-4), None)})
    assert replay.cuts([flat(2.0, 2.0), flat(2.0, 2.0)]) == {"sensor": (within, 1)}
