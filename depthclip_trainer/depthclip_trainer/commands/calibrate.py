# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip-train calibrate`: intervals that hold at the user's place; of a DepthCLIP model the class depths."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_trainer.data.sample import Sample
from depthclip_trainer.evaluation.confidence import most_likely_scale
from depthclip_trainer.evaluation.labelled import FITTED, HELD_OUT, Table, draw, parse_fitting, parts_of, score_table

if TYPE_CHECKING:
    from depthclip_ros.core.weights.load import LoadedWeights

Array = NDArray[np.float64]
Metrics = dict[str, float]

FITTED_SHARE = 0.75
"""Of the frames, the first, that intervals are fitted to; the others show whether they hold."""

ROUNDS = 30
SMALLEST_ERROR = 1e-3
"""Log error below which a pixel's weight no longer rises, so that the reweighting stays finite."""
PRIOR_SHARE = 1e-4
"""Weight of the depths that the model had, scaled to the frames: it decides where the frames say nothing."""


@dataclass(frozen=True)
class Pixels:
    """Labelled pixels of one frame: probability of each class [n, K] as the engine reads it, and depth [n], metres."""

    path: str
    probability: Array
    depth_m: Array


@dataclass(frozen=True)
class Calibration:
    """What came out: the depth of each class before and after, and the table (as it was, calibrated, best constant)."""

    before_m: list[float]
    after_m: list[float]
    table: Table


