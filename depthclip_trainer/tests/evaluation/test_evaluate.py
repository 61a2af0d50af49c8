# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What becomes of a prediction before it is scored, and of scores before they are printed; the engine is made up."""

from __future__ import annotations

import dataclasses
import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from depthclip_trainer.data.sample import Sample
from depthclip_trainer.evaluation.evaluate import (
    Frame,
    Report,
    best_constant,
    clip_prediction,
    describe_intervals,
    evaluate,
    evenly,
    fill_rows,
    infer,
)
from depthclip_trainer.evaluation.metrics import Readings, depth_metrics
from depthclip_trainer.evaluation.protocols import protocol_named

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Depth, Intrinsics

CAMERA = Intrinsics(10.0, 10.0, 3.5, 1.5, 8, 4)
PROTOCOL = protocol_named("frames")


class Reads:
    """An engine that says a tenth of red as depth, of green as confidence, and one half-width where it is told to."""

    config = SimpleNamespace(metric=True)
    info = SimpleNamespace(path="made up", sha256="0" * 64, config={"input_pixels": 32})
    runtime = device = precision = "none"

    def __init__(self, half_width=None):
        self.half_width = half_width

    def infer(self, images, intrinsics, limits=None):
        depth_m, confidence = (images[..., channel].astype(np.float32) / 10 for channel in (0, 1))
        wide = None if self.half_width is None else np.full_like(depth_m, self.half_width)
        return Depth(depth_m, confidence, [1.0], half_width=wide)


def sample(red, truth_m, path="a/0", green=5):
    image = np.zeros((4, 8, 3), np.uint8)
    image[..., 0], image[..., 1] = red, green
    truth_m = np.broadcast_to(np.asarray(truth_m, np.float32), (4, 8)).copy()
    return Sample(image, truth_m, truth_m > 0, CAMERA, path)


def test_the_mirrored_picture_is_averaged_where_it_is_asked_for():
    slanted = sample(np.arange(10, 90, 10)[None], 2.0)
    slanted.image[..., 1] = np.arange(8)

    class Drifts(Reads):
        """Sees what is to the right farther away than it is."""

        def infer(self, images, intrinsics, limits=None):
            found = super().infer(images, intrinsics)
            return dataclasses.replace(found, depth_m=found.depth_m + np.arange(8, dtype=np.float32))

    alone, confidence, wide = infer(Drifts(), slanted, (4, 8), flip=False)
    np.testing.assert_allclose(alone[0], np.arange(1, 9) + np.arange(8))
    np.testing.assert_allclose(confidence[0], np.arange(8) / 10, rtol=1e-6)
    assert wide is None
    both, confidence, wide = infer(Drifts(0.25), slanted, (4, 8), flip=True)
    np.testing.assert_allclose(both[0], np.arange(1, 9) + 3.5)
    np.testing.assert_allclose(confidence[0], np.arange(8) / 10, rtol=1e-6)
    assert (wide == 0.25).all()


def test_another_size_is_reached_from_corner_to_corner():
    ramp = sample(np.arange(10, 90, 10)[None], 2.0)
    depth_m, confidence, wide = infer(Reads(0.25), ramp, (7, 15), flip=False)
    assert depth_m.shape == confidence.shape == wide.shape == (7, 15)
    np.testing.assert_allclose(depth_m[3], np.linspace(1, 8, 15), rtol=1e-5)


def test_predictions_are_clipped_to_what_can_be_scored():
    found = clip_prediction(np.array([np.nan, np.inf, -np.inf, 0.0, 5.0, 11.0], np.float32), 10.0)
    np.testing.assert_allclose(found, [1e-3, 10, 1e-3, 1e-3, 5, 10])
    assert found.dtype == np.float32


