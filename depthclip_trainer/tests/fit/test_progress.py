# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import csv

import pytest
import torch
from depthclip_trainer.fit import distributed
from depthclip_trainer.fit.curve import read_log, write_curve
from depthclip_trainer.fit.progress import TrainingLog
from depthclip_trainer.fit.start import announcement, prepare


def test_a_log_takes_back_what_a_killed_training_did_beyond_its_checkpoint(tmp_path):
    with TrainingLog(tmp_path, 1) as log:
        for step in (1, 2, 3):
            log.count(8)
            log.step(step, step / 4, step * 1.0, {"loss": 10.0 - step})
    with (tmp_path / "log.csv").open("a") as file:
        file.write("4,los")  # cut off in the middle of a line
    with TrainingLog(tmp_path, 1, step=2) as log:
        log.step(3, 0.75, 3.0, {"loss": 5.0})
    assert read_log(tmp_path / "log.csv")["loss"] == [(1, 9.0), (2, 8.0), (3, 5.0)]
    with (tmp_path / "log.csv").open() as file:
        assert next(csv.reader(file)) == ["step", "name", "value"]


def test_the_first_process_alone_writes(tmp_path, capsys):
    with TrainingLog(tmp_path / "run", 1, quiet=True) as log:
        log.say("hello")
        log.count(8)
        log.step(1, 0.5, 1.0, {"loss": 1.0})
        log.write(1, {"x": 1.0})
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr().out == ""


def test_the_curve_shows_what_was_logged(tmp_path):
    (tmp_path / "log.csv").write_text("step,name,value\n")
    assert write_curve(tmp_path) is None
    (tmp_path / "log.csv").write_text(
        "step,name,value\n1,loss,2.0\n2,loss,1.0\n2,kitchen/abs_rel,0.3\n2,hall/abs_rel,0.4\n"
    )
    path = write_curve(tmp_path)
    assert path is not None
    assert path.stat().st_size > 5000


def test_before_it_starts_a_training_says_what_it_will_do(make_config):
    training = prepare(make_config(loop__steps=1000, loop__accumulate=2, loss={"bin_cross_entropy": 1.0}))
    training.step_s = 0.6
    text = "\n".join(announcement(training))
    assert "67,919 of 67,919 parameters trained (100.0%), on cpu" in text
    assert "rooms: 8 rendered rooms (share 1)" in text
    assert "batch 8 at 96x64" in text
    assert "1000 steps, about 10.0 minutes" in text
    assert training.unreached  # the regression head
    assert f"does not depend on {len(training.unreached)} trained tensors" in text
    assert all(p.grad is None for p in training.model.parameters())


@pytest.mark.parametrize(
    ("asked", "units", "precision"),
    [
        ("auto", True, "bf16-mixed"),
        ("auto", False, "32-true"),
        ("bf16-mixed", False, "bf16-mixed"),
    ],
)
def test_bfloat16_is_taken_where_the_cpu_has_units_for_it(make_config, monkeypatch, asked, units, precision):
    monkeypatch.setattr(distributed, "has_bf16_units", lambda: units)
    training = prepare(make_config(loop__precision=asked))
    assert f"accumulated), {precision}" in "\n".join(announcement(training))
    with training.fabric.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if precision == "bf16-mixed" else torch.float32)


def test_the_rehearsal_leaves_nothing_behind(make_config):
    config = make_config()
    one, other = prepare(config), prepare(config)
    fresh = {name: value for name, value in one.model.state_dict().items() if "num_batches" in name}
    assert fresh
    assert all(value == 0 for value in fresh.values())
    assert one.step_s > 0
    assert not one.unreached
    assert one.micro_batch(3, 0).paths == other.micro_batch(3, 0).paths
