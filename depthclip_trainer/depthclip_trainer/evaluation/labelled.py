# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What fitting a few numbers to labelled frames shares: which frames and pixels, the table, the arguments."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_trainer.data.sample import Sample
from depthclip_trainer.data.split import spread
from depthclip_trainer.evaluation.metrics import depth_metrics

SHOWN = ("delta1", "abs_rel", "rmse")
FITTED, HELD_OUT = "fitted", "held out"

Table = dict[str, dict[str, dict[str, float]]]
"""By row, part of the frames and metric of `SHOWN`: the mean over frames."""


def parts_of(count: int, fitted: int) -> list[str]:
    """The part of each of so many frames: `fitted` of them, at least one, are spread evenly over the whole."""
    chosen = set(spread(count, max(1, fitted)))
    return [FITTED if i in chosen else HELD_OUT for i in range(count)]


def draw(usable: NDArray[np.bool_], most: int) -> NDArray[np.intp]:
    """Flat indices of usable pixels, at most so many, drawn with a fixed seed."""
    places = np.flatnonzero(usable)
    return places if len(places) <= most else np.random.default_rng(0).choice(places, most, replace=False)


def score_table(
    parts: Sequence[str], truth_m: Sequence[NDArray[Any]], rows: Mapping[str, Sequence[NDArray[Any]]]
) -> Table:
    """Scores rows of predictions [n] of each frame."""

    def means(part: str, predicted_m: Sequence[NDArray[Any]]) -> dict[str, float]:
        frames = [depth_metrics(t, p) for t, p, own in zip(truth_m, predicted_m, parts, strict=True) if own == part]
        return {name: float(np.mean([metrics[name] for metrics in frames])) for name in SHOWN}

    return {row: {p: means(p, values) for p in (FITTED, HELD_OUT) if p in parts} for row, values in rows.items()}


def parse_fitting(parser: argparse.ArgumentParser, arguments: list[str], fitted: int) -> argparse.Namespace:
    """Parses a command's own arguments and those that such commands share; `samples` are read, and their part is said.

    Raises:
        InputError, ConfigError: as of `protocols.frames_of`.
    """
    from depthclip_trainer.evaluation.protocols import frames_of, part_to_fit, protocol_named

    parser.add_argument("--data", required=True, type=Path, help="labelled frames, as depthclip-eval takes them")
    parser.add_argument("--protocol", default="frames", help="how the data is read, as in depthclip-eval")
    parser.add_argument(
        "--part",
        default="",
        choices=("train", "validation"),
        help="of the data; without, the official training part where there is one, or all",
    )
    parser.add_argument(
        "--frames", type=int, default=fitted, help="frames to fit on, 0: as many as pay; the others are scored"
    )
    parser.add_argument("--out", required=True, type=Path, help="the .safetensors to write")
    options = parser.parse_args(arguments)
    part = options.part or part_to_fit(options.data)
    options.samples: list[Sample] = [s for _, s in frames_of(protocol_named(options.protocol), options.data, part)]
    print(f"{options.data}, part {part}: {len(options.samples)} frames")
    return options
