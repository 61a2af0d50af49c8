"""`depthclip bench`: the engine's and the node's figures on this machine, each beside its baseline in the same run."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from depthclip_ros.commands import bench_core, bench_node
from depthclip_ros.commands.machine import describe_machine, one_line
from depthclip_ros.core.errors import ConfigError

PARTS = ("engine", "cloud", "node", "memory")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE too")
    parser.add_argument("--quick", action="store_true", help="few repetitions: shows that it runs, not how fast")
    parser.add_argument("--parts", default=",".join(PARTS), help="what to measure (default: %(default)s)")
    parser.add_argument("--weights", default="", help="measure this file; default: random weights of --preset, as fast")
    parser.add_argument("--preset", action="append", default=[], help="network with random weights (default: nano)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda[:N] (default: %(default)s)")
    parser.add_argument("--precision", action="append", default=[], help="default: fp32 and bf16")
    parser.add_argument("--size", default="640x480", help="of the images (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=30, help="repetitions of each figure (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=2000, help="frames of the memory part (default: %(default)s)")
    parser.add_argument("--domain-id", type=int, default=None, help="ROS domain (default: one that nobody uses)")


def run(args: argparse.Namespace) -> int:
    """Measure, print the tables, write the JSON."""
    console = Console()
    parts = [part.strip() for part in args.parts.split(",")]
    if unknown := sorted(set(parts) - set(PARTS)):
        raise ConfigError(f"unknown part {unknown[0]!r}; allowed are {', '.join(PARTS)}")
    width, _, height = args.size.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ConfigError(f"--size is {args.size!r}; write WIDTHxHEIGHT, e.g. 640x480")
    size = (int(width), int(height))
    repeats, frames, seconds = (3, 30, 3.0) if args.quick else (args.repeats, args.frames, 15.0)
    figures: dict[str, Any] = {"machine": describe_machine(), "size": list(size), "quick": args.quick}
    console.print(one_line(figures["machine"]), highlight=False)
    with tempfile.TemporaryDirectory(prefix="depthclip_bench_") as name:
        folder = Path(name)
        files = {"weights": args.weights} if args.weights else {}
        if not files:
            files = {preset: bench_core.random_weights(preset, folder) for preset in args.preset or ["nano"]}
        if "engine" in parts:
            precisions = args.precision or ["fp32", "bf16"]
            figures["engine"] = [
                row
                for label, file in files.items()
                for row in bench_core.measure_engine(label, file, size, args.device, precisions, repeats)
            ]
            console.print(_engine_table(figures["engine"], repeats))
        if "cloud" in parts:
            figures["cloud"] = bench_core.measure_cloud(size, repeats)
            console.print(_rows("point cloud, XYZRGB", figures["cloud"]))
        weights = next(iter(files.values()))
        if "node" in parts:
            figures["node"] = bench_node.measure_overhead(
                str(weights), size, args.device, seconds, folder, args.domain_id, console
            )
            console.print(_node_table(figures["node"]))
        if "memory" in parts:
            figures["memory"] = bench_node.measure_memory(
                str(weights), size, args.device, frames, folder, args.domain_id, console
            )
            console.print(_rows("memory of the node's process", figures["memory"]))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        console.print(f"written: {args.json}", highlight=False)
    return 0


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    return table


def _engine_table(rows: list[dict[str, Any]], repeats: int) -> Table:
    columns = ("engine", "preprocess ms", "network ms", "postprocess ms", "total ms", "× the baseline")
    table = _table(f"engine, one image, medians of {repeats}", columns)
    for row in rows:
        times = (
            "-" if row[name] is None else f"{row[name]:.2f}"
            for name in ("preprocess_ms", "network_ms", "postprocess_ms", "total_ms")
        )
        table.add_row(row["name"], *times, f"{row['speed_ratio']:.2f}")
    return table


def _node_table(rows: list[dict[str, Any]]) -> Table:
    columns = (
        "camera, node and receiver, a process each",
        "frames",
        "latency p50 / p95 ms",
        "engine ms",
        "overhead ms",
        "of engine",
    )
    table = _table("stamp to receipt of depth/image, below saturation", columns)
    for row in rows:
        if row["overhead_ms"] is None:
            table.add_row(row["name"], f"{row['frames']} of {row['sent']}", "-", "-", "-", "-")
            continue
        table.add_row(
            row["name"],
            f"{row['frames']} of {row['sent']}",
            f"{row['latency_p50_ms']:.1f} / {row['latency_p95_ms']:.1f}",
            f"{row['engine_ms']:.1f}",
            f"{row['overhead_ms']:.1f}",
            f"{row['overhead_share']:.0%}",
        )
    return table


def _rows(title: str, values: dict[str, Any]) -> Table:
    table = _table(title, ("", "value"))
    for name, value in values.items():
        table.add_row(name, f"{value:.3f}" if isinstance(value, float) else str(value))
    return table
