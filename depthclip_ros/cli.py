# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The `depthclip` command. Each subcommand is a module of `commands`, imported only when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence
from typing import Any

from depthclip_ros.core.errors import DepthClipError, missing_package
from depthclip_ros.core.files import unwritable
from depthclip_ros.ros.processes import interruptible

EXIT_UNWRITTEN = 1
EXIT_ERROR = 2  # as argparse for bad arguments

COMMANDS = {
    "predict": ("predict", "depth, pictures and clouds of image files"),
    "compare": ("compare", "the same images through several systems, on one sheet and in one table"),
    "bag": ("bag", "a rosbag2 or MCAP file with depth topics added"),
    "export": ("export_network", "the network as an ONNX file, or compiled for this machine ahead of time"),
    "inspect": ("inspect_weights", "what a weights file is"),
    "bench": ("bench.command", "how fast this machine is, each figure beside its baseline"),
    "score": ("score", "a running depth node against a depth camera, live"),
    "doctor": ("doctor", "what this machine has, and what to do about what is missing"),
    "demo": ("demo", "camera, depth node and recorder on real ROS 2, scored"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code: 0, 1 (some of it failed), 2 (error), 128 + the signal that ended it.

    SIGINT, SIGTERM and SIGHUP unwind what runs, so that nothing half-written is left.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        module, parsed = _parsed(arguments)
        with interruptible():
            return int(module.run(parsed))
    except DepthClipError as error:
        _print_error(str(error))
        return EXIT_ERROR
    except ModuleNotFoundError as error:
        _print_error(missing_package(error))
        return EXIT_ERROR
    except OSError as error:
        sentence = unwritable(error)
        if sentence is None:
            raise
        _print_error(sentence)
        return EXIT_UNWRITTEN
    except KeyboardInterrupt as error:
        return 128 + (signal.Signals[error.args[0]] if error.args else signal.SIGINT)


def _parsed(arguments: Sequence[str]) -> tuple[Any, argparse.Namespace]:
    """The module of the command that is asked for, and what it is asked for with.

    Raises:
        ModuleNotFoundError: the command needs a package that is not installed.
    """
    parser = argparse.ArgumentParser(prog="depthclip", description="Metric depth from any single camera.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    module = None
    for name, (module_name, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == chosen:
            module = importlib.import_module(f"depthclip_ros.commands.{module_name}")
            module.add_arguments(subparser)
    parsed = parser.parse_args(arguments)
    if module is None:
        parser.error("a command is needed")
    return module, parsed


def _print_error(sentence: str) -> None:
    try:
        from rich.console import Console
    except ModuleNotFoundError:  # which may be what the sentence is about
        print(sentence, file=sys.stderr)
        return
    # Not marked up: the sentence may quote what the user typed, brackets included. One line, however long.
    Console(stderr=True, soft_wrap=True).print(sentence, style="bold red", markup=False, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
