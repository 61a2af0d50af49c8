# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip bench`: how fast this machine is, each figure beside its baseline in the same run."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from depthclip_ros.commands.arguments import parse_size
from depthclip_ros.commands.bench.floor import Machine
from depthclip_ros.commands.bench.report import regression
from depthclip_ros.commands.bench.report.tables import COMPARISON, TABLES, markdown, rich_table
from depthclip_ros.commands.bench.settings import MAIN_SIZE, Row, Settings, Unit
from depthclip_ros.commands.bench.systems import SYSTEMS
from depthclip_ros.commands.files.outputs import check_sheet
from depthclip_ros.commands.machine import describe_machine, one_line
from depthclip_ros.core.errors import ConfigError, DepthClipError
from depthclip_ros.core.files import replaced
from depthclip_ros.core.memory import keep_freed_memory
from depthclip_ros.ros.processes import PACKAGE

# part: module with `units(settings)`; it may be imported without ROS, which is needed when it measures.
PARTS = ("engine", "cloud", "path", "node", "cameras", "start", "soak")  # each a module of this folder
DEFAULT_PARTS = PARTS[:-1]
VERSIONS = ("torch", "openvino", "nncf", "onnxruntime", "numpy", "opencv-python-headless")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--parts", default=",".join(DEFAULT_PARTS), help=f"of {', '.join(PARTS)} (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="little of everything: shows that it runs, not how fast")
    parser.add_argument(
        "--full", action="store_true", help="every runtime at every size and batch of slow networks too"
    )
    parser.add_argument("--systems", default="", help=f"only these, comma-separated, of: {', '.join(SYSTEMS)}")
    parser.add_argument("--weights", default="default", help="measure this file first, and run the node with it")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda[:N] (default: %(default)s)")
    parser.add_argument("--precision", action="append", default=[], help="only this, e.g. fp32 (may be repeated)")
    parser.add_argument("--size", action="append", default=[], help="of images (default: 640x480 and 1280x720)")
    parser.add_argument("--minutes", type=float, default=5.0, help="of the soak (default: %(default)g)")
    parser.add_argument(
        "--before",
        type=Path,
        metavar="ENVIRONMENT",
        help="node, start: in turn with the node installed here, as in ../older/.venv",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures; written anew after each step")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="all tables as a page")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="pictures: FILE.png and FILE_node.png, …")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the soak's samples")
    parser.add_argument("--resume", action="store_true", help="go on from --json: measure only what is not in it")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="ratios against an older run's")
    parser.add_argument("--strict", action="store_true", help="with --compare: exit code 1 if a ratio is worse")


def run(args: argparse.Namespace) -> int:
    """Measure, print, write; 1 when something could not be measured or, with `--strict`, is worse."""
    keep_freed_memory()  # as the node does
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a log has no edge
    parts = [part.strip() for part in args.parts.split(",") if part.strip()]
    if unknown := sorted(set(parts) - set(PARTS)):
        raise ConfigError(f"unknown part {unknown[0]!r}; allowed are {', '.join(PARTS)}")
    if args.before and not (args.before / "lib" / PACKAGE / "depth_node").is_file():
        raise ConfigError(
            f"no depth_node below {args.before}; name the environment of another checkout, as in ../older/.venv"
        )
    if args.plot:
        check_sheet("--plot", args.plot)
    old = regression.read(args.compare) if args.compare else None
    figures = _start(args)
    console.print(one_line(figures["machine"]), highlight=False)
    with tempfile.TemporaryDirectory(prefix="depthclip_bench_") as folder, console.status("") as status:

        def say(text: str) -> None:
            status.update(text)
            if not console.is_terminal and not text.startswith("soak:"):
                console.print(text, markup=False, highlight=False, style="dim")

        settings = Settings(
            folder=Path(folder),
            quick=args.quick,
            full=args.full,
            device=args.device,
            weights=absolute_weights(args.weights),
            systems=tuple(name.strip() for name in args.systems.split(",") if name.strip()),
            precisions=tuple(args.precision),
            sizes_px=tuple(map(parse_size, args.size)) or (MAIN_SIZE, (1280, 720)),
            minutes=args.minutes,
            before=args.before and args.before.absolute(),
            csv=args.csv,
            say=say,
        )
        units = [unit for part in parts for unit in _units(part, settings)]
        for unit in units:
            if (unit.part, unit.name) in _measured(figures):
                continue
            rows = _measure(unit, console)
            figures["rows"] += rows
            _note_floor(figures)
            console.print(rich_table(TABLES[unit.part], rows))
            _write_json(args.json, figures)
        compared = _compare(old, figures, units, console) if old else []
    if compared:
        figures["compared_with"] = {"file": str(args.compare), "machine": old["machine"], "rows": compared}
    write_results(args, figures, console)
    failed = any(row.get("failed") for row in figures["rows"])
    worse = any(row["verdict"] == regression.WORSE for row in compared)
    return int(failed or (worse and args.strict))


