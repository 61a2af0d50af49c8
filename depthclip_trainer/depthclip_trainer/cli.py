"""The commands `depthclip-train`, `depthclip-eval` and `depthclip-export`."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from depthclip_ros.core.errors import ConfigError, DepthClipError

COMMANDS = {
    "render-rooms": "cli:_render_rooms",
    "pseudo-label": "pseudo_label_command:pseudo_label_command",
    "write-shards": "shards_command:write_shards_command",
    "calibrate": "calibrate:calibrate_command",
    "fit-scale": "fit_scale:fit_scale_command",
    "bench": "bench:bench_command",
    "convert-encoder": "encoder:convert_encoder_command",
}
"""Subcommands of depthclip-train: the module of this package and the function that takes the arguments behind it."""


def train_main(arguments: Sequence[str] | None = None) -> int:
    """`depthclip-train --config FILE [--section.key value ...]` and its subcommands of `depthclip-train --help`."""
    rest = list(sys.argv[1:] if arguments is None else arguments)
    if rest[:1] and rest[0] in COMMANDS:
        module, function = COMMANDS[rest[0]].split(":")
        return _guarded(getattr(importlib.import_module(f"depthclip_trainer.{module}"), function), rest[1:])
    if any(argument.partition("=")[0] == "--preset" for argument in rest):
        from depthclip_trainer.adapt_command import adapt_command

        return _guarded(adapt_command, rest)
    return _guarded(_train, rest)


def eval_main(arguments: Sequence[str] | None = None) -> int:
    """`depthclip-eval --weights FILE --data FOLDER --protocol NAME`, or `--live` and the arguments of its command."""
    rest = list(sys.argv[1:] if arguments is None else arguments)
    if "--live" in rest:
        return _guarded(_evaluate_live, rest)
    return _guarded(_evaluate, rest)


def export_main(arguments: Sequence[str] | None = None) -> int:
    """`depthclip-export CHECKPOINT OUT`."""
    return _guarded(_export, list(sys.argv[1:] if arguments is None else arguments))


def _guarded(command: Callable[[list[str]], None], arguments: list[str]) -> int:
    """Runs a command; our own errors end it with one sentence, an interrupt without a trace."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    try:
        command(arguments)
    except DepthClipError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _train(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="depthclip-train",
        description="Train a depth model. Any setting of the configuration can be given as --section.key VALUE.",
        epilog=f"Subcommands, each with its own --help: {', '.join(COMMANDS)}. "
        "Adapt weights to a recording: --preset adapt --data MY.mcap (--preset adapt --help).",
    )
    parser.add_argument("--config", required=True, type=Path, help="YAML, e.g. depthclip_trainer/configs/nano.yaml")
    known, overrides = parser.parse_known_args(arguments)
    from lightning.fabric.utilities import rank_zero_only

    from depthclip_trainer.config import read_config
    from depthclip_trainer.finish import finish
    from depthclip_trainer.loop import train

    config = read_config(known.config, overrides)
    train(config)
    if config.loop.final_table:
        rank_zero_only(finish)(config)


def _render_rooms(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="depthclip-train render-rooms", description="Render a cache of rooms.")
    parser.add_argument("--out", required=True, type=Path, help="folder of the cache; rendering can be restarted")
    parser.add_argument("--count", required=True, type=int, help="rooms, rounded up to whole shards")
    parser.add_argument("--seed", type=int, default=1, help="rooms of different seeds do not overlap")
    parser.add_argument("--width", type=int, default=320, help="pixels")
    parser.add_argument("--height", type=int, default=240, help="pixels")
    parser.add_argument("--preset", default="mixed", help="rooms, tabletop, floor, hall or mixed")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 for torch's choice")
    options = parser.parse_args(arguments)
    import torch

    from depthclip_trainer.data.rooms import SHARD, render_cache

    if options.threads:
        torch.set_num_threads(options.threads)
    name = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    begun = time.monotonic()

    def on_shard(done: int, shards: int) -> None:
        rate = done * SHARD / max(1e-9, time.monotonic() - begun)
        print(f"{done * SHARD} of {shards * SHARD} rooms, {rate:.1f} rooms/s", flush=True)

    render_cache(
        options.out,
        options.count,
        options.seed,
        options.width,
        options.height,
        options.preset,
        torch.device(name),
        on_shard,
    )


def _evaluate_live(arguments: list[str]) -> None:
    """A running node is scored by the package that knows ROS, `depthclip score`: this process becomes it."""
    beside = Path(sys.executable).with_name("depthclip")
    command = str(beside) if beside.is_file() else shutil.which("depthclip")
    if command is None:
        raise ConfigError("--live is `depthclip score` of depthclip_ros, which is not installed here")
    sys.stdout.flush()
    os.execv(command, ["depthclip", "score", *arguments])


def _evaluate(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="depthclip-eval", description="Score weights through the engine that ships.")
    parser.add_argument("--weights", default="default", help="`default`, preset:NAME, a file, a folder, a hub id")
    parser.add_argument(
        "--data",
        required=True,
        type=Path,
        help="an RGB-D folder or a folder of such, NYU's .mat, a folder with lists of NYU or KITTI files or a list, "
        "a TUM sequence, a bag, or shards",
    )
    parser.add_argument(
        "--protocol", default="auto", help="rgbd, nyu, nyu-cropped, kitti, frames, or auto: the usual one of the data"
    )
    parser.add_argument(
        "--part", default="", help="all, train, validation or test; without, the official test part, or all"
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirrored frame")
    parser.add_argument("--align", default="auto", help="each frame with its truth: auto, none, median, scale-shift")
    parser.add_argument("--out", type=Path, help="folder for report.json and pictures.png")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args(arguments)
    from depthclip_ros.core.engine import DepthEngine
    from depthclip_trainer.evaluate import evaluate
    from depthclip_trainer.protocols import frames_of, protocol_for, protocol_named
    from depthclip_trainer.tables import print_report, write_report

    protocol = protocol_for(options.data) if options.protocol == "auto" else protocol_named(options.protocol)
    engine = DepthEngine.load(
        options.weights, runtime=options.runtime, device=options.device, precision=options.precision
    )
    try:
        frames = frames_of(protocol, options.data, options.part)
        report = evaluate(engine, frames, protocol, flip=options.flip, alignment=options.align)
    finally:
        engine.close()
    report.options["data"] = f"{options.data}{', part ' + options.part if options.part else ''}"
    print_report(report)
    if options.out:
        write_report(report, options.out)


def _export(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="depthclip-export", description="Make a weights file of a checkpoint.")
    parser.add_argument("checkpoint", type=Path, help="best.ckpt or last.ckpt of a training folder")
    parser.add_argument("out", type=Path, help="the .safetensors to write")
    parser.add_argument("--adapter-only", action="store_true", help="leave the frozen base out and name it")
    parser.add_argument("--dtype", default="float16", choices=("float16", "float32"))
    parser.add_argument("--data-root", default="", help="where the validation data lies now, to calibrate confidence")
    options = parser.parse_args(arguments)
    from depthclip_trainer.finish import export_checkpoint

    export_checkpoint(
        options.checkpoint,
        options.out,
        data_root=options.data_root,
        adapter_only=options.adapter_only,
        dtype=options.dtype,
    )
