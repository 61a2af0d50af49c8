# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Fits the intervals of `core/uncertainty.py` to frames of known depth that the weights did not learn from."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.engine.interval import LEAST_CONFIDENCE, half_width
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.uncertainty import LEVEL, Uncertainty
from depthclip_trainer.data.sample import Sample
from depthclip_trainer.data.split import places_of
from depthclip_trainer.evaluation.confidence import most_likely_scale
from depthclip_trainer.evaluation.evaluate import predict
from depthclip_trainer.evaluation.metrics import interval_score

Values = NDArray[np.float64]

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
BANDS = 5
PIXELS = 2000
"""Of each frame, drawn with a fixed seed."""
DRAWN = 200_000
"""Pixels that the confidence is fitted to."""
BAND_UNITS = 8
"""Places that a band of depth needs, so that the quantile at `LEVEL` is one of its scores."""
RATIOS = (0.0, 0.1, 0.2, 0.35, 0.6, 1.0, 1.7, 3.0, 6.0, 15.0)
"""Of floor to gain, tried one after the other."""


@dataclass(frozen=True)
class Pixels:
    """Pixels [n] of one frame whose depth is known.

    Attributes:
        place: where the frame was taken; frames of one place count together as one.
        spread2: 1 / c - 1, c the network's own confidence.
        predicted_m, truth_m: depth.
    """

    place: str
    spread2: Values
    predicted_m: Values
    truth_m: Values

    @property
    def log_error(self) -> Values:
        """ln(true / predicted)."""
        error: Values = np.log(self.truth_m / self.predicted_m)
        return error


def pixels_of(model: DepthModel, frames: Iterable[tuple[str, Sample]]) -> list[Pixels]:
    """What the engine says of frames (source, sample) where their depth is known; frames without are left out."""
    engine = DepthEngine(copy.deepcopy(model), device="cpu", precision="fp32")
    found = []
    try:
        for source, sample in frames:
            depth_m, confidence = predict(engine, sample, sample.depth_m.shape, flip=False)
            known = np.flatnonzero(sample.valid & np.isfinite(depth_m) & (depth_m > 0))
            if not len(known):
                continue
            chosen = np.random.default_rng(0).choice(known, PIXELS)
            certain = confidence.reshape(-1)[chosen].astype(np.float64).clip(LEAST_CONFIDENCE, 1)
            predicted, truth = (m.reshape(-1)[chosen].astype(np.float64) for m in (depth_m, sample.depth_m))
            found.append((source, sample.path, 1 / certain - 1, predicted, truth))
    finally:
        engine.close()
    places = places_of([(source, path) for source, path, *_ in found])
    return [Pixels(place, *rest) for place, (_, _, *rest) in zip(places, found, strict=True)]


def calibrate(model: DepthModel, pixels: Sequence[Pixels], data: str = "") -> tuple[Uncertainty, float]:
    """Fits the network's confidence, in place, and the table of its intervals to pixels of it.

    Returns:
        The table, and what the pixels' `spread2` is to be multiplied by to be that of the confidence as it is now.

    Raises:
        InputError: no frame of known depth.
    """
    buffers = [b for name, b in model.named_buffers() if name.split(".")[-1] == "confidence_scale"]
    factor = 1.0
    if len(buffers) == 1 and pixels:
        before, drawn = float(buffers[0]), _drawn(pixels)
        spread = drawn["spread2"] ** 0.5 * before
        scale = most_likely_scale([spread], [drawn["predicted_m"]], [drawn["truth_m"]])
        buffers[0].fill_(scale)
        factor = (before / scale) ** 2
    return fit_uncertainty(rescaled(pixels, factor), data), factor


def rescaled(pixels: Sequence[Pixels], factor: float) -> list[Pixels]:
    """Pixels of the same network with another scale of its confidence; see `calibrate`."""
    return [replace(one, spread2=one.spread2 * factor) for one in pixels]


def fit_uncertainty(frames: Sequence[Pixels], data: str = "") -> Uncertainty:
    """The table that makes intervals on these frames hold, each place counting alike.

    Raises:
        InputError: no frame.
    """
    if not frames:
        raise InputError("no frame has depth in the model's range; intervals need at least one")
    weight = _weights(frames)
    middle = np.array([np.median(one.log_error) for one in frames])
    per_frame = np.array([w.sum() for w in weight])
    scale_sd = float(np.sqrt(np.average(middle**2, weights=per_frame)))
    error, spread2, predicted_m, w = (
        np.concatenate(parts)
        for parts in (
            [f.log_error for f in frames],
            [f.spread2 for f in frames],
            [f.predicted_m for f in frames],
            weight,
        )
    )
    shape_error = np.concatenate([f.log_error - m for f, m in zip(frames, middle, strict=True)])
    floor, gain = _shape(shape_error, spread2, w)
    shape2 = floor**2 + gain**2 * spread2
    units = _units(frames)
    bands = _bands(predicted_m, w, units)
    index = np.searchsorted(bands[1:-1], predicted_m)
    free, anchored = (
        _factors(np.abs(residual) / np.sqrt(s2), w, units, index, len(bands) - 1)
        for residual, s2 in ((error, shape2 + scale_sd**2), (shape_error, shape2))
    )
    depths_m = tuple(_quantile(predicted_m[index == b], w[index == b], 0.5) for b in range(len(bands) - 1))
    table = Uncertainty(
        floor, gain, scale_sd, LEVELS, depths_m, free, anchored, 1.0, len({f.place for f in frames}), len(frames), data
    )
    drawn = _drawn(frames)
    wide = half_widths(table, drawn["spread2"], drawn["predicted_m"])
    return replace(table, even_odds=most_likely_scale([wide], [drawn["predicted_m"]], [drawn["truth_m"]]))


