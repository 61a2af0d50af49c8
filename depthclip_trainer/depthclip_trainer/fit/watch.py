# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Losses and gradient norms, looked at several together: each look makes the processor wait for the GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor

from depthclip_ros.core.errors import DepthClipError

LOOK_EVERY = 10


class DivergedError(DepthClipError):
    """The loss is no longer a number; the last checkpoint is good."""


@dataclass(frozen=True)
class Outcome:
    """Of one optimiser step on one process.

    Attributes:
        losses: float32 [micro-batches], on the device.
        terms: of the last micro-batch, unweighted, on the device.
        norm: of the gradient before clipping, on the device; None where it was not measured.
        paths: names of the frames of each micro-batch.
    """

    losses: Tensor
    terms: dict[str, Tensor]
    norm: Tensor | None
    paths: Sequence[Sequence[str]]


class LossWatch:
    """Stops a training whose loss or gradient is not finite, before such weights are saved."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._every = LOOK_EVERY if fabric.device.type == "cuda" else 1
        self._waiting: list[tuple[int, Outcome]] = []
        self._total, self._count = 0.0, 0

    def add(self, step: int, outcome: Outcome) -> None:
        """Takes one step's outcome.

        Raises:
            DivergedError: as `look`.
        """
        self._waiting.append((step, outcome))
        if len(self._waiting) >= self._every:
            self.look()

    def look(self) -> None:
        """Looks at every step since the last look; every process must.

        Raises:
            DivergedError: a loss or a gradient is not finite; names the step and the frames of its batch.
        """
        if not self._waiting:
            return
        own = torch.stack([outcome.losses.float().mean() for _, outcome in self._waiting])
        norms = [outcome.norm for _, outcome in self._waiting]
        both = torch.stack([own, torch.stack([own.new_zeros(()) if n is None else n.float() for n in norms])])
        joint = self._fabric.all_reduce(both, reduce_op="mean")
        waiting, self._waiting = self._waiting, []
        alone = self._fabric.world_size == 1
        for (step, outcome), loss, norm in zip(waiting, *joint.tolist(), strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                what = f"a gradient is {norm}" if math.isfinite(loss) else f"the loss is {loss}"
                raise DivergedError(f"{what} at step {step}, in the batch of {_guilty(outcome, alone)}")
            self._total += loss
            self._count += 1

    def mean_loss(self) -> float:
        """Mean loss over all processes and the steps since it was last asked for."""
        self.look()
        mean = self._total / max(1, self._count)
        self._total, self._count = 0.0, 0
        return mean


def _guilty(outcome: Outcome, alone: bool) -> str:
    finite = torch.isfinite(outcome.losses).tolist()
    blamed = [paths for paths, good in zip(outcome.paths, finite, strict=True) if not good] or outcome.paths
    names = ", ".join(path for paths in blamed for path in paths)
    return names if alone or not all(finite) else f"{names}, or that of another process"
