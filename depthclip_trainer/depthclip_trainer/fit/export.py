# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""From a training checkpoint to a weights file: calibrate, write, prove that both say the same, score it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import ConfigError, WeightsError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.model.registry import build_model, config_from_dict
from depthclip_ros.core.uncertainty import Uncertainty
from depthclip_ros.core.weights.find import read_info
from depthclip_ros.core.weights.load import load_weights
from depthclip_ros.core.weights.weights_file import save_weights
from depthclip_trainer.config import TrainConfig
from depthclip_trainer.data.sample import samples_of
from depthclip_trainer.data.sources import OpenedSource, open_sources
from depthclip_trainer.evaluation.evaluate import evaluate
from depthclip_trainer.evaluation.intervals import calibrate, describe, pixels_of
from depthclip_trainer.fit.checkpoint import load_checkpoint
from depthclip_trainer.fit.validation import quick_validation
from depthclip_trainer.recipe import config_from_mapping

WEIGHTS_NAME = "weights.safetensors"

PARITY_LOG_ERROR = 0.02
"""Largest mean |ln a - ln b| between the checkpoint in float32 and the file in float16, on a fixed image."""


def finish(config: TrainConfig) -> Path:
    """Exports `best.ckpt` of a finished training and prints how it does on the validation sources, if it has any."""
    from depthclip_trainer.evaluation.protocols import protocol_named
    from depthclip_trainer.evaluation.tables import print_report, write_report

    out = Path(config.loop.out)
    path = export_checkpoint(out / "best.ckpt", out / WEIGHTS_NAME)
    if not config.data.validation:
        return path
    engine = DepthEngine.load(path)
    try:
        frames = [(source.name, sample) for source in validation_sources(config) for sample in samples_of(source.pool)]
        high_m = max(source.max_depth_m for source in config.data.validation.values())
        protocol = dataclasses.replace(protocol_named("frames"), high_m=high_m, note=f"no crop, cap {high_m:g} m")
        report = evaluate(engine, frames, protocol)
    finally:
        engine.close()
    report.options["data"] = "the validation sources"
    print_report(report)
    write_report(report, out / "evaluation")
    return path


def export_checkpoint(
    checkpoint: Path, out: Path, *, data_root: str = "", adapter_only: bool = False, dtype: str = "float16"
) -> Path:
    """Calibrates confidence and intervals on the checkpoint's validation data and writes its weights file.

    Raises:
        ConfigError: `out` is the base that adapter-only weights would name.
        WeightsError: no checkpoint, one without a base where only what sits on it is wanted, or a file that does not
            say what the model says.
    """
    model, config, progress = model_of_checkpoint(checkpoint)
    if adapter_only and not has_base(model, config):
        raise WeightsError(
            f"{checkpoint} names no base that could be left out of its weights file (it began with random weights, or "
            "was made by 0.1.0); export it whole, without --adapter-only"
        )
    if adapter_only and config.model.init:
        spare_base(out, config.model.init)
        base = load_weights(config.model.init).model
        model.base_name, model.sources = base.base_name, base.sources
    if data_root:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, root=data_root))
    size_px = (config.data.width_px, config.data.height_px)
    sets = {source.name: source.pool for source in validation_sources(config)}
    held_out = [(name, sample) for name, pool in sets.items() for sample in samples_of(pool)]
    uncertainty = None
    if held_out and model.config.metric:
        uncertainty, _ = calibrate(model, pixels_of(model, held_out), describe(held_out))
    table, _ = quick_validation(model, sets, torch.device("cpu"), pictures=0)
    training: dict[str, Any] = {
        "data": progress["data"],
        "preset": config.model.preset,
        "seed": config.loop.seed,
        "steps": progress["step"],
        "batch": config.loop.batch * config.loop.accumulate,
        "hours": round(progress["elapsed_s"] / 3600, 3),
        "size": f"{size_px[0]}x{size_px[1]}",
        "loss": config.loss,
    }
    if config.model.init:
        training["continues"] = earlier_training(config.model.init)
    taken = [*config.model.take_over, *([config.imitate.teacher] if config.imitate else [])]
    if taken:
        training["learned from"] = {Path(weights).name: earlier_training(weights) for weights in taken}
    metrics = {"validation": table}
    difference = export(model, out, training, metrics, uncertainty, adapter_only=adapter_only, dtype=dtype)
    size_mb = out.stat().st_size / 1e6
    print(f"{out}: {size_mb:.1f} MB, {dtype}, differs by {difference:.5f} in log depth from its checkpoint")
    return out


