# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The bench's rows as pictures: the engine's bars, the node's stages, the cameras' curve, the soak's lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depthclip_ros.commands.bench.settings import Row
from depthclip_ros.commands.bench.systems import REFERENCE
from depthclip_ros.commands.machine import one_line
from depthclip_ros.core.files import replaced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"torch eager": "#9aa0a6", "torch": "#1a73e8", "openvino": "#7b3fbf", "onnxruntime": "#e8710a"}
STAGE_COLOURS = {
    "camera → node": "#bdc1c6",
    "wait": "#e8eaed",
    "preprocess": "#8ab4f8",
    "network": "#1a73e8",
    "postprocess": "#174ea6",
    "publish → receipt": "#fbbc04",
}
PERCENTILES = ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms")
WAY_COLOURS = {"one node": "#1a73e8", "a node each": "#9aa0a6"}


def plot(figures: dict[str, Any], path: Path) -> list[Path]:
    """Write a picture for each part that was measured; the engine's is `path` itself. Returns what was written."""
    from matplotlib.figure import Figure

    pictures: tuple[tuple[str, str, Callable[[Figure, list[Row]], None]], ...] = (
        ("", "engine", _engine),
        ("_node", "node", _node),
        ("_cameras", "cameras", _cameras),
        ("_soak", "soak", _soak),
    )
    written = []
    for suffix, part, draw in pictures:
        rows = [row for row in figures["rows"] if row["part"] == part and not row.get("failed")]
        if not rows:
            continue
        figure = Figure(layout="constrained", dpi=110)
        draw(figure, rows)
        quick = "  (--quick: not to be quoted)" if figures.get("quick") else ""
        figure.supxlabel(one_line(figures["machine"]) + quick, fontsize=8, color="#5f6368")
        target = path.with_name(f"{path.stem}{suffix}{path.suffix or '.png'}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with replaced(target) as file:
            figure.savefig(file, format=target.suffix[1:])
        written.append(target)
    return written


def _engine(figure: Figure, rows: list[Row]) -> None:
    """Horizontal bars of one image of the main size; logarithmic, for systems are a hundred times apart."""
    main = [row for row in rows if row["image"] == rows[0]["image"] and row["batch"] == 1]
    systems = list(dict.fromkeys(row["system"] for row in main))
    figure.set_size_inches(10.5, 1.6 + 0.26 * (len(main) + 1.2 * len(systems)))
    axes = figure.subplots()
    ticks, names, at = [], [], 0.0
    for system in systems:
        at += 1.2
        network = next(row["network"] for row in main if row["system"] == system)
        axes.text(
            0.0,
            at - 0.25,
            f"  {system}, network {network}",
            transform=axes.get_yaxis_transform(),
            weight="bold",
            fontsize=9,
        )
        for row in (one for one in main if one["system"] == system):
            at += 1.0
            aside = " (stepped aside)" if row.get("ran") else ""
            ticks.append(at)
            names.append(f"{row['runtime']} {row['precision']}{aside}")
            colour = COLOURS.get(row["runtime"], "#188038")
            axes.barh(at, row["total_ms"], color=colour, height=0.8, alpha=0.35 if aside else 1.0)
            said = f"{row['total_ms']:.1f} ms"
            if row["runtime"] != "torch eager":
                said += f", {row['times_eager']:.1f}× torch"
            if row.get("times_reference"):
                said += f", {row['times_reference']:.1f}× DA"
            axes.text(0.99, at, said, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8)
            if row.get("floor_ms"):
                axes.plot([row["floor_ms"]] * 2, [at - 0.42, at + 0.42], color="#d93025", lw=2)
            if row.get("reference_ms"):
                axes.plot(row["reference_ms"], at, marker="D", color="white", markeredgecolor="black", ms=5, ls="none")
    axes.plot([], [], color="#d93025", lw=2, label="floor: operations or bytes at this machine's best rate")
    label = f"DA: {REFERENCE}, same input area, runtime and precision"
    axes.plot([], [], marker="D", color="white", markeredgecolor="black", ms=5, ls="none", label=label)
    axes.set_yticks(ticks, names, fontsize=8)
    axes.set_ylim(at + 0.8, 0.2)
    axes.set_xscale("log")
    low = min(value for row in main for value in (row["total_ms"], row.get("floor_ms")) if value)
    axes.set_xlim(low * 0.7, max(max(row["total_ms"], row.get("reference_ms") or 0) for row in main) * 8)
    axes.set_xlabel("milliseconds for one image, logarithmic: shorter is faster")
    axes.grid(axis="x", alpha=0.25, which="both")
    axes.set_axisbelow(True)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8, ncol=2, frameon=False)
    figure.suptitle(f"Engine, one image of {main[0]['image']}", fontsize=11)


