# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Places shown one after another, each for 2 s with a sensor that reads: what the estimated scale is worth.

Each source of frames has one estimator per anchor, which goes through all of its frames: every frame is a cut.
Protocol: `HOLD_S` seconds at `RATE_HZ`, then AbsRel of the prediction times the estimated scale, beside the prediction
as it is and the prediction times median(truth) / median(prediction). Frames in which an anchor has nothing to read (its
rays meet no measured depth, or no floor is seen) count as silent and are left out of its row.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.anchors.estimator import NO_SCALE, PRIOR_SD, ScaleEstimate, ScaleEstimator
from depthclip_ros.core.anchors.measurement import Measurement, Prediction
from depthclip_ros.core.anchors.shape import NO_SHAPE, Shape
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics
from depthclip_trainer.evaluation.anchors.simulated import Place, Reading, sensors_of

HOLD_S, RATE_HZ = 2.0, 8
WILD_SHARE = 0.3
WRONG_S, WRONG_FACTOR = 5.0, 0.4
CUT_FACTOR, CUT_WITHIN = 1.3, 0.1
LOWEST_M = 1e-3


@dataclass(frozen=True)
class Shown:
    """A frame with its prediction [H, W] and true depth [H, W], which counts where it is not 0.

    `intervals` gives depth and half-width [H, W] of ln depth with the scale that an anchor found, as the node would;
    `prior_sd`: of ln scale before any anchor; `usual`: half-width at `JUDGED_AT` as a share of those.
    """

    source: str
    rgb: NDArray[np.uint8]
    predicted_m: NDArray[np.float32]
    truth_m: NDArray[np.float32]
    camera: Intrinsics
    intervals: Callable[[ScaleEstimate], tuple[NDArray[np.float32], NDArray[np.float32]]] | None = None
    prior_sd: float = PRIOR_SD
    usual: Callable[[ScaleEstimate], float] = lambda _: 1.0

    def abs_rel(self, factor: float, high_m: float = 10.0, shape: Shape = NO_SHAPE) -> float:
        """Of the prediction in this shape times `factor`."""
        g = self.truth_m[self.truth_m > 0]
        p = shape.stretched(self.predicted_m[self.truth_m > 0]) * factor
        p = np.nan_to_num(p, nan=LOWEST_M, posinf=high_m)
        return float(np.mean(np.abs(g - np.clip(p, LOWEST_M, high_m)) / g))

    def coverage(self, scale: ScaleEstimate) -> tuple[float, float]:
        """Share of pixels whose truth lies in its interval, and the mean half-width; NaN without intervals."""
        if self.intervals is None:
            return math.nan, math.nan
        depth_m, half_width = self.intervals(scale)
        counted = (self.truth_m > 0) & np.isfinite(depth_m) & (depth_m > 0)
        error = np.abs(np.log(self.truth_m[counted] / depth_m[counted]))
        return float(np.mean(error <= half_width[counted])), float(np.mean(half_width[counted], dtype=np.float64))

    def by_the_table(self, scale: ScaleEstimate) -> tuple[NDArray[np.float32] | None, float]:
        """Half-widths as the weights' table has them, and those at `JUDGED_AT` as a share of them."""
        if self.intervals is None:
            return None, 1.0
        return self.intervals(scale)[1] / np.float32(scale.shape.width), self.usual(scale)

    @cached_property
    def free_half_width(self) -> float:
        """Mean half-width without an anchor; NaN without intervals."""
        return self.coverage(NO_SCALE)[1]

    @property
    def median_factor(self) -> float:
        """What makes the medians equal."""
        counted = (self.truth_m > 0) & np.isfinite(self.predicted_m)
        return float(np.median(self.truth_m[counted]) / np.median(self.predicted_m[counted]))


@dataclass
class Row:
    """Of one anchor over frames; lists of one length but `silent`.

    Attributes:
        sources: of the frames.
        published, median_scaled, anchored: AbsRel.
        deviations: (ln estimated - ln median scale) / standard deviation.
        sds: of ln scale.
        covered, half_widths: of the intervals with the anchor.
        free_half_widths: of those without.
        silent: frames without a reading.
    """

    sources: list[str] = field(default_factory=list)
    published: list[float] = field(default_factory=list)
    median_scaled: list[float] = field(default_factory=list)
    anchored: list[float] = field(default_factory=list)
    deviations: list[float] = field(default_factory=list)
    sds: list[float] = field(default_factory=list)
    covered: list[float] = field(default_factory=list)
    half_widths: list[float] = field(default_factory=list)
    free_half_widths: list[float] = field(default_factory=list)
    silent: int = 0

    def mean(self, values: list[float]) -> float:
        """Mean over each source's frames, then over the sources."""
        by_source: dict[str, list[float]] = {}
        for source, value in zip(self.sources, values, strict=True):
            by_source.setdefault(source, []).append(value)
        return float(np.mean([np.mean(one) for one in by_source.values()])) if by_source else math.nan