def earlier_training(weights: str) -> dict[str, Any]:
    """What the weights that a training began with had seen; their name alone where the file is gone."""
    try:
        return dict(read_info(weights).training)
    except WeightsError:
        return {"weights": weights}


def validation_sources(config: TrainConfig) -> list[OpenedSource]:
    """The validation sources: frames on the CPU, at their own size."""
    return open_sources(config.data, "validation", torch.device("cpu"))


def has_base(model: DepthModel, config: TrainConfig) -> bool:
    """Whether what a training did not change can be found again by a name, and so be left out of its weights file."""
    return bool(config.model.init or model.base_name)


def spare_base(out: Path, weights: str) -> None:
    """Makes sure that adapter-only weights at `out`, made from `weights`, leave the base whole that they will name.

    Raises:
        ConfigError: `out` is that base.
        WeightsError: a file that names itself.
    """
    seen: set[Path] = set()
    while Path(weights).is_file():
        info, place = read_info(weights), Path(weights).resolve()
        if place in seen:
            raise WeightsError(f"{weights} names itself as its base: what it was made from is lost")
        seen.add(place)
        if not info.adapter_only:
            spare(out, place)
            return
        weights = info.base_name or ""


def spare(out: Path, base: str | Path | None) -> None:
    """Makes sure that weights at `out` do not replace the base that they name.

    Raises:
        ConfigError: `out` is that base.
    """
    if base and out.is_file() and Path(base).is_file() and out.samefile(base):
        raise ConfigError(f"{out} is the base that the new weights would name and replace; name another --out")


def model_of_checkpoint(path: Path) -> tuple[DepthModel, TrainConfig, dict[str, Any]]:
    """The averaged weights of a checkpoint in a model in evaluation mode, its config, and its progress.

    Raises:
        WeightsError: the file is no checkpoint.
    """
    state = load_checkpoint(path)
    config = config_from_mapping(state["config"])
    model = build_model(config_from_dict(state["model_config"]), load_base=False)
    model.load_state_dict({**state["model"], **state["ema"]["average"]})
    model.base_name = state.get("base_name")
    if config.model.train:
        model.select_trained(config.model.train)
    return model.eval(), config, dict(state["progress"])


def export(
    model: DepthModel,
    path: Path,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    uncertainty: Uncertainty | None = None,
    *,
    adapter_only: bool = False,
    dtype: str = "float16",
) -> float:
    """Writes a weights file, reads it back, and compares the two on a fixed image; returns the mean log difference.

    The file appears under its name only after the proof.

    Raises:
        WeightsError: the file that was read back does not say what the model says.
        ConfigError: `path` is the base that the file would name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    proof = path.with_name(f".{path.stem}.proof.safetensors")
    try:
        save_weights(
            proof,
            model,
            training=training,
            metrics=metrics,
            adapter_only=adapter_only,
            dtype=dtype,  # type: ignore[arg-type]
            uncertainty=uncertainty,
        )
        read = load_weights(proof)
        if read.info.adapter_only:
            spare(path, read.info.base_name)
        difference = parity(model, read.model)
        if not difference <= PARITY_LOG_ERROR:
            raise WeightsError(
                f"{path} would differ from its checkpoint by {difference:.4f} in log depth; "
                f"at most {PARITY_LOG_ERROR} is allowed"
            )
        proof.replace(path)
    finally:
        proof.unlink(missing_ok=True)
    return difference


@torch.no_grad()
def parity(one: DepthModel, other: DepthModel) -> float:
    """Mean |ln a - ln b| of the depth of two models on a fixed image, on the CPU in float32."""
    width_px, height_px = one.network_size(640, 480)
    image = fixed_image(width_px, height_px)
    depths = []
    for model in (one, other):
        was_training = model.training
        depths.append(model.eval()(image.to(next(model.parameters()).device)).depth.cpu().clamp_min(1e-6).log())
        model.train(was_training)
    return float((depths[0] - depths[1]).abs().mean())


def fixed_image(width_px: int, height_px: int) -> Tensor:
    """A normalised test image [1, 3, h, w] that never changes: shapes, gradients and grain."""
    v, u = torch.meshgrid(torch.linspace(0, 1, height_px), torch.linspace(0, 1, width_px), indexing="ij")
    grain = torch.rand(height_px, width_px, generator=torch.Generator().manual_seed(7))
    box = ((u - 0.3).abs() < 0.12) & ((v - 0.6).abs() < 0.25)
    planes = torch.stack([u + 0.2 * grain, v + 0.1 * grain, (u * 9).sin() * (v * 7).cos()])
    return torch.where(box, 1 - planes, planes)[None] * 2 - 0.5