def _node(figure: Figure, rows: list[Row]) -> None:
    """Stages of the median frame, stacked; p95 and p99 as marks."""
    rows = [row for row in rows if row.get("latency_p50_ms") is not None]
    figure.set_size_inches(10.5, 1.9 + 0.5 * len(rows))
    axes = figure.subplots()
    shown = set()
    for at, row in enumerate(rows):
        stages = {
            "camera → node": row["receive_ms"],
            "wait": row["wait_ms"],
            "preprocess": row["preprocess_ms"],
            "network": row["network_ms"],
            "postprocess": row["postprocess_ms"],
        }
        left = 0.0
        known = {name: max(0.0, value or 0.0) for name, value in stages.items()}
        known["publish → receipt"] = max(0.0, row["latency_p50_ms"] - sum(known.values()))
        for name, value in known.items():
            label = None if name in shown else name
            shown.add(name)
            axes.barh(
                at, value, left=left, color=STAGE_COLOURS[name], edgecolor="white", lw=0.6, height=0.62, label=label
            )
            left += value
        for name, marker in zip(PERCENTILES[1:], "|x", strict=True):
            label = None if at else name[8:11]
            axes.plot(row[name], at, marker=marker, color="black", ms=9, mew=1.6, ls="none", label=label)
        said = " · ".join(f"{name[8:11]} {row[name]:.1f}" for name in PERCENTILES)
        axes.text(0.99, at, f"{said} ms", transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [f"{row['image']}, {row['way']}" for row in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 2.0 * max(row["latency_p95_ms"] for row in rows))  # a straggler among the p99 may lie beyond
    axes.set_xlabel("milliseconds from the image's stamp to receipt of its depth in another process")
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8, ncol=8, frameon=False)
    figure.suptitle("Node over DDS, below saturation", fontsize=11)


def _cameras(figure: Figure, rows: list[Row]) -> None:
    figure.set_size_inches(10.5, 3.7)
    panels = (
        ("rate_out_hz", "depth images per second, all cameras"),
        ("latency_p50_ms", "latency p50, ms"),
        ("resident_mb", "memory of all nodes, MB"),
    )
    for axes, (name, title) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for way, colour in WAY_COLOURS.items():
            mine = sorted((row for row in rows if row["way"] == way), key=lambda row: row["cameras"])
            counts, values = [row["cameras"] for row in mine], [row[name] for row in mine]
            axes.plot(
                counts, [np.nan if value is None else value for value in values], marker="o", color=colour, label=way
            )
        if name == "rate_out_hz":
            counts = sorted({row["cameras"] for row in rows})
            sent = [count * rows[0]["camera_hz"] for count in counts]
            axes.plot(counts, sent, color="#d93025", ls=":", label="images sent")
        axes.set_title(title, fontsize=9)
        axes.set_xticks(sorted({row["cameras"] for row in rows}))
        axes.set_xlabel("cameras", fontsize=9)
        axes.set_ylim(0)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
    figure.suptitle(
        f"Cameras of {rows[0]['image']} at {rows[0]['camera_hz']:.0f} Hz: one node, or a node each", fontsize=11
    )


def _soak(figure: Figure, rows: list[Row]) -> None:
    row = rows[-1]
    time_s, private_mb, threads, handles = (np.array(column) for column in zip(*row["curve"], strict=True))
    figure.set_size_inches(10.5, 4.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot(time_s / 60, private_mb, color="#1a73e8", lw=1, label="private memory of the node, MB")
    if row.get("growth_mb_per_hour") is not None:
        settled = time_s - time_s[0] >= row["warm_up_s"]
        hours = time_s[settled] / 3600
        level = private_mb[settled].mean() + row["growth_mb_per_hour"] * (hours - hours.mean())
        label = f"{row['growth_mb_per_hour']:+.1f} ± {row['growth_error_mb_per_hour']:.1f} MB per hour after warm-up"
        upper.plot(time_s[settled] / 60, level, color="#d93025", ls="--", label=label)
    middle = float(np.median(private_mb))
    upper.set_ylim(min(private_mb.min(), middle * 0.95), max(private_mb.max(), middle * 1.05))
    lower.plot(time_s / 60, threads, color="#188038", label="threads")
    lower.plot(time_s / 60, handles, color="#e8710a", label="open handles")
    lower.set_ylim(0, 1.3 * max(threads.max(), handles.max()))
    lower.set_xlabel("minutes")
    for axes in (upper, lower):
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8, loc="lower right")
    figure.suptitle(f"Soak: {row['frames']} frames of {row['image']} in {row['minutes']:.3g} minutes", fontsize=11)
