"""`depthclip-train --preset adapt --data MY.mcap`: the arguments of adaptation."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

TOPICS = ("image_topic", "depth_topic", "camera_info_topic")


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
    parser.add_argument("--minutes", type=float, default=3.0, help="of training (default: %(default)g)")
    for name in TOPICS:
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, default="", metavar="TOPIC", help="of a bag (default: found by type and frame)")
    options, overrides = parser.parse_known_args(arguments)
    from depthclip_trainer.adapt import AdaptOptions, adapt

    out = options.out or Path("adapted") / options.data.stem
    topics = {name: getattr(options, name) for name in TOPICS if getattr(options, name)}
    adapt(AdaptOptions(options.data, out, options.weights, options.minutes, topics, overrides))
