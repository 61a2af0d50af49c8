# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Relative depth through the trainer: it is learned and scored up to scale and shift, and given metres in the end."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from depthclip_trainer.cli import eval_main, train_main
from depthclip_trainer.commands.fit_scale import Pixels, fit_disparity, fit_scale
from depthclip_trainer.data.sample import Sample, samples_of
from depthclip_trainer.evaluation.evaluate import evaluate
from depthclip_trainer.evaluation.protocols import protocol_named
from depthclip_trainer.fit.export import finish, validation_sources
from depthclip_trainer.fit.loop import train
from depthclip_trainer.fit.validation import quick_validation
from depthclip_trainer.losses.objective import batch_loss
from depthclip_trainer.recipe import read_config

from depthclip_ros.core.alignment import SCALE_SHIFT
from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.model.depth_anything_config import shape
from depthclip_ros.core.model.registry import build_model, preset
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.core.weights.find import read_info
from depthclip_ros.core.weights.load import load_weights
from depthclip_ros.core.weights.weights_file import save_weights

pytest.importorskip("transformers", reason="needs the extra `transformers`")

TINY = {"network": shape(32, 4, 2, (1, 2, 3, 4), (8, 8, 12, 16), 16, side_px=98), "input_pixels": 84 * 56}
RELATIVE_LOSS = {"affine_invariant": 1.0, "affine_gradient_matching": 2.0}


@pytest.fixture
def relative_config(make_config):
    def make(**changed):
        settings = {
            "model": {"preset": "depth-anything-tiny", "overrides": TINY},
            "loss": RELATIVE_LOSS,
            "data__width_px": 84,
            "data__height_px": 56,
            **changed,
        }
        return make_config(**settings)

    return make


class Colours(torch.nn.Module):
    """Says a disparity that depends on red alone, whatever the scene."""

    def forward(self, pixel_values):
        from transformers.modeling_outputs import DepthEstimatorOutput

        return DepthEstimatorOutput(predicted_depth=pixel_values[:, 0] * 0.229 + 0.485)  # red, 0..1


