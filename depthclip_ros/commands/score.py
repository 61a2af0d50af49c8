# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip score --depth TOPIC`: a running depth node against a depth camera, live."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthclip_ros.core.errors import DepthClipError
from depthclip_ros.core.files import replaced
from depthclip_ros.ros.measure import scores

if TYPE_CHECKING:
    from rich.table import Table

    from depthclip_ros.ros.measure.live_score import LiveRecord, LiveScorer

REFRESH_S = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--depth",
        required=True,
        metavar="TOPIC",
        help="the depth camera's image aligned to colour: 16UC1, 32FC1 or .../compressedDepth, "
        "e.g. /camera/aligned_depth_to_color/image_raw",
    )
    parser.add_argument("--live", action="store_true", help="for symmetry with depthclip-eval; scoring is always live")
    parser.add_argument(
        "--prediction", default="/depth/image", metavar="TOPIC", help="of the depth node (default: %(default)s)"
    )
    parser.add_argument("--duration", type=float, default=30.0, help="seconds from the first pair on; 0: until Ctrl-C")
    parser.add_argument("--window", type=float, default=5.0, help="seconds of the rolling row (default: %(default)g)")
    parser.add_argument(
        "--tolerance", type=float, default=0.02, help="largest difference of stamps in seconds (default: %(default)g)"
    )
    parser.add_argument("--timeout", type=float, default=30.0, help="longest wait for the first pair in seconds")
    parser.add_argument("--out", type=Path, help="file for the figures as JSON")
    parser.add_argument("--domain-id", type=int, default=None, help="ROS domain (default: ROS_DOMAIN_ID)")


