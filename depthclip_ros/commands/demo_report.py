# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What the demo measured: as JSON, as a table, and as pictures."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from depthclip_ros.commands.machine import describe_machine, one_line
from depthclip_ros.core.errors import DepthClipError
from depthclip_ros.core.files import replaced
from depthclip_ros.ros.measure import scores

if TYPE_CHECKING:
    from depthclip_ros.ros.measure.recorder import Record


def milliseconds(value: float | None) -> str:
    """For people; a dash for None."""
    return "-" if value is None else f"{value:.1f} ms"


def make_report(record: Record, args: argparse.Namespace, source: Mapping[str, Any]) -> dict[str, Any]:
    """All figures of the run, ready for JSON.

    Raises:
        DepthClipError: no depth or no statistics arrived.
    """
    if not record.depths or not record.stats:
        raise DepthClipError(f"no depth arrived; {args.out}/depth_node.log says what the node did")
    last = record.stats[-1]
    mean = scores.mean(record.scores)
    constant = record.truth.best_constant()
    median = record.truth.frame_medians()
    timings = ("preprocess_ms", "network_ms", "postprocess_ms", "publish_ms")
    return {
        "frames_in": int(last.frames_in),
        "frames_out": int(last.frames_out),
        "frames_received": record.depths,
        "dropped": int(last.frames_dropped),
        "refused": int(last.frames_refused),
        "rate_hz": round(record.rate_hz, 2),
        "latency_ms": {
            name: round(record.latency_percentile_ms(percent) or 0.0, 2)
            for name, percent in (("p50", 50), ("p95", 95), ("max", 100))
        },
        "delta1": _rounded(mean and mean.delta1),
        "abs_rel": _rounded(mean and mean.abs_rel),
        "rmse_m": _rounded(mean and mean.rmse_m),
        "coverage": _rounded(mean and mean.coverage),
        "interval_coverage": _mean(record.covered),
        "interval_level": round(float(last.half_width_level), 3),
        "half_width": _mean([one.half_width_mean for one in record.stats]),
        "frames_scored": len(record.scores),
        "why_no_errors": None if mean else why_no_errors(args.source, args.depth_topic),
        "protocol": scores.PROTOCOL,
        "baselines": {
            "best_constant": _scored(constant and constant[1], depth_m=constant and round(constant[0], 2)),
            "true_median_of_each_frame": _scored(median),
        },
        "engine_ms": {
            name.removesuffix("_ms"): _median([getattr(one, name) for one in record.stats]) for name in timings
        },
        "valid_ratio": _rounded(float(np.mean([one.valid_ratio for one in record.stats]))),
        "scale": round(float(last.scale), 4),
        "focal_assumed": bool(last.focal_assumed),
        "model": {"system": last.system, "weights": args.weights, "sha256": last.weights, "device": last.device},
        "source": {**source, "rate_hz": args.rate},
        "duration_s": round(record.seconds, 2),
        "machine": describe_machine(),
    }


def why_no_errors(source: str, depth_topic: str) -> str:
    """Why nothing could be scored: the source has no depth, or none that belongs to an image."""
    if depth_topic:
        return f"no depth of {depth_topic} has an image's stamp and size: record depth that is aligned to the image"
    return f"the source {source} has no exact depth to compare with"


