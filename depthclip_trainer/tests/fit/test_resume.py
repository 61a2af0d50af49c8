# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Real processes, really killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from depthclip_trainer.fit.checkpoint import load_checkpoint
from depthclip_trainer.fit.curve import read_log
from depthclip_trainer.fit.loop import train
from depthclip_trainer.recipe import as_mapping

STEPS = 10


TRAIN = "from depthclip_trainer.cli import train_main\nsys.exit(train_main())\n"


@pytest.fixture
def kill_when(start) -> Callable[[Path, Callable[[], bool]], None]:
    """Starts a training and ends it with SIGKILL at the moment that something is seen."""

    def run(config_path: Path, happened: Callable[[], bool]) -> None:
        process = start(TRAIN, "--config", config_path)
        while not happened():
            assert process.is_running(), process.output  # it ended by itself
            time.sleep(0.0005)
        assert process.kill() == -9

    return run


def test_a_training_killed_twice_ends_with_the_weights_of_one_that_was_not(make_config, tmp_path, kill_when):
    settings = {"loop__steps": STEPS, "loop__checkpoint_every": 1, "loop__evaluate_every": 5, "loop__log_every": 1}
    settings["loop__final_table"] = False
    config = make_config(**settings, loop__out=str(tmp_path / "killed"))
    (tmp_path / "killed.yaml").write_text(yaml.safe_dump(as_mapping(config), sort_keys=False))
    folder = tmp_path / "killed"

    def writing() -> bool:
        return (folder / "last.ckpt").is_file() and any(folder.glob(".last.ckpt.*.tmp"))

    kill_when(tmp_path / "killed.yaml", writing)
    first = load_checkpoint(folder / "last.ckpt")["progress"]["step"]  # whole, whatever was being written
    assert 1 <= first < STEPS
    written_s = (folder / "last.ckpt").stat().st_mtime_ns
    kill_when(tmp_path / "killed.yaml", lambda: (folder / "last.ckpt").stat().st_mtime_ns != written_s)
    second = load_checkpoint(folder / "last.ckpt")["progress"]["step"]
    assert first < second < STEPS
    train(config)
    train(make_config(**settings, loop__out=str(tmp_path / "whole")))
    one, other = (load_checkpoint(tmp_path / name / "last.ckpt") for name in ("killed", "whole"))
    assert one["progress"]["step"] == other["progress"]["step"] == STEPS
    for part in ("model", "ema"):
        one_part, other_part = (state[part].get("average", state[part]) for state in (one, other))
        assert all(torch.equal(value, other_part[name]) for name, value in one_part.items())
    assert one["progress"]["best"] == other["progress"]["best"]
    losses, expected = (read_log(tmp_path / name / "log.csv")["loss"] for name in ("killed", "whole"))
    assert losses == expected  # each step once, though some were taken twice
    assert not list(folder.glob(".*.tmp"))
    assert (folder / "curve.png").is_file()
