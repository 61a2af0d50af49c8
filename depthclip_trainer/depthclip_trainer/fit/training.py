"""A training as it stands between two steps: its parts, how far it is, and what a checkpoint keeps of it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from lightning.fabric import Fabric

from depthclip_ros.core.model.contract import DepthModel
from depthclip_trainer.config import TrainConfig, as_mapping
from depthclip_trainer.data.mixture import Mixture
from depthclip_trainer.data.sample import Batch
from depthclip_trainer.data.sources import OpenedSource
from depthclip_trainer.fit.checkpoint import random_state
from depthclip_trainer.fit.optim import Ema
from depthclip_trainer.losses.objective import Objective


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
        validation: batches of each held-out source, on the first process; the others have none.
        sources: what is trained and validated on.
        step_s: how long one step takes, about; measured before the first.
        unreached: trained parameters that the loss does not depend on.
    """

    config: TrainConfig
    fabric: Fabric
    model: DepthModel
    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema
    objective: Objective
    mixture: Mixture
    validation: dict[str, list[Batch]]
    sources: list[OpenedSource]
    progress: Progress
    step_s: float
    unreached: list[str]

    def micro_batch(self, step: int, micro: int) -> Batch:
        """This process's part of a step's micro-batch; processes hold neighbouring parts of one joint batch."""
        size, fabric = self.config.loop.batch, self.fabric
        return self.mixture.batch(step, (micro * fabric.world_size + fabric.global_rank) * size, size)


def training_state(training: Training) -> dict[str, Any]:
    """Everything that continuing takes; the frozen tower of a named base is in it too."""
    return {
        "config": as_mapping(training.config),
        "model_config": asdict(training.model.config),
        "model": training.model.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "ema": training.ema.state_dict(),
        "progress": dict(vars(training.progress)),
        "random": random_state(),
    }
