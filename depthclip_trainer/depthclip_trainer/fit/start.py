# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What stands between a configuration and the first step: the network, the data, a checkpoint to go on from."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from lightning_fabric import Fabric

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.model.registry import build_model, config_from_dict, preset
from depthclip_ros.core.weights.load import load_weights
from depthclip_trainer.config import TrainConfig
from depthclip_trainer.data.mixture import Mixture
from depthclip_trainer.data.sample import FramePool, MemoryPool
from depthclip_trainer.data.sources import open_sources
from depthclip_trainer.fit.checkpoint import random_state, remove_partial, restore_random_state
from depthclip_trainer.fit.distributed import launch, leave_out_unreached, share_norms, with_precision
from depthclip_trainer.fit.optim import Ema, build_optimizer
from depthclip_trainer.fit.resume import resume
from depthclip_trainer.fit.training import Progress, Training, depends_on
from depthclip_trainer.losses.distillation import objective_of
from depthclip_trainer.losses.objective import Objective, left_out


def prepare(config: TrainConfig) -> Training:
    """Launches the processes, opens the data, builds the network and its optimiser, and goes on where it stopped.

    Raises:
        ConfigError, InputError, WeightsError: what was asked for cannot be trained.
    """
    loop = with_precision(config.loop)
    config = replace(config, loop=loop)
    if loop.threads:
        torch.set_num_threads(loop.threads)
    fabric = launch(loop)
    fabric.seed_everything(loop.seed, verbose=False)
    size_px = (config.data.width_px, config.data.height_px)
    sources = open_sources(config.data, "train", fabric.device)
    held_out = open_sources(config.data, "validation", fabric.device) if fabric.is_global_zero else []
    mixture = Mixture(
        [on_device(s.pool, fabric.device) for s in sources],
        [s.share for s in sources],
        loop.batch * loop.accumulate * fabric.world_size,
        *size_px,
        config.augment,
        loop.seed,
        strong=config.semi.augment if config.semi else None,
        mix=config.semi.cutmix if config.semi else 0.0,
        device=fabric.device,
        more_sizes_px=config.data.more_sizes_px,
        min_scales=[config.data.train[source.name].min_scale for source in sources],
    )
    model = start_model(config)
    if fabric.world_size > 1:
        share_norms(model, fabric.device)
    optimizer = build_optimizer(model, config.optim)
    model.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = objective_of(model, config.loss, config.semi, config.imitate)
    step_s, unreached = rehearse(fabric, model, objective, mixture, loop.batch, loop.accumulate)
    network, optimizer = fabric.setup(model, optimizer)
    training = Training(
        config,
        fabric,
        model,
        network,
        optimizer,
        Ema(model, config.optim.ema_decay),
        objective,
        mixture,
        {s.name: s.pool for s in held_out},
        [*sources, *held_out],
        Progress(data={s.name: f"{s.description}; {s.licence}" for s in sources}),
        step_s,
        unreached,
        depends_on(config, sources),
    )
    if loop.resume:
        resume(Path(loop.out) / "last.ckpt", training)
    if fabric.is_global_zero:
        remove_partial(Path(loop.out))
    return training


def on_device(pool: FramePool, device: torch.device) -> FramePool:
    """The pool with its frames in the GPU's memory, where they take at most `RESIDENT_SHARE` of what is free there.

    Gathered on the CPU, a batch's frames are copied twice and the copy to the GPU is waited for.
    """
    if device.type != "cuda" or not isinstance(pool, MemoryPool):
        return pool
    size_bytes = sum(part.nbytes for part in vars(pool.frames).values() if isinstance(part, torch.Tensor))
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return pool.to(device) if size_bytes <= RESIDENT_SHARE * free_bytes else pool


RESIDENT_SHARE = 0.1


def start_model(config: TrainConfig) -> DepthModel:
    """The network at its first step: a preset's own start, or a weights file, which brings its own architecture.

    Raises:
        ConfigError: overrides that change the tensors of a weights file, a group that the model does not have, a file
            to take over from that has nothing for this model.
    """
    model = _built_model(config)
    for path in config.model.take_over:
        take_over(model, path)
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


def take_over(model: DepthModel, weights: str) -> None:
    """Copies what a weights file and the model have in common, by name and shape.

    Raises:
        ConfigError: nothing.
    """
    state = model.state_dict()
    other = load_weights(weights).model.state_dict()
    common = {name: t for name, t in other.items() if name in state and t.shape == state[name].shape}
    if not common:
        raise ConfigError(f"model.take_over: {weights} has no tensor of a name and shape that this model has")
    model.load_state_dict({**state, **common})


def rehearse(
    fabric: Fabric, model: DepthModel, objective: Objective, mixture: Mixture, batch_size: int, accumulate: int
) -> tuple[float, list[str]]:
    """Two passes that leave nothing behind: how long a step takes (s), and which parameters no loss reaches.

    A batch that does not fit the memory fails here, before anything is written.
    """
    kept, random = {name: buffer.clone() for name, buffer in model.named_buffers()}, random_state()
    was_training = model.training
    model.train()
    begun = time.monotonic()
    for _ in range(2):
        begun = time.monotonic()
        batch = mixture.batch(0, fabric.global_rank * batch_size, batch_size).to(fabric.device)
        with fabric.autocast():
            loss, _ = objective(model, model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        float(loss.detach())  # a GPU has only now done it
    step_s = (time.monotonic() - begun) * accumulate
    unreached = leave_out_unreached(fabric, model)
    model.zero_grad(set_to_none=True)
    model.train(was_training)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(kept[name])
    restore_random_state(random)
    return step_s, unreached


def announcement(training: Training) -> list[str]:
    """What is about to be trained, on what, for how long: lines for people."""
    config, model, fabric = training.config, training.model, training.fabric
    loop, size_px = config.loop, (config.data.width_px, config.data.height_px)
    total = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    where = f"{fabric.device}" if fabric.world_size == 1 else f"{fabric.world_size} processes, {fabric.device.type}"
    named = config.model.init or config.model.preset
    lines = [f"{named}: {trained:,} of {total:,} parameters trained ({trained / total:.1%}), on {where}"]
    lines += [f"  {source.name}: {source.description} (share {source.share:g})" for source in training.sources]
    if training.unreached:
        names = training.unreached
        lines.append(f"  note: the loss does not depend on {len(names)} trained tensors, among them {names[0]}")
    if missing := left_out(model, config.loss):
        lines.append(f"  note: {model.config.system} has no head for the loss terms {', '.join(missing)}; left out")
    if (shown := model.network_size(*size_px)) != size_px:
        lines.append(f"  note: after training the engine shows this model {shown}; see input_pixels")
    lines.append(
        f"  batch {training.mixture.global_batch} at {size_px[0]}x{size_px[1]}"
        f" ({fabric.world_size} x {loop.batch} x {loop.accumulate}: processes, batch, accumulated), {loop.precision}"
    )
    left, step_s = loop.steps - training.progress.step, training.step_s
    minutes_left = loop.max_minutes - training.progress.elapsed_s / 60
    if loop.max_minutes and (not loop.steps or left * step_s / 60 > minutes_left):
        lines.append(f"  {minutes_left:.1f} minutes, about {max(0, minutes_left) * 60 / step_s:.0f} steps")
    else:
        lines.append(f"  {left} steps, about {max(0, left) * step_s / 60:.1f} minutes")
    if training.progress.step:
        lines.append(f"  goes on after step {training.progress.step} of {Path(loop.out) / 'last.ckpt'}")
    return lines
