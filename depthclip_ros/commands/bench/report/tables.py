# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The bench's rows as tables: the same columns for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from depthclip_ros.commands.bench.settings import Row
from depthclip_ros.commands.machine import one_line
from depthclip_ros.commands.tables import table_of

NONE = "–"
Cell = Callable[[Row], str]


def number(name: str, digits: int = 1, unit: str = "") -> Cell:
    """A figure of the row; a dash where there is none."""

    def cell(row: Row) -> str:
        value = row.get(name)
        return NONE if value is None else f"{value:.{digits}f}{unit}"

    return cell


def text(name: str) -> Cell:
    """A word of the row."""
    return lambda row: NONE if row.get(name) in (None, "") else str(row[name])


def share(name: str) -> Cell:
    """A share in percent."""
    return lambda row: NONE if row.get(name) is None else f"{row[name]:.1%}"


def joined(*cells: Cell, by: str = " / ") -> Cell:
    """Several figures in one column."""
    return lambda row: by.join(cell(row) for cell in cells)


def _runtime(row: Row) -> str:
    named = f"{row['runtime']} {row['precision']}"
    if row["runtime"] == "torch eager":
        named = "torch eager fp32 (baseline)"
    if row.get("ran"):
        return f"{named}: stepped aside, ran {row['ran']}"
    return named + (" ← auto" if row.get("auto") else "")


def _ends(name: str) -> Cell:
    return lambda row: NONE if not row.get(name) else f"{row[name][0]} → {row[name][1]}"


@dataclass(frozen=True)
class TableOf:
    """A part's table. Columns are (heading, cell); the first `words` of them are words, the rest are figures."""

    title: str
    note: str
    columns: Sequence[tuple[str, Cell]]
    words: int = 1


PERCENTILES = joined(number("latency_p50_ms"), number("latency_p95_ms"), number("latency_p99_ms"))
OTHERS = ("torch", "peer", "before")  # what a node's start and memory stand beside

TABLES: dict[str, TableOf] = {
    "engine": TableOf(
        "Engine",
        "Medians, taken in turn. × torch: how many times faster than torch eager fp32 with the same images. × Depth "
        "Anything: how many times faster than Depth Anything V2-S with the same input area in the same runtime and "
        "precision. network / floor: time of the network over what this machine needs for its operations and bytes.",
        (
            ("system", text("system")),
            ("runtime and precision", _runtime),
            ("images", joined(text("batch"), text("image"), by=" × ")),
            ("network", text("network")),
            ("pre / net / post ms", joined(*map(number, ("preprocess_ms", "network_ms", "postprocess_ms")))),
            ("total ms", number("total_ms")),
            ("images/s", number("images_per_s")),
            ("× torch", number("times_eager", 2)),
            ("× Depth Anything", number("times_reference", 2)),
            ("network / floor", number("network_over_floor", 2)),
        ),
        words=4,
    ),
    "cloud": TableOf(
        "Point cloud",
        "Organised XYZRGB. The baseline fills each field of a structured array in turn.",
        (
            ("image", text("image")),
            ("ms", number("total_ms", 2)),
            ("baseline ms", number("per_field_ms", 2)),
            ("× baseline", number("times_per_field", 2)),
        ),
    ),
    "path": TableOf(
        "Host to host",
        "Images in, depth, uncertainty and cloud out in the CPU's memory; no node. `share of 33 ms`: of the time "
        "between images at 30 Hz; `/ one by one` is a round of cameras over as many rounds of one.",
        (
            ("runtime", text("ran")),
            ("image", text("image")),
            ("cameras", number("cameras", 0)),
            ("ms", number("total_ms", 2)),
            ("share of 33 ms", share("share_of_period")),
            ("/ one by one", number("of_alone", 2)),
        ),
        words=2,
    ),
    "node": TableOf(
        "Node, below saturation",
        "From an image's stamp to receipt of its depth in another process. Stages are medians as the node says them; "
        "latency / engine is what ROS and DDS multiply the engine's own time by.",
        (
            ("way", text("way")),
            ("image", text("image")),
            ("camera Hz", number("rate_hz")),
            ("frames", text("frames")),
            ("receive / wait ms", joined(number("receive_ms"), number("wait_ms"))),
            ("pre / net / post ms", joined(*map(number, ("preprocess_ms", "network_ms", "postprocess_ms")))),
            ("node's latency ms", number("node_latency_ms")),
            ("receipt p50 / p95 / p99 ms", PERCENTILES),
            ("latency / engine", number("latency_over_engine", 2)),
            ("× raw", number("times_raw", 2)),
            ("node MB", number("resident_mb", 0)),
        ),
        words=2,
    ),
    "overload": TableOf(
        "Overload: a camera at twice the sustained rate",
        "Latency must stay bounded, and what is left out is counted. late / early: median latency of the second half "
        "of the time over the first; it grows where images queue.",
        (
            ("image", text("image")),
            ("sustained Hz", number("sustained_hz")),
            ("camera Hz, came", joined(number("camera_hz"), number("rate_in_hz"))),
            ("depth Hz", number("rate_out_hz")),
            ("dropped", share("dropped_share")),
            ("p50 / p95 / p99 ms", PERCENTILES),
            ("quiet p50 / p99 ms", joined(number("quiet_p50_ms"), number("quiet_p99_ms"))),
            ("× quiet", number("times_quiet", 2)),
            ("late / early", number("late_over_early", 2)),
        ),
    ),
    "cameras": TableOf(
        "Cameras",
        "One node for all cameras against a node of one camera each, in the same run.",
        (
            ("cameras", text("cameras")),
            ("way", text("way")),
            ("depth images/s, all", number("rate_out_hz")),
            ("slowest camera Hz", number("slowest_hz")),
            ("p50 / p95 / p99 ms", PERCENTILES),
            ("images at once", number("batch_size")),
            ("cores", number("cores", 2)),
            ("MB", number("resident_mb", 0)),
            ("× rate of nodes each", number("times_rate", 2)),
            ("× memory of nodes each", number("of_memory", 2)),
        ),
        words=2,
    ),
    "start": TableOf(
        "Cold start and memory",
        "From the start of a process to its first depth. The node's is received in another process: once it is "
        "active, DDS has still to make it known to the camera, in 0 to 3 s. Its memory, five seconds later with all "
        "outputs subscribed, is its own, mapped files (which the system can drop) and DDS's shared memory. peer: "
        "Depth Anything V2-S with the same input area in the same runtime; no graph of it fits every size, so that its "
        "node starts with torch. Last rows: from the first larger image of one of two cameras to its depth, and how "
        "long the other had none.",
        (
            ("what", text("what")),
            ("asked for", text("asked")),
            ("cache", text("cache")),
            ("ran", text("ran")),
            ("active s", number("active_s", 2)),
            ("first depth s", number("start_s", 2)),
            ("× torch / peer / before", joined(*(number(f"of_{other}", 2) for other in OTHERS))),
            ("other's gap s", number("gap_s", 2)),
            ("resident MB", number("resident_mb", 0)),
            ("own/files/shared", joined(*(number(f"{name}_mb", 0) for name in ("private", "files", "shared")))),
            ("MB × torch / peer / before", joined(*(number(f"memory_of_{other}", 2) for other in OTHERS))),
            ("peak / GPU MB", joined(number("peak_mb", 0), number("gpu_mb", 0))),
        ),
        words=4,
    ),
    "soak": TableOf(
        "Soak",
        "The node at full rate with every output subscribed. Growth is a straight line through its private memory "
        "after warm-up, with its standard error.",
        (
            ("image", text("image")),
            ("minutes", number("minutes")),
            ("camera Hz", number("camera_hz")),
            ("frames", text("frames")),
            ("dropped", share("dropped_share")),
            ("p50 / p95 / p99 ms", PERCENTILES),
            ("private MB, first and last", joined(number("private_first_mb"), number("private_last_mb"))),
            (
                "growth MB/h",
                joined(number("growth_mb_per_hour", 2), number("growth_error_mb_per_hour", 2), by=" ± "),
            ),
            ("threads", _ends("threads")),
            ("handles", _ends("handles")),
        ),
    ),
}
COMPARISON = TableOf(
    "Ratios against an older run",
    "",
    (
        ("what", text("what")),
        ("ratio", text("ratio")),
        ("older", number("old", 2)),
        ("now", number("new", 2)),
        ("worse by", number("worse", 2)),
        ("allowed", number("margin", 2)),
        ("", text("verdict")),
    ),
    words=2,
)


