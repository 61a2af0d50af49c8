# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip-train --preset adapt`: adapters and heads learn one place, in minutes, from a recording."""

from __future__ import annotations

import argparse
import dataclasses
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import ConfigError, DepthClipError
from depthclip_ros.core.weights.find import read_info
from depthclip_trainer.config import TrainConfig
from depthclip_trainer.data.frames import read_frames
from depthclip_trainer.data.sample import Sample
from depthclip_trainer.data.sources import frame_set, kind_of, part_names
from depthclip_trainer.evaluation.evaluate import Metrics, Report, evaluate
from depthclip_trainer.evaluation.protocols import PROTOCOLS
from depthclip_trainer.evaluation.tables import figures_json, write_report
from depthclip_trainer.fit.checkpoint import load_checkpoint
from depthclip_trainer.fit.export import (
    WEIGHTS_NAME,
    export_checkpoint,
    has_base,
    model_of_checkpoint,
    spare,
    spare_base,
)
from depthclip_trainer.fit.loop import train
from depthclip_trainer.fit.start import start_model
from depthclip_trainer.recipe import compose, config_from_mapping, lay_over, parse_overrides

SOURCE = "place"
TOPICS = ("image_topic", "depth_topic", "camera_info_topic")
COLUMNS = (
    ("δ1", "delta1"),
    ("AbsRel", "abs_rel"),
    ("RMSE", "rmse"),
    ("δ1 scaled", "delta1_scaled"),
    ("AbsRel scaled", "abs_rel_scaled"),
    ("AUSE", "ause"),
)
MAX_FRAMES = 600
"""Frames taken of a recording, spread over it: 600 of 320x240 are 0.3 GB, and neighbours teach nothing new."""
HELD_OUT_FRAMES = 60
"""Most frames that are scored before and after."""
MIN_GAIN = 0.01
"""Held-out AbsRel has to fall by this share; less may be chance."""


def adapt_command(arguments: Sequence[str]) -> None:
    """Adapts weights to a recording and prints what it gained."""
    parser = argparse.ArgumentParser(
        prog="depthclip-train --preset adapt",
        description="Adapt weights to one place: trains adapters and heads for minutes on what a robot recorded there. "
        "The last quarter of the recording is held out, and scored before and after.",
        epilog="Any setting of the preset can be given as --section.key VALUE, e.g. --optim.rates.adapters 3e-4.",
        allow_abbrev=False,
    )
    parser.add_argument("--preset", required=True, choices=("adapt",), help=argparse.SUPPRESS)
    parser.add_argument(
        "--data", required=True, type=Path, help="a bag (folder, .mcap, .db3), an RGB-D folder or a TUM folder"
    )
    parser.add_argument("--out", type=Path, help="folder of weights and report (default: adapted/NAME of the data)")
    parser.add_argument(
        "--weights",
        default="default",
        help='what is adapted: default, a file, a Hugging Face id, or "" for --model.preset NAME from its own base',
    )
    parser.add_argument(
        "--minutes", type=float, default=3.0, help="of training and its evaluations (default: %(default)g)"
    )
    for name in TOPICS:
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, default="", metavar="TOPIC", help="of a bag (default: found by type and frame)")
    options, overrides = parser.parse_known_args(arguments)
    out = options.out or Path("adapted") / options.data.stem
    topics = {name: getattr(options, name) for name in TOPICS if getattr(options, name)}
    adapt(AdaptOptions(options.data, out, options.weights, options.minutes, topics, overrides))


class AdaptationError(DepthClipError):
    """The place was not learnt: held-out frames got no better, so the weights stay as they were."""


@dataclass(frozen=True)
class AdaptOptions:
    """What `depthclip-train --preset adapt` is told.

    Attributes:
        data: a bag, an RGB-D folder, a TUM folder.
        out: folder of checkpoint, log, pictures, report and `weights.safetensors`; an earlier adaptation is replaced.
        weights: what is adapted: default, a weights file or a Hugging Face id; empty trains `model.preset` anew on its
            own base (a CLIP tower).
        minutes: of training, by the clock: its evaluations on the deciding frames count.
        topics: of a bag: `image_topic`, `depth_topic`, `camera_info_topic`; empty ones are found.
        overrides: `--section.key value` arguments on top of the preset.
    """

    data: Path
    out: Path
    weights: str = "default"
    minutes: float = 3.0
    topics: dict[str, str] = field(default_factory=dict)
    overrides: Sequence[str] = ()


@dataclass(frozen=True)
class Adapted:
    """What came of it: the weights file, the reports on the held-out frames, and what it cost."""

    weights: Path
    before: Report | None
    after: Report
    minutes: float
    peak_memory_mb: float


