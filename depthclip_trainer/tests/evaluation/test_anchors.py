# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from depthclip_trainer.evaluation.anchors import replay
from depthclip_trainer.evaluation.anchors.simulated import Place, sensors_of, true_floor

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

        uncertainty = SimpleNamespace(scale_sd=0.4)

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
