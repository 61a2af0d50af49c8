# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Scores weights through the engine that ships, beside rows that have not seen the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from depthclip_ros.core.alignment import NONE, align, alignment_for
from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import DepthLimits
from depthclip_trainer.data.sample import Sample
from depthclip_trainer.data.split import places_of
from depthclip_trainer.evaluation.metrics import (
    Readings,
    confidence_metrics,
    depth_metrics,
    edge_metrics,
    interval_metrics,
    interval_score,
)
from depthclip_trainer.evaluation.pictures import PictureRow
from depthclip_trainer.evaluation.protocols import Protocol

Metrics = dict[str, float]
LOWEST_M = 1e-3
BY_PLACE = "by place"
PER_SOURCE = "best constant per source"
ERRORS_KEPT = 1000
"""Of each frame, spread over its pixels: 300,000 pixels of 9,000 frames are 11 GB."""


@dataclass(frozen=True)
class Frame:
    """One scored frame: the truth's counted values and what the model made of them. A report keeps all of its frames.

    `log_error` is ln(true / predicted) of `ERRORS_KEPT` pixels, float32 [n], where the weights give intervals and
    nothing was aligned.
    """

    source: str
    path: str
    truth: Readings
    metrics: Metrics
    assumed_intrinsics: bool
    log_error: NDArray[np.float32] | None = None


@dataclass
class Report:
    """Tables of one evaluation.

    Attributes:
        options: everything that changes the numbers.
        rows: by method (`model`, `model, median-scaled`, `constant`, ...), by row name (source or group): metrics.
        frames: by frame.
        pictures: for the sheet.
    """

    options: dict[str, Any]
    rows: dict[str, dict[str, Metrics]] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    pictures: list[PictureRow] = field(default_factory=list)

    def as_mapping(self) -> dict[str, Any]:
        """For JSON."""
        frames = [
            {"source": f.source, "frame": f.path, "assumed_intrinsics": f.assumed_intrinsics, **f.metrics}
            for f in self.frames
        ]
        return {"options": self.options, "rows": self.rows, "frames": frames}


def evaluate(
    engine: DepthEngine,
    frames: Iterable[tuple[str, Sample]],
    protocol: Protocol,
    *,
    flip: bool = False,
    alignment: str = "auto",
    pictures_per_source: int = 2,
    on_frame: Callable[[str], None] | None = None,
) -> Report:
    """Scores every frame.

    Args:
        engine: with the weights.
        frames: (source, frame) pairs; where the protocol has crops, as `protocols.frames_of` gives them.
        protocol: what counts.
        flip: average with the prediction of the mirrored frame.
        alignment: of each image with its own truth before it is scored: auto, none, median or scale-shift (least
            squares in disparity). Auto is none for metric depth, scale-shift for relative depth. The table says which.
        pictures_per_source: rows of the picture sheet.
        on_frame: called with each frame's path, for a progress bar.

    Raises:
        InputError: no frame with a counted pixel.
        ConfigError: an unknown alignment, or none for relative depth.
    """
    alignment = alignment_for(alignment, engine.config.metric)
    report = Report(options_of(engine, protocol, flip, alignment))
    shown: dict[str, int] = {}
    for source, sample in frames:
        truth_m = np.where(sample.valid, sample.depth_m, 0)
        counted = protocol.in_range(truth_m)
        if on_frame:
            on_frame(sample.path)
        if not counted.any():
            continue
        predicted, confidence, half_width = infer(engine, sample, truth_m.shape, flip)
        log_error = None
        if half_width is not None and alignment == NONE:
            known = counted & np.isfinite(predicted) & (predicted > 0)
            log_error = np.log(truth_m[known] / predicted[known]).astype(np.float32)
        if alignment != NONE:
            predicted = align(predicted[counted], truth_m[counted], alignment).apply(predicted)
        clipped = clip_prediction(predicted, protocol.high_m)
        g, p = truth_m[counted], clipped[counted]
        ratio = float(np.median(g) / np.median(p))
        scaled = np.clip(p * ratio, LOWEST_M, protocol.high_m)
        metrics = {**depth_metrics(g, p), **confidence_metrics(g, p, confidence[counted]), "median_ratio": ratio}
        metrics.update(edge_metrics(np.where(counted, truth_m, np.float32(0)), clipped))
        metrics.update({f"{key}_scaled": value for key, value in depth_metrics(g, scaled).items()})
        if log_error is not None and half_width is not None:
            metrics.update(interval_metrics(log_error, half_width[known]))
        kept = None if log_error is None or not log_error.size else evenly(log_error, ERRORS_KEPT)
        frame = Frame(source, sample.path, Readings.of(g), metrics, sample.assumed_intrinsics, kept)
        report.frames.append(frame)
        if shown.get(source, 0) < pictures_per_source:
            shown[source] = shown.get(source, 0) + 1
            caption = f"{sample.path}  d1 {metrics['delta1']:.2f}  AbsRel {metrics['abs_rel']:.2f}"
            report.pictures.append(PictureRow(sample.image, np.where(counted, truth_m, 0), clipped, caption))
    if not report.frames:
        raise InputError(f"no frame has a pixel between {protocol.low_m} and {protocol.high_m} m; nothing to score")
    assumed = sorted({f.source for f in report.frames if f.assumed_intrinsics})
    if assumed:
        report.options["assumed 60 degrees"] = ", ".join(assumed)
    fill_rows(report, protocol)
    if intervals := describe_intervals(report.frames):
        report.options["interval score"] = intervals
    return report


