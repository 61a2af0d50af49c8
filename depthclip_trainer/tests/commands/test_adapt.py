# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors
from depthclip_trainer.cli import train_main
from depthclip_trainer.commands.adapt import AdaptationError, AdaptOptions, adapt, adapt_config, spare_what_is_there
from depthclip_trainer.fit.loop import train
from depthclip_trainer.recipe import compose

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import ConfigError, InputError, WeightsError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.core.weights.find import read_info
from depthclip_ros.core.weights.load import load_weights

CAMERA = Intrinsics(80.0, 80.0, 47.5, 31.5, 96, 64)
QUICK = ["--loop.threads=1", "--loop.batch=4", "--loop.precision=32-true", "--loop.accelerator=cpu"]
FAST = ["--optim.rates.adapters=3e-3", "--optim.ema_decay=0.8", "--loop.evaluate_every=20"]


def place(bag, frames: int) -> None:
    """A corridor whose brightness falls with depth, driven along."""
    rng = np.random.default_rng(1)
    for i in range(frames):
        far_m = 2.0 + 1.5 * rng.random()
        depth_m = np.linspace(far_m, 0.9, 64)[:, None] * np.ones((64, 96))
        rgb = np.stack([255 - depth_m * 60, 40 + depth_m * 30, np.full_like(depth_m, 90.0)], -1)
        bag.image(i * 0.5, (rgb + rng.normal(0, 3, rgb.shape)).clip(0, 255).astype(np.uint8))
        bag.info(i * 0.5, CAMERA)
        bag.depth(i * 0.5, depth_m)


def adapted(data: Path, weights: Path | str, out: Path, steps: int, *more: str):
    return adapt(AdaptOptions(data, out, str(weights), overrides=[*QUICK, f"--loop.steps={steps}", *more]))


@pytest.fixture
def corridor(record) -> Path:
    with record("corridor") as bag:
        place(bag, 12)
    return bag.path


def test_twelve_frames_lower_the_error_on_held_out_ones(corridor, make_tiny_weights, tmp_path):
    base = make_tiny_weights()
    before = base.read_bytes()
    result = adapted(corridor, base, tmp_path / "out", 40, *FAST)
    error_before, error_after = (r.rows["model"]["all"]["abs_rel"] for r in (result.before, result.after))
    assert error_after < 0.6 * error_before
    assert base.read_bytes() == before
    assert [f.path for f in result.after.frames] == [f"corridor/{i:06d}" for i in (9, 10, 11)]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["after"]["abs_rel"] == error_after
    assert {"best constant", "each image's median"} <= set(report["baselines"])
    assert report["peak_memory_mb"] > 50

    for weights in (base, result.weights):  # an adaptation may be made again, and go on from what it made
        spare_what_is_there(adapt_config(AdaptOptions(corridor, tmp_path / "out", str(weights), overrides=QUICK)))

    info = read_info(result.weights)
    assert info.adapter_only
    assert info.trained_groups == ("adapters",)
    assert Path(info.base_name) == base
    assert "corridor" in info.training["data"]["place"]
    assert info.training["continues"] == {"data": {"nothing": "untrained"}}
    model = load_weights(base).model
    tower = {name for name, _ in model.tower.named_parameters(prefix="tower")}
    with safetensors.safe_open(result.weights, framework="pt") as file:
        held = set(file.keys())
    assert held
    assert not held & tower
    assert result.weights.stat().st_size < base.stat().st_size

    engine = DepthEngine.load(result.weights, device="cpu")
    depth = engine.infer(np.full((1, 64, 96, 3), 120, np.uint8), [CAMERA])
    engine.close()
    assert np.isfinite(depth.depth_m).all()

    with pytest.raises(WeightsError, match="load it with its own base"):
        load_weights(result.weights, base=make_tiny_weights(seed=5))
    moved = tmp_path / "robot"
    moved.mkdir()
    for path in (result.weights, base):  # the robot has both files in one folder, and nothing of this machine
        (moved / path.name).write_bytes(path.read_bytes())
    base.unlink()
    load_weights(moved / result.weights.name)


