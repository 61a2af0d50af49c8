# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip-eval`: scores weights through the engine that ships."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from depthclip_ros.core.errors import ConfigError


def evaluate_command(arguments: list[str]) -> None:
    """The command; see `--help`."""
    if "--live" in arguments:
        become_live_score(arguments)
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
    parser.add_argument(
        "--anchors", action="store_true", help="what each anchor would be worth, with sensors simulated from the truth"
    )
    parser.add_argument("--out", type=Path, help="folder for report.json and pictures.png")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args(arguments)
    from depthclip_ros.core.engine import DepthEngine
    from depthclip_trainer.commands.evaluate_anchors import evaluate_anchors
    from depthclip_trainer.evaluation.evaluate import evaluate
    from depthclip_trainer.evaluation.protocols import frames_of, protocol_for, protocol_named
    from depthclip_trainer.evaluation.tables import print_report, write_report

    protocol = protocol_for(options.data) if options.protocol == "auto" else protocol_named(options.protocol)
    engine = DepthEngine.load(
        options.weights, runtime=options.runtime, device=options.device, precision=options.precision
    )
    try:
        frames = frames_of(protocol, options.data, options.part)
        if options.anchors:
            evaluate_anchors(engine, frames, protocol, options.out)
            return
        report = evaluate(engine, frames, protocol, flip=options.flip, alignment=options.align)
    finally:
        engine.close()
    report.options["data"] = f"{options.data}{', part ' + options.part if options.part else ''}"
    print_report(report)
    if options.out:
        write_report(report, options.out)


def become_live_score(arguments: list[str]) -> None:
    """A running node is scored by the package that knows ROS, `depthclip score`: this process becomes it."""
    beside = Path(sys.executable).with_name("depthclip")
    command = str(beside) if beside.is_file() else shutil.which("depthclip")
    if command is None:
        raise ConfigError("--live is `depthclip score` of depthclip_ros, which is not installed here")
    sys.stdout.flush()
    os.execv(command, ["depthclip", "score", *arguments])