def run(args: argparse.Namespace) -> int:
    """Score until the time is over; 0 when something was scored."""
    from rich.console import Console
    from rich.live import Live

    from depthclip_ros.ros import processes

    if args.depth == args.prediction:
        raise DepthClipError(f"--depth and --prediction are both {args.depth}; one is the camera's, one the node's")
    try:
        from depthclip_ros.ros.measure.live_score import live_scoring
    except ImportError as error:
        raise DepthClipError(f"live scoring needs ROS ({error}); `depthclip doctor` says what is missing") from error
    console = Console()
    interrupted = False
    live = live_scoring(args.domain_id, args.prediction, args.depth, args.tolerance)
    with processes.interruptible(), live as scorer:
        try:
            with Live(console=console, transient=True, auto_refresh=False) as shown:
                _watch(args, scorer, shown)
        except KeyboardInterrupt:
            interrupted = True
        with scorer.lock:
            if not scorer.record.scores:
                raise DepthClipError(_why_nothing(args, scorer))
            report = make_report(scorer.record, scorer.topics)
    console.print(final_table(report))
    for warning in report["warnings"]:
        console.print(f"note: {warning}", style="yellow", markup=False, highlight=False)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with replaced(args.out) as file:
            file.write((json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())
        console.print(f"figures: {args.out}", markup=False, highlight=False)
    # Without an end of its own, Ctrl-C is how it ends.
    return 130 if interrupted and args.duration > 0 else 0


def _watch(args: argparse.Namespace, scorer: LiveScorer, live: Any) -> None:
    begun_s, first_s, shown = time.monotonic(), None, 0.0
    while True:
        now_s = time.monotonic()
        with scorer.lock:
            first_s = scorer.record.times_s[0] if scorer.record.times_s else None
            table = rolling_table(scorer.record, args.window, now_s)
        if first_s is None and now_s - begun_s > args.timeout:
            return
        if first_s is not None and 0 < args.duration < now_s - first_s:
            return
        if live.console.is_terminal or now_s - shown > args.window:
            shown = now_s
            live.update(table, refresh=True)
            if not live.console.is_terminal and first_s is not None:
                live.console.print(table)
        time.sleep(REFRESH_S)


def rolling_table(record: LiveRecord, window_s: float, now_s: float) -> Table:
    """The newest seconds and all of it so far."""
    recent = [one for one, at_s in zip(record.scores, record.times_s, strict=True) if at_s > now_s - window_s]
    rows = [(f"last {window_s:g} s", recent), ("all", record.scores)]
    title = f"{len(record.scores)} pairs of {record.depths} depths and {record.references} references"
    return _table(title, [(name, _as_dict(scores.mean(members)), len(members)) for name, members in rows])


def make_report(record: LiveRecord, topics: tuple[str, ...]) -> dict[str, Any]:
    """All figures, ready for JSON; `record` holds at least one pair."""
    import numpy as np

    constant, median = record.truth.best_constant(), record.truth.frame_medians()
    seconds = record.times_s[-1] - record.times_s[0]
    warnings = []
    if record.frames_of[0] != record.frames_of[1]:
        warnings.append(
            f"depth is in the frame {record.frames_of[0]!r}, the reference in {record.frames_of[1]!r}: "
            "errors count only if the two are aligned"
        )
    if record.refused[1]:
        warnings.append(f"{record.refused[1]} messages could not be scored: {record.refused[0]}")
    return {
        "depth_topic": topics[0],
        "reference_topic": topics[1],
        "pairs": len(record.scores),
        "depths": record.depths,
        "references": record.references,
        "rate_hz": round((len(record.scores) - 1) / seconds, 2) if seconds > 0 else None,
        "protocol": scores.PROTOCOL,
        "model": _as_dict(scores.mean(record.scores)),
        "model_median_scaled": _as_dict(scores.mean(record.scaled)),
        "median_ratio": round(float(np.median(record.ratios)), 4),
        "baselines": {
            "best_constant": {**_as_dict(constant and constant[1]), "depth_m": constant and round(constant[0], 2)},
            "true_median_of_each_frame": _as_dict(median),
        },
        "warnings": warnings,
    }


def final_table(report: dict[str, Any]) -> Table:
    """The node, beside what knows nothing of the picture."""
    constant = report["baselines"]["best_constant"]
    rows = [
        ("depth node", report["model"]),
        (f"  scaled by the median, x{report['median_ratio']:.3f} in the middle", report["model_median_scaled"]),
        (f"a constant {constant['depth_m']:.2f} m", constant),
        ("each frame's true median", report["baselines"]["true_median_of_each_frame"]),
    ]
    title = f"{report['depth_topic']} against {report['reference_topic']}"
    return _table(title, [(name, values, report["pairs"]) for name, values in rows])


def _table(title: str, rows: list[tuple[str, dict[str, float], int]]) -> Table:
    from depthclip_ros.commands.tables import table_of

    form = {"delta1": "{:.3f}", "abs_rel": "{:.3f}", "rmse_m": "{:.3f} m", "coverage": "{:.0%}"}
    shown = [
        (name, str(count), *(text.format(values[key]) if values else "-" for key, text in form.items()))
        for name, values, count in rows
    ]
    return table_of(title, ("", "pairs", "δ1", "AbsRel", "RMSE", "coverage"), shown)


def _as_dict(one: scores.Score | None) -> dict[str, float]:
    if one is None:
        return {}
    return {name: round(getattr(one, name), 4) for name in ("delta1", "abs_rel", "rmse_m", "coverage")}


def _why_nothing(args: argparse.Namespace, scorer: LiveScorer) -> str:
    record, counts = scorer.record, (scorer.record.depths, scorer.record.references)
    for topic, count, publishers in zip(scorer.topics, counts, scorer.publishers(), strict=True):
        if not count:
            who = "nobody publishes it" if not publishers else f"its {publishers} publishers sent nothing"
            return f"nothing arrived on {topic} in {args.timeout:g} s: {who}; see `ros2 topic list`"
    if record.refused[1]:
        return f"no pair could be scored: {record.refused[0]}"
    if record.nearest_s is not None:
        return (
            f"no depth has the stamp of a reference: the nearest are {record.nearest_s:.3f} s apart; "
            f"--tolerance is {args.tolerance:g} s"
        )
    return "no reference has a pixel between 0.2 and 10 m; nothing to score"
