# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The commands `depthclip-train`, `depthclip-eval` and `depthclip-export`."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence

from depthclip_ros.core.errors import DepthClipError
from depthclip_ros.core.files import unwritable
from depthclip_trainer.commands import SUBCOMMANDS


def train_main(arguments: Sequence[str] | None = None) -> int:
    """`depthclip-train --config FILE [--section.key value ...]` and its subcommands of `depthclip-train --help`."""
    rest = list(sys.argv[1:] if arguments is None else arguments)
    if rest[:1] and rest[0] in SUBCOMMANDS:
        return run(rest[0], rest[1:])
    adapts = any(argument.partition("=")[0] == "--preset" for argument in rest)
    return run("adapt" if adapts else "train", rest)


def eval_main(arguments: Sequence[str] | None = None) -> int:
    """`depthclip-eval --weights FILE --data FOLDER --protocol NAME`, or `--live` and the arguments of its command."""
    return run("evaluate", list(sys.argv[1:] if arguments is None else arguments))


def export_main(arguments: Sequence[str] | None = None) -> int:
    """`depthclip-export CHECKPOINT OUT`."""
    return run("export", list(sys.argv[1:] if arguments is None else arguments))


def run(name: str, arguments: list[str]) -> int:
    """Runs a command; our own errors end it with one sentence, an interrupt without a trace."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    module = name.replace("-", "_")
    try:
        getattr(importlib.import_module(f"depthclip_trainer.commands.{module}"), f"{module}_command")(arguments)
    except DepthClipError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        sentence = unwritable(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0