def test_a_frame_is_scored_as_it_is_median_scaled_and_by_its_intervals():
    truth_m = np.full((4, 8), 2.0)
    truth_m[0] = 0  # no reading
    truth_m[1] = 4.0
    report = evaluate(Reads(0.3), [("x", sample(25, truth_m)), ("x", sample(20, 0.0, "none"))], PROTOCOL)
    (frame,) = report.frames
    assert frame.metrics["median_ratio"] == pytest.approx(2.0 / 2.5)
    expected = depth_metrics(np.array([4.0, 2, 2]), np.array([2.5, 2.5, 2.5]))
    assert frame.metrics["abs_rel"] == pytest.approx(expected["abs_rel"])
    scaled = depth_metrics(np.array([4.0, 2, 2]), np.array([2.0, 2, 2]))
    assert frame.metrics["abs_rel_scaled"] == pytest.approx(scaled["abs_rel"])
    assert frame.metrics["coverage"] == pytest.approx(2 / 3)  # ln 1.25 is within 0.3, ln 1.6 is not
    assert frame.metrics["half_width"] == pytest.approx(0.3)
    np.testing.assert_allclose(np.unique(frame.log_error), [math.log(0.8), math.log(1.6)], rtol=1e-5)
    (picture,) = report.pictures
    assert picture.caption == "a/0  d1 0.00  AbsRel 0.29"
    assert not picture.truth_m[0].any()
    assert report.options["alignment"] == "none (median-scaled beside it)"
    assert report.options["cap"] == f"{PROTOCOL.low_m:g}..{PROTOCOL.high_m:g} m"
    kept = report.as_mapping()
    assert kept["frames"][0]["frame"] == "a/0"
    assert kept["rows"]["model"]["x"]["frames"] == 1


def test_aligned_frames_have_no_intervals_and_the_table_says_how():
    report = evaluate(Reads(0.3), [("x", sample(25, 2.0))], PROTOCOL, alignment="median")
    assert report.frames[0].metrics["abs_rel"] == pytest.approx(0.0, abs=1e-6)
    assert "coverage" not in report.frames[0].metrics
    assert report.options["alignment"].startswith("median of each image with its own truth")
    assert "interval score" not in report.options


def test_so_many_pictures_of_each_source_and_every_path_is_said():
    frames = [(source, sample(25, 2.0, f"{source}/{i}")) for source in "ab" for i in range(4)]
    frames.append(("b", dataclasses.replace(sample(25, 2.0, "b/9"), assumed_intrinsics=True)))
    said = []
    report = evaluate(Reads(), frames, PROTOCOL, pictures_per_source=3, on_frame=said.append)
    assert [picture.caption[:3] for picture in report.pictures] == ["a/0", "a/1", "a/2", "b/0", "b/1", "b/2"]
    assert said == [frame.path for _, frame in frames]
    assert report.options["assumed 60 degrees"] == "b"
    with pytest.raises(InputError, match=r"no frame has a pixel between .* m; nothing to score"):
        evaluate(Reads(), [("x", sample(25, 0.0))], PROTOCOL)


def test_rows_are_means_over_the_frames_of_a_source_and_over_the_sources_of_a_group():
    truths = {"a": [1.0, 2.0], "b": [4.0]}
    report = Report({})
    for source, depths in truths.items():
        for depth_m in depths:
            g = np.full(6, depth_m, np.float32)
            metrics = {**depth_metrics(g, 2 * np.ones(6)), "abs_rel_edges": depth_m if source == "a" else math.nan}
            report.frames.append(Frame(source, "x", Readings.of(g), metrics, False))
    fill_rows(report, dataclasses.replace(PROTOCOL, groups={"near": ("a",), "all": ("a", "b"), "none": ("c",)}))
    model = report.rows["model"]
    assert set(model) == {"a", "b", "near", "all"}
    assert model["a"]["abs_rel"] == pytest.approx((1.0 + 0.0) / 2)
    assert model["all"]["abs_rel"] == pytest.approx((0.5 + 0.5) / 2)
    assert model["all"]["abs_rel_edges"] == pytest.approx(1.5), "frames without edges do not count"
    assert math.isnan(model["b"]["abs_rel_edges"])
    assert [model[name]["frames"] for name in ("a", "b", "near", "all")] == [2, 1, 2, 3]
    own = report.rows["best constant per source"]
    assert own["b"]["delta1"] == 1.0
    assert own["a"]["delta1"] == 0.5, "1 and 2 m are further apart than 1.25 squared"
    assert report.rows["each image's median"]["all"]["abs_rel"] == 0.0
    assert report.rows["best constant"]["b"]["delta1"] == 1.0, "two of two metres count half a source each"


