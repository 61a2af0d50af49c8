# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Optimiser groups, the learning-rate schedule and the moving average of the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.contract import DepthModel

SCHEDULES = ("cosine", "linear")


@dataclass(frozen=True)
class OptimConfig:
    """AdamW, warm-up and decay.

    Attributes:
        rates: learning rate of each of the model's parameter groups by name.
        weight_decay: of matrices and kernels; vectors (biases, norms) get none.
        beta1, beta2: AdamW's.
        schedule: how the rate falls after the warm-up: `cosine` or `linear`.
        warmup: share of the training in which the rate rises from 0.
        final: the last rate as a share of the first.
        clip_norm: largest gradient norm.
        ema_decay: of the moving average that is evaluated and exported.
    """

    rates: dict[str, float]
    weight_decay: float = 0.02
    beta1: float = 0.9
    beta2: float = 0.98
    schedule: str = "cosine"
    warmup: float = 0.03
    final: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.999

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ConfigError(f"optim.schedule is {self.schedule!r}; allowed: {', '.join(SCHEDULES)}")


def build_optimizer(model: DepthModel, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over the model's own parameter groups; what is in none of them stays frozen.

    Raises:
        ConfigError: a rate for a group that the model does not have, or a group without a rate.
    """
    groups = {name: [p for p in params if p.requires_grad] for name, params in model.parameter_groups().items()}
    groups = {name: params for name, params in groups.items() if params}
    if unknown := set(config.rates) - set(model.parameter_groups()):
        raise ConfigError(f"optim.rates has {sorted(unknown)[0]!r}; this model's groups are {', '.join(groups)}")
    if missing := set(groups) - set(config.rates):
        raise ConfigError(f"optim.rates has no rate for the group {sorted(missing)[0]!r}")
    rows = []
    for name, params in groups.items():
        for decay, members in (
            (config.weight_decay, [p for p in params if p.ndim > 1]),
            (0.0, [p for p in params if p.ndim <= 1]),
        ):
            if members:
                rate = config.rates[name]
                rows.append({"params": members, "lr": rate, "peak_lr": rate, "weight_decay": decay, "name": name})
    return torch.optim.AdamW(rows, betas=(config.beta1, config.beta2), fused=True)


def rate_factor(progress: float, warmup: float, final: float, schedule: str = "cosine") -> float:
    """Share of the peak rate at `progress` 0..1 of the training.

    Linear up, then down to `final` by half a cosine, or linear.
    """
    if progress < warmup:
        return progress / warmup
    along = min(1.0, (progress - warmup) / max(1e-9, 1 - warmup))
    left = 1 - along if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * along))
    return final + (1 - final) * left


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Every group's rate becomes `factor` of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


class Ema:
    """Moving average of what is trained: parameters that require a gradient, and the saved floating-point buffers.

    The decay rises with the number of updates, (1 + n) / (10 + n), so that the average is not held back by the
    initial weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._present = _followed(model)
        self.average = {name: value.detach().clone() for name, value in self._present.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the model's present values."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.average.values()), list(self._present.values()), 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the model's values and the average's; call it twice to have everything back."""
        for name, value in self._present.items():
            kept = value.detach().clone()
            value.copy_(self.average[name])
            self.average[name].copy_(kept)

    def state_dict(self) -> dict[str, Tensor | int | dict[str, Tensor]]:
        """What `load_state_dict` takes; tensors and numbers only."""
        return {"updates": self.updates, "average": self.average}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Continues an average that was saved."""
        self.updates = int(state["updates"])  # type: ignore[call-overload]
        saved: dict[str, Tensor] = state["average"]  # type: ignore[assignment]
        for name, value in self.average.items():
            value.copy_(saved[name])


def _followed(model: nn.Module) -> dict[str, Tensor]:
    saved = model.state_dict(keep_vars=True)  # without buffers that the model computes itself
    return {
        name: v
        for name, v in saved.items()
        if (v.requires_grad or not isinstance(v, nn.Parameter)) and v.is_floating_point()
    }
