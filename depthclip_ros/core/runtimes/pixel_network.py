# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A depth system from the resized picture's bytes on: the form in which every runtime has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.runtimes.network_output import OUTPUTS, NetworkOutput


class PixelNetwork(nn.Module):
    """Normalisation and network in one, uint8 pixels in: a quarter of the bytes to hand over, and one convention.

    The outputs are a tuple in the order of `OUTPUTS`, which tracing and ONNX can express.

    Args:
        model: ready for inference.
        dtype: that the network computes in; its outputs are float32.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: DepthModel, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.model = model
        self.dtype = dtype
        mean, std = model.image_mean, model.image_std
        scale = torch.tensor([1 / (255 * s) for s in std]).view(3, 1, 1)
        shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]).view(3, 1, 1)
        where = next(iter(model.parameters())).device
        self.register_buffer("scale", scale.to(where), persistent=False)
        self.register_buffer("shift", shift.to(where), persistent=False)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return OUTPUTS if self.model.scene_labels else OUTPUTS[:2]

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Depth [B, h', w'], confidence [B, h', w'] and scene weights [B, S], float32, of pixels uint8 [B, h, w, 3]."""
        return self.read(*self.see(pixels))

    def see(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The part that may run in any precision: see `DepthModel.see`."""
        return self.model.see(self.normalise(pixels).to(self.dtype))

    def normalise(self, pixels: Tensor) -> Tensor:
        """(rgb - mean) / std, float32 [B, 3, h, w], channels last in memory."""
        return pixels.permute(0, 3, 1, 2).float() * self.scale + self.shift

    def read(self, *seen: Tensor) -> tuple[Tensor, ...]:
        """The part that needs float32."""
        prediction = self.model.read(*seen)
        found = (prediction.depth, prediction.confidence, prediction.scene_weights)
        return tuple(tensor.float() for tensor in found if tensor is not None)


class Part(nn.Module):
    """One method of a network, "see" or "read", as a module of its own."""

    def __init__(self, network: PixelNetwork, method: str) -> None:
        super().__init__()
        self.network = network
        self.method = method

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the method gives."""
        outputs: tuple[Tensor, ...] = getattr(self.network, self.method)(*inputs)
        return outputs


def call(network: PixelNetwork, pixels: NDArray[np.uint8]) -> NetworkOutput:
    """What a network says of pixels uint8 [B, h, w, 3] in the CPU's memory."""
    with torch.inference_mode():
        outputs = network(torch.from_numpy(pixels).to(network.scale.device))
        return NetworkOutput.of([output.cpu().numpy() for output in outputs])


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attention as the operations that it is made of: they can be exported and counted.

    `nn.MultiheadAttention` takes one operation of torch's own where nothing is trained.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
