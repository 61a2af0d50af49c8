# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import csv
import re

import pytest
import torch
from depthclip_trainer.fit import loop, start
from depthclip_trainer.fit.checkpoint import load_checkpoint, save_checkpoint
from depthclip_trainer.fit.curve import read_log
from depthclip_trainer.fit.export import model_of_checkpoint
from depthclip_trainer.fit.loop import train
from depthclip_trainer.fit.optim import OptimConfig
from depthclip_trainer.fit.watch import DivergedError
from depthclip_trainer.recipe import as_mapping

from depthclip_ros.core.errors import ConfigError, InputError, WeightsError
from depthclip_ros.core.weights.weights_file import save_weights


def same_tensors(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def test_training_lowers_the_loss_and_leaves_logs_pictures_and_checkpoints(make_config):
    config = make_config(loop__steps=40, loop__evaluate_every=20, loop__log_every=5)
    out = train(config)
    with (out / "log.csv").open() as file:
        losses = [float(row["value"]) for row in csv.DictReader(file) if row["name"] == "loss"]
    assert len(losses) == 8
    assert min(losses[-3:]) < 0.8 * losses[0]
    assert len(list((out / "pictures").glob("*.png"))) == 2
    assert list((out / "tensorboard").iterdir())
    assert load_checkpoint(out / "best.ckpt")["progress"]["best"] < 10


def test_a_stopped_training_resumes_bit_for_bit(make_config, tmp_path, monkeypatch):
    whole = train(make_config(loop__out=str(tmp_path / "whole")))

    class KilledError(Exception):
        pass

    def killed(path, state):
        save_checkpoint(path, state)
        if path.name == "last.ckpt" and state["progress"]["step"] == 3:
            raise KilledError

    monkeypatch.setattr(loop, "save_checkpoint", killed)
    parts = make_config(loop__out=str(tmp_path / "parts"))
    with pytest.raises(KilledError):
        train(parts)
    monkeypatch.undo()
    train(parts)
    one, other = load_checkpoint(whole / "last.ckpt"), load_checkpoint(tmp_path / "parts" / "last.ckpt")
    assert one["progress"]["step"] == other["progress"]["step"] == 6
    assert same_tensors(one["model"], other["model"])
    assert same_tensors(one["ema"]["average"], other["ema"]["average"])


def test_a_checkpoint_of_another_config_is_refused(make_config):
    train(make_config(loop__steps=1))
    with pytest.raises(ConfigError, match=r"another 'loss': loss\.l1 was None and is 1\.0"):
        train(make_config(loop__steps=2, loss__l1=1.0))


def test_other_weights_and_frames_of_the_same_name_are_refused_and_the_same_elsewhere_are_not(
    make_config, make_folder, make_tiny_weights, tmp_path
):
    def settings(folder, weights, steps):
        data = {
            **as_mapping(make_config())["data"],
            "validation": {},
            "train": {"walk": {"path": str(folder), "longest_px": 96}},
        }
        return make_config(data=data, model={"init": str(weights)}, loop__steps=steps, loop__batch=2)

    folder, weights = make_folder("here", frames=3, source="walk"), make_tiny_weights()
    train(settings(folder, weights, 1))
    folder, weights = folder.rename(tmp_path / "there"), weights.rename(tmp_path / "moved.safetensors")
    assert load_checkpoint(train(settings(folder, weights, 2)) / "last.ckpt")["progress"]["step"] == 2
    make_tiny_weights(seed=1).replace(weights)
    with pytest.raises(ConfigError, match=r"another 'model': model\.init was"):
        train(settings(folder, weights, 3))
    make_tiny_weights().replace(weights)
    (folder / "depth" / "0002.png").unlink()
    with pytest.raises(ConfigError, match=r"another 'data': data\.train\.walk\.path was"):
        train(settings(folder, weights, 3))


def test_without_validation_the_newest_weights_are_kept(make_config):
    config = make_config(
        data={**as_mapping(make_config())["data"], "validation": {}}, loop__steps=2, loop__evaluate_every=1
    )
    assert load_checkpoint(train(config) / "best.ckpt")["progress"]["step"] == 2


def test_a_validation_source_without_a_reading_in_range_is_refused_or_does_not_count(make_config, make_folder, caplog):
    make_folder("hall")  # nothing in it is nearer than 0.8 m
    hall = {"path": "hall", "max_depth_m": 0.5}
    data = as_mapping(make_config())["data"]

    def config(**more):
        held_out = {**data["validation"], "hall": {**hall, **more}}
        return make_config(data={**data, "validation": held_out}, loop__steps=2, loop__evaluate_every=1)

    with pytest.raises(InputError, match=r"hall has no reading between 0\.1 and 0\.5 m; set max_depth_m"):
        train(config())
    out = train(config(keep="disk"))  # which is not read as a whole before
    assert "validation hall has no reading in its range of depth" in caplog.text
    scores = [score for _, score in read_log(out / "log.csv")["held_out/abs_rel"]]
    assert load_checkpoint(out / "last.ckpt")["progress"]["best"] == pytest.approx(min(scores), rel=1e-5)


def test_a_checkpoint_of_another_network_is_refused(make_config):
    config = make_config(loop__steps=1)
    state_path = train(config) / "last.ckpt"
    state = load_checkpoint(state_path)
    state["model_config"]["bins"] = 24
    save_checkpoint(state_path, state)
    with pytest.raises(ConfigError, match="another model"):
        train(config)
    save_checkpoint(state_path, {key: value for key, value in state.items() if key != "model_config"})
    with pytest.raises(WeightsError, match=r"another version \(without model_config\)"):
        train(config)


def test_weights_to_start_from_bring_their_architecture(make_config, tmp_path):
    first = start.start_model(make_config())
    save_weights(tmp_path / "start.safetensors", first, training={}, metrics={}, dtype="float32")
    model = {"preset": "nano", "init": str(tmp_path / "start.safetensors")}
    again = start.start_model(make_config(model={**model, "overrides": {"input_pixels": 4096}}))
    assert again.config.bins == 16
    assert again.config.input_pixels == 4096
    assert same_tensors(again.state_dict(), first.state_dict())
    with pytest.raises(ConfigError, match="do not fit"):
        start.start_model(make_config(model={**model, "overrides": {"bins": 24}}))


def test_the_groups_that_are_trained_are_chosen_in_the_config(make_config, tmp_path):
    first = start.start_model(make_config())
    save_weights(tmp_path / "start.safetensors", first, training={}, metrics={}, dtype="float32")
    model = {"preset": "nano", "init": str(tmp_path / "start.safetensors"), "train": ["adapters"]}
    config = make_config(model=model, optim__rates={"adapters": 1e-3}, loop__steps=2)
    state = load_checkpoint(train(config) / "last.ckpt")
    trained = model_of_checkpoint(tmp_path / "run" / "last.ckpt")[0].trainable_names()
    for name, value in first.state_dict().items():
        assert name in trained or torch.equal(state["model"][name], value), name
    assert not all(torch.equal(state["model"][name], first.state_dict()[name]) for name in trained)
    assert not any(name.startswith("tower") for name in trained)
    with pytest.raises(ConfigError, match="'heads'; allowed: adapters, last_blocks, tower"):
        start.start_model(make_config(model={**model, "train": ["heads"]}))


def test_a_loss_that_is_no_number_stops_names_the_batch_and_keeps_the_checkpoint(make_config, monkeypatch):
    config = make_config()
    real = start.objective_of
    calls = []

    def objective_of(*arguments):
        objective = real(*arguments)

        def spoiled(*batch):
            total, terms = objective(*batch)
            calls.append(1)
            return (total * float("nan") if len(calls) == 2 + 5 else total), terms  # two passes are a rehearsal

        return spoiled

    monkeypatch.setattr(start, "objective_of", objective_of)
    with pytest.raises(DivergedError, match=r"nan at step 4, in the batch of rooms/3:"):
        train(config)
    state = load_checkpoint(loop.Path(config.loop.out) / "last.ckpt")
    assert state["progress"]["step"] == 3
    assert all(torch.isfinite(value).all() for value in state["ema"]["average"].values())


def test_accumulated_gradients_are_those_of_the_joint_batch(make_config, plain_batches):
    from depthclip_trainer.data.store.rooms import render_pool
    from depthclip_trainer.losses.objective import batch_loss

    config = make_config()
    torch.manual_seed(0)
    model = start.start_model(config).eval()  # batch normalisation would see other batches
    pool = render_pool("rooms", 4, 96, 64, 3, torch.device("cpu"))
    gradients = []
    for size in (4, 2):
        model.zero_grad()
        for batch in plain_batches(pool, size, 96, 64):
            loss, _ = batch_loss(model, model, batch, config.loss)
            (loss * size / 4).backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], rtol=1e-3, atol=1e-5), name


