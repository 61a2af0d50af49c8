"""Image towers: what the adapters sit in, and the small hybrid tower."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip_ros.core.model.contract import require
from depthclip_ros.core.model.convolutions import ConvNorm, ResidualBlock
from depthclip_ros.core.model.mobile_encoder import ENCODERS, encoder_blocks

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


class PositionGrid:
    """Position embeddings for any grid: bicubic from the learned one, exact at its own size; kept per size."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], Tensor] = {}

    def resize(self, learned: Tensor, rows: int, columns: int) -> Tensor:
        """[1, width, R, C] to [1, width, rows, columns]."""
        if learned.shape[-2:] == (rows, columns):
            return learned
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
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


class HybridTower(Tower):
    """A convolutional stem, one level per halving from 1/2 on, then transformer blocks at half the last level.

    Two coordinate channels beside RGB tell a plain stem where in the picture it is: height in the image says much about
    depth for a camera that stands upright. The image embedding is the mean token.

    Args:
        width, blocks, heads: of the transformer.
        stem_channels: at 1/2, 1/4, …; one convolution halves, then come as many residual blocks as `stem_blocks` says.
            Empty with a pretrained stem.
        stem_blocks: residual blocks of each level.
        position_grid: (rows, columns) of the learned position embeddings.
        encoder: of `mobile_encoder.ENCODERS`, the pretrained stem; None builds the plain one.
    """

    image_mean = IMAGENET_MEAN
    image_std = IMAGENET_STD

    def __init__(
        self,
        width: int,
        blocks: int,
        heads: int,
        stem_channels: Sequence[int],
        stem_blocks: Sequence[int],
        position_grid: Sequence[int],
        encoder: str | None = None,
    ) -> None:
        super().__init__()
        self.width = self.embedding_width = width
        self.blocks = blocks
        self.stem = nn.ModuleList()
        self.with_coordinates = encoder is None
        if encoder is None:
            self._build_plain_stem(stem_channels, stem_blocks)
        else:
            self._build_pretrained_stem(encoder)
        self.positions = nn.Parameter(torch.randn(1, width, *position_grid) * 0.02)
        self.transformer = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self._grid = PositionGrid()
        for module in self.transformer.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def _build_plain_stem(self, channels_of: Sequence[int], blocks_of: Sequence[int]) -> None:
        self.stride = 2 ** (len(channels_of) + 1)
        self.skips = tuple((channels, 2 << level) for level, channels in enumerate(channels_of))[::-1]
        inputs = 5
        for channels, repeats in zip(channels_of, blocks_of, strict=True):
            refine = [ResidualBlock(channels) for _ in range(repeats)]
            self.stem.append(nn.Sequential(ConvNorm(inputs, channels, stride=2), *refine))
            inputs = channels
        self.to_tokens: nn.Module = ConvNorm(inputs, self.width, stride=2, activate=False)

    def _build_pretrained_stem(self, name: str) -> None:
        encoder = ENCODERS[name]
        blocks = encoder_blocks(encoder)
        parts = [blocks[first:end] for _, first, end in encoder.levels]
        self.image_mean = (encoder.image_mean,) * 3
        self.image_std = (encoder.image_std,) * 3
        self.stride = 2 ** len(parts)
        self.skips = tuple((level[0], 2 << index) for index, level in enumerate(encoder.levels[:-1]))[::-1]
        self.stem.extend(parts[:-1])
        project = ConvNorm(encoder.levels[-1][0], self.width, kernel=1, activate=False)
        self.to_tokens = nn.Sequential(parts[-1], project)

    def forward(self, images: Tensor, adapters: Adapters, taps: Sequence[int]) -> TowerOutput:
        """See `Tower.forward`; the embedding is [B, width]."""
        levels, grid = self.look(images)
        rows, columns = grid.shape[-2:]
        grid = grid + self._grid.resize(self.positions, rows, columns).to(grid.dtype)
        tokens = grid.flatten(2).transpose(1, 2)  # [B, N, width]
        maps = []
        for index, block in enumerate(self.transformer):
            tokens = block(tokens)
            if index in adapters:
                tokens = adapters[index](tokens)
            if index in taps:
                tapped = self.norm(tokens) if index == self.blocks - 1 else tokens
                maps.append(tapped.transpose(1, 2).unflatten(-1, (rows, columns)))
        return TowerOutput(maps, levels[::-1], self.norm(tokens).mean(dim=1))

    def look(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """What the stem makes of images [B, 3, h, w]: its levels, fine to coarse, and the grid that becomes tokens."""
        levels = []
        x = torch.cat([images, _coordinates(images)], dim=1) if self.with_coordinates else images
        for level in self.stem:
            x = level(x)
            levels.append(x)
        return levels, self.to_tokens(x)

    def last_parameters(self, count: int) -> list[nn.Parameter]:
        """See `Tower.last_parameters`."""
        modules = [*self.transformer[self.blocks - min(count, self.blocks) :], self.norm] if count else []
        return [parameter for module in modules for parameter in module.parameters()]

    def frozen_parameters(self) -> list[nn.Parameter]:
        """A pretrained stem down to 1/4: general edges, which few frames can only spoil, and a quarter of a step."""
        return [] if self.with_coordinates else [p for level in self.stem[:2] for p in level.parameters()]


def _coordinates(images: Tensor) -> Tensor:
    """Pixel centres from -1 to 1, x then y: [B, 2, h, w]."""
    B, _, h, w = images.shape
    x = (torch.arange(w, device=images.device, dtype=images.dtype) + 0.5) * (2 / w) - 1
    y = (torch.arange(h, device=images.device, dtype=images.dtype) + 0.5) * (2 / h) - 1
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)]).expand(B, 2, h, w)
