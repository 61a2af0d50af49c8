# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from depthclip_trainer.fit.checkpoint import load_checkpoint
from depthclip_trainer.fit.curve import read_log
from depthclip_trainer.fit.loop import train
from depthclip_trainer.recipe import as_mapping

# Workers and agent as torchrun makes them, but forked: each of them would take seconds to import torch.
ELASTIC = """
import time, traceback
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from lightning_fabric.utilities import rank_zero_only
from depthclip_trainer.cli import train_main
from depthclip_trainer.data.mixture import Mixture
from depthclip_trainer.fit.checkpoint import load_checkpoint

real = Mixture.batch

def dies(self, step, *arguments, **settings):
    if rank_zero_only.rank == 1 and step == 2:
        while not os.path.isfile(sys.argv[2]) or load_checkpoint(sys.argv[2])["progress"]["step"] < 2:
            time.sleep(0.02)
        raise RuntimeError("out of luck")
    return real(self, step, *arguments, **settings)

def worker():
    try:
        sys.exit(train_main(sys.argv[3:]))
    except Exception:
        traceback.print_exc()
        raise

if sys.argv[1] == "dying":
    Mixture.batch = dies
settings = {"min_nodes": 1, "max_nodes": 1, "nproc_per_node": 2}
settings |= {"max_restarts": 0, "start_method": "fork", "run_id": "x"}
elastic_launch(LaunchConfig(rdzv_backend="c10d", rdzv_endpoint="localhost:0", **settings), worker)()
"""


def written(config, path: Path) -> Sequence[str]:
    path.write_text(yaml.safe_dump(as_mapping(config), sort_keys=False))
    return ["--config", str(path)]


def test_two_processes_learn_what_one_does_with_the_doubled_batch(make_config, tmp_path, start):
    shared = {"loop__steps": 6, "loop__accumulate": 2, "loop__log_every": 1, "loop__final_table": False}
    # A step as small as this keeps apart what differs in arithmetic from what differs in rounding.
    shared["optim__rates"] = dict.fromkeys(("adapters", "last_blocks", "tower"), 1e-3)
    alone = train(make_config(**shared, loop__batch=4, loop__out=str(tmp_path / "one")))
    config = make_config(**shared, loop__batch=2, loop__out=str(tmp_path / "two"))
    done = start(ELASTIC, "training", "", *written(config, tmp_path / "two.yaml"), GLOO_SOCKET_IFNAME="lo")
    assert done.wait() == 0, done.output
    assert "2 processes, cpu" in done.output
    assert done.output.count("held_out: delta1") == 2  # the first process alone evaluates
    one, two = read_log(alone / "log.csv"), read_log(tmp_path / "two" / "log.csv")
    assert [step for step, _ in two["loss"]] == [1, 2, 3, 4, 5, 6]
    for name in ("loss", "held_out/abs_rel"):
        assert torch.tensor(two[name]).allclose(torch.tensor(one[name]), rtol=2e-4), name
    states = [load_checkpoint(folder / "last.ckpt") for folder in (alone, tmp_path / "two")]
    for name, value in states[0]["model"].items():
        assert torch.allclose(value, states[1]["model"][name], rtol=2e-3, atol=2e-4), name
    assert any(name.endswith("running_mean") and value.abs().max() > 0.01 for name, value in states[0]["model"].items())


def test_a_process_that_fails_ends_the_others(make_config, tmp_path, start):
    config = make_config(loop__steps=6, loop__checkpoint_every=1, loop__out=str(tmp_path / "run"))
    done = start(
        ELASTIC,
        "dying",
        tmp_path / "run" / "last.ckpt",
        *written(config, tmp_path / "run.yaml"),
        GLOO_SOCKET_IFNAME="lo",
    )
    assert done.wait() != 0
    assert "out of luck" in done.output
    assert load_checkpoint(tmp_path / "run" / "last.ckpt")["progress"]["step"] == 2


def test_torchrun_starts_the_command(make_config, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
    command += ["-m", "depthclip_trainer", *written(make_config(), tmp_path / "run.yaml"), "--print-config"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("never_train_on") == 1