def options_of(engine: DepthEngine, protocol: Protocol, flip: bool, alignment: str = NONE) -> dict[str, Any]:
    """What is printed with every table, because it changes it."""
    how = "none" if alignment == NONE else f"{alignment} of each image with its own truth"
    return {
        "weights": str(engine.info.path),
        "sha256": str(engine.info.sha256)[:12],
        "protocol": protocol.name,
        "crop": protocol.note,
        "cap": f"{protocol.low_m:g}..{protocol.high_m:g} m",
        "flip averaging": flip,
        "alignment": f"{how} (median-scaled beside it)",
        "runtime": f"{engine.runtime}, {engine.device}, {engine.precision}",
        "network pixels": engine.info.config.get("input_pixels"),
    }


def predict(
    engine: DepthEngine, sample: Sample, size: tuple[int, ...], flip: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Depth and confidence at the truth's size [H, W]; see `infer`."""
    return infer(engine, sample, size, flip)[:2]


def infer(
    engine: DepthEngine, sample: Sample, size: tuple[int, ...], flip: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
    """Depth, confidence and half-width at the truth's size [H, W]; bilinear, align_corners, from another size.

    Half-widths are those of the frame itself, and None where the weights have none.
    """
    images, intrinsics = sample.image[None], [sample.intrinsics]
    result = engine.infer(images, intrinsics, DepthLimits())
    depth_m, confidence = result.depth_m[0], result.confidence[0]
    half_width = None if result.half_width is None else _resized(result.half_width[0], size)
    if flip:
        mirrored = engine.infer(np.ascontiguousarray(images[:, :, ::-1]), intrinsics, DepthLimits())
        depth_m = (depth_m + mirrored.depth_m[0, :, ::-1]) / 2
        confidence = (confidence + mirrored.confidence[0, :, ::-1]) / 2
    return _resized(depth_m, size), _resized(confidence, size), half_width


def clip_prediction(depth_m: NDArray[np.float32], high_m: float) -> NDArray[np.float32]:
    """1e-3..high; NaN becomes 1e-3, +Inf high."""
    filled = np.nan_to_num(depth_m, nan=LOWEST_M, posinf=high_m, neginf=LOWEST_M)
    return np.clip(filled, LOWEST_M, high_m).astype(np.float32)


def fill_rows(report: Report, protocol: Protocol) -> None:
    """Per-source means, then those over the sources of each group and over places, for the model and each baseline.

    Frames of one place are alike: where one has many, it outweighs the others in a mean over frames.
    """
    truths = [frame.truth for frame in report.frames]
    sources = [frame.source for frame in report.frames]
    places = places_of([(frame.source, frame.path) for frame in report.frames]) if protocol.by_place else []
    distinct = list(dict.fromkeys(places))
    if several := len(distinct) > 1:
        report.options["places"] = len(distinct)
    groups = protocol.groups or {"all": tuple(dict.fromkeys(sources))}
    group_of = {source: name for name, members in groups.items() for source in members}

    def constant_rows(key: Callable[[str], str]) -> list[Metrics]:
        chosen = {}
        for wanted in {key(source) for source in sources}:
            members = [i for i, source in enumerate(sources) if key(source) == wanted]
            weights = [1 / sources.count(sources[i]) for i in members]
            chosen[wanted] = best_constant((truths[i].all_m() for i in members), weights, protocol.high_m)
        return [_constant_metrics(t.all_m(), chosen[key(s)]) for t, s in zip(truths, sources, strict=True)]

    methods = {
        "model": [frame.metrics for frame in report.frames],
        "best constant": constant_rows(lambda source: group_of.get(source, source)),
        PER_SOURCE: constant_rows(lambda source: source),
        "each image's median": [_constant_metrics(t, float(np.median(t))) for t in (truth.all_m() for truth in truths)],
    }
    for method, per_frame in methods.items():
        table: dict[str, Metrics] = {}
        for source in dict.fromkeys(sources):
            table[source] = _mean([m for m, s in zip(per_frame, sources, strict=True) if s == source])
            table[source]["frames"] = float(sources.count(source))
        for group, members in groups.items():
            present = [table[m] for m in members if m in table]
            if present:
                table[group] = _mean(present)
                table[group]["frames"] = sum(row["frames"] for row in present)
        if several:
            means = [_mean([m for m, p in zip(per_frame, places, strict=True) if p == place]) for place in distinct]
            table[BY_PLACE] = {**_mean(means), "frames": float(len(places))}
        report.rows[method] = table


def evenly(values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """`count` of one or more values, evenly over them with the first and the last; some twice where they are few."""
    return values[np.linspace(0, len(values) - 1, count).astype(int)]


def describe_intervals(frames: Sequence[Frame]) -> str:
    """The mean interval score beside that of one constant width that covers as much, each source counting alike.

    Frames without an error (no intervals, no counted pixel with a finite prediction) do not count; empty without any.
    """
    kept = [frame for frame in frames if frame.log_error is not None]
    if not kept:
        return ""
    sources = [frame.source for frame in kept]
    weights = np.array([1 / sources.count(source) for source in sources])
    own, covers = (
        np.average([frame.metrics[name] for frame in kept], weights=weights) for name in ("interval_score", "coverage")
    )
    errors = [np.abs(frame.log_error) for frame in kept if frame.log_error is not None]
    sizes = [len(error) for error in errors]
    pooled, pooled_weight = np.concatenate(errors), np.repeat(weights / sizes, sizes)
    order = np.argsort(pooled)
    share = np.cumsum(pooled_weight[order]) / pooled_weight.sum()
    width = float(pooled[order][min(np.searchsorted(share, covers), len(order) - 1)])
    constant = np.average([float(interval_score(e, width).mean()) for e in errors], weights=weights)
    return f"{own:.3f} in ln depth; one constant width of the same coverage: {constant:.3f}"


def best_constant(truths: Iterable[NDArray[np.float32]], weights: Sequence[float], high_m: float = 10.0) -> float:
    """The depth of 0.2..`high_m` metres, of 400 evenly spaced in log, with the highest weighted mean delta1."""
    candidates = np.geomspace(0.2, high_m, 400)
    score = np.zeros(len(candidates))
    for truth, weight in zip(truths, weights, strict=True):
        ordered = np.sort(truth)
        low, high = np.searchsorted(ordered, candidates / 1.25, "right"), np.searchsorted(ordered, candidates * 1.25)
        score += weight * (high - low) / len(ordered)
    return float(candidates[score.argmax()])


def _constant_metrics(truth_m: NDArray[np.float32], depth_m: float) -> Metrics:
    return depth_metrics(truth_m, np.full(truth_m.shape, depth_m, np.float32))


def _mean(rows: Sequence[Metrics]) -> Metrics:
    """Of each metric over the rows that have it (a frame may be without edges)."""
    means = {}
    for key in rows[0]:
        values = [row[key] for row in rows if not np.isnan(row[key])]
        means[key] = float(np.mean(values)) if values else float("nan")
    return means


def _resized(values: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    if values.shape == size:
        return np.ascontiguousarray(values)
    tensor = torch.from_numpy(np.ascontiguousarray(values))[None, None]
    return F.interpolate(tensor, size=size, mode="bilinear", align_corners=True)[0, 0].numpy()