def test_rates_must_match_the_groups_of_the_model(make_config):
    with pytest.raises(ConfigError, match="no rate for the group 'tower'"):
        train(make_config(optim__rates={"adapters": 1e-3, "last_blocks": 1e-3}))
    with pytest.raises(ConfigError, match="'head'"):
        train(make_config(optim__rates={"adapters": 1e-3, "head": 1e-3}))
    assert OptimConfig(rates={}).final < 1


def test_the_wall_clock_ends_a_training_and_its_schedule(make_config):
    config = make_config(loop__steps=0, loop__max_minutes=0.02, loop__evaluate_every=100_000)
    state = load_checkpoint(train(config) / "last.ckpt")
    assert state["progress"]["elapsed_s"] >= 1.2
    assert loop.share_done(config, 0, 0.6) == pytest.approx(0.5)


FILLING = """
import resource, torch
from pathlib import Path
from depthclip_trainer.fit.checkpoint import save_checkpoint
path = Path(sys.argv[1])
save_checkpoint(path, {"step": 1, "model": torch.zeros(1000)})
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
save_checkpoint(path, {"step": 2, "model": torch.zeros(1_000_000)})
"""


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, start):
    path = tmp_path / "disk" / "last.ckpt"
    done = start(FILLING, path)
    assert done.wait() == 1
    assert re.search(r"WeightsError: the checkpoint .*last.ckpt could not be written .*the one before", done.output)
    assert load_checkpoint(path)["step"] == 1
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_broken_and_foreign_checkpoints_are_refused(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(b"\x00" * 100)
    torch.save({"x": torch.ones(1)}, tmp_path / "b.ckpt")
    for name in ("a.ckpt", "b.ckpt", "missing.ckpt"):
        with pytest.raises(WeightsError, match=name):
            load_checkpoint(tmp_path / name)
