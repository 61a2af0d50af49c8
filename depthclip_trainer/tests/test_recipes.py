# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The recipes for public data, from their own YAML, on small sets of the same file formats."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from depthclip_trainer.cli import eval_main, train_main
from depthclip_trainer.data.sources import open_source
from depthclip_trainer.fit.optim import build_optimizer
from depthclip_trainer.fit.start import start_model
from depthclip_trainer.losses.objective import batch_loss
from depthclip_trainer.recipe import read_config

from depthclip_ros.core.model.registry import preset
from depthclip_ros.core.weights.find import read_info

RECIPES = ["paper-vitb32-nyu", "paper-vitb32-kitti", "dense-vitb16-nyu", "dense-vitb16-kitti"]

SMALL_TOWER = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": 12, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
"""CLIP's ViT-B in small: as many blocks, so that the recipes' adapters and taps stay where they are."""


@pytest.fixture
def small_tower(tmp_path):
    import open_clip

    path = tmp_path / "recipe-tower.json"
    path.write_text(json.dumps(SMALL_TOWER))
    open_clip.add_model_config(path)
    return "recipe-tower"


@pytest.fixture
def data(make_nyu_folder, make_kitti):
    def make(recipe):
        return (make_nyu_folder() if recipe.endswith("nyu") else make_kitti()).parent

    return make


def light(out, **more):
    """Overrides that take the compute out and leave the path: input, batch, steps and the pretrained base."""
    kitti = "kitti" in out.name
    settings = {
        "data.width_px": 128 if kitti else 96,
        "data.height_px": 64,
        "loop.out": str(out),
        "loop.steps": 2,
        "loop.batch": 2,
        "loop.accelerator": "cpu",
        "loop.precision": "32-true",
        "loop.threads": 1,
        "loop.evaluate_every": 2,
        "model.overrides.base_weights": None,
        "model.overrides.input_pixels": 8192 if kitti else 6144,
        "model.overrides.scenes": ["kitchen", "street"],
        **more,
    }
    return [
        f"--{key}={yaml.safe_dump(value, default_flow_style=True).split(chr(10))[0]}" for key, value in settings.items()
    ]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_exports_and_is_scored_by_its_protocol(recipe, data, small_tower, tmp_path, capsys):
    root, out = data(recipe), tmp_path / recipe
    source = "kitti" if recipe.endswith("kitti") else "nyu"
    overrides = light(out, **{"data.root": str(root), "model.overrides.tower": small_tower})
    if source == "kitti":  # two training drives, one of which is held out
        overrides += ["--augment.roll_deg=0"]
    assert train_main(["--config", recipe, *overrides]) == 0
    info = read_info(out / "weights.safetensors")
    assert info.training["steps"] == 2
    assert source in next(iter(info.training["data"].values())).lower()
    farthest = 80.0 if source == "kitti" else 10.0
    assert info.config["max_depth_m"] == farthest
    report = json.loads((out / "evaluation" / "report.json").read_text())
    assert report["options"]["cap"] == f"0.1..{farthest:g} m"
    capsys.readouterr()
    scored = ["--weights", str(out / "weights.safetensors"), "--data", str(root / source), "--out", str(out / "test")]
    assert eval_main(scored) == 0
    table = json.loads((out / "test" / "report.json").read_text())
    assert table["options"]["protocol"] == source
    assert len(table["frames"]) == 2  # of the official test list
    assert 0 < table["rows"]["model"]["all"]["abs_rel"] < 20


def test_the_labelled_mat_takes_the_place_of_the_folders(make_nyu_mat, small_tower, tmp_path):
    folder = make_nyu_mat()
    more = {
        "data.root": str(folder.parent),
        "model.overrides.tower": small_tower,
        "data.train.nyu.kind": "nyu_mat",
        "data.train.nyu.path": folder.name,
        "data.validation.nyu_held_out.kind": "nyu_mat",
        "data.validation.nyu_held_out.path": folder.name,
        "loop.final_table": False,
    }
    out = tmp_path / "mat"
    assert train_main(["--config", "dense-vitb16-nyu", *light(out, **more)]) == 0
    assert (out / "best.ckpt").is_file()


def test_towers_of_the_published_shape_take_a_step(make_nyu_folder, tmp_path, plain_batches):
    torch.set_num_threads(1)
    overrides = light(tmp_path / "real", **{"data.root": str(make_nyu_folder().parent)})
    config = read_config("paper-vitb32-nyu", overrides)
    model = start_model(config)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert 30.3e6 < trained < 36e6  # four mixtures of adapters and four blocks are 30.3 M, the heads are ours
    source = open_source("nyu", config.data.train["nyu"], config.data.root, (96, 64), torch.device("cpu"))
    optimizer = build_optimizer(model, config.optim)
    batch = plain_batches(source.pool, 1, 96, 64)[0]
    loss, terms = batch_loss(model.train(), model, batch, config.loss)
    loss.backward()
    before = {name: p.detach().clone() for name, p in model.named_parameters() if "adapters.11" in name}
    optimizer.step()
    assert before
    assert set(terms) == {"bin_cross_entropy", "l1", "silog"}
    after = dict(model.named_parameters())
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_published_stands_in_the_recipe(recipe):
    config = read_config(recipe)
    model = preset(config.model.preset, **config.model.overrides)
    assert model.base_weights == "openai"
    frames = 24231 if recipe.endswith("nyu") else 23158
    epochs = config.loop.steps * config.loop.batch / (frames * 7 / 8)
    if recipe.startswith("paper"):
        assert config.loss == {"bin_cross_entropy": 1.0, "l1": 1.0, "silog": 0.5}
        assert set(config.optim.rates.values()) == {1e-5}
        assert config.optim.weight_decay == 1e-4
        assert config.loop.batch == 8
        assert epochs == pytest.approx(30, rel=0.01)
        assert config.augment.min_scale == 1.0
    else:
        assert model.canonical_focal_px == 300.0
    farthest_m = next(iter(config.data.train.values())).max_depth_m
    assert model.max_depth_m == farthest_m
