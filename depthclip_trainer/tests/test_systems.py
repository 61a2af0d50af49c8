# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The systems besides MoA-DepthCLIP through the trainer's own road: loss terms, calibration, a training of seconds."""

from __future__ import annotations

import csv
import dataclasses
import json
import math

import numpy as np
import open_clip
import pytest
import torch
from depthclip_trainer.cli import export_main, train_main
from depthclip_trainer.commands.calibrate import calibrate, calibrate_intervals, fit_centres
from depthclip_trainer.config import ModelConfig
from depthclip_trainer.data.augment import NO_AUGMENT
from depthclip_trainer.evaluation.intervals import coverage_of, pixels_of
from depthclip_trainer.evaluation.protocols import frames_of, protocol_named
from depthclip_trainer.fit.export import finish
from depthclip_trainer.fit.loop import train
from depthclip_trainer.fit.start import start_model
from depthclip_trainer.losses import terms as losses
from depthclip_trainer.losses.objective import left_out
from depthclip_trainer.recipe import read_config
from safetensors.torch import save_file

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.contract import Prediction
from depthclip_ros.core.model.registry import preset
from depthclip_ros.core.weights.find import read_info
from depthclip_ros.core.weights.load import load_weights

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
TOWERS = {
    "depthclip-trainer-vit": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 16, "head_width": 16},
    "depthclip-trainer-resnet": {
        "image_size": 64,
        "layers": [1, 1, 1, 1],
        "width": 8,
        "patch_size": None,
        "head_width": 64,
    },
}
CLIP2DEPTH = {
    "tower": "depthclip-trainer-vit",
    "tap_layers": [0, 1],
    "decoder_width": 16,
    "decoder_heads": 2,
    "deconvolutions": [16, 12, 8],
    "mirror_tokens": 8,
    "input_pixels": 96 * 64,
}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, str]:
    """Checkpoints of small CLIPs that open_clip knows, by the name of the model."""
    found = {}
    for name, vision in TOWERS.items():
        folder = tmp_path_factory.mktemp("open_clip")
        (folder / f"{name}.json").write_text(json.dumps({"embed_dim": 32, "vision_cfg": vision, "text_cfg": TEXT}))
        open_clip.add_model_config(folder / f"{name}.json")
        torch.manual_seed(0)
        clip = open_clip.CLIP(**open_clip.get_model_config(name))
        found[name] = str(folder / "clip.safetensors")
        save_file({key: tensor.contiguous() for key, tensor in clip.state_dict().items()}, found[name])
    return found


@pytest.fixture
def clip2depth(checkpoints) -> ModelConfig:
    """The smallest CLIP2Depth on a real checkpoint file."""
    overrides = {**CLIP2DEPTH, "base_weights": checkpoints[CLIP2DEPTH["tower"]]}
    return ModelConfig(preset="clip2depth-vitb16", overrides=overrides)


def with_model(config, model: ModelConfig):
    """The same training of another model, with loss terms of every kind; pictures stay as they are."""
    loss = {"log_l1": 1.0, "confidence": 0.1, "bin_cross_entropy": 0.3, "regression_l1": 0.1}
    optim = dataclasses.replace(config.optim, rates={"adapters": 5e-3})
    return dataclasses.replace(config, model=model, loss=loss, optim=optim, augment=NO_AUGMENT)


def test_clip2depth_learns_rooms_and_ends_in_weights_that_load(make_config, clip2depth, capsys):
    config = with_model(make_config(loop__steps=30, loop__evaluate_every=100, loop__log_every=1), clip2depth)
    out = train(config)
    said = capsys.readouterr().out
    assert "clip2depth has no head for the loss terms bin_cross_entropy, regression_l1; left out" in said
    with (out / "log.csv").open() as file:
        total = [float(row["value"]) for row in csv.DictReader(file) if row["name"] == "loss"]
    assert sum(total[-5:]) < 0.75 * sum(total[:5])
    path = finish(config)
    info = read_info(path)
    assert (info.system, info.trained_groups) == ("clip2depth", ("adapters",))
    assert info.uncertainty is not None
    model = load_weights(path).model
    start = start_model(config)
    assert not torch.allclose(model.mirror, start.mirror, atol=1e-3)
    before, after = start.state_dict(), model.state_dict()
    frozen = set(before) - start.trainable_names()
    assert {name.split(".")[0] for name in frozen} == {"tower", "text"}
    for name in frozen:
        torch.testing.assert_close(after[name], before[name], rtol=2e-3, atol=1e-4)  # float16


def test_left_out_names_terms_without_a_head(make_config, clip2depth):
    weights = {"log_l1": 1.0, "bin_cross_entropy": 1.0, "regression_log_l1": 1.0, "regression_l1": 0.0}
    assert left_out(start_model(make_config()), weights) == []
    config = with_model(make_config(), clip2depth)
    assert left_out(start_model(config), weights) == ["bin_cross_entropy", "regression_log_l1"]


def test_confidence_is_scored_as_the_probability_of_being_right():
    target = torch.full((1, 2, 2), 2.0)
    depth = torch.tensor([[[2.4, 2.6], [1.7, 1.5]]], requires_grad=True)  # right, wrong, right, wrong
    confidence = torch.tensor([[[0.9, 0.2], [0.5, 0.7]]], requires_grad=True)
    loss = losses.image_terms(Prediction(depth, confidence), target, target > 0, None, ["confidence"])["confidence"]
    expected = -(math.log(0.9) + math.log(0.8) + math.log(0.5) + math.log(0.3)) / 4
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-5)
    loss.sum().backward()
    assert depth.grad is None
    assert confidence.grad[0, 0, 0] < 0 < confidence.grad[0, 1, 1]