def room(focal_px: float, seed: int, wrong: float = 0.0) -> Sample:
    """A frame whose red is 3 * (canonical disparity - 0.05), except for a share of wrong readings in its depth."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.1, 1.0, (4, 6)).astype(np.float32)
    red = np.kron(coarse, np.ones((14, 14), np.float32)) / 3 * 2  # 56x84, at most 0.67
    red = np.round(red * 255) / 255
    depth_m = (focal_px / 300 / (red / 3 + 0.05)).astype(np.float32)
    depth_m[rng.random(depth_m.shape) < wrong] = 0.4
    image = np.repeat((red * 255).round().astype(np.uint8)[..., None], 3, axis=2)
    camera = Intrinsics(focal_px, focal_px, 41.5, 27.5, 84, 56)
    return Sample(image, depth_m, depth_m < 8, camera, f"room {seed}")


@pytest.fixture
def colour_weights(tmp_path, monkeypatch):
    """A relative weights file, and its network replaced by one that reads red."""
    model = build_model(preset("depth-anything-tiny", **TINY))
    path = tmp_path / "relative.safetensors"
    save_weights(path, model, training={"seen": "nothing"}, metrics={})
    forward = Colours()
    monkeypatch.setattr(
        "transformers.DepthAnythingForDepthEstimation.forward", lambda self, pixel_values: forward(pixel_values)
    )
    return path


def test_scale_and_shift_are_found_for_every_lens(colour_weights, tmp_path):
    frames = [room(focal_px, seed, wrong=0.1) for seed, focal_px in enumerate((90.0, 90.0, 150.0, 60.0, 200.0))]
    out = tmp_path / "metric.safetensors"
    done = fit_scale(str(colour_weights), frames, 3, out, max_depth_m=8.0, device="cpu")
    assert (done.scale, done.shift) == (pytest.approx(1 / 3, rel=0.03), pytest.approx(0.05, abs=0.005))
    assert done.table["one scale and shift for all"]["held out"]["delta1"] > 0.85
    info = read_info(out)
    assert (info.config["metric"], info.canonical_focal_px, info.max_depth_m) == (True, 300.0, 8.0)
    assert info.training["seen"] == "nothing"
    assert "3 frames" in info.training["scale fitted on"]
    engine = DepthEngine.load(out, device="cpu", precision="fp32")
    engine.require_metric()
    clean = room(120.0, 9)
    depth_m = engine.infer(clean.image[None], [clean.intrinsics]).depth_m[0]
    near = np.isfinite(depth_m) & clean.valid
    assert np.median(np.abs(depth_m[near] / clean.depth_m[near] - 1)) < 0.05


def test_the_fit_counts_frames_alike_and_takes_the_focal_length_out():
    def pixels(count: int, focal_px: float) -> Pixels:
        depth_m = np.random.default_rng(count).uniform(1, 5, count)
        disparity = (focal_px / (300 * depth_m) - 0.02) / 0.5
        return Pixels("", 1 / disparity, depth_m, focal_px, np.arange(count))

    assert fit_disparity([pixels(500, 100.0), pixels(40, 700.0)]) == pytest.approx((0.5, 0.02))


def test_what_cannot_be_fitted_is_refused(colour_weights, tmp_path):
    out = tmp_path / "out.safetensors"
    inverted = room(100.0, 0)
    inverted = dataclasses.replace(inverted, image=255 - inverted.image)
    with pytest.raises(InputError, match="falls where depth gets smaller"):
        fit_scale(str(colour_weights), [inverted], 1, out, device="cpu")
    with pytest.raises(InputError, match="no frame has depth"):
        fit_scale(str(colour_weights), [room(100.0, 0)], 1, out, max_depth_m=0.01, device="cpu")
    fit_scale(str(colour_weights), [room(100.0, 0)], 1, out, device="cpu")
    with pytest.raises(ConfigError, match="gives metres already"):
        fit_scale(str(out), [room(100.0, 0)], 1, out, device="cpu")


def test_relative_depth_is_scored_up_to_scale_and_shift(colour_weights):
    engine = DepthEngine.load(colour_weights, device="cpu", precision="fp32")
    frames = [("room", room(100.0, seed)) for seed in range(2)]
    report = evaluate(engine, frames, protocol_named("frames"))
    assert report.rows["model"]["room"]["abs_rel"] < 0.03
    assert report.options["alignment"].startswith(SCALE_SHIFT)
    medians = evaluate(engine, frames, protocol_named("frames"), alignment="median")
    assert medians.rows["model"]["room"]["abs_rel"] > 2 * report.rows["model"]["room"]["abs_rel"]
    with pytest.raises(ConfigError, match="relative depth"):
        evaluate(engine, frames, protocol_named("frames"), alignment="none")


def write_room(folder: Path, frame: Sample) -> None:
    """One frame as an RGB-D folder of its own, because each room has a lens of its own."""
    camera = frame.intrinsics
    for name, picture in (
        ("rgb", frame.image[..., ::-1]),
        ("depth", np.round(frame.depth_m * 1000).astype(np.uint16)),
    ):
        (folder / name).mkdir(parents=True)
        cv2.imwrite(str(folder / name / "0000.png"), picture)
    lens = {"fx": camera.fx_px, "fy": camera.fy_px, "cx": camera.cx_px, "cy": camera.cy_px}
    meta = {"source": folder.name, "depth_units_per_metre": 1000, "intrinsics": lens, "licence": "rendered"}
    (folder / "meta.json").write_text(json.dumps(meta))


def test_training_lowers_the_loss_and_ends_in_weights_that_give_metres(relative_config, make_folder, capsys):
    shipped = read_config("depth-anything-tiny")
    config = relative_config(
        loss=shipped.loss,
        augment=dataclasses.asdict(shipped.augment),
        optim=dataclasses.asdict(shipped.optim),
        data__validation={"held_out": {"kind": "rooms", "count": 6, "seed": 4, "longest_px": 96}},
        loop__steps=60,
        loop__log_every=1,
        loop__evaluate_every=60,
    )
    out = train(config)
    logged: dict[str, list[float]] = {}
    with (out / "log.csv").open() as file:
        for row in csv.DictReader(file):
            logged.setdefault(row["name"], []).append(float(row["value"]))
    assert len(logged["loss"]) == 60
    for name, share in {"loss": 0.7, "loss/affine_invariant": 0.95, "loss/affine_gradient_matching": 0.7}.items():
        assert np.mean(logged[name][-20:]) < share * np.mean(logged[name][:10]), name
    path = finish(config)
    assert "scale-shift" in capsys.readouterr().out
    assert load_weights(path).model.config.metric is False
    engine = DepthEngine.load(path, device="cpu", precision="fp32")
    with pytest.raises(ConfigError, match="relative depth"):
        engine.require_metric()

    folder = make_folder()
    assert eval_main(["--weights", str(path), "--data", str(folder), "--out", str(out / "r"), "--device", "cpu"]) == 0
    assert json.loads((out / "r" / "report.json").read_text())["options"]["alignment"].startswith("scale-shift")
    assert eval_main(["--weights", str(path), "--data", str(folder), "--align", "none"]) == 1
    assert "relative depth" in capsys.readouterr().err

    rooms = list(samples_of(validation_sources(config)[0].pool))
    for frame in rooms:
        write_room(out / "rooms" / frame.path.rpartition(":")[2], frame)
    metric = out / "metric.safetensors"
    command = ["fit-scale", "--weights", str(path), "--data", str(out / "rooms"), "--frames", "3", "--device", "cpu"]
    assert train_main([*command, "--out", str(metric)]) == 0
    engine = DepthEngine.load(metric, device="cpu", precision="fp32")  # as the node does
    engine.require_metric()
    for frame in rooms:
        depth_m = engine.infer(frame.image[None], [frame.intrinsics]).depth_m[0]
        known = np.isfinite(depth_m) & frame.valid
        assert known.mean() > 0.5
    scores = {row: parts["fitted"]["abs_rel"] for row, parts in read_info(metric).metrics["scale fit"].items()}
    constant = next(value for row, value in scores.items() if row.startswith("constant"))
    assert scores["each frame's own"] < scores["one scale and shift for all"] < constant


def test_losses_in_metres_are_refused_for_relative_depth(relative_config):
    with pytest.raises(ConfigError, match="'log_l1' compares metres"):
        train(relative_config(loss={"log_l1": 1.0}))


def test_validation_aligns_relative_depth(make_config, plain_batches):
    pool = validation_sources(make_config())[0].pool
    model = build_model(preset("depth-anything-tiny", **TINY)).eval()
    batch = plain_batches(pool, 1, 84, 56)[0]
    model.network.forward = lambda pixel_values: type("Out", (), {"predicted_depth": 7 / batch.depth_m + 1})
    loss, _ = batch_loss(model, model, batch, {"affine_invariant": 1.0})
    assert loss < 1e-4
    table, _ = quick_validation(model, {"rooms": pool}, torch.device("cpu"))
    assert table["rooms"]["rmse"] > 0  # this network sees nothing; what counts is that it has metres to be scored by


def test_the_config_reads():
    config = read_config("depth-anything-tiny")
    stride = build_model(preset(config.model.preset, **config.model.overrides)).stride
    assert config.data.width_px % stride == config.data.height_px % stride == 0
