# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from depthclip_trainer.cli import eval_main, export_main
from depthclip_trainer.data.sample import Sample
from depthclip_trainer.evaluation.evaluate import best_constant, clip_prediction, evaluate
from depthclip_trainer.evaluation.protocols import PROTOCOLS, protocol_named
from depthclip_trainer.fit import export
from depthclip_trainer.fit.export import finish
from depthclip_trainer.fit.loop import train

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import ConfigError, InputError, WeightsError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.core.weights.find import read_info


def test_training_ends_with_weights_that_the_engine_loads_and_a_table(make_config, capsys, real_auto):
    config = make_config(loop__steps=2)
    out = train(config)
    path = finish(config)
    assert "best constant" in capsys.readouterr().out
    info = read_info(path)
    assert info.training["steps"] == 2
    assert "rendered" in info.training["data"]["rooms"]
    report = json.loads((out / "evaluation" / "report.json").read_text())
    assert set(report["rows"]) == {"model", "best constant", "best constant per source", "each image's median"}
    assert (out / "evaluation" / "pictures.png").is_file()

    model, *_ = export.model_of_checkpoint(out / "best.ckpt")
    engine = DepthEngine.load(path, runtime="torch", device="cpu", precision="fp32")
    image = np.random.default_rng(0).integers(0, 255, (1, 64, 96, 3), np.uint8)
    camera = Intrinsics.from_hfov(60.0, 96, 64)
    depth_m = engine.infer(image, [camera]).depth_m[0]
    engine.close()
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (model.image_mean, model.image_std))
    pixels = (image[0].transpose(2, 0, 1).astype(np.float32) / 255 - mean) / std
    with torch.no_grad():
        depth = model(torch.from_numpy(pixels)[None]).depth
    expected = depth * camera.fx_px / model.config.canonical_focal_px
    assert float(np.median(depth_m)) == pytest.approx(float(expected.median()), rel=0.05)


def test_a_training_without_validation_ends_with_its_weights(make_config):
    config = make_config(loop__steps=1, data__validation={})
    out = train(config)
    path = finish(config)
    assert read_info(path).training["steps"] == 1
    assert not (out / "evaluation").exists()


def test_weights_say_what_the_training_before_theirs_had_seen(make_config, tmp_path):
    config = make_config(loop__steps=1)
    train(config)
    first = finish(config)
    config = make_config(loop__steps=1, loop__out=str(tmp_path / "second"))
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, init=str(first)))
    train(config)
    second = finish(config)
    assert read_info(second).training["continues"] == read_info(first).training


def test_export_refuses_a_file_that_says_something_else(make_config, tmp_path, monkeypatch):
    out = train(make_config(loop__steps=1))
    monkeypatch.setattr(export, "parity", lambda one, other: 0.5)
    (tmp_path / "w.safetensors").write_bytes(b"old")
    model, *_ = export.model_of_checkpoint(out / "last.ckpt")
    with pytest.raises(WeightsError, match="would differ"):
        export.export(model, tmp_path / "w.safetensors", {}, {})
    assert (tmp_path / "w.safetensors").read_bytes() == b"old"
    assert not list(tmp_path.glob(".*proof*"))


def test_a_training_that_began_with_random_weights_has_no_base_to_leave_out(make_config, tmp_path, capsys):
    out = train(make_config(loop__steps=1))
    assert export_main([str(out / "best.ckpt"), str(tmp_path / "w.safetensors"), "--adapter-only"]) == 1
    assert "names no base that could be left out" in capsys.readouterr().err
    assert not (tmp_path / "w.safetensors").exists()


class FixedEngine:
    """Says a constant depth with NaN and infinity in the first pixels."""

    runtime, device, precision = "fixed", "cpu", "fp32"

    class info:  # noqa: N801
        path, sha256, config = "fixed", "0" * 64, {"input_pixels": 1}

    class config:  # noqa: N801
        metric = True

    def __init__(self, depth_m: float) -> None:
        self.depth_m = depth_m

    def infer(self, images, intrinsics, limits):
        from depthclip_ros.core.types import Depth

        depth_m = np.full(images.shape[:3], self.depth_m, np.float32)
        depth_m[:, 0, 0], depth_m[:, 0, 1] = np.nan, np.inf
        return Depth(depth_m, np.ones_like(depth_m), [1.0])


def flat(source: str, depth_m: float) -> tuple[str, Sample]:
    truth = np.full((4, 5), depth_m, np.float32)
    image = np.zeros((4, 5, 3), np.uint8)
    return source, Sample(image, truth, truth > 0, Intrinsics.from_hfov(60.0, 5, 4), f"{source}/{depth_m}")