def anchor_row(name: str, record: Record) -> dict[str, Any]:
    """Errors of a run with anchors, without its first third, in which they are found.

    Raises:
        DepthClipError: nothing arrived that can be scored.
    """
    if not record.scores or not record.stats:
        raise DepthClipError(f"no depth can be scored with {name}; the nodes' logs beside the report say what they did")
    last = record.stats[-1]
    mean = scores.mean(record.scores[len(record.scores) // 3 :])
    return {
        "name": name,
        **(_scored(mean) or {}),
        "frames_scored": len(record.scores) - len(record.scores) // 3,
        "rate_hz": round(record.rate_hz, 2),
        "latency_p50_ms": round(record.latency_percentile_ms(50) or 0.0, 2),
        "interval_coverage": _mean(record.covered[len(record.covered) // 3 :]),
        "half_width": _mean([one.half_width_mean for one in record.stats[len(record.stats) // 3 :]]),
        "scale": round(float(last.anchor_scale), 4),
        "scale_sd": None if math.isnan(last.anchor_scale_sd) else round(float(last.anchor_scale_sd), 4),
        "accepted": list(last.anchors_accepted),
        "refused": list(last.anchors_refused),
        "disagreeing": list(last.anchors_disagreeing),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _mean(values: list[float]) -> float | None:
    """Of those that are known; None where none is."""
    known = [value for value in values if not math.isnan(value)]
    return _rounded(float(np.mean(known))) if known else None


def _median(values: list[float]) -> float:
    return round(float(np.median(values)), 2)


def _scored(one: scores.Score | None, **more: Any) -> dict[str, Any] | None:
    if one is None:
        return None
    return {**more, "delta1": _rounded(one.delta1), "abs_rel": _rounded(one.abs_rel), "rmse_m": _rounded(one.rmse_m)}


def report_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The report as a person reads it."""
    engine, latency = report["engine_ms"], report["latency_ms"]
    rows = [
        ("frames in / out / dropped", f"{report['frames_in']} / {report['frames_out']} / {report['dropped']}"),
        ("rate", f"{report['rate_hz']:.1f} Hz of the camera's {report['source']['rate_hz']:g} Hz"),
        ("latency, stamp to receipt", f"p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms"),
        (
            "engine (preprocess + network + postprocess)",
            f"{engine['preprocess']:.1f} + {engine['network']:.1f} + {engine['postprocess']:.1f} ms",
        ),
    ]
    if report["delta1"] is None:
        rows.append(("errors", report["why_no_errors"]))
    else:
        constant = report["baselines"]["best_constant"]
        lines = [
            ("errors: δ1 / AbsRel / RMSE", report),
            (f"  a constant {constant['depth_m']:.2f} m", constant),
            ("  each frame's true median", report["baselines"]["true_median_of_each_frame"]),
        ]
        rows += [(name, f"{one['delta1']:.3f} / {one['abs_rel']:.3f} / {one['rmse_m']:.3f} m") for name, one in lines]
    if report["interval_coverage"] is not None:
        said = f"{report['interval_coverage']:.0%} covered of {report['interval_level']:.0%} asked for"
        rows.append(("intervals", f"{said}, half-width {math.expm1(report['half_width']):.0%}"))
    for one in report.get("anchors", ()):
        spread = (
            "none accepted" if one["scale_sd"] is None else f"depth times {one['scale']:.2f} ± {one['scale_sd']:.0%}"
        )
        errors = f"{one['delta1']:.3f} / {one['abs_rel']:.3f} / {one['rmse_m']:.3f} m"
        if one["interval_coverage"] is not None:
            spread += f", {one['interval_coverage']:.0%} covered by ±{math.expm1(one['half_width']):.0%}"
        rows.append((f"  with {one['name']}", f"{errors}, {spread}"))
    model = report["model"]
    rows.append(("model", f"{model['system']}, weights {model['sha256']}, {model['device']}"))
    rows.append(("machine", one_line(report["machine"])))
    return rows


def write_report(record: Record, report: Mapping[str, Any], folder: Path, console: Console) -> list[str]:
    """Write `report.json`, `frames.png`, and `interval.png` and `cloud.png` where there are intervals and a cloud.

    Returns:
        The names of those that were written; what an older demo has left of the others is gone.
    """
    from depthclip_ros.commands.pictures import draw_cloud, draw_frames, draw_interval
    from depthclip_ros.ros.measure.recorder import cloud_points

    with console.status("drawing the pictures") if console.is_terminal else contextlib.nullcontext():
        name = f"{report['model']['system']} {report['model']['sha256']}"
        score = "" if report["delta1"] is None else f", δ1 {report['delta1']:.3f}, AbsRel {report['abs_rel']:.3f}"
        truth_name = "exact depth" if report["source"]["source"] == "room" else "measured depth"
        title = f"{name}, {report['rate_hz']:.1f} Hz{score}"
        draw_frames(record.samples, folder / "frames.png", title, truth_name=truth_name)
        known = [one for one in record.samples if one.truth_m is not None and one.uncertainty_m is not None]
        if known and report["interval_coverage"] is not None:
            level = report["interval_level"]
            said = f"{report['interval_coverage']:.0%} of all true depths lie in their interval; asked for {level:.0%}"
            draw_interval(known[len(known) // 2], folder / "interval.png", said)
        else:
            (folder / "interval.png").unlink(missing_ok=True)
        clouds = [cloud_points(one.cloud) for one in record.samples if one.cloud is not None]
        clouds = [cloud for cloud in clouds if len(cloud[0])]
        if clouds:
            # The frame with the most depth in it: the nearest wall makes a dull picture.
            points_m, colours = max(clouds, key=lambda cloud: float(np.ptp(np.percentile(cloud[0][:, 2], (5, 95)))))
            draw_cloud(points_m, colours, folder / "cloud.png", f"depth/points: {len(points_m)} points")
        else:
            (folder / "cloud.png").unlink(missing_ok=True)
    if not clouds:
        why = "without camera_info the node publishes none" if report["focal_assumed"] else "none arrived"
        console.print(f"no cloud.png: there is no cloud ({why})", markup=False)
    with replaced(folder / "report.json") as file:
        file.write((json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())
    return [name for name in ("report.json", "frames.png", "interval.png", "cloud.png") if (folder / name).is_file()]
