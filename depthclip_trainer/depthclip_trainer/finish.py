"""After the last step: calibrate, export, and score what was exported through the engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from depthclip_ros.core.errors import WeightsError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.core.weights import load_weights, read_info
from depthclip_trainer.config import TrainConfig
from depthclip_trainer.data.mixture import plain_batches
from depthclip_trainer.data.sample import FramePool, Sample
from depthclip_trainer.data.sources import OpenedSource, open_source
from depthclip_trainer.export import calibrate_confidence, export, model_of_checkpoint
from depthclip_trainer.step import quick_validation

WEIGHTS_NAME = "weights.safetensors"


def finish(config: TrainConfig) -> Path:
    """Exports `best.ckpt` of a finished training and prints how it does on the validation sources."""
    from depthclip_ros.core.engine import DepthEngine
    from depthclip_trainer.evaluate import evaluate
    from depthclip_trainer.protocols import protocol_named
    from depthclip_trainer.tables import print_report, write_report

    out = Path(config.loop.out)
    path = export_checkpoint(out / "best.ckpt", out / WEIGHTS_NAME)
    engine = DepthEngine.load(path)
    try:
        frames = [pair for source in validation_sources(config) for pair in pool_frames(source.pool)]
        high_m = max(source.max_depth_m for source in config.data.validation.values())
        protocol = dataclasses.replace(protocol_named("frames"), high_m=high_m, note=f"no crop, cap {high_m:g} m")
        report = evaluate(engine, frames, protocol)
    finally:
        engine.close()
    report.options["data"] = "the validation sources, at the size they are kept in memory"
    print_report(report)
    write_report(report, out / "evaluation")
    return path


def export_checkpoint(
    checkpoint: Path, out: Path, *, data_root: str = "", adapter_only: bool = False, dtype: str = "float16"
) -> Path:
    """Calibrates confidence on the checkpoint's validation data and writes its weights file.

    Raises:
        WeightsError: no checkpoint, or a file that does not say what the model says.
    """
    model, config, progress = model_of_checkpoint(checkpoint)
    if adapter_only and config.model.init:
        base = load_weights(config.model.init).model
        model.base_name, model.sources = base.base_name, base.sources
    if data_root:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, root=data_root))
    size_px = (config.data.width_px, config.data.height_px)
    sets = {s.name: plain_batches(s.pool, config.loop.batch, *size_px) for s in validation_sources(config)}
    scale = calibrate_confidence(model, sets)
    table, _ = quick_validation(model, model, sets, pictures=0)
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
    metrics = {"validation at network resolution": table, "confidence scale": scale}
    difference = export(model, out, training, metrics, adapter_only=adapter_only, dtype=dtype)
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
    """The validation sources on the CPU."""
    size_px = (config.data.width_px, config.data.height_px)
    device = torch.device("cpu")
    return [open_source(n, s, config.data.root, size_px, device) for n, s in config.data.validation.items()]


def pool_frames(pool: FramePool) -> Iterator[tuple[str, Sample]]:
    """Frames of a pool as readers give them, for the engine."""
    for i in range(len(pool)):
        raw = pool.gather(torch.tensor([i]))
        width_px, height_px = (int(n) for n in raw.sizes[0].tolist())
        image = raw.images[0, :, :height_px, :width_px].permute(1, 2, 0).contiguous().numpy()
        depth_m = raw.depth_m[0, :height_px, :width_px].float().numpy()
        fx, fy, cx, cy = raw.intrinsics[0].tolist()
        camera = Intrinsics(fx, fy, cx, cy, width_px, height_px)
        yield pool.name, Sample(image, depth_m, depth_m > 0, camera, raw.paths[0])
