# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A training as it stands between two steps: its parts, how far it is, and what a checkpoint keeps of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric

from depthclip_ros.core.errors import WeightsError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.weights.find import read_info
from depthclip_trainer.config import TrainConfig
from depthclip_trainer.data.mixture import Mixture
from depthclip_trainer.data.sample import Batch, FramePool
from depthclip_trainer.data.sources import OpenedSource
from depthclip_trainer.fit.checkpoint import random_state
from depthclip_trainer.fit.optim import Ema
from depthclip_trainer.losses.objective import Objective
from depthclip_trainer.recipe import as_mapping

DECIDING = ("model", "data", "augment", "loss", "semi", "imitate", "optim")
"""Sections that decide what a training learns; of `loop`, what may change from one start to the next."""

WEIGHTS_KEYS = ("model.init", "model.take_over", "imitate.teacher", "semi.align_to")


@dataclass
class Progress:
    """How far a training is; part of its checkpoint.

    `elapsed_s` is the time spent training, over all starts; `best` the lowest validation error so far.
    """

    step: int = 0
    elapsed_s: float = 0.0
    best: float = math.inf
    data: dict[str, str] = field(default_factory=dict)


@dataclass
class Training:
    """Everything that a step takes.

    Attributes:
        network: `model` as Fabric wrapped it; only training steps go through it.
        validation: frames of each held-out source at their own size, on the first process; the others have none.
        sources: what is trained and validated on.
        step_s: how long one step takes, about; measured before the first.
        unreached: trained parameters that the loss does not depend on.
        depends_on: see the function of that name.
    """

    config: TrainConfig
    fabric: Fabric
    model: DepthModel
    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema
    objective: Objective
    mixture: Mixture
    validation: dict[str, FramePool]
    sources: list[OpenedSource]
    progress: Progress
    step_s: float
    unreached: list[str]
    depends_on: dict[str, Any]

    def micro_batch(self, step: int, micro: int) -> Batch:
        """This process's part of a step's micro-batch; processes hold neighbouring parts of one joint batch."""
        size, fabric = self.config.loop.batch, self.fabric
        whole = share_done(self.config, step, self.progress.elapsed_s) >= 1 - self.config.loop.settle
        return self.mixture.batch(step, (micro * fabric.world_size + fabric.global_rank) * size, size, whole=whole)


def share_done(config: TrainConfig, step: int, elapsed_s: float) -> float:
    """0..1: of the steps or of the wall-clock budget, whichever is further."""
    by_steps = step / config.loop.steps if config.loop.steps else 0.0
    by_time = elapsed_s / (60 * config.loop.max_minutes) if config.loop.max_minutes else 0.0
    return min(1.0, max(by_steps, by_time))


def depends_on(config: TrainConfig, sources: Sequence[OpenedSource]) -> dict[str, Any]:
    """What the course of a training depends on, by dotted key: settings as they are, weights and data by hash.

    Files may lie elsewhere, or be made anew the same; a file of the same name with another content is another.

    Args:
        config: of the training.
        sources: those that are trained on, opened.
    """
    settings = as_mapping(config)
    found = dict(_flat({section: settings[section] for section in DECIDING}))
    for key, value in found.items():
        if key in WEIGHTS_KEYS and value:
            found[key] = [_hash(name) for name in value] if isinstance(value, list) else _hash(value)
    for source in sources:
        found[f"data.train.{source.name}.path"] = source.sha256
    for name in config.data.validation:
        found.pop(f"data.validation.{name}.path")  # only the first process opens them
    return {key: value for key, value in found.items() if key not in ("data.root", "data.never_train_on")}


def _flat(mapping: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _hash(weights: str) -> str:
    try:
        return read_info(weights).sha256
    except WeightsError:  # a folder of transformers, a hub id
        return weights


def training_state(training: Training) -> dict[str, Any]:
    """Everything that continuing takes; the frozen tower of a named base is in it too."""
    return {
        "config": as_mapping(training.config),
        "depends_on": training.depends_on,
        "model_config": asdict(training.model.config),
        "base_name": training.model.base_name,
        "model": training.model.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "ema": training.ema.state_dict(),
        "progress": dict(vars(training.progress)),
        "random": random_state(),
    }
