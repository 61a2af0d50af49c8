# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Training on several processes: how many there are, and what they share beyond gradients.

A training on W processes with `loop.batch` B is the training of one process with batch W * B: losses are means over
images, gradients are averaged (DDP), and batch normalisation sees the joint batch (`share_norms`).
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from depthclip_ros.core.runtimes.devices import has_bf16_units
from depthclip_trainer.config import AUTO, LoopConfig


def with_precision(loop: LoopConfig) -> LoopConfig:
    """The same with the precision that auto stands for: where bfloat16 is emulated, it costs several times the time."""
    if loop.precision != AUTO:
        return loop
    on_gpu = loop.accelerator != "cpu" and torch.cuda.is_available()
    in_hardware = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else has_bf16_units()
    return replace(loop, precision="bf16-mixed" if in_hardware else "32-true")


def launch(loop: LoopConfig) -> Fabric:
    """Fabric as the config has it, or as torchrun has started us, which then counts devices and machines.

    Everything that a model keeps beside its parameters is the same on every process, so nothing is broadcast.
    """
    devices, nodes = loop.devices, loop.nodes
    if "TORCHELASTIC_RUN_ID" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # we say ourselves what runs where
    fabric = Fabric(
        accelerator=loop.accelerator,
        devices=devices,
        num_nodes=nodes,
        precision=loop.precision,  # type: ignore[arg-type]
        strategy=DDPStrategy(broadcast_buffers=False) if devices * nodes > 1 else "auto",
    )
    fabric.launch()
    return fabric


def largest(fabric: Fabric, number: float) -> float:
    """The largest of all processes' numbers, so that clocks that differ lead to one decision."""
    if fabric.world_size == 1:
        return number
    return float(fabric.all_reduce(torch.tensor(number, dtype=torch.float64, device=fabric.device), reduce_op="max"))


def leave_out_unreached(fabric: Fabric, model: nn.Module) -> list[str]:
    """Names of trained parameters that the backward pass just done did not reach on any process.

    DDP would wait for their gradients for ever; it is told not to.
    """
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    reached = torch.tensor([p.grad is not None for _, p in trained], dtype=torch.float32, device=fabric.device)
    if fabric.world_size > 1:
        dist.all_reduce(reached)
    names = [name for (name, _), count in zip(trained, reached.tolist(), strict=True) if not count]
    # The only way that torch has for it; FSDP and torchrec rest on it.
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)
    return names


def share_norms(model: nn.Module, device: torch.device) -> None:
    """Lets every batch normalisation that is trained take its statistics over the batches of all processes."""
    for parent in list(model.modules()):
        for name, norm in list(parent.named_children()):
            if type(norm) is not nn.BatchNorm2d or not any(p.requires_grad for p in norm.parameters()):
                continue
            if device.type == "cuda":
                setattr(parent, name, nn.SyncBatchNorm.convert_sync_batchnorm(norm))
            else:
                norm.__class__ = SharedBatchNorm  # the same parameters under the same names


class SharedBatchNorm(nn.BatchNorm2d):
    """`nn.SyncBatchNorm` for the CPU, where torch has none. Processes hold batches of equal size."""

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, h, w], normalised over B, h, w of all processes in training, by running statistics else."""
        if not self.training or self.running_mean is None or self.running_var is None or self.momentum is None:
            return super().forward(images)
        values = images.float()
        near = self.running_mean.clone()  # squares around it lose no digits, and it is the same everywhere
        own_mean = values.mean((0, 2, 3))
        own_square = values.var((0, 2, 3), unbiased=False) + (own_mean - near) ** 2
        mean, square = _MeanOfProcesses.apply(torch.stack([own_mean, own_square]))
        variance = square - (mean - near) ** 2
        with torch.no_grad():
            count = dist.get_world_size() * values.numel() / values.shape[1]
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return (values * scale[:, None, None] + shift[:, None, None]).to(images.dtype)


class _MeanOfProcesses(torch.autograd.Function):
    """Mean over processes; each process's loss pulls at every other's values, so gradients are averaged too."""

    @staticmethod
    def forward(context: object, values: Tensor) -> Tensor:
        return _averaged(values)

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return _averaged(gradient)


def _averaged(values: Tensor) -> Tensor:
    total = values.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total / dist.get_world_size()