def test_places_are_told_apart_only_where_the_protocol_says_that_frames_show_many():
    frames = [("x", sample(25, depth_m, f"x/{number}")) for number, depth_m in ((1, 2.0), (2, 2.0), (3, 2.0), (7, 2.5))]
    many = dataclasses.replace(PROTOCOL, by_place=True)
    rows = evaluate(Reads(), frames, many).rows["model"]
    assert rows["all"]["delta1"] == rows["x"]["delta1"] == 0.25, "2.5 is not within a factor of 1.25 of 2"
    assert rows["by place"]["delta1"] == 0.5
    assert "by place" not in evaluate(Reads(), frames, PROTOCOL).rows["model"]
    alone = evaluate(Reads(), frames[:3], many)
    assert "by place" not in alone.rows["model"], "one place"
    assert "places" not in alone.options


def test_the_best_constant_is_right_for_the_most():
    near, far = np.full(100, 1.0, np.float32), np.full(100, 5.0, np.float32)
    assert 0.8 < best_constant([near, far], [0.6, 0.4]) < 1.25
    assert 4.0 < best_constant([near, far], [0.4, 0.6]) < 6.25
    assert best_constant([np.full(9, 80.0, np.float32)], [1.0], 80.0) == pytest.approx(72, abs=8)
    within = np.array([1.0, 1.5], np.float32)  # one constant between 1.2 and 1.25 is right for both
    assert 1.2 < best_constant([within], [1.0]) < 1.25


def test_intervals_are_compared_with_one_width_that_covers_as_much():
    """Of source a half of the errors are 0.1 and half 0.5, with the right width for each; b counts alike."""
    error = np.repeat(np.array([0.1, 0.5], np.float32), 2000)
    frames = [
        Frame(source, "x", Readings.of(error), {"interval_score": 0.7, "coverage": 1.0}, False, error)
        for source in ("a", "a", "b")
    ]
    frames.append(Frame("c", "x", Readings.of(error), {}, False, None))
    assert describe_intervals(frames) == "0.700 in ln depth; one constant width of the same coverage: 1.000"
    half = [dataclasses.replace(frame, metrics={"interval_score": 0.7, "coverage": 0.45}) for frame in frames[:3]]
    # a width of 0.1 on all: 0.2, and for half of them a fine of 2 / 0.1 times 0.4
    assert describe_intervals(half) == "0.700 in ln depth; one constant width of the same coverage: 4.200"


def test_a_frame_whose_every_prediction_is_beyond_all_range_has_no_interval_to_score():
    class Beyond(Reads):
        """Says +Inf where red is full."""

        def infer(self, images, intrinsics, limits=None):
            found = super().infer(images, intrinsics)
            return dataclasses.replace(found, depth_m=np.where(images[..., 0] == 255, np.inf, found.depth_m))

    known, beyond = ("x", sample(20, 2.0)), ("x", sample(255, 2.0, "a/1"))
    alone = evaluate(Beyond(0.3), [known], PROTOCOL)
    both = evaluate(Beyond(0.3), [beyond, known], PROTOCOL)
    assert both.options["interval score"] == alone.options["interval score"]
    assert both.rows["model"]["x"]["coverage"] == 1.0
    assert "interval score" not in evaluate(Beyond(0.3), [beyond], PROTOCOL).options


def test_what_is_kept_lies_evenly_between_the_first_and_the_last():
    values = np.arange(9, dtype=np.float32)
    assert evenly(values, 5).tolist() == [0, 2, 4, 6, 8]
    assert evenly(values[:2], 4).tolist() == [0, 0, 0, 1]
    assert evenly(values[:1], 3).tolist() == [0, 0, 0]


def test_what_a_report_keeps_of_a_frame_does_not_grow_with_its_pixels():
    def kept_bytes(repeats):
        one = sample(20, np.linspace(1, 4, 32).reshape(4, 8))
        whole = Sample(
            *(np.tile(a, (repeats, repeats, 1)[: a.ndim]) for a in (one.image, one.depth_m, one.valid)), CAMERA, "x/0"
        )
        (frame,) = evaluate(Reads(0.3), [("x", whole)], PROTOCOL, pictures_per_source=0).frames
        return len(pickle.dumps(frame))

    assert kept_bytes(100) == kept_bytes(50)
