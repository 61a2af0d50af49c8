# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The small hybrid tower: a convolutional stem, plain or pretrained, and a few transformer blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from depthclip_ros.core.model.convolutions import ConvNorm, ResidualBlock
from depthclip_ros.core.model.towers.mobile_encoder import ENCODERS, encoder_blocks
from depthclip_ros.core.model.towers.tower import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Adapters,
    Block,
    PositionGrid,
    Tower,
    TowerOutput,
    walk_blocks,
)


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
        tokens, maps = walk_blocks(tokens, self.transformer, self.norm, adapters, taps, (rows, columns))
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