def calibrate_command(arguments: list[str]) -> None:
    """The command; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="depthclip-train calibrate",
        description="Fit the intervals and the confidence of metric weights to labelled frames of a place, and say how "
        "often they hold. Of a DepthCLIP model: fit its class depths, and say what that gained.",
    )
    parser.add_argument("--weights", default="default", help="metric weights, or a depthclip preset, YAML or file")
    parser.add_argument("--adapter-only", action="store_true", help="leave the base out of the file and name it")
    o = parse_fitting(parser, arguments, 0)
    from depthclip_ros.core.weights.load import load_weights
    from depthclip_trainer.fit.export import spare_base

    if o.adapter_only:
        spare_base(o.out, o.weights)
    loaded = load_weights(o.weights)
    if loaded.info.system == "depthclip":
        done = calibrate(o.weights, o.samples, o.frames or 8, o.out, adapter_only=o.adapter_only)
        _print(done, o.out)
    else:
        fitted = o.frames or max(1, round(FITTED_SHARE * len(o.samples)))
        _print_coverage(calibrate_intervals(loaded, o.samples, fitted, o.out, adapter_only=o.adapter_only), o.out)


def calibrate_intervals(
    loaded: LoadedWeights, frames: Sequence[Sample], fitted: int, out: Path, *, adapter_only: bool = False
) -> dict[str, Metrics]:
    """Fits the intervals to the first `fitted` frames, scores the others, and writes the weights with them.

    Returns:
        Interval metrics on the other frames (all, where none is left) of the new table, and of the old if there is one.

    Raises:
        ConfigError: weights of relative depth.
        InputError: no frame with depth.
    """
    from depthclip_ros.core.weights.weights_file import save_weights
    from depthclip_trainer.evaluation.intervals import calibrate as fit
    from depthclip_trainer.evaluation.intervals import coverage_of, describe, pixels_of, rescaled

    model, info = loaded.model, loaded.info
    if not model.config.metric:
        raise ConfigError(f"{info.path} gives relative depth, which has no intervals in metres; see fit-scale")
    named = [(out.stem, frame) for frame in frames]
    used = named[:fitted]
    pixels = pixels_of(model, used)
    held_out = pixels_of(model, named[fitted:]) or pixels
    rows = {"before": coverage_of(held_out, info.uncertainty)} if info.uncertainty else {}
    table, factor = fit(model, pixels, describe(used))
    rows["calibrated"] = coverage_of(rescaled(held_out, factor), table)
    training = {
        **info.training,
        "intervals calibrated on": f"{len(used)} frames: {used[0][1].path} to {used[-1][1].path}",
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(
        out,
        model,
        training=training,
        metrics=info.metrics,
        adapter_only=adapter_only or info.adapter_only,
        uncertainty=table,
    )
    return rows


def calibrate(
    weights: str, frames: Sequence[Sample], fitted: int, out: Path, *, pixels: int = 2000, adapter_only: bool = False
) -> Calibration:
    """Fits the class depths on `fitted` frames, spread evenly, scores all others, and writes the new weights.

    Args:
        weights: of a DepthCLIP model, as the engine takes them.
        frames: labelled.
        fitted: how many of them to fit on.
        out: the weights file to write.
        pixels: at most so many of each frame.
        adapter_only: leave CLIP out of the file.

    Raises:
        ConfigError: weights of another system.
        InputError: no frame, or none with depth.
    """
    import torch

    from depthclip_ros.core.model.depthclip import DepthClip
    from depthclip_ros.core.weights.load import load_weights
    from depthclip_ros.core.weights.weights_file import save_weights

    loaded = load_weights(weights)
    model = loaded.model
    if not isinstance(model, DepthClip):
        raise ConfigError(f"{weights} is {loaded.info.system}; only depthclip has class depths to calibrate")
    drawn = [labelled_pixels(model, frame, pixels) for frame in frames]
    drawn = [one for one in drawn if len(one.depth_m)]
    if not drawn:
        raise InputError("no frame has depth in the model's range; calibration needs at least one")
    parts = parts_of(len(drawn), fitted)
    fit = [one for one, part in zip(drawn, parts, strict=True) if part == FITTED]
    before = model.bin_centres.double().numpy()
    after = fit_centres(
        np.concatenate([one.probability for one in fit]),
        np.concatenate([one.depth_m for one in fit]),
        np.concatenate([np.full(len(one.depth_m), 1 / len(one.depth_m)) for one in fit]),
        before,
        (model.config.min_depth_m, model.config.max_depth_m),
    )
    constant = float(np.exp(np.median(np.concatenate([np.log(one.depth_m) for one in fit]))))
    rows = {"as it was": before, "calibrated": after, f"constant {constant:.2f} m": np.full_like(after, constant)}
    predicted = {row: [one.probability @ centres for one in drawn] for row, centres in rows.items()}
    table = score_table(parts, [one.depth_m for one in drawn], predicted)
    model.classes.set_centres(torch.from_numpy(after))
    depth_m = [one.probability @ after for one in fit]
    spread = [
        np.sqrt((one.probability * (np.log(after) - np.log(depth)[:, None]) ** 2).sum(1))
        for one, depth in zip(fit, depth_m, strict=True)
    ]
    model.classes.confidence_scale.fill_(most_likely_scale(spread, depth_m, [one.depth_m for one in fit]))
    training = {**loaded.info.training, "calibrated on": f"{len(fit)} frames: {', '.join(one.path for one in fit)}"}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(out, model, training=training, metrics={"calibration": table}, adapter_only=adapter_only)
    return Calibration(before.tolist(), after.tolist(), table)


def labelled_pixels(model: Any, frame: Sample, count: int) -> Pixels:
    """What the classes say where a frame has depth in the model's range."""
    import torch
    import torch.nn.functional as F

    from depthclip_ros.core.engine.preprocess import network_pixels
    from depthclip_ros.core.runtimes.pixel_network import PixelNetwork

    height_px, width_px = frame.depth_m.shape
    size_px = model.network_size(width_px, height_px)
    pixels = torch.from_numpy(network_pixels(frame.image, size_px)[None])
    with torch.inference_mode():
        probability = model(PixelNetwork(model).normalise(pixels)).bin_logits.softmax(1)
        # Depth is linear in the probabilities, so resizing them is what the engine does when it resizes depth.
        probability = F.interpolate(probability, (height_px, width_px), mode="bilinear", align_corners=False)[0]
    in_range = (frame.depth_m >= model.config.min_depth_m) & (frame.depth_m <= model.config.max_depth_m)
    places = draw(frame.valid & in_range, count)
    chosen = probability.flatten(1).numpy()[:, places].T
    return Pixels(frame.path, chosen.astype(np.float64), frame.depth_m.reshape(-1)[places].astype(np.float64))


