# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What the parts of the bench share: settings, units that can be measured again alone, and how time is taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.types import Intrinsics

HFOV_DEG = 70.0
MAIN_SIZE = (640, 480)
PAUSE_S = 0.01  # threads of a runtime spin for a millisecond or so after a call, which would be the next one's loss
TURN, LONGEST_TURN_S = 4, 0.25  # calls that follow one another, and for how long at most
STAGES = ("preprocess", "network", "postprocess")

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What is measured and how long.

    Attributes:
        folder: for logs and pictures of this run.
        quick: little of everything: shows that it runs and gives the ratios that `--compare` looks at.
        full: every runtime and precision at every size and batch, too.
        device: "auto", "cpu", "cuda[:N]".
        weights: what node, cameras, cold start and soak run with.
        systems: labels of `bench_systems.SYSTEMS`; empty: all, or with `quick` the first.
        precisions: only these; empty: all that the machine has.
        sizes_px: (width, height) of the images; the first is the main one.
        minutes: of the soak.
        before: an environment with another version of the package, whose node is measured in turn; None: none.
        csv: file that takes the soak's samples; None: none.
        say: shows what goes on.
    """

    folder: Path
    quick: bool = False
    full: bool = False
    device: str = "auto"
    weights: str = "default"
    systems: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    sizes_px: tuple[tuple[int, int], ...] = (MAIN_SIZE, (1280, 720))
    minutes: float = 5.0
    before: Path | None = None
    csv: Path | None = None
    say: Callable[[str], None] = field(default=lambda text: None, compare=False)


@dataclass(frozen=True)
class Unit:
    """The smallest piece that is measured by itself, and again when a figure is doubted; its rows carry its name."""

    part: str
    name: str
    measure: Callable[[], list[Row]]


def size_name(size_px: tuple[int, int]) -> str:
    """As in 640x480."""
    return f"{size_px[0]}x{size_px[1]}"


def sample_image(size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]: smooth shades and noise."""
    width, height = size_px
    y, x = np.mgrid[0:height, 0:width]
    shades = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], axis=2)
    noise = np.random.default_rng(0).normal(0, 12, (height, width, 3))
    return np.clip(shades + noise, 0, 255).astype(np.uint8)


def sample_camera(size_px: tuple[int, int]) -> Intrinsics:
    """The camera of `sample_image`."""
    return Intrinsics.from_hfov(HFOV_DEG, *size_px)


def interleaved(
    calls: Mapping[str, Callable[[], Mapping[str, float]]], *, budget_s: float, least: int = 3, most: int = 30
) -> dict[str, dict[str, float]]:
    """Medians of what calls say of themselves, taken in turn AA BB CC AA BB CC, so that a busy moment hits all alike.

    Each turn is a few calls one after the other, of which the first is not counted: on a robot one runtime runs all the
    time, with its threads awake and its weights in the cache.

    Args:
        calls: each returns times by name.
        budget_s: no further round is begun after this time.
        least: rounds that are made in any case, after one that is not counted.
        most: rounds at most.

    Returns:
        For each call its medians, `rounds`, and `spread`: the middle half of its last time as a share of the median.
    """
    times: dict[str, list[Mapping[str, float]]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    start_s, rounds = time.perf_counter(), 0
    while rounds < least or (rounds < most and time.perf_counter() - start_s < budget_s):
        for name, call in calls.items():
            time.sleep(PAUSE_S)
            call()
            turn_s = time.perf_counter()
            for _ in range(TURN):
                times[name].append(call())
                if time.perf_counter() - turn_s > LONGEST_TURN_S:
                    break
        rounds += 1
    found = {}
    for name, taken in times.items():
        keys = list(taken[0]) if taken else []
        medians = {key: float(np.median([one[key] for one in taken])) for key in keys}
        quarter, half, three = np.percentile([one[keys[-1]] for one in taken], (25, 50, 75))
        found[name] = {**medians, "rounds": rounds, "spread": float((three - quarter) / half) if half > 0 else 0.0}
    return found


def timed(function: Callable[[], Any]) -> Callable[[], dict[str, float]]:
    """A call for `interleaved` that takes nothing but its `total_ms`."""

    def call() -> dict[str, float]:
        start_s = time.perf_counter()
        function()
        return {"total_ms": (time.perf_counter() - start_s) * 1e3}

    return call


def percentiles(values_ms: Sequence[float], prefix: str = "latency") -> dict[str, float | None]:
    """`PREFIX_p50_ms`, `_p95_ms` and `_p99_ms`; None without values."""
    good = [value for value in values_ms if np.isfinite(value)]
    return {f"{prefix}_p{p}_ms": float(np.percentile(good, p)) if good else None for p in (50, 95, 99)}


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """Quotient; None where it means nothing."""
    return numerator / denominator if numerator is not None and denominator else None
