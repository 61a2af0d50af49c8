# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip-train bench`: what training costs on this machine, each figure beside its baseline of the same run."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from depthclip_ros.core.errors import ConfigError, DeviceError
from depthclip_trainer.config import TrainConfig
from depthclip_trainer.data.prefetch import Prefetch
from depthclip_trainer.data.store.rooms import RENDER_BATCH, render_frames
from depthclip_trainer.fit.loop import batches_from, one_step
from depthclip_trainer.fit.start import prepare
from depthclip_trainer.fit.training import Training
from depthclip_trainer.fit.watch import LossWatch
from depthclip_trainer.recipe import find_recipe, read_config

PARTS = ("step", "rooms", "processes", "memory")
WARM_STEPS = 2


def bench_command(arguments: list[str]) -> None:
    """Measures, prints a table, writes the JSON."""
    parser = argparse.ArgumentParser(
        prog="depthclip-train bench",
        description="Measure training. Settings of the configuration can be given as --section.key VALUE.",
    )
    parser.add_argument(
        "--config", required=True, help="a recipe's name or YAML; its model, data and batch are measured"
    )
    parser.add_argument("--parts", default=",".join(PARTS), help="what to measure (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="steps of one window (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="windows of each kind, by turns (default: %(default)s)")
    parser.add_argument("--batches", default="4,8,16,32", help="sizes of the memory part (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE too")
    known, overrides = parser.parse_known_args(arguments)
    parts = [part.strip() for part in known.parts.split(",")]
    if unknown := sorted(set(parts) - {*PARTS, "peak"}):
        raise ConfigError(f"unknown part {unknown[0]!r}; allowed are {', '.join(PARTS)}")
    sizes = [int(size) for size in known.batches.split(",") if size.strip().isdigit()]
    if not sizes or min(sizes) < 1:
        raise ConfigError(f"--batches is {known.batches!r}; it takes sizes of 1 or more, e.g. 8,16")
    with tempfile.TemporaryDirectory(prefix="depthclip_bench_") as folder:
        config = measurable(read_config(known.config, overrides), folder)
        figures: dict[str, Any] = {}
        if {"step", "rooms", "peak"} & set(parts):
            training = prepare(config)
            figures["machine"] = machine(training)
            if "step" in parts:
                figures["step"] = measure_step(training, known.steps, known.repeats)
            if "rooms" in parts:
                figures["rooms"] = measure_rooms(training, known.repeats)
            if "peak" in parts:
                figures["peak_mb"] = measure_peak(training)
            if not training.fabric.is_global_zero:
                return
        child = [
            "--config",
            str(find_recipe(known.config)),
            "--steps",
            str(known.steps),
            "--repeats",
            str(known.repeats),
        ]
        if "processes" in parts:
            figures["processes"] = measure_processes(config, [*child, *overrides], Path(folder))
        if "memory" in parts:
            figures["memory_mb"] = {n: peak_of(n, [*child, *overrides], Path(folder)) for n in sizes}
    print_figures(figures, Console())
    if known.json:
        known.json.parent.mkdir(parents=True, exist_ok=True)
        known.json.write_text(json.dumps(figures, indent=1) + "\n")


def measurable(config: TrainConfig, folder: str) -> TrainConfig:
    """The same training without what is measured elsewhere or left behind: validation, checkpoints."""
    loop = dataclasses.replace(config.loop, out=str(Path(folder) / "out"), resume=False)
    return dataclasses.replace(config, loop=loop, data=dataclasses.replace(config.data, validation={}))


def machine(training: Training) -> dict[str, Any]:
    """What the figures hold for."""
    device, config = training.fabric.device, training.config
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": f"{device.type}, {name}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "model": config.model.init or config.model.preset,
        "batch": config.loop.batch,
        "size": f"{config.data.width_px}x{config.data.height_px}",
        "precision": config.loop.precision,
    }


def measure_step(training: Training, steps: int, repeats: int) -> dict[str, Any]:
    """Images/s of the training step as it is and of a bare loop on one batch, in windows by turns.

    The bare loop is forward, loss, backward and optimiser step on a batch that lies on the device.
    """
    training.model.train()
    images = steps * training.mixture.global_batch
    resident = [training.micro_batch(0, micro) for micro in range(training.config.loop.accumulate)]
    found: dict[str, list[float]] = {"bare": [], "training": [], "data": []}

    def bare() -> None:
        for _ in range(steps):
            training.optimizer.zero_grad(set_to_none=True)
            for micro, batch in enumerate(resident):
                with training.fabric.no_backward_sync(training.network, enabled=micro + 1 < len(resident)):
                    loss, _ = training.objective(training.network, training.model, batch)
                    training.fabric.backward(loss / len(resident))
            training.optimizer.step()

    def data() -> None:
        for step in range(steps):
            for micro in range(training.config.loop.accumulate):
                training.micro_batch(step, micro)

    for repeat in range(repeats):
        found["bare"].append(images / seconds(bare, training.fabric.device))
        first = repeat * (steps + WARM_STEPS)
        with Prefetch(batches_from(training, first), training.fabric.device, training.config.loop.prefetch) as batches:
            take_steps(training, batches, WARM_STEPS)  # what lies ready before the first step is not for free
            real = partial(take_steps, training, batches, steps)
            found["training"].append(images / seconds(real, training.fabric.device))
        found["data"].append(images / seconds(data, training.fabric.device))
    medians = {f"{name}_images_per_s": statistics.median(rates) for name, rates in found.items()}
    ratios = [one / other for one, other in zip(found["training"], found["bare"], strict=True)]
    return {**medians, "ratio": statistics.median(ratios), "windows": found}


