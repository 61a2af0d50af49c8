"""MobileNetV2 as the convolutional stem of the hybrid tower: a pretrained start for teachers.

The published 8-bit networks are de-quantised by the trainer (`depthclip-train convert-encoder`) into the safetensors
file that `load_encoder` reads.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip_ros.core.errors import WeightsError
from depthclip_ros.core.tensor_file import check_tensors, read_tensors, refuse_other_formats

LEVELS = ((16, 0, 2), (24, 2, 4), (32, 4, 7), (96, 7, 14), (320, 14, 18))
"""Channels at 1/2, 1/4, … 1/32, and the slice of MobileNetV2's blocks that makes each."""
IMAGE_MEAN = IMAGE_STD = (0.5, 0.5, 0.5)


class ScaledConv(nn.Module):
    """A convolution whose kernels carry a learned gain per output channel, with TensorFlow's "same" padding.

    A network with folded batch normalisation has kernels of very different size. Kept as direction times gain, every
    kernel moves at the same relative rate under Adam, and no batch statistics are needed.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> None:
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
        if self.stride == 2 and kernel == 3:  # TensorFlow pads even sides at the right and the bottom only
            x = F.pad(x, (x.shape[-1] % 2, 1, x.shape[-2] % 2, 1))
            padding = 0
        weight = self.weight * self.gain[:, None, None, None]
        return F.conv2d(x, weight.to(x.dtype), self.bias.to(x.dtype), self.stride, padding, 1, self.groups)


def mobilenet_blocks() -> nn.Sequential:
    """The 18 blocks of MobileNetV2 (torchvision's graph) down to 1/32, every convolution a `ScaledConv`."""
    from torchvision.models import MobileNetV2  # takes as long to import as torch, and only teachers need it

    blocks: nn.Sequential = MobileNetV2(norm_layer=nn.Identity).features[: LEVELS[-1][2]]
    for parent in list(blocks.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                kernel, stride = child.kernel_size[0], child.stride[0]
                scaled = ScaledConv(child.in_channels, child.out_channels, kernel, stride, child.groups)
                setattr(parent, name, scaled)
    return blocks


def load_encoder(stem: nn.Module, path: Path) -> None:
    """Fill a stem from a safetensors file of folded convolutions, `0.weight`, `0.bias`, `1.weight`, … in order.

    Raises:
        WeightsError: a file that is missing, of another format, or of another network.
    """
    if not path.is_file():
        raise WeightsError(f"base_weights is {path}, which is no file; make one with depthclip-train convert-encoder")
    refuse_other_formats(path)
    tensors = read_tensors(path)
    convolutions = [module for module in stem.modules() if isinstance(module, ScaledConv)]
    expected = {f"{i}.{part}": getattr(c, part) for i, c in enumerate(convolutions) for part in ("weight", "bias")}
    check_tensors(path, tensors, expected)
    for i, convolution in enumerate(convolutions):
        convolution.set_folded(tensors[f"{i}.weight"].float(), tensors[f"{i}.bias"].float())