def fit_centres(
    probability: Array, depth_m: Array, weight: Array, start_m: Array, range_m: tuple[float, float]
) -> Array:
    """Ascending class depths c [K] in `range_m` that minimise sum w |ln(P c) - ln d|.

    Nonnegative least squares on the steps between the depths, reweighted: with m the logarithmic mean of a and d,
    ln a - ln d = (a - d) / m exactly, so weights w / (m^2 |ln a - ln d|) make the squares the absolute log errors. The
    error is relative and symmetrical, and a few wrong readings do not pull it.

    Args:
        probability: [n, K].
        depth_m: [n].
        weight: [n].
        start_m: [K], ascending: what the depths were; scaled to these frames, it is the prior.
        range_m: lowest and highest depth.
    """
    from scipy.optimize import nnls

    lowest_m, highest_m = range_m
    classes = len(start_m)
    floor = lowest_m * (1 + 1e-3 * np.arange(classes))  # depths stay apart
    steps = np.tril(np.ones((classes, classes)))  # c = floor + steps @ delta
    predicted = probability @ start_m
    scale = float(np.exp(np.median(np.log(depth_m / predicted))))
    prior = np.maximum(np.diff(start_m * scale - floor, prepend=0.0), 0.0)
    design, wanted = probability @ steps, depth_m - probability @ floor
    centres, predicted = start_m * scale, predicted * scale
    for _ in range(ROUNDS):
        error = np.log(predicted / depth_m)
        close = np.abs(error) < 1e-9
        mean = np.where(close, depth_m, (predicted - depth_m) / np.where(close, 1.0, error))  # logarithmic mean
        w = weight / (mean**2 * np.maximum(np.abs(error), SMALLEST_ERROR))
        root = np.sqrt(w)[:, None]
        q, r = np.linalg.qr(root * design)  # K equations in place of n
        ridge = np.sqrt(PRIOR_SHARE * w.sum() / classes) * np.eye(classes)
        delta, _ = nnls(np.vstack([r, ridge]), np.concatenate([q.T @ (root[:, 0] * wanted), ridge @ prior]))
        centres = floor + steps @ delta
        predicted = probability @ centres
    return np.minimum(centres, highest_m * (1 - 1e-3 * np.arange(classes)[::-1]))


def _print_coverage(rows: dict[str, Metrics], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    printed = Table("", "covers, asked for 90 %", "half-width (ln depth)", "interval score")
    for name, row in rows.items():
        printed.add_row(name, f"{row['coverage']:.1%}", f"{row['half_width']:.3f}", f"{row['interval_score']:.3f}")
    console.print(printed)
    console.print(f"{out}: model.weights of depth_node", markup=False, highlight=False, soft_wrap=True)


def _print(done: Calibration, out: Path) -> None:
    from rich.console import Console

    from depthclip_trainer.evaluation.tables import print_parts

    console = Console()
    print_parts(done.table, console)
    for name, centres_m in (("class depths were", done.before_m), ("class depths are", done.after_m)):
        console.print(f"{name} {', '.join(f'{depth:.2f}' for depth in centres_m)} m", markup=False, highlight=False)
    part = list(done.table["calibrated"])[-1]
    gained = done.table["as it was"][part]["abs_rel"] - done.table["calibrated"][part]["abs_rel"]
    note = "" if part == HELD_OUT else " (on the frames it was fitted to: none is left to score on)"
    console.print(
        f"AbsRel {'fell' if gained >= 0 else 'rose'} by {abs(gained):.3f}{note}; {out}", markup=False, highlight=False
    )
