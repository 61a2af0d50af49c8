# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Image towers: what the adapters sit in, and how each block's output passes through them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip_ros.core.errors import WeightsError
from depthclip_ros.core.model.model_config import require
from depthclip_ros.core.tensor_file import check_tensors, read_tensors, refuse_other_formats

Adapters = Mapping[int, nn.Module]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class TowerOutput:
    """What a tower sees in a batch.

    Attributes:
        taps: one map [B, width, h / stride, w / stride] per tapped block, shallow to deep; the deepest is normalised.
        skips: finer maps of the tower's own stem, [B, channels, h / s, w / s] as `Tower.skips` says.
        embedding: of the whole image, [B, embedding_width].
    """

    taps: list[Tensor]
    skips: list[Tensor]
    embedding: Tensor


class Tower(nn.Module, ABC):
    """A vision transformer walked block by block, so that adapters can sit on block outputs.

    Attributes:
        width, stride, blocks: channels of a token, pixels between tokens, number of transformer blocks.
        embedding_width: channels of the image embedding.
        skips: (channels, stride) of each finer map, coarse to fine.
        image_mean, image_std: normalisation that the tower expects.
    """

    width: int
    stride: int
    blocks: int
    embedding_width: int
    skips: tuple[tuple[int, int], ...] = ()
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]

    @abstractmethod
    def forward(self, images: Tensor, adapters: Adapters, taps: Sequence[int]) -> TowerOutput:
        """Walk images [B, 3, h, w]; `adapters` change the output of their block, `taps` names the blocks to return."""

    @abstractmethod
    def last_parameters(self, count: int) -> list[nn.Parameter]:
        """Parameters of the last `count` blocks and of the norm behind them."""

    def frozen_parameters(self) -> list[nn.Parameter]:
        """Parameters that are in no group and never trained."""
        return []

    def check_layers(self, name: str, layers: Sequence[int]) -> None:
        """Refuse block numbers that this tower does not have.

        Raises:
            ConfigError: a block number out of range.
        """
        require(all(0 <= layer < self.blocks for layer in layers), name, layers, f"0..{self.blocks - 1}")


def read_base(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The float32 tensors of a file that the trainer's `convert-encoder` wrote, compared with those expected.

    Raises:
        WeightsError: a file that is missing, of another format, or of another network.
    """
    if not path.is_file():
        raise WeightsError(f"base_weights is {path}, which is no file; make one with depthclip-train convert-encoder")
    refuse_other_formats(path)
    tensors = read_tensors(path)
    check_tensors(path, tensors, expected)
    return {name: tensor.float() for name, tensor in tensors.items()}


def walk_blocks(
    tokens: Tensor,
    blocks: Iterable[Callable[[Tensor], Tensor]],
    norm: nn.Module,
    adapters: Adapters,
    taps: Sequence[int],
    grid: tuple[int, int],
) -> tuple[Tensor, list[Tensor]]:
    """Walk tokens through a tower's blocks; what comes out at the end, and a map of each tapped block.

    An adapter changes the output of its block, class token and all. The map of the last block is normalised.

    Args:
        tokens: [B, n + rows * columns, width], n class tokens first.
        blocks: of the tower, in order.
        norm: behind the last block.
        adapters: by the block that they sit on.
        taps: blocks whose outputs are wanted.
        grid: (rows, columns).
    """
    rows, columns = grid
    steps = list(blocks)
    maps = []
    for index, block in enumerate(steps):
        tokens = block(tokens)
        if index in adapters:
            tokens = adapters[index](tokens)
        if index in taps:
            tapped = norm(tokens) if index == len(steps) - 1 else tokens
            maps.append(tapped[:, -rows * columns :].transpose(1, 2).unflatten(-1, (rows, columns)))
    return tokens, maps


class PositionGrid:
    """Position embeddings for any grid: bicubic from the learned one, exact at its own size; kept per size.

    What a CUDA graph reads must live as long as the graph, so that while one is recorded nothing kept is given out: the
    graph makes its own.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], Tensor] = {}

    def resize(self, learned: Tensor, rows: int, columns: int) -> Tensor:
        """[1, width, R, C] to [1, width, rows, columns]."""
        if learned.shape[-2:] == (rows, columns):
            return learned
        followed = torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None
        if torch.is_grad_enabled() or followed or (learned.is_cuda and torch.cuda.is_current_stream_capturing()):
            return self._interpolate(learned, rows, columns)
        version = 0 if learned.is_inference() else learned._version  # changes with every write in place
        key = (rows, columns, learned.data_ptr(), version, learned.dtype, learned.device)
        if key not in self._kept:
            if len(self._kept) >= 8:
                self._kept.clear()
            self._kept[key] = self._interpolate(learned, rows, columns)
        return self._kept[key]

    @staticmethod
    def _interpolate(learned: Tensor, rows: int, columns: int) -> Tensor:
        resized = F.interpolate(learned.float(), size=(rows, columns), mode="bicubic", align_corners=False)
        return resized.to(learned.dtype)


class Block(nn.Module):
    """Pre-norm transformer block: attention and a four times wider perceptron, each with its residual.

    With `layer_scale` each residual has a learned gain per channel (arXiv 2103.17239), which `fold` takes away again.
    """

    scale_attention: nn.Parameter | None
    scale_perceptron: nn.Parameter | None

    def __init__(self, width: int, heads: int, *, layer_scale: bool = False, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width, eps=norm_eps)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_perceptron = nn.LayerNorm(width, eps=norm_eps)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.scale_attention = nn.Parameter(torch.ones(width)) if layer_scale else None
        self.scale_perceptron = nn.Parameter(torch.ones(width)) if layer_scale else None

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N, width], shape kept."""
        tokens = tokens + _scaled(self.attend(self.norm_attention(tokens)), self.scale_attention)
        perceived: Tensor = self.perceptron(self.norm_perceptron(tokens))
        return tokens + _scaled(perceived, self.scale_perceptron)

    @torch.no_grad()
    def fold(self) -> None:
        """Multiply the gains into the layers before them; the output stays the same."""
        for scale, layer in ((self.scale_attention, self.out), (self.scale_perceptron, self.perceptron[2])):
            if scale is not None and isinstance(layer, nn.Linear):
                layer.weight.mul_(scale[:, None])
                layer.bias.mul_(scale)
        self.scale_attention = self.scale_perceptron = None

    def attend(self, tokens: Tensor) -> Tensor:
        """Attention over [B, N, width]."""
        qkv = self.qkv(tokens).unflatten(-1, (3, self.heads, -1))  # [B, N, 3, heads, d]
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # [B, heads, N, d] each
        if query.requires_grad and query.device.type == "cpu":
            # Written out: on a CPU the fused kernel's forward and backward take 2.5 times as long for 192 tokens.
            similarity = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)  # [B, heads, N, N]
            attended = similarity.softmax(dim=-1) @ value
        else:
            attended = F.scaled_dot_product_attention(query, key, value)
        mixed: Tensor = self.out(attended.transpose(1, 2).flatten(-2))
        return mixed


def _scaled(tokens: Tensor, scale: Tensor | None) -> Tensor:
    return tokens if scale is None else tokens * scale.to(tokens.dtype)
