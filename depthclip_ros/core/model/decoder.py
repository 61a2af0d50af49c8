# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Dense decoder: from the tower's grid up to half resolution, one stage per doubling."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from depthclip_ros.core.model.context import Modulation
from depthclip_ros.core.model.convolutions import ConvNorm, ResidualBlock


class Reassemble(nn.Module):
    """Tokens of one block as a finer map: each token is unfolded into factor x factor pixels."""

    def __init__(self, inputs: int, outputs: int, factor: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs)  # a tower's inner blocks have outlier channels
        self.project = nn.Conv2d(inputs, outputs, 1)
        self.unfold = nn.ConvTranspose2d(outputs, outputs, factor, factor) if factor > 1 else nn.Identity()

    def forward(self, tap: Tensor) -> Tensor:
        """[B, inputs, h, w] to [B, outputs, h * factor, w * factor]."""
        tap = self.project(self.norm(tap.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return self.unfold(tap)  # type: ignore[no-any-return]


class DetailStem(nn.Module):
    """The image's own edges at 1/4 and 1/2, for towers whose finest map is that of their patches."""

    skips = ((48, 4), (24, 2))

    def __init__(self) -> None:
        super().__init__()
        (quarter, _), (half, _) = self.skips
        self.to_half = ConvNorm(3, half, stride=2)
        self.to_quarter = ConvNorm(half, quarter, stride=2)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps of images [B, 3, h, w], coarse to fine as `skips` says."""
        half = self.to_half(images)
        return [self.to_quarter(half), half]


class Stage(nn.Module):
    """One resolution: what comes from below, plus a tap, plus a skip, modulated by the context, then convolved."""

    def __init__(
        self,
        channels: int,
        below: int | None,
        tap: tuple[int, int] | None,
        skip: int | None,
        context_width: int | None,
        residual: bool,
    ) -> None:
        super().__init__()
        self.below = nn.Conv2d(below, channels, 1) if below else None
        self.tap = Reassemble(tap[0], channels, tap[1]) if tap else None
        self.skip = ConvNorm(skip, channels, kernel=1, activate=False) if skip else None
        self.modulation = Modulation(context_width, channels) if context_width else None
        self.refine = ResidualBlock(channels) if residual else ConvNorm(channels, channels)

    def forward(self, below: Tensor | None, tap: Tensor | None, skip: Tensor | None, context: Tensor) -> Tensor:
        """Sum the inputs that this stage has, at its own resolution [B, channels, h, w]."""
        parts = []
        if self.below is not None and below is not None:
            parts.append(F.interpolate(self.below(below), scale_factor=2.0, mode="bilinear", align_corners=False))
        if self.tap is not None and tap is not None:
            parts.append(self.tap(tap))
        if self.skip is not None and skip is not None:
            parts.append(self.skip(skip))
        x = parts[0]
        for part in parts[1:]:
            x = x + part
        if self.modulation is not None:
            x = self.modulation(x, context)
        return self.refine(x)  # type: ignore[no-any-return]


class DenseDecoder(nn.Module):
    """Stages at stride, stride / 2, … of the tower; the deepest tap enters the coarsest stage, the next the next.

    Args:
        stride: of the taps.
        channels: one per stage, coarse to fine.
        taps: channels of each tap, shallow to deep; at most one per stage.
        skips: (channels, stride) of maps that enter the stage of their stride.
        context_width: of the context that modulates every stage; None for no modulation.
    """

    def __init__(
        self,
        stride: int,
        channels: Sequence[int],
        taps: Sequence[int],
        skips: Sequence[tuple[int, int]],
        context_width: int | None,
    ) -> None:
        super().__init__()
        self.strides = [stride >> index for index in range(len(channels))]
        self.channels = list(channels)
        self.skip_strides = [skip_stride for _, skip_stride in skips]
        skip_channels = {skip_stride: count for count, skip_stride in skips}
        deepest_first = list(reversed(taps))
        self.stages = nn.ModuleList()
        for index, (own, own_stride) in enumerate(zip(self.channels, self.strides, strict=True)):
            tap = (deepest_first[index], 1 << index) if index < len(deepest_first) else None
            below = self.channels[index - 1] if index else None
            stage = Stage(own, below, tap, skip_channels.get(own_stride), context_width, residual=own_stride > 2)
            self.stages.append(stage)

    def forward(self, taps: Sequence[Tensor], skips: Sequence[Tensor], context: Tensor) -> list[Tensor]:
        """One map per stage, coarse to fine, [B, channels, h / stride, w / stride] each."""
        by_stride = dict(zip(self.skip_strides, skips, strict=True))
        deepest_first = list(reversed(taps))
        x: Tensor | None = None
        maps = []
        for index, stage in enumerate(self.stages):
            tap = deepest_first[index] if index < len(deepest_first) else None
            x = stage(x, tap, by_stride.get(self.strides[index]), context)
            maps.append(x)
        return maps