class Watcher:
    """One anchor and one estimator over the frames of a source."""

    def __init__(self, name: str, seed: int, prior_sd: float) -> None:
        self.name = name
        self.estimator = ScaleEstimator(prior_sd)
        self.rng = np.random.default_rng(seed)
        self.time_s = 0.0

    def watch(
        self, shown: Shown, read: Reading | None, seconds: float, *, wild: float = 0.0, shift: float = 0.0
    ) -> bool:
        """So long; whether anything was read. `wild`: share of random ranges; `shift`: of what all others say."""
        prediction, of_shape = Prediction(shown.predicted_m, shown.camera), NO_SHAPE
        heard, table = False, None
        for number in range(round(seconds * RATE_HZ)):
            self.time_s += 1 / RATE_HZ
            estimate = self.estimator.estimate
            if estimate.shape != of_shape:
                of_shape = estimate.shape
                prediction = Prediction(of_shape.stretched(shown.predicted_m), shown.camera)
            self.estimator.see(self.time_s, prediction.depth_m, shown.rgb)
            if read is None:
                continue
            try:
                said, seen = read(prediction, self.rng, wild)
            except InputError as error:
                self.estimator.refuse(self.name, self.time_s, str(error))
                continue
            heard = True
            said = Measurement(said.log_ratio + shift, said.place_variance, said.noise_variance)
            if self.estimator.add(self.name, self.time_s, said) and seen is not None:
                if table is None or number % RATE_HZ == 0:  # now and then: it takes a run of the network
                    table = shown.by_the_table(self.estimator.estimate)
                self.estimator.learn_shape(prediction, dataclasses.replace(of_shape, width=1.0), seen, *table)
        return heard

    def abs_rel(self, shown: Shown) -> float:
        """With what is known by now."""
        estimate = self.estimator.estimate
        return shown.abs_rel(estimate.factor, shape=estimate.shape)


def replay(frames: Iterable[Shown], *, wild: float = 0.0, seed: int = 0) -> dict[str, Row]:
    """Every anchor's row, by its name; `wild`: so many of its ranges are drawn at random."""
    watchers: dict[tuple[str, str], Watcher] = {}
    rows: dict[str, Row] = {}

    def one(shown: Shown, name: str, read: Reading | None) -> None:
        watcher = watchers.setdefault((shown.source, name), Watcher(name, seed, shown.prior_sd))
        row = rows.setdefault(name, Row())
        if not watcher.watch(shown, read, HOLD_S, wild=wild):
            row.silent += 1
            return
        estimate = watcher.estimator.estimate
        row.sources.append(shown.source)
        row.published.append(shown.abs_rel(1.0))
        row.median_scaled.append(shown.abs_rel(shown.median_factor))
        row.anchored.append(watcher.abs_rel(shown))
        covered, half_width = shown.coverage(estimate)
        row.covered.append(covered)
        row.half_widths.append(half_width)
        row.free_half_widths.append(shown.free_half_width)
        if estimate.log_scale_sd is not None:
            row.sds.append(estimate.log_scale_sd)
            row.deviations.append((estimate.log_scale - math.log(shown.median_factor)) / estimate.log_scale_sd)

    _each(frames, one)
    return rows


def wrong_constant(frames: Iterable[Shown], seed: int = 0) -> dict[str, tuple[float, int]]:
    """By anchor: AbsRel at the end of 5 s in which all its readings say 0.4 of the truth, over that before; frames.

    The picture stands still meanwhile, and the anchor was heard for `WRONG_S` before.
    """
    ratios: dict[str, list[float]] = {}

    def one(shown: Shown, name: str, read: Reading | None) -> None:
        watcher = Watcher(name, seed, shown.prior_sd)
        if read is None or not watcher.watch(shown, read, WRONG_S):
            return
        before = watcher.abs_rel(shown)
        watcher.watch(shown, read, WRONG_S, shift=math.log(WRONG_FACTOR))
        ratios.setdefault(name, []).append(watcher.abs_rel(shown) / before)

    _each(frames, one)
    return {name: (float(np.mean(values)), len(values)) for name, values in ratios.items()}


def cuts(frames: Iterable[Shown], seed: int = 0) -> dict[str, tuple[float, int]]:
    """By anchor: the share of cuts after which the scale is within 10 % of where it settles (10 s) 2 s later; cuts.

    Each frame after the first of a source is shown with its truth multiplied so that its scale is 1.3 times that of
    the frame before.
    """
    within: dict[str, list[bool]] = {}
    before: dict[str, tuple[Shown, dict[str, Reading]]] = {}
    for shown in frames:
        factor = 1.0
        if shown.source in before:
            factor = CUT_FACTOR * before[shown.source][0].median_factor / shown.median_factor
        truth_m = shown.truth_m * np.float32(factor)
        shown = dataclasses.replace(shown, truth_m=truth_m, intervals=None)  # noqa: PLW2901
        sensors = sensors_of(Place.of(truth_m, shown.camera))
        last = before.get(shown.source)
        before[shown.source] = shown, sensors
        for name, read in sensors.items():
            watcher = Watcher(name, seed, shown.prior_sd)
            if last is None or name not in last[1] or not watcher.watch(last[0], last[1][name], HOLD_S):
                continue
            if not watcher.watch(shown, read, HOLD_S):
                continue
            soon = watcher.estimator.estimate.log_scale
            watcher.watch(shown, read, 10 - HOLD_S)
            late = watcher.estimator.estimate.log_scale
            within.setdefault(name, []).append(abs(soon - late) < math.log1p(CUT_WITHIN))
    return {name: (float(np.mean(values)), len(values)) for name, values in within.items()}


def _each(frames: Iterable[Shown], one: Callable[[Shown, str, Reading | None], None]) -> None:
    """Every anchor in every frame, those too for which it has nothing to read there."""
    names: dict[str, set[str]] = {}
    for shown in frames:
        sensors = sensors_of(Place.of(shown.truth_m, shown.camera))
        known = names.setdefault(shown.source, set())
        known.update(sensors)
        for name in sorted(known):
            one(shown, name, sensors.get(name))
