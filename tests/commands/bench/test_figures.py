# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What the bench computes, on figures that were made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch")

import torch
from rich.console import Console
from torch import nn

from depthclip_ros.commands.bench.floor import Machine, Work, measure_machine, measure_work
from depthclip_ros.commands.bench.report.tables import TABLES, markdown, rich_table
from depthclip_ros.commands.bench.settings import TURN, interleaved, percentiles
from depthclip_ros.commands.bench.soak import ProcessSample, growth, sample_process, write_csv
from depthclip_ros.commands.bench.systems import SYSTEMS, chosen
from depthclip_ros.core.model.registry import preset


def test_calls_are_taken_in_turn() -> None:
    order = []
    calls = {name: (lambda name=name: order.append(name) or {"total_ms": 1.0}) for name in "ABC"}
    found = interleaved(calls, budget_s=0.0, least=2)
    turn = "".join(name * (1 + TURN) for name in "ABC")  # the first of each is not counted
    assert "".join(order) == "ABC" + 2 * turn
    assert found["B"] == {"total_ms": 1.0, "rounds": 2, "spread": 0.0}


def test_percentiles_leave_out_what_is_no_number() -> None:
    found = percentiles([float("nan"), 1.0, 2.0, 3.0])
    assert found["latency_p50_ms"] == 2.0
    assert percentiles([])["latency_p99_ms"] is None


def test_work_of_a_network_is_counted() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(8, 4, 1, bias=False)).eval()
    work = measure_work(network, torch.zeros(1, 3, 10, 20))
    assert work.operations == 2 * 200 * (3 * 9 * 8 + 8 * 4)
    assert work.weights == 3 * 9 * 8 + 8 * 4
    assert work.activations == 200 * (3 + 8 + 8 + 4), "the ReLU is taken to be fused"


def test_attention_is_counted_too() -> None:
    layer = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True).eval()
    work = measure_work(layer, torch.zeros(1, 50, 32))
    products = 50 * (32 * 96 + 32 * 32 + 2 * 32 * 64) + 2 * 50 * 50 * 32
    assert work.operations == 2 * products


def test_floor_is_the_longer_of_operations_and_bytes() -> None:
    machine = Machine({"fp32": 1e9, "int8": 4e9}, {1000: 1e9, 1_000_000: 1e6})
    assert machine.floor_ms(1e6, 100, "fp32") == pytest.approx(1.0)
    assert machine.floor_ms(4e6, 100, "int8") == pytest.approx(1.0)
    # 4 bytes × (200 000 + 2 × 50 000) numbers move at the rate of what is too large for a cache.
    size_bytes = Work(1e6, 200_000, 50_000).size_bytes("fp32", batch=2)
    assert machine.floor_ms(1e6, size_bytes, "fp32") == pytest.approx(1200.0)
    assert machine.floor_ms(1e6, 100, "fp16") is None
    better = machine.best_of(Machine({"fp32": 5e8, "fp16": 1.0}, {1000: 2e9}))
    assert better.rates == {"fp32": 1e9, "int8": 4e9, "fp16": 1.0}
    assert better.copies == {1000: 2e9, 1_000_000: 1e6}


def test_this_machine_has_rates() -> None:
    machine = measure_machine("cpu", tries=1)
    assert machine.rates["fp32"] > 1e8
    assert all(rate > 1e7 for rate in machine.copies.values())


def samples(mb_per_hour: float, minutes: float = 30.0, step_mb: float = 0.0) -> list[ProcessSample]:
    rng = np.random.default_rng(0)
    times_s = np.arange(0, minutes * 60, 5.0)
    settling = 40 * (1 - np.exp(-times_s / 20))  # a process fills its caches first
    private = 400 + settling + mb_per_hour * times_s / 3600 + rng.normal(0, 0.3, times_s.size)
    private[times_s.size // 2 :] += step_mb
    return [ProcessSample(float(t), float(p) + 50, float(p), 20, 30) for t, p in zip(times_s, private, strict=True)]


@pytest.mark.parametrize("leak", [0.0, 60.0])
def test_growth_is_fitted_after_warm_up(leak: float) -> None:
    found = growth(samples(leak))
    assert found is not None
    assert found.warm_up_s == pytest.approx(897.5)
    assert found.mb_per_hour == pytest.approx(leak, abs=1.0)
    assert found.error_mb_per_hour < 0.5
    assert growth(samples(0.0)[:6]) is None


def test_this_process_is_sampled(tmp_path: Path) -> None:
    import os
    import threading

    before = sample_process(os.getpid(), 0.0)
    assert before is not None
    hold = threading.Event()
    thread = threading.Thread(target=hold.wait)
    thread.start()
    with (tmp_path / "open").open("w"):
        after = sample_process(os.getpid(), 1.0)
    hold.set()
    thread.join()
    assert after is not None
    assert (after.threads - before.threads, after.handles - before.handles) == (1, 1)
    assert after.resident_mb > after.private_mb > 5
    assert sample_process(2**22 + 1, 0.0) is None
    write_csv(tmp_path / "x.csv", [before, after])
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 3


def test_every_system_s_preset_takes_its_changes() -> None:
    for system in SYSTEMS.values():
        assert preset(system.preset, **system.changes)
    assert len(chosen((), "default", quick=True)) == 1
    assert [one.weights for one in chosen((), "mine.safetensors", quick=False)] == ["mine.safetensors"]


@pytest.mark.parametrize("part", TABLES)
def test_a_row_without_figures_gives_dashes(part: str) -> None:
    row = {"part": part, "unit": "x", "runtime": "torch", "precision": "fp32"}
    failed = {"part": part, "unit": "x", "failed": "a | in a sentence"}
    console = Console(width=160)
    with console.capture() as capture:
        console.print(rich_table(TABLES[part], [row, failed]))
    assert "sentence" in capture.get()
    assert max(map(len, capture.get().splitlines())) <= 160
    machine = {"cpu": "x", "cores": 2, "gpus": [], "torch": "2", "python": "3"}
    page = markdown({"machine": machine, "versions": {}, "rows": [row, failed]})
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1, "every line has as many columns"
    assert "a / in a sentence" in page
