# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Convolution blocks that decoder and stem share: dense 3x3 with batch normalisation, which a CPU runs fastest."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from depthclip_ros.core.model.contract import full_precision


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, and ReLU unless `activate` is False. Keeps the size at stride 1."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, activate: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        self.activate = activate
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu" if activate else "linear")

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] to [B, outputs, h / stride, w / stride]."""
        x = self.norm(self.conv(x))
        return F.relu(x) if self.activate else x

    def fold(self) -> None:
        """Fold the normalisation into the convolution (evaluation mode only); the output stays the same."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class ResidualBlock(nn.Module):
    """ReLU(x + two 3x3 convolutions of x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = ConvNorm(channels, channels, activate=False)
        nn.init.constant_(cast(nn.BatchNorm2d, self.second.norm).weight, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, h, w], size kept."""
        return F.relu(x + self.second(self.first(x)))


class PreciseProjection(nn.Module):
    """A 1x1 convolution computed in float32 whatever the rest runs in.

    Log depth of 2 in bfloat16 has steps of 0.016, which is 1.6 % of the depth and shows as terraces in the cloud.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * 0.01)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] to float32 [B, outputs, h, w]."""
        with full_precision(x):
            return F.conv2d(x.float(), self.weight.float()[:, :, None, None], self.bias.float())


def fold_norms(model: nn.Module) -> None:
    """Fold every batch normalisation below a model in evaluation mode into its convolution."""
    for module in model.modules():
        if isinstance(module, ConvNorm):
            module.fold()
