"""The training loop, top to bottom."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric

from depthclip_ros.core.errors import ConfigError, DepthClipError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.model.registry import build_model, config_from_dict, preset
from depthclip_ros.core.weights import load_weights
from depthclip_trainer.checkpoint import load_checkpoint, random_state, restore_random_state, save_checkpoint
from depthclip_trainer.config import TrainConfig, as_mapping, config_from_mapping
from depthclip_trainer.data.mixture import Mixture, plain_batches
from depthclip_trainer.data.sample import Batch
from depthclip_trainer.data.sources import open_source
from depthclip_trainer.optim import Ema, build_optimizer, rate_factor, set_rates
from depthclip_trainer.pictures import write_sheet
from depthclip_trainer.progress import TrainingLog
from depthclip_trainer.step import batch_loss, quick_validation


class DivergedError(DepthClipError):
    """The loss is no longer a number; the last checkpoint is good."""


@dataclass
class Progress:
    """How far a training is; part of its checkpoint.

    `elapsed_s` is the time spent training, over all starts; `best` the lowest validation AbsRel so far.
    """

    step: int = 0
    elapsed_s: float = 0.0
    best: float = math.inf
    data: dict[str, str] = field(default_factory=dict)


def train(config: TrainConfig) -> Path:
    """Trains until `loop.steps` or `loop.max_minutes`, and returns the folder with `best.ckpt` and `last.ckpt`.

    Raises:
        DivergedError: the loss is not finite.
        ConfigError, InputError, WeightsError: what was asked for cannot be trained.
    """
    loop, out = config.loop, Path(config.loop.out)
    if loop.threads:
        torch.set_num_threads(loop.threads)
    fabric = Fabric(accelerator=loop.accelerator, devices=loop.devices, num_nodes=loop.nodes, precision=loop.precision)  # type: ignore[arg-type]
    fabric.launch()
    fabric.seed_everything(loop.seed, verbose=False)
    model = start_model(config)
    optimizer = build_optimizer(model, config.optim)
    model.to(memory_format=torch.channels_last)
    network, optimizer = fabric.setup(model, optimizer)
    ema = Ema(model, config.optim.ema_decay)
    size_px = (config.data.width_px, config.data.height_px)
    sources = [open_source(n, s, config.data.root, size_px, fabric.device) for n, s in config.data.train.items()]
    held_out = [open_source(n, s, config.data.root, size_px, fabric.device) for n, s in config.data.validation.items()]
    validation: dict[str, list[Batch]] = {s.name: plain_batches(s.pool, loop.batch, *size_px) for s in held_out}
    per_process = loop.batch * loop.accumulate
    mixture = Mixture(
        [s.pool for s in sources],
        [s.share for s in sources],
        per_process * fabric.world_size,
        *size_px,
        config.augment,
        loop.seed,
        strong=config.semi.augment if config.semi else None,
        mix=config.semi.cutmix if config.semi else 0.0,
    )
    progress = Progress(data={s.name: f"{s.description}; {s.licence}" for s in sources})
    if loop.resume and (out / "last.ckpt").is_file():
        resume(out / "last.ckpt", config, model, optimizer, ema, progress)

    evaluate_every = loop.evaluate_every or (max(1, loop.steps // 10) if loop.steps else math.inf)
    evaluate_after_s = loop.max_minutes * 6 if not loop.steps and not loop.evaluate_every else math.inf
    begun, evaluated_s = time.monotonic() - progress.elapsed_s, progress.elapsed_s
    log = TrainingLog(out, loop.log_every, quiet=fabric.global_rank != 0)
    announce(log, config, model, [*sources, *held_out], fabric)
    model.train()
    with log:
        while (done := share_done(config, progress)) < 1:
            factor = rate_factor(done, config.optim.warmup, config.optim.final)
            set_rates(optimizer, factor)
            optimizer.zero_grad(set_to_none=True)
            total, terms = 0.0, {}
            for micro in range(loop.accumulate):
                first = fabric.global_rank * per_process + micro * loop.batch
                batch = mixture.batch(progress.step, first, loop.batch).to(fabric.device)
                with fabric.no_backward_sync(network, enabled=micro + 1 < loop.accumulate):
                    loss, terms = batch_loss(network, model, batch, config.loss, config.semi)
                    fabric.backward(loss / loop.accumulate)
                total += float(loss.detach()) / loop.accumulate
                if not math.isfinite(total):
                    names = ", ".join(batch.paths)
                    raise DivergedError(f"the loss is {total} at step {progress.step}, in the batch of {names}")
            norm = fabric.clip_gradients(network, optimizer, max_norm=config.optim.clip_norm, error_if_nonfinite=False)
            if norm is not None and not torch.isfinite(norm):
                raise DivergedError(f"a gradient is not finite at step {progress.step}: {', '.join(batch.paths)}")
            optimizer.step()
            ema.update(model)
            progress.step += 1
            progress.elapsed_s = time.monotonic() - begun

            numbers = {"loss": total, **{f"loss/{k}": float(v) for k, v in terms.items()}, "rate_factor": factor}
            log.step(progress.step, done, progress.elapsed_s, mixture.global_batch, numbers)
            paused = time.monotonic()
            over = share_done(config, progress) >= 1
            if over or progress.step % evaluate_every == 0 or progress.elapsed_s - evaluated_s >= evaluate_after_s:
                evaluate(log, config, network, model, ema, optimizer, validation, progress, out, fabric)
                evaluated_s = time.monotonic() - begun
            elif progress.step % loop.checkpoint_every == 0 and fabric.is_global_zero:
                save_checkpoint(out / "last.ckpt", training_state(config, model, optimizer, ema, progress))
            log.pause(time.monotonic() - paused)
    return out


def share_done(config: TrainConfig, progress: Progress) -> float:
    """0..1: of the steps or of the wall-clock budget, whichever is further."""
    by_steps = progress.step / config.loop.steps if config.loop.steps else 0.0
    by_time = progress.elapsed_s / (60 * config.loop.max_minutes) if config.loop.max_minutes else 0.0
    return min(1.0, max(by_steps, by_time))


def start_model(config: TrainConfig) -> DepthModel:
    """The network at its first step: a preset's own start, or a weights file, which brings its own architecture.

    Raises:
        ConfigError: overrides that change the tensors of a weights file, a group that the model does not have.
    """
    model = _built_model(config)
    if config.model.train:
        model.select_trained(config.model.train)
    return model


def _built_model(config: TrainConfig) -> DepthModel:
    if not config.model.init:
        return build_model(preset(config.model.preset, **config.model.overrides))
    found = load_weights(config.model.init).model
    if not config.model.overrides:
        return found
    model = build_model(config_from_dict({**asdict(found.config), **config.model.overrides}), load_base=False)
    try:
        model.load_state_dict(found.state_dict())
    except RuntimeError as error:
        raise ConfigError(f"model.overrides do not fit the weights {config.model.init}: {error}") from error
    return model


def announce(log: TrainingLog, config: TrainConfig, model: DepthModel, sources: list[Any], fabric: Fabric) -> None:
    """What is about to be trained, on what, for how long."""
    total = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    log.say(f"{config.model.preset}: {trained:,} of {total:,} parameters trained, on {fabric.device}")
    for source in sources:
        log.say(f"  {source.name}: {source.description} (share {source.share:g})")
    length = f"{config.loop.steps} steps" if config.loop.steps else "as many steps as fit"
    budget = f"{config.loop.max_minutes:g} minutes" if config.loop.max_minutes else "time left follows the first steps"
    size_px = (config.data.width_px, config.data.height_px)
    if model.network_size(*size_px) != size_px:
        log.say(f"  note: after training the engine shows this model {model.network_size(*size_px)}; see input_pixels")
    batch = config.loop.batch * config.loop.accumulate * fabric.world_size
    log.say(f"  {length}, {budget}; batch {batch} at {config.data.width_px}x{config.data.height_px}")


def evaluate(
    log: TrainingLog,
    config: TrainConfig,
    network: torch.nn.Module,
    model: DepthModel,
    ema: Ema,
    optimizer: torch.optim.Optimizer,
    validation: dict[str, list[Batch]],
    progress: Progress,
    out: Path,
    fabric: Fabric,
) -> None:
    """Scores the averaged weights, writes pictures, and keeps `last` and, where it is the best so far, `best`."""
    fabric.barrier()
    if fabric.is_global_zero:
        ema.swap(model)
        table, rows = quick_validation(network, model, validation)
        ema.swap(model)
        for name, metrics in table.items():
            log.write(progress.step, {f"{name}/{key}": value for key, value in metrics.items()})
            brief = "  ".join(f"{key} {metrics[key]:.3f}" for key in ("delta1", "abs_rel", "rmse", "silog"))
            log.say(f"  step {progress.step}  {name}: {brief}")
        write_sheet(out / "pictures" / f"step_{progress.step:07d}.png", rows)
        score = sum(metrics["abs_rel"] for metrics in table.values()) / max(1, len(table))
        better = score < progress.best
        progress.best = min(score, progress.best)
        state = training_state(config, model, optimizer, ema, progress)
        save_checkpoint(out / "last.ckpt", state)
        if better or not (out / "best.ckpt").is_file():
            save_checkpoint(out / "best.ckpt", state)
    fabric.barrier()


def training_state(
    config: TrainConfig, model: DepthModel, optimizer: torch.optim.Optimizer, ema: Ema, progress: Progress
) -> dict[str, Any]:
    """Everything that continuing takes; the frozen tower of a named base is in it too."""
    return {
        "config": as_mapping(config),
        "model_config": asdict(model.config),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "ema": ema.state_dict(),
        "progress": dict(vars(progress)),
        "random": random_state(),
    }


def resume(
    path: Path,
    config: TrainConfig,
    model: DepthModel,
    optimizer: torch.optim.Optimizer,
    ema: Ema,
    progress: Progress,
) -> None:
    """Continues where a checkpoint stopped.

    Raises:
        ConfigError: the checkpoint belongs to another configuration of model, data, loss or optimiser.
    """
    state = load_checkpoint(path)
    if (made := config_from_dict(state["model_config"])) != model.config:
        raise ConfigError(f"{path} holds another model ({made}); use another loop.out, or loop.resume false")
    now = as_mapping(config)
    was = as_mapping(config_from_mapping(state["config"]))  # with the defaults of keys that came later
    for section in ("model", "data", "augment", "loss", "semi", "optim"):
        if was[section] != now[section]:
            raise ConfigError(f"{path} was made with another {section!r}; use another loop.out, or loop.resume false")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    ema.load_state_dict(state["ema"])
    for name, value in state["progress"].items():
        setattr(progress, name, value)
    restore_random_state(state["random"])
