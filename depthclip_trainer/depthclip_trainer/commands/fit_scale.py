# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip-train fit-scale`: gives relative weights metres, by scale and shift fitted to a few labelled frames."""

from __future__ import annotations

import argparse
import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.alignment import SCALE_SHIFT, align, robust_least_squares
from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.engine.focal_scale import focal_at_network_px
from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_trainer.data.sample import Sample
from depthclip_trainer.evaluation.confidence import most_likely_scale, spread_of
from depthclip_trainer.evaluation.evaluate import clip_prediction, predict
from depthclip_trainer.evaluation.labelled import FITTED, Table, draw, parse_fitting, parts_of, score_table

Array = NDArray[np.float64]

CANONICAL_FOCAL_PX = 300.0


@dataclass(frozen=True)
class Pixels:
    """Labelled pixels of one frame, 1-D float64.

    Attributes:
        path: of the frame.
        relative: depth of the relative network, 1 / disparity.
        depth_m: measured.
        focal_px: at the network's resolution.
        places: their flat indices.
    """

    path: str
    relative: Array
    depth_m: Array
    focal_px: float
    places: NDArray[np.intp]


@dataclass(frozen=True)
class ScaleFit:
    """What came out.

    Attributes:
        scale, shift: of 1 / canonical depth = scale * disparity + shift.
        table: by row and part (fitted, held out): mean over frames.
        assumed: frames whose intrinsics were assumed.
    """

    scale: float
    shift: float
    table: Table
    assumed: int


