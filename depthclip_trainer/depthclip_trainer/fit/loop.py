# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The training loop, top to bottom. `start.py` prepares it, `distributed.py` says what several processes share."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist

from depthclip_trainer.config import TrainConfig
from depthclip_trainer.data.prefetch import Prefetch
from depthclip_trainer.data.sample import Batch
from depthclip_trainer.evaluation.pictures import write_sheet
from depthclip_trainer.fit.checkpoint import save_checkpoint
from depthclip_trainer.fit.curve import write_curve
from depthclip_trainer.fit.distributed import largest
from depthclip_trainer.fit.optim import rate_factor, set_rates
from depthclip_trainer.fit.progress import TrainingLog
from depthclip_trainer.fit.start import announcement, prepare
from depthclip_trainer.fit.training import Training, share_done, training_state
from depthclip_trainer.fit.validation import quick_validation
from depthclip_trainer.fit.watch import LossWatch, Outcome


def train(config: TrainConfig) -> Path:
    """Trains until `loop.steps` or `loop.max_minutes`, and returns the folder with `best.ckpt` and `last.ckpt`.

    Raises:
        DivergedError: the loss is not finite.
        ConfigError, InputError, WeightsError: what was asked for cannot be trained, or saved.
    """
    training = prepare(config)
    loop, fabric, progress = config.loop, training.fabric, training.progress
    out = Path(loop.out)
    evaluate_every = loop.evaluate_every or (max(1, loop.steps // 10) if loop.steps else math.inf)
    evaluate_after_s = loop.max_minutes * 6 if not loop.steps and not loop.evaluate_every else math.inf
    watch = LossWatch(fabric)
    begun, evaluated_s = time.monotonic() - progress.elapsed_s, progress.elapsed_s

    def elapsed_s() -> float:
        now = time.monotonic() - begun
        return largest(fabric, now) if loop.max_minutes else now

    with (
        TrainingLog(out, loop.log_every, progress.step, quiet=not fabric.is_global_zero) as log,
        Prefetch(batches_from(training, progress.step), fabric.device, loop.prefetch) as batches,
    ):
        log.say("\n".join(announcement(training)))
        training.model.train()
        while (done := share_done(config, progress.step, progress.elapsed_s)) < 1:
            outcome = one_step(training, batches, done)
            watch.add(progress.step, outcome)
            progress.step += 1
            progress.elapsed_s = elapsed_s()
            log.count(training.mixture.global_batch)
            if progress.step % loop.log_every == 0:
                terms = {f"loss/{name}": float(value) for name, value in outcome.terms.items()}
                rate = rate_factor(done, config.optim.warmup, config.optim.final, config.optim.schedule)
                numbers = {"loss": watch.mean_loss(), **terms, "rate_factor": rate}
                log.step(
                    progress.step, share_done(config, progress.step, progress.elapsed_s), progress.elapsed_s, numbers
                )
            paused = time.monotonic()
            over = share_done(config, progress.step, progress.elapsed_s) >= 1
            if over or progress.step % evaluate_every == 0 or progress.elapsed_s - evaluated_s >= evaluate_after_s:
                watch.look()
                evaluate(training, log)
                evaluated_s = elapsed_s()
            elif progress.step % loop.checkpoint_every == 0:
                watch.look()
                if fabric.is_global_zero:
                    save_checkpoint(out / "last.ckpt", training_state(training))
            log.pause(time.monotonic() - paused)
    if fabric.is_global_zero:
        write_curve(out)
    if fabric.world_size > 1:
        fabric.barrier()
        dist.destroy_process_group()
    return out


def one_step(training: Training, batches: Iterator[Batch], done: float) -> Outcome:
    """One optimiser step at `done` (0..1) of the schedule, on the next micro-batches."""
    config, fabric = training.config, training.fabric
    network, optimizer, accumulate = training.network, training.optimizer, config.loop.accumulate
    set_rates(optimizer, rate_factor(done, config.optim.warmup, config.optim.final, config.optim.schedule))
    optimizer.zero_grad(set_to_none=True)
    losses, terms, paths = [], {}, []
    for micro in range(accumulate):
        batch = next(batches)
        with fabric.no_backward_sync(network, enabled=micro + 1 < accumulate):
            with fabric.autocast():  # networks that are compared with run in the step's precision too
                loss, terms = training.objective(network, training.model, batch)
            fabric.backward(loss / accumulate)
        losses.append(loss.detach())
        paths.append(batch.paths)
    norm = fabric.clip_gradients(network, optimizer, max_norm=config.optim.clip_norm, error_if_nonfinite=False)
    optimizer.step()
    training.ema.update()
    if config.loop.precision == "16-mixed":
        norm = None  # its scaler finds its range by overflowing, and leaves such steps out
    return Outcome(torch.stack(losses), terms, norm, paths)


def batches_from(training: Training, step: int) -> Iterator[Batch]:
    """The micro-batches of this process from `step` on, without end."""
    while True:
        for micro in range(training.config.loop.accumulate):
            yield training.micro_batch(step, micro)
        step += 1


def evaluate(training: Training, log: TrainingLog) -> None:
    """Scores the averaged weights, writes pictures, and keeps `last` and, where it is the best so far, `best`.

    The first process does it, past the wrapper that would wait for the others; they wait here.
    """
    fabric, progress, out = training.fabric, training.progress, Path(training.config.loop.out)
    if fabric.is_global_zero:
        training.ema.swap()
        table, rows = quick_validation(training.model, training.validation, fabric.device)
        training.ema.swap()
        for name, metrics in table.items():
            log.write(progress.step, {f"{name}/{key}": value for key, value in metrics.items()})
            brief = "  ".join(f"{key} {metrics[key]:.3f}" for key in ("delta1", "abs_rel", "rmse", "silog"))
            log.say(f"  step {progress.step}  {name}: {brief}")
        write_sheet(out / "pictures" / f"step_{progress.step:07d}.png", rows)
        score = sum(metrics[training.config.loop.best_by] for metrics in table.values()) / max(1, len(table))
        better = score < progress.best or not table  # with nothing to compare by, the newest
        progress.best = min(score, progress.best)
        state = training_state(training)
        # `best` first: a kill between the two must not leave a `last` that takes a lost score for the best so far.
        if better or not (out / "best.ckpt").is_file():
            save_checkpoint(out / "best.ckpt", state)
        save_checkpoint(out / "last.ckpt", state)
    fabric.barrier()
