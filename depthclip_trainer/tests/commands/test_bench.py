# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from depthclip_trainer.commands import bench
from depthclip_trainer.commands.bench import bench_command
from depthclip_trainer.recipe import as_mapping, read_config

from depthclip_ros.core.errors import ConfigError

TRAIN = "from depthclip_trainer.cli import train_main\nsys.exit(train_main())\n"


@pytest.fixture
def config_path(make_config, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(as_mapping(make_config(loop__accumulate=2)), sort_keys=False))
    return path


def test_figures_stand_beside_their_baselines(config_path, tmp_path, capsys):
    out = tmp_path / "bench.json"
    quick = ["--steps", "1", "--repeats", "2", "--loop.batch", "2"]
    bench_command(["--config", str(config_path), "--parts", "step,rooms", "--json", str(out), *quick])
    figures = json.loads(out.read_text())
    step = figures["step"]
    assert {name: len(rates) for name, rates in step["windows"].items()} == {"bare": 2, "training": 2, "data": 2}
    expected = [one / other for one, other in zip(step["windows"]["training"], step["windows"]["bare"], strict=True)]
    assert step["ratio"] == pytest.approx(sum(expected) / 2)
    assert figures["machine"]["batch"] == 2
    assert figures["rooms"]["width_px"] == 128
    assert "training step against a bare loop" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()  # nothing of the training is left


def test_memory_is_measured_in_processes_of_their_own(config_path, tmp_path, start, monkeypatch):
    def run(command, **_):
        process = start(TRAIN, *command[command.index("bench") :])
        return subprocess.CompletedProcess(command, process.wait(), "", process.output)

    monkeypatch.setattr(bench.subprocess, "run", run)
    out = tmp_path / "bench.json"
    bench_command(["--config", str(config_path), "--parts", "memory", "--batches", "2", "--json", str(out)])
    assert json.loads(out.read_text())["memory_mb"]["2"] > 50


def test_a_recipe_is_measured_by_its_name(tmp_path, monkeypatch):
    def run(command, **_):
        read_config(command[command.index("--config") + 1])  # what the process of its own does first
        Path(command[command.index("--json") + 1]).write_text('{"peak_mb": 60.0}')
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(bench.subprocess, "run", run)
    out = tmp_path / "bench.json"
    bench_command(["--config", "smoke", "--parts", "memory", "--batches", "2", "--json", str(out)])
    assert json.loads(out.read_text())["memory_mb"] == {"2": 60.0}


def test_what_cannot_be_measured_says_why(config_path):
    with pytest.raises(ConfigError, match="'speed'; allowed are step, rooms, processes, memory"):
        bench_command(["--config", str(config_path), "--parts", "speed"])
    with pytest.raises(ConfigError, match="--batches is '0'; it takes sizes of 1 or more"):
        bench_command(["--config", str(config_path), "--batches", "0"])