def test_rows_are_means_over_frames_then_sources_then_groups():
    frames = [flat("felix_realsense", 2.0), flat("felix_realsense", 4.0), flat("open3d_tum", 2.0)]
    report = evaluate(FixedEngine(2.0), frames, protocol_named("rgbd"))
    rows = report.rows["model"]
    # NaN is scored as 1 mm and infinity as 10 m: two of twenty pixels are wrong
    near = (18 * 0 + (2 - 1e-3) / 2 + 8 / 2) / 20
    far = (18 * 0.5 + (4 - 1e-3) / 4 + 6 / 4) / 20
    assert rows["open3d_tum"]["abs_rel"] == pytest.approx(near, rel=1e-5)
    assert rows["felix_realsense"]["abs_rel"] == pytest.approx((near + far) / 2, rel=1e-5)
    assert rows["rooms"]["abs_rel"] == pytest.approx((near + (near + far) / 2) / 2, rel=1e-5)
    assert rows["rooms"]["frames"] == 3
    assert report.rows["each image's median"]["rooms"]["abs_rel"] == 0.0
    assert report.rows["best constant"]["rooms"]["delta1"] == pytest.approx(0.75)
    assert report.rows["best constant per source"]["open3d_tum"]["delta1"] == 1.0
    assert report.frames[1].metrics["median_ratio"] == pytest.approx(2.0)
    assert report.frames[1].metrics["delta1_scaled"] == pytest.approx(18 / 20)


def test_scores_count_open_intervals_and_the_crop_to_the_pixel():
    truth = np.full((480, 640), 2.0, np.float32)
    nyu = PROTOCOLS["nyu"].valid(truth)
    assert nyu.sum() == 426 * 560
    assert nyu[45, 41]
    assert nyu[470, 600]
    assert not nyu[44, 41]
    assert not nyu[471, 600]
    assert not nyu[45, 601]
    edge = np.array([[0.2, 0.21, 9.99, 10.0]], np.float32)
    assert PROTOCOLS["rgbd"].valid(edge).tolist() == [[False, True, True, False]]


def test_predictions_are_clipped_as_the_protocol_says():
    clipped = clip_prediction(np.array([np.nan, np.inf, -np.inf, 0.0, 3.0, 80.0], np.float32), 10.0)
    assert clipped.tolist() == pytest.approx([1e-3, 10, 1e-3, 1e-3, 3, 10])


def test_best_constant_prefers_the_depth_that_most_pixels_share():
    truths = [np.full(100, 2.0), np.full(100, 2.0), np.full(100, 8.0)]
    assert best_constant(truths, [1, 1, 1]) == pytest.approx(2.0, rel=0.25)
    assert best_constant(truths, [1, 1, 5]) == pytest.approx(8.0, rel=0.25)


def test_nothing_to_score_and_unknown_protocols_are_refused():
    with pytest.raises(InputError, match="nothing to score"):
        evaluate(FixedEngine(1.0), [flat("x", 50.0)], protocol_named("frames"))
    with pytest.raises(ConfigError, match="allowed: rgbd"):
        protocol_named("kity")


def test_commands_export_and_score_a_folder(make_config, make_folder, tmp_path, capsys):
    out = train(make_config(loop__steps=1))
    weights = tmp_path / "new" / "mine.safetensors"
    assert export_main([str(out / "last.ckpt"), str(weights)]) == 0
    assert eval_main(["--weights", str(weights), "--data", str(make_folder()), "--out", str(tmp_path / "r")]) == 0
    assert "walk" in capsys.readouterr().out
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert len(report["frames"]) == 6
    assert eval_main(["--weights", str(tmp_path / "none.safetensors"), "--data", str(tmp_path)]) == 1
    assert "none.safetensors" in capsys.readouterr().err


def test_weights_never_replace_the_base_that_they_name(tmp_path: Path) -> None:
    base, other = tmp_path / "weights.safetensors", tmp_path / "other.safetensors"
    base.write_bytes(b"a base")
    with pytest.raises(ConfigError, match="is the base that the new weights would name and replace"):
        export.spare(tmp_path / "." / base.name, str(base))
    export.spare(other, str(base))
    export.spare(base, "default")
    export.spare(base, None)


def test_a_file_that_names_itself_as_its_base_is_refused_and_nothing_hangs(tmp_path: Path, monkeypatch) -> None:
    """As the fault of before left them: adapters alone, written over what they sat on."""
    broken = tmp_path / "weights.safetensors"
    broken.write_bytes(b"adapters")
    info = SimpleNamespace(adapter_only=True, base_name=str(broken))
    monkeypatch.setattr(export, "read_info", lambda _: info)
    with pytest.raises(WeightsError, match="names itself as its base"):
        export.spare_base(tmp_path / "out.safetensors", str(broken))