def half_widths(
    table: Uncertainty, spread2: Values, depth_m: Values, level: float = LEVEL, log_scale_sd: float | None = None
) -> Values:
    """The engine's half-widths [n], in float64."""
    return half_width(1 / (1 + spread2), depth_m, table, level, log_scale_sd)


def coverage_of(frames: Sequence[Pixels], table: Uncertainty, level: float = LEVEL) -> dict[str, float]:
    """Share of pixels inside their interval, mean half-width and interval score, each place counting alike.

    Raises:
        InputError: no frame.
    """
    if not frames:
        raise InputError("no frame has depth in the model's range; there is nothing to score")
    weight = np.concatenate(_weights(frames))
    error = np.concatenate([frame.log_error for frame in frames])
    wide = np.concatenate([half_widths(table, frame.spread2, frame.predicted_m, level) for frame in frames])
    values = {
        "coverage": np.abs(error) <= wide,
        "half_width": wide,
        "interval_score": interval_score(error, wide, level),
    }
    return {name: float(np.average(value, weights=weight)) for name, value in values.items()}


def _weights(frames: Sequence[Pixels]) -> list[Values]:
    """One for each place, shared among its frames, and among their pixels."""
    count = {place: sum(f.place == place for f in frames) for place in {f.place for f in frames}}
    return [np.full(len(f.truth_m), 1 / (count[f.place] * len(f.truth_m))) for f in frames]


def _drawn(frames: Sequence[Pixels]) -> dict[str, Values]:
    """Pixels of all frames, drawn so that each place counts alike."""
    weight = np.concatenate(_weights(frames))
    chosen = np.random.default_rng(0).choice(len(weight), DRAWN, p=weight / weight.sum())
    names = ("spread2", "predicted_m", "truth_m")
    return {name: np.concatenate([getattr(frame, name) for frame in frames])[chosen] for name in names}


def _units(frames: Sequence[Pixels]) -> NDArray[np.intp]:
    """The number of each pixel's unit: its place, or where there are too few of them its frame."""
    names = [f.place for f in frames]
    if len(set(names)) < BAND_UNITS:
        names = [str(i) for i in range(len(frames))]
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.concatenate([np.full(len(f.truth_m), numbers[n]) for f, n in zip(frames, names, strict=True)])


def _shape(error: Values, spread2: Values, weight: Values) -> tuple[float, float]:
    """Floor and gain whose intervals of one factor score best on errors without their frame's scale."""
    best = (np.inf, 0.0, 0.0)
    for ratio in RATIOS:
        s = np.sqrt(ratio**2 + spread2)
        q = _quantile(np.abs(error) / s, weight, LEVEL)
        score = float(np.average(interval_score(error, q * s), weights=weight))
        unit = _quantile(np.abs(error) / s, weight, 0.6827)  # s becomes about a standard deviation
        best = min(best, (score, ratio * unit, unit))
    return best[1], best[2]


def _bands(predicted_m: Values, weight: Values, units: NDArray[np.intp]) -> Values:
    """Edges of bands of predicted depth that hold as much weight each, and enough units."""
    for bands in range(BANDS, 1, -1):
        edges = np.array([_quantile(predicted_m, weight, i / bands) for i in range(bands + 1)])
        index = np.searchsorted(edges[1:-1], predicted_m)
        if len(set(edges)) == bands + 1 and all(len(set(units[index == b])) >= BAND_UNITS for b in range(bands)):
            return edges
    return np.array([predicted_m.min(), predicted_m.max()])


def _factors(
    scores: Values, weight: Values, units: NDArray[np.intp], index: NDArray[np.intp], bands: int
) -> tuple[tuple[float, ...], ...]:
    """Quantiles of the scores by level and band; each unit counts alike, and one more unit may be worse than all."""
    rows: list[list[float]] = [[] for _ in LEVELS]
    for band in range(bands):
        member = index == band
        count = len(set(units[member]))
        for row, level in zip(rows, LEVELS, strict=True):
            rank = min(1.0, level * (count + 1) / count)
            row.append(_quantile(scores[member], weight[member], rank))
    return tuple(tuple(row) for row in np.maximum.accumulate(np.array(rows), axis=0).tolist())


def _quantile(values: Values, weight: Values, level: float) -> float:
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][min(np.searchsorted(total, level * total[-1]), len(order) - 1)])


def describe(frames: Sequence[tuple[str, Any]]) -> str:
    """Sources and their numbers of frames."""
    names = [source for source, _ in frames]
    return ", ".join(f"{names.count(name)} of {name}" for name in dict.fromkeys(names))