def absolute_weights(weights: str) -> str:
    """A file by its whole path, for processes that run in other folders; a name stays as it is."""
    from depthclip_ros.core.weights.find import SHIPPED

    path = Path(weights).expanduser()
    return str(path.absolute()) if path.is_file() and weights not in SHIPPED else weights


def _start(args: argparse.Namespace) -> dict[str, Any]:
    """Figures without rows, or those of a run that is gone on with."""
    machine = describe_machine()
    if args.resume:
        if args.json is None:
            raise ConfigError("--resume needs --json FILE: the file to go on from")
        if args.json.is_file():
            figures = regression.read(args.json)
            if (figures["machine"], figures["quick"]) != (machine, args.quick):
                raise ConfigError(
                    f"{args.json} was measured on another machine or with other --quick; leave --resume out"
                )
            figures["rows"] = [row for row in figures["rows"] if not row.get("failed")]
            return figures
    return {
        "schema": regression.SCHEMA,
        "machine": machine,
        "versions": {name: _version(name) for name in VERSIONS},
        "quick": args.quick,
        "floor": {},
        "rows": [],
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _units(part: str, settings: Settings) -> list[Unit]:
    module = importlib.import_module(f"depthclip_ros.commands.bench.{part}")
    found: list[Unit] = module.units(settings)
    return found


def _measured(figures: dict[str, Any]) -> set[tuple[str, str]]:
    return {(row["part"], row["unit"]) for row in figures["rows"]}


def _measure(unit: Unit, console: Console) -> list[Row]:
    """A unit's rows. What goes wrong becomes a row that says so: the other units are measured all the same."""
    try:
        rows = unit.measure()
    except ConfigError:
        raise
    except DepthClipError as error:
        rows = [{"failed": str(error)}]
    except Exception as error:
        console.print(traceback.format_exc(), style="red", highlight=False, markup=False)
        rows = [{"failed": f"{type(error).__name__}: {error}"}]
    return [{"part": unit.part, "unit": unit.name, **row} for row in rows]


def _compare(old: dict[str, Any], figures: dict[str, Any], units: Sequence[Unit], console: Console) -> list[Row]:
    """Ratios against an older run's; what is beyond its margin is measured again before it is believed."""
    if one_line(old["machine"]) != one_line(figures["machine"]):
        console.print(f"the older run is of another machine: {one_line(old['machine'])}", markup=False, highlight=False)
    first = regression.compare(old, figures)
    doubted = regression.doubted_units(first)
    again: list[Row] = []
    for unit in units:
        if (unit.part, unit.name) in doubted:
            console.print(
                f"measured again, for it seems worse: {unit.part}, {unit.name}", markup=False, highlight=False
            )
            again += _measure(unit, console)
    compared = regression.believed(first, regression.compare(old, {"rows": again}))
    console.print(rich_table(COMPARISON, compared))
    console.print(regression.summary(compared), markup=False, highlight=False)
    return compared


def _note_floor(figures: dict[str, Any]) -> None:
    """The machine's best rates, and every row's floor by them: a system measured later may have found better ones."""
    from depthclip_ros.commands.bench.engine import known_machine, set_floor

    machine = known_machine()
    if machine is None:
        return
    before = figures["floor"]
    if before:
        machine = machine.best_of(
            Machine(before["rates"], {int(size): rate for size, rate in before["copies"].items()})
        )
    copies = {str(size): rate for size, rate in machine.copies.items()}
    figures["floor"] = {"rates": dict(machine.rates), "copies": copies}
    for row in figures["rows"]:
        if row["part"] == "engine" and not row.get("failed"):
            set_floor(row, machine)


def _write_json(path: Path | None, figures: dict[str, Any]) -> None:
    """Whole or not at all: a run that is killed can be gone on with."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as file:
            file.write((json.dumps(figures, indent=1) + "\n").encode())


def write_results(args: argparse.Namespace, figures: dict[str, Any], console: Console) -> None:
    """Write what was asked for, each file whole or not at all, and name it."""
    _write_json(args.json, figures)
    written = [args.json] if args.json else []
    if args.markdown:
        args.markdown.parent.mkdir(parents=True, exist_ok=True)
        with replaced(args.markdown) as file:
            file.write(markdown(figures).encode())
        written.append(args.markdown)
    if args.plot:
        from depthclip_ros.commands.bench.report.plot import plot

        written += plot(figures, args.plot)
    for path in written:
        console.print(f"written: {path}", markup=False, highlight=False)