def fit_scale_command(arguments: list[str]) -> None:
    """The command; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="depthclip-train fit-scale",
        description="Fit scale and shift of relative weights to labelled frames, and write weights that give metres.",
    )
    parser.add_argument(
        "--weights", required=True, help="of relative depth: a folder of transformers, a hub id, a file"
    )
    parser.add_argument("--max-depth", type=float, default=10.0, metavar="M", help="of what the weights are to give")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    o = parse_fitting(parser, arguments, 20)
    _print(fit_scale(o.weights, o.samples, o.frames, o.out, max_depth_m=o.max_depth, device=o.device), o.out)


def fit_scale(
    weights: str,
    frames: Sequence[Sample],
    fitted: int,
    out: Path,
    *,
    max_depth_m: float = 10.0,
    pixels: int = 2000,
    device: str = "auto",
) -> ScaleFit:
    """Fits on `fitted` frames, spread evenly, scores the others, and writes metric weights.

    One scale and shift in disparity for all frames, by robust least squares, every frame counting the same. Disparity
    is taken for the canonical focal length, so that the weights are right for other lenses too.

    Args:
        weights: of relative depth, as the engine takes them.
        frames: labelled.
        fitted: how many of them to fit on.
        out: the weights file to write.
        max_depth_m: farther depth is left out, and is +Inf in what the weights give.
        pixels: at most so many of each frame.
        device: of the engine.

    Raises:
        ConfigError: weights that have metres already, or of a system that takes no scale.
        InputError: no labelled frame, or predictions that do not follow the depth.
    """
    from depthclip_ros.core.weights.load import load_weights
    from depthclip_ros.core.weights.weights_file import save_weights

    loaded = load_weights(weights)
    if loaded.model.config.metric:
        raise ConfigError(f"{weights} gives metres already; correct them with scale.factor, or adapt it by training")
    if not hasattr(loaded.model.config, "disparity_scale"):
        raise ConfigError(f"{weights} is {loaded.info.system}, which takes no scale and shift")
    engine = DepthEngine.load(weights, device=device)
    found = [labelled_pixels(engine, frame, max_depth_m, pixels) for frame in frames]
    engine.close()
    kept = [(frame, one) for frame, one in zip(frames, found, strict=True) if len(one.depth_m) > 1]
    if not kept:
        raise InputError(f"no frame has depth up to {max_depth_m:g} m; one is needed")
    parts = parts_of(len(kept), fitted)
    fit = [one for (_, one), part in zip(kept, parts, strict=True) if part == FITTED]
    scale, shift = fit_disparity(fit)
    if scale <= 0:
        raise InputError(f"predicted disparity falls where depth gets smaller (scale {scale:.3g}); nothing was written")

    model = _metric(loaded.model, scale, shift, max_depth_m)
    model.select_trained(loaded.info.trained_groups)
    table, confidence_scale = _score(model, kept, parts, max_depth_m, device)
    model.confidence_scale.fill_(confidence_scale)
    training = {
        **loaded.info.training,
        "scale fitted on": f"{len(fit)} frames: {', '.join(one.path for one in fit)}",
        "scale fitted to": loaded.info.base_name or str(weights),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(out, model, training=training, metrics={"scale fit": table})
    return ScaleFit(scale, shift, table, sum(frame.assumed_intrinsics for frame, _ in kept))


def labelled_pixels(engine: DepthEngine, frame: Sample, max_depth_m: float, count: int) -> Pixels:
    """What the relative network says where a frame has depth up to `max_depth_m`."""
    relative, _ = predict(engine, frame, frame.depth_m.shape, flip=False)
    height_px, width_px = frame.image.shape[:2]
    focal_px = focal_at_network_px(frame.intrinsics, engine.network_size(width_px, height_px))
    places = draw(frame.valid & (frame.depth_m <= max_depth_m) & np.isfinite(relative), count)
    values = (array.reshape(-1)[places].astype(np.float64) for array in (relative, frame.depth_m))
    return Pixels(frame.path, *values, focal_px, places)


def fit_disparity(frames: Sequence[Pixels]) -> tuple[float, float]:
    """(scale, shift) of 1 / canonical depth over all frames; canonical depth is depth * 300 px / focal length."""
    target = np.concatenate([one.focal_px / (CANONICAL_FOCAL_PX * one.depth_m) for one in frames])
    weight = np.concatenate([np.full(len(one.depth_m), 1 / len(one.depth_m)) for one in frames])
    return robust_least_squares(np.concatenate([1 / one.relative for one in frames]), target, weight)


def _metric(relative: Any, scale: float, shift: float, max_depth_m: float) -> Any:
    """The same network with scale and shift in its configuration."""
    from depthclip_ros.core.model.registry import build_model

    config = dataclasses.replace(
        relative.config,
        metric=True,
        canonical_focal_px=CANONICAL_FOCAL_PX,
        disparity_scale=scale,
        disparity_shift=shift,
        max_depth_m=max_depth_m,
    )
    model = build_model(config, load_base=False)
    model.load_state_dict(relative.state_dict())
    model.base_name, model.sources = relative.base_name, relative.sources
    return model


def _score(
    model: Any, kept: Sequence[tuple[Sample, Pixels]], parts: Sequence[str], max_depth_m: float, device: str
) -> tuple[Table, float]:
    """The table, through the engine that ships, and the scale of the confidence on the frames that were fitted."""
    before, truth_m = float(model.confidence_scale), [one.depth_m for _, one in kept]
    engine = DepthEngine(copy.deepcopy(model), device=device)
    predicted, own, spread = [], [], []
    for frame, one in kept:
        depth_m, confidence = predict(engine, frame, frame.depth_m.shape, flip=False)
        predicted.append(clip_prediction(depth_m.reshape(-1)[one.places], max_depth_m))
        spread.append(spread_of(confidence.reshape(-1)[one.places], before))
        own.append(clip_prediction(align(one.relative, one.depth_m, SCALE_SHIFT).apply(one.relative), max_depth_m))
    engine.close()
    fit = [i for i, part in enumerate(parts) if part == FITTED]
    constant = float(np.median(np.concatenate([truth_m[i] for i in fit])))
    rows = {
        "one scale and shift for all": predicted,
        "each frame's own": own,
        f"constant {constant:.2f} m": [np.full_like(values, constant) for values in predicted],
    }
    scale = most_likely_scale(*([values[i] for i in fit] for values in (spread, predicted, truth_m)))
    return score_table(parts, truth_m, rows), scale


def _print(done: ScaleFit, out: Path) -> None:
    from rich.console import Console

    from depthclip_trainer.evaluation.tables import print_parts

    console = Console()
    print_parts(done.table, console)
    console.print(
        f"1 / depth = {done.scale:.5g} * disparity + {done.shift:.5g} at a focal length of {CANONICAL_FOCAL_PX:g} px; "
        f"{out} gives metres",
        highlight=False,
    )
    if done.assumed:
        console.print(
            f"the intrinsics of {done.assumed} frames are assumed: the scale holds for this camera, and for another "
            "only as far as the assumption does",
            style="yellow",
            highlight=False,
        )
