# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Small pretrained encoders as the convolutional stem of the hybrid tower: MobileNetV2 and EfficientNet-Lite.

All are a convolution and a row of inverted residuals down to 1/32 (MobileNetV2: arXiv 1801.04381, table 2;
EfficientNet-Lite: arXiv 1905.11946, table 1, without squeeze-and-excitation and with ReLU6). The trainer's
`convert-encoder` writes the safetensors file that `load_encoder` reads: plain convolutions in the network's order, with
batch normalisation folded into them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip_ros.core.model.towers.tower import read_base

STEM_CHANNELS = 32


@dataclass(frozen=True)
class MobileEncoder:
    """One network of the family.

    Attributes:
        rows: of the published table: expansion, channels, repeats, stride of the first, side of the depthwise kernel.
        image_mean, image_std: normalisation of RGB in 0..1 that it was trained with.
    """

    rows: tuple[tuple[int, int, int, int, int], ...]
    image_mean: float
    image_std: float

    @property
    def levels(self) -> tuple[tuple[int, int, int], ...]:
        """Channels at 1/2, 1/4, … 1/32, and the slice of `encoder_blocks` that makes each."""
        levels: list[tuple[int, int, int]] = []
        index = 1
        for _, channels, repeats, stride, _ in self.rows:
            if stride == 2 or not levels:
                levels.append((channels, index if levels else 0, index + repeats))
            else:
                levels[-1] = (channels, levels[-1][1], index + repeats)
            index += repeats
        return tuple(levels)

    @property
    def convolutions(self) -> int:
        """How many there are down to 1/32."""
        return 1 + sum((3 if expansion > 1 else 2) * repeats for expansion, _, repeats, _, _ in self.rows)


def _efficientnet_lite(width: float, depth: float) -> MobileEncoder:
    """Compound scaling: channels to the nearest 8, never 10 % less, repeats up; stem, first and last row stay."""
    rows = []
    for expansion, channels, repeats, stride, kernel in _LITE0_ROWS:
        scaled = max(8, int(channels * width + 4) // 8 * 8)
        scaled += 8 if scaled < 0.9 * channels * width else 0
        fixed = channels in (_LITE0_ROWS[0][1], _LITE0_ROWS[-1][1])
        rows.append((expansion, scaled, repeats if fixed else math.ceil(repeats * depth), stride, kernel))
    return MobileEncoder(tuple(rows), 127 / 255, 128 / 255)


_LITE0_ROWS = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)

ENCODERS = {
    "mobilenet-v2": MobileEncoder(
        (
            (1, 16, 1, 1, 3),
            (6, 24, 2, 2, 3),
            (6, 32, 3, 2, 3),
            (6, 64, 4, 2, 3),
            (6, 96, 3, 1, 3),
            (6, 160, 3, 2, 3),
            (6, 320, 1, 1, 3),
        ),
        0.5,
        0.5,
    ),
    "efficientnet-lite0": _efficientnet_lite(1.0, 1.0),
    "efficientnet-lite1": _efficientnet_lite(1.0, 1.1),
    "efficientnet-lite2": _efficientnet_lite(1.1, 1.2),
}


class ScaledConv(nn.Module):
    """A convolution whose kernels carry a learned gain per output channel, with TensorFlow's "same" padding.

    A network with folded batch normalisation has kernels of very different size. Kept as direction times gain, every
    kernel moves at the same relative rate under Adam, and no batch statistics are needed.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, kernel, kernel))
        self.gain = nn.Parameter(torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.stride, self.groups = stride, groups
        nn.init.kaiming_normal_(self.weight, mode="fan_in", nonlinearity="relu")

    def set_folded(self, weight: Tensor, bias: Tensor) -> None:
        """Take over a plain convolution; directions get the norm that `kaiming_normal_` gives in the mean."""
        norm = weight.flatten(1).norm(dim=1).clamp_min(1e-6) / 2**0.5
        with torch.no_grad():
            self.weight.copy_(weight / norm[:, None, None, None])
            self.gain.copy_(norm)
            self.bias.copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] to [B, outputs, ceil(h / stride), ceil(w / stride)]."""
        kernel = self.weight.shape[-1]
        padding = kernel // 2
        if self.stride == 2:  # TensorFlow pads even sides less at the left and the top
            x = F.pad(x, (*_same_padding(x.shape[-1], kernel), *_same_padding(x.shape[-2], kernel)))
            padding = 0
        weight = self.weight * self.gain[:, None, None, None]
        return F.conv2d(x, weight.to(x.dtype), self.bias.to(x.dtype), self.stride, padding, 1, self.groups)


def _same_padding(side: int, kernel: int) -> tuple[int, int]:
    total = kernel - 2 + side % 2
    return total // 2, total - total // 2


class InvertedResidual(nn.Module):
    """1x1 convolution to `expansion` times the channels, depthwise convolution, 1x1 convolution back; ReLU6 between."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers.append(nn.Sequential(ScaledConv(inputs, hidden, 1), nn.ReLU6()))
        layers.append(nn.Sequential(ScaledConv(hidden, hidden, kernel, stride, groups=hidden), nn.ReLU6()))
        self.conv = nn.Sequential(*layers, ScaledConv(hidden, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] to [B, outputs, ceil(h / stride), ceil(w / stride)]."""
        found: Tensor = self.conv(x)
        return x + found if self.residual else found


def encoder_blocks(encoder: MobileEncoder) -> nn.Sequential:
    """The encoder down to 1/32, every convolution a `ScaledConv`; `MobileEncoder.levels` says where a level ends."""
    blocks: list[nn.Module] = [nn.Sequential(ScaledConv(3, STEM_CHANNELS, 3, stride=2), nn.ReLU6())]
    inputs = STEM_CHANNELS
    for expansion, channels, repeats, stride, kernel in encoder.rows:
        for index in range(repeats):
            blocks.append(InvertedResidual(inputs, channels, expansion, stride if index == 0 else 1, kernel))
            inputs = channels
    return nn.Sequential(*blocks)


def load_encoder(stem: nn.Module, path: Path) -> None:
    """Fill a stem from a safetensors file of folded convolutions, `0.weight`, `0.bias`, `1.weight`, … in order.

    Raises:
        WeightsError: a file that is missing, of another format, or of another network.
    """
    convolutions = [module for module in stem.modules() if isinstance(module, ScaledConv)]
    expected = {f"{i}.{part}": getattr(c, part) for i, c in enumerate(convolutions) for part in ("weight", "bias")}
    tensors = read_base(path, expected)
    for i, convolution in enumerate(convolutions):
        convolution.set_folded(tensors[f"{i}.weight"], tensors[f"{i}.bias"])