def take_steps(training: Training, batches: Prefetch, count: int) -> None:
    """Training as the loop does it, its looks at the loss included."""
    watch = LossWatch(training.fabric)
    for step in range(count):
        watch.add(step, one_step(training, batches, 0.5))
    watch.look()


def measure_rooms(training: Training, repeats: int) -> dict[str, float]:
    """Rooms rendered per second at 4/3 of the training size, on the training device."""
    config = training.config
    size_px = [round(side * 4 / 3) for side in (config.data.width_px, config.data.height_px)]

    def render() -> None:
        render_frames(0, RENDER_BATCH, *size_px, "mixed", training.fabric.device)

    rates = [RENDER_BATCH / seconds(render, training.fabric.device) for _ in range(repeats)]
    return {"rooms_per_s": statistics.median(rates), "width_px": size_px[0], "height_px": size_px[1]}


def measure_peak(training: Training) -> float:
    """Most memory in MB that one process holds in a step: of the GPU, else of the machine."""
    training.model.train()
    with Prefetch(batches_from(training, 0), training.fabric.device, training.config.loop.prefetch) as batches:
        take_steps(training, batches, WARM_STEPS)
    if training.fabric.device.type == "cuda":
        return torch.cuda.max_memory_allocated(training.fabric.device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def measure_processes(config: TrainConfig, arguments: Sequence[str], folder: Path) -> dict[str, Any] | str:
    """Images/s of one process and of two that share its cores, or have a GPU each; a sentence where there is one."""
    cuda = torch.cuda.is_available() and config.loop.accelerator != "cpu"
    if cuda and torch.cuda.device_count() < 2:
        return "this machine has one GPU; two processes need two"
    threads = config.loop.threads or torch.get_num_threads()
    found: dict[str, Any] = {}
    for count in (1, 2):
        own = [] if cuda else ["--loop.threads", str(max(1, threads // count))]
        result = run_child(["--parts", "step", *arguments, *own], folder, count)
        found[f"{count}_images_per_s"] = result["step"]["training_images_per_s"]
    return {**found, "ratio": found["2_images_per_s"] / found["1_images_per_s"]}


def peak_of(batch: int, arguments: Sequence[str], folder: Path) -> float:
    """Peak memory of a process of its own with this batch size."""
    result = run_child(["--parts", "peak", *arguments, "--loop.batch", str(batch)], folder, 1)
    return float(result["peak_mb"])


def run_child(arguments: Sequence[str], folder: Path, processes: int) -> dict[str, Any]:
    """The figures of this command in processes of their own.

    Raises:
        DeviceError: they did not come to their end; the last line that they wrote is repeated.
    """
    out = folder / "child.json"
    out.unlink(missing_ok=True)
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    )
    command = [sys.executable, *launcher, "-m", "depthclip_trainer", "bench", *arguments, "--json", str(out)]
    environment = {"OMP_NUM_THREADS": str(torch.get_num_threads()), **os.environ}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode or not out.is_file():
        errors = (
            [line for line in done.stderr.splitlines() if "rror" in line] or done.stderr.splitlines() or ["nothing"]
        )
        raise DeviceError(f"a measuring process ended with {done.returncode}: {errors[0].strip()}")
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long it takes, until the device has done it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def print_figures(figures: dict[str, Any], console: Console) -> None:
    """Everything that was measured, as one table."""
    if "machine" in figures:
        console.print(
            ", ".join(f"{key} {value}" for key, value in figures["machine"].items()), markup=False, highlight=False
        )
    table = Table(title="training, medians", title_justify="left")
    for title in ("", "measured", "baseline", "ratio"):
        table.add_column(title, justify="left" if not title else "right")
    if step := figures.get("step"):
        pair = (f"{step['training_images_per_s']:.1f}", f"{step['bare_images_per_s']:.1f}", f"{step['ratio']:.2f}")
        table.add_row("training step against a bare loop, images/s", *pair)
        table.add_row("batches made in turn, images/s", f"{step['data_images_per_s']:.1f}")
    if rooms := figures.get("rooms"):
        size = f"{rooms['width_px']}x{rooms['height_px']}"
        table.add_row(f"rooms rendered at {size}, rooms/s", f"{rooms['rooms_per_s']:.1f}")
    if isinstance(both := figures.get("processes"), dict):
        pair = (f"{both['2_images_per_s']:.1f}", f"{both['1_images_per_s']:.1f}", f"{both['ratio']:.2f}")
        table.add_row("two processes against one, images/s", *pair)
    elif both:
        table.add_row(f"two processes: {both}")
    for batch, peak_mb in figures.get("memory_mb", {}).items():
        table.add_row(f"peak memory at batch {batch}, MB", f"{peak_mb:.0f}")
    console.print(table)