def adapt(options: AdaptOptions, console: Console | None = None) -> Adapted:
    """Trains adapters and heads on the first part of a recording, keeps the best on the second, proves it on the last.

    Raises:
        AdaptationError: the held-out frames got no better; nothing was written.
        InputError, ConfigError, WeightsError: data or weights that cannot be used.
    """
    console = console or Console()
    begun_s = time.monotonic()
    config = adapt_config(options)
    spare_what_is_there(config)
    held_out = held_out_frames(config)
    before = _score(config.model.init, held_out) if config.model.init else None
    say = f"{options.data}: {len(held_out)} frames at its end are held out"
    say += f"; AbsRel {_model(before)['abs_rel']:.3f} before" if before else ""
    console.print(say, markup=False, highlight=False, soft_wrap=True)
    out = train(config)
    model, trained, _ = model_of_checkpoint(out / "best.ckpt")
    candidate = export_checkpoint(
        out / "best.ckpt", out / f"candidate.{WEIGHTS_NAME}", adapter_only=has_base(model, trained)
    )
    try:
        after = _score(candidate, held_out)
        minutes, peak_mb = (time.monotonic() - begun_s) / 60, peak_memory_mb()
        result = Adapted(out / WEIGHTS_NAME, before, after, minutes, peak_mb)
        print_adapted(result, console)
        if before and not _model(after)["abs_rel"] < (1 - MIN_GAIN) * _model(before)["abs_rel"]:
            raise AdaptationError(
                f"held-out AbsRel is {_model(after)['abs_rel']:.3f} after adaptation and was "
                f"{_model(before)['abs_rel']:.3f} before: keep using {config.model.init}, no weights were written; "
                "more frames from more viewpoints help, or a lower --optim.rates.adapters"
            )
        spare(result.weights, read_info(candidate).base_name)
        candidate.replace(result.weights)
    finally:
        candidate.unlink(missing_ok=True)
    write_report(after, out / "held_out")
    write_summary(result, out / "report.json")
    size_mb = result.weights.stat().st_size / 1e6
    console.print(
        f"{result.weights} ({size_mb:.1f} MB): model.weights of depth_node",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return result


def adapt_config(options: AdaptOptions) -> TrainConfig:
    """The preset with data, weights, batch size and budget filled in; overrides last.

    Raises:
        InputError, ConfigError, WeightsError: data, a setting or weights that cannot be used.
    """
    mapping = compose("adapt")
    frames = {
        "path": str(options.data.absolute()),
        "kind": kind_of(options.data),
        "count": MAX_FRAMES,
        **options.topics,
    }
    for part in ("train", "validation"):
        mapping["data"][part][SOURCE].update(frames)
    mapping["loop"].update(out=str(options.out), max_minutes=options.minutes)
    # Written into the file as its base, which has to be found again from anywhere.
    is_file = bool(options.weights) and Path(options.weights).is_file()
    mapping["model"]["init"] = str(Path(options.weights).absolute()) if is_file else options.weights
    for key, value in parse_overrides(options.overrides):
        lay_over(mapping, key, value)
    config = config_from_mapping(mapping)
    if {"width_px", "height_px"} <= mapping["data"].keys():
        return config
    camera = held_out_frames(config, most=1)[0].intrinsics
    width_px, height_px = start_model(config).network_size(camera.width_px, camera.height_px)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, width_px=width_px, height_px=height_px))


def spare_what_is_there(config: TrainConfig) -> None:
    """Makes sure that the folder holds nothing that an adaptation would destroy: only an earlier one is replaced.

    Raises:
        ConfigError: checkpoints of another training, or the weights that are adapted.
        WeightsError: a checkpoint that does not read.
    """
    out = Path(config.loop.out)
    for checkpoint in (out / "best.ckpt", out / "last.ckpt"):
        if checkpoint.is_file() and SOURCE not in load_checkpoint(checkpoint)["config"]["data"]["train"]:
            raise ConfigError(f"{checkpoint} is of another training, which would be lost; name another --out")
    spare_base(out / WEIGHTS_NAME, config.model.init)


def held_out_frames(config: TrainConfig, most: int = HELD_OUT_FRAMES) -> list[Sample]:
    """At most so many of the frames that training never sees, spread over them, at their recorded size.

    Raises:
        InputError: none can be read.
    """
    source = config.data.validation[SOURCE]
    frames = frame_set(source, config.data.root)
    names = part_names(frames, dataclasses.replace(source, part="test"))
    return list(read_frames(frames, names[:: -(-len(names) // most)]))


def print_adapted(result: Adapted, console: Console) -> None:
    """Before and after, beside what knows nothing of the picture, and what it cost."""
    count = len(result.after.frames)
    table = Table(title=f"{count} held-out frames, no alignment", title_justify="left")
    table.add_column("", no_wrap=True)
    for title, _ in COLUMNS:
        table.add_column(title, justify="right")
    rows = {"before": result.before and _model(result.before), "adapted": _model(result.after)}
    rows["best constant"] = result.after.rows["best constant"]["all"]
    rows["each image's median"] = result.after.rows["each image's median"]["all"]
    for name, metrics in rows.items():
        if metrics:
            table.add_row(name, *(f"{metrics[key]:.3f}" if key in metrics else "" for _, key in COLUMNS))
    console.print(table)
    console.print(
        f"{result.minutes:.1f} minutes, peak memory {result.peak_memory_mb:.0f} MB", markup=False, highlight=False
    )


def peak_memory_mb() -> float:
    """Most memory that this process has held: of the GPU where it used one, else of the machine."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _score(weights: str | Path, frames: Sequence[Sample]) -> Report:
    engine = DepthEngine.load(weights)
    try:
        return evaluate(engine, ((SOURCE, sample) for sample in frames), PROTOCOLS["frames"])
    finally:
        engine.close()


def _model(report: Report) -> Metrics:
    return report.rows["model"]["all"]


def write_summary(result: Adapted, path: Path) -> None:
    """What the adaptation gained and cost, as JSON."""
    content = {
        "weights": str(result.weights),
        "minutes": round(result.minutes, 2),
        "peak_memory_mb": round(result.peak_memory_mb),
        "frames": len(result.after.frames),
        "before": result.before and _model(result.before),
        "after": _model(result.after),
        "baselines": {name: rows["all"] for name, rows in result.after.rows.items() if name != "model"},
    }
    path.write_text(figures_json(content))