def test_the_shipped_weights_learn_a_real_place_from_a_bag(shared_data, record, tmp_path):
    # A bag of a few frames of rooms that the weights never saw; what comes of it is thrown away.
    folder = shared_data / "rgbd" / "felix_realsense"
    camera = Intrinsics(308.6, 308.8, 158.5, 122.7, 320, 240)
    with record("rooms") as bag:
        for i, path in enumerate(sorted((folder / "depth").glob("*.png"))):
            bgr = cv2.imread(str(next((folder / "rgb").glob(f"{path.stem}.*"))))
            bag.image(float(i), cv2.resize(bgr, (320, 240))[..., ::-1], "/camera/color/image_raw/compressed")
            bag.info(float(i), camera, topic="/camera/color/camera_info")
            bag.depth(i + 0.004, cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[::2, ::2] / 1000)
    more = ("--optim.rates.adapters=1e-3", "--loop.precision=bf16-mixed", "--loop.evaluate_every=12")
    result = adapted(bag.path, "fast", tmp_path / "out", 24, *more)
    before, after = (r.rows["model"]["all"] for r in (result.before, result.after))
    assert after["abs_rel"] < before["abs_rel"]
    assert after["abs_rel_scaled"] < before["abs_rel_scaled"]
    assert read_info(result.weights).base_name == "fast"
    assert result.weights.stat().st_size < 6_000_000


def test_a_place_that_is_not_learnt_leaves_the_weights_as_they_were(corridor, make_tiny_weights, tmp_path, capsys):
    with pytest.raises(AdaptationError, match=r"no weights were written"):
        adapted(corridor, make_tiny_weights(), tmp_path / "out", 2, "--optim.rates.adapters=0.0")
    assert "before" in capsys.readouterr().out
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_a_training_and_the_weights_that_are_adapted_are_not_written_over(
    corridor, make_config, make_tiny_weights, tmp_path
):
    mine = tmp_path / "mine"
    mine.mkdir()
    base = make_tiny_weights().replace(mine / "weights.safetensors")
    whole = base.read_bytes()
    with pytest.raises(ConfigError, match=r"weights\.safetensors is the base that .* name another --out"):
        adapted(corridor, base, mine, 2)
    (mine / "log.csv").write_text("step,name,value\n")
    config = make_config(loop__steps=1, loop__out=str(mine), data__validation={})
    train(config)
    kept = {path.name: path.read_bytes() for path in mine.glob("*.*")}
    with pytest.raises(ConfigError, match=r"best\.ckpt is of another training, .* name another --out"):
        adapted(corridor, make_tiny_weights(seed=1), mine, 2)
    assert {path.name: path.read_bytes() for path in mine.glob("*.*")} == kept
    assert base.read_bytes() == whole


def test_the_command_adapts_to_a_folder_from_anywhere(make_folder, make_tiny_weights, tmp_path, monkeypatch, capsys):
    folder, base = make_folder("hall", frames=10), make_tiny_weights()
    monkeypatch.chdir(tmp_path)
    arguments = ["--preset", "adapt", "--data", "hall", "--weights", base.name, "--minutes", "1", *QUICK]
    assert train_main([*arguments, "--loop.steps=12", "--optim.rates.adapters=3e-3"]) == 0
    assert folder.is_dir()
    printed = capsys.readouterr().out
    assert "held-out frames" in printed
    assert "each image's median" in printed
    assert "peak memory" in printed
    assert (tmp_path / "adapted" / "hall" / "weights.safetensors").is_file()


def test_the_preset_trains_adapters_alone_and_comes_with_the_package():
    assert compose("adapt")["model"]["train"] == ["adapters"]
    with pytest.raises(SystemExit):
        train_main(["--preset", "adopt", "--data", "x"])


def test_data_that_cannot_be_used_is_refused(make_folder, make_tiny_weights, tmp_path):
    base = make_tiny_weights()
    with pytest.raises(ConfigError, match="never_train_on lists scored"):
        adapted(make_folder("scored", frames=12), base, tmp_path / "a", 1, "--data.never_train_on=[scored]")
    with pytest.raises(InputError, match="5 frames cannot be split"):
        adapted(make_folder("short", frames=5), base, tmp_path / "b", 1)
    with pytest.raises(InputError, match="nothing that a reader knows"):
        adapted(tmp_path / "nowhere", base, tmp_path / "c", 1)
    with pytest.raises(ConfigError, match=r"optim\.rate is not a key"):
        adapted(tmp_path / "short", base, tmp_path / "d", 1, "--optim.rate=1")