def _cells(of: TableOf, row: Row) -> list[str]:
    """What was measured, or in the first column alone why nothing was: it is of words, which may fold."""
    if row.get("failed"):
        asked = f"{row.get('unit', '')} {row.get('asked', '')}".strip()
        return [f"{asked}: {row['failed']}", *[""] * (len(of.columns) - 1)]
    return [cell(row) for _, cell in of.columns]


def rich_table(of: TableOf, rows: Sequence[Row]) -> Table:
    """For the terminal."""
    cells = (_cells(of, row) for row in rows)
    return table_of(of.title, [heading for heading, _ in of.columns], cells, words=of.words)


def markdown(figures: dict[str, Any]) -> str:
    """Everything measured, as a page."""
    quick = " (`--quick`: shows that it runs, not how fast)" if figures.get("quick") else ""
    lines = [f"# Measured on {one_line(figures['machine'])}{quick}", ""]
    versions = ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
    lines += ["Written by `depthclip bench --markdown`; what the columns mean: [performance.md](performance.md).", ""]
    lines += [f"Versions: {versions}.", "", *_floor_lines(figures.get("floor", {}))]
    for part, of in TABLES.items():
        rows = [row for row in figures["rows"] if row["part"] == part]
        if not rows:
            continue
        lines += ["", f"## {of.title}", "", of.note, ""]
        lines.append("| " + " | ".join(heading for heading, _ in of.columns) + " |")
        rule = ("---" if index < of.words else "---:" for index in range(len(of.columns)))
        lines.append("| " + " | ".join(rule) + " |")
        for row in rows:
            lines.append("| " + " | ".join(cell.replace("|", "/") for cell in _cells(of, row)) + " |")
        notices = dict.fromkeys(notice for row in rows for notice in row.get("notices") or ())
        lines += ["", *(f"- {notice}" for notice in notices)] if notices else []
    return "\n".join(lines) + "\n"


def _floor_lines(floor: dict[str, Any]) -> list[str]:
    rates = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in floor.get("rates", {}).items())
    copies = ", ".join(f"{int(size) / 2**20:.0f} MB {rate / 1e9:.0f}" for size, rate in floor.get("copies", {}).items())
    if not rates:
        return []
    return [f"Floor: matrix products at {rates} thousand million operations a second; copies of {copies} GB/s."]