def dirichlet(count: int, sharpness: float = 0.7) -> np.ndarray:
    return np.random.default_rng(0).dirichlet([sharpness] * 4, count)


START = np.array([1.0, 2.0, 3.0, 4.0])


def test_fit_finds_the_depths_in_spite_of_wrong_readings():
    true = np.array([0.6, 1.5, 3.5, 8.0])
    probability = dirichlet(3000)
    depth_m = probability @ true
    depth_m[::5] = 0.3
    fitted = fit_centres(probability, depth_m, np.ones(3000), START, (0.1, 10.0))
    np.testing.assert_allclose(fitted, true, rtol=0.05)


def test_fit_stays_in_order_and_in_range():
    probability = dirichlet(500)
    fitted = fit_centres(probability, probability @ np.array([9.0, 5.0, 3.0, 40.0]), np.ones(500), START, (0.1, 10.0))
    assert (np.diff(fitted) > 0).all()
    assert fitted[0] >= 0.1
    assert fitted[-1] <= 10.0


def test_fit_keeps_what_the_frames_say_nothing_about():
    probability = np.zeros((100, 4))
    probability[:, 1] = 1.0  # the others never occur
    fitted = fit_centres(probability, np.full(100, 4.0), np.ones(100), START, (0.1, 10.0))
    np.testing.assert_allclose(fitted, 2 * START, rtol=0.02)


def test_calibration_says_what_it_gained_and_ends_in_weights(make_folder, checkpoints, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tower = "depthclip-trainer-resnet"
    recipe = {"preset": "depthclip-rn50-projected", "tower": tower, "base_weights": checkpoints[tower]}
    (tmp_path / "mine.yaml").write_text(json.dumps({**recipe, "input_pixels": 64 * 96}))
    out = tmp_path / "new" / "out.safetensors"
    data = make_folder(frames=8, depth_units_per_metre=500)  # twice as far as written
    command = ["calibrate", "--weights", str(tmp_path / "mine.yaml"), "--data", str(data), "--out", str(out)]
    assert train_main([*command, "--frames", "3", "--adapter-only"]) == 0
    said = capsys.readouterr().out
    assert "constant" in said
    assert "AbsRel fell by" in said
    info = read_info(out)
    scores = info.metrics["calibration"]
    assert scores["calibrated"]["held out"]["abs_rel"] < scores["as it was"]["held out"]["abs_rel"]
    assert info.training["calibrated on"].startswith("3 frames")
    assert (info.adapter_only, out.stat().st_size < 10_000) == (True, True)
    assert not torch.allclose(
        load_weights(out).model.bin_centres, load_weights(tmp_path / "mine.yaml").model.bin_centres
    )


def test_calibration_gives_metric_weights_intervals_that_hold_on_the_frames(make_folder, tmp_path, capsys):
    out = tmp_path / "new" / "mine.safetensors"
    folder = make_folder()
    assert train_main(["calibrate", "--data", str(folder), "--frames", "99", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "calibrated" in printed
    found, before = load_weights(out), load_weights("default")
    assert found.info.uncertainty is not None
    assert found.info.uncertainty != before.info.uncertainty
    assert found.info.uncertainty.data.endswith("of mine")
    assert "intervals calibrated on" in found.info.training
    for name, tensor in before.model.state_dict().items():
        assert torch.equal(tensor, found.model.state_dict()[name]) or name.endswith("confidence_scale")
    frames = [("mine", sample) for _, sample in frames_of(protocol_named("frames"), folder)]
    found_here = coverage_of(pixels_of(before.model, frames), found.info.uncertainty)
    assert found_here["coverage"] > 0.85


def test_adapter_only_weights_do_not_replace_their_base(make_folder, make_tiny_weights, capsys):
    base = make_tiny_weights()
    whole = base.read_bytes()
    command = ["calibrate", "--weights", str(base), "--data", str(make_folder()), "--out", str(base), "--adapter-only"]
    assert train_main(command) == 1
    assert "is the base that the new weights would name" in capsys.readouterr().err
    assert base.read_bytes() == whole


def test_a_training_on_its_own_base_is_exported_without_it(make_config, clip2depth, tmp_path):
    out = train(with_model(make_config(loop__steps=2), clip2depth))
    whole, alone = tmp_path / "whole.safetensors", tmp_path / "alone.safetensors"
    assert export_main([str(out / "best.ckpt"), str(whole), "--dtype", "float32"]) == 0
    assert export_main([str(out / "best.ckpt"), str(alone), "--dtype", "float32", "--adapter-only"]) == 0
    info = read_info(alone)
    assert info.adapter_only
    assert info.base_name == f"{clip2depth.overrides['tower']}:{clip2depth.overrides['base_weights']}"
    assert alone.stat().st_size < whole.stat().st_size / 2
    state = load_weights(alone).model.state_dict()
    for name, tensor in load_weights(whole).model.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_class_depths_of_other_systems_and_relative_weights_are_refused(make_folder, tmp_path, monkeypatch):
    frames = [sample for _, sample in frames_of(protocol_named("frames"), make_folder())]
    with pytest.raises(ConfigError, match="only depthclip has class depths"):
        calibrate("default", frames, 1, tmp_path / "x.safetensors")
    relative = load_weights("default")
    monkeypatch.setattr(relative.model, "config", dataclasses.replace(relative.model.config, metric=False))
    with pytest.raises(ConfigError, match="gives relative depth"):
        calibrate_intervals(relative, frames, 1, tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_the_recipe_of_clip2depth_is_valid():
    config = read_config("clip2depth-nyu")
    made = preset(config.model.preset, **config.model.overrides)
    assert (made.system, made.input_pixels) == ("clip2depth", config.data.width_px * config.data.height_px)
    losses.check_terms(config.loss)
    assert "bin_cross_entropy" not in config.loss
