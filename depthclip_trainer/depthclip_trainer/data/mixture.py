# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Batches from several sources: which frames step N holds is a function of the seed and N alone.

That makes resuming trivial (no sampler state), and lets several processes each make their slice of one global batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch

from depthclip_ros.core.errors import ConfigError
from depthclip_trainer.data.augment import (
    DRAWS,
    NO_AUGMENT,
    AugmentConfig,
    change_colours,
    draw_affine,
    move_intrinsics,
    warp,
)
from depthclip_trainer.data.cutmix import MIX_DRAWS, cutmix
from depthclip_trainer.data.sample import MAX_VALID_DEPTH_M, METRIC, MIN_VALID_DEPTH_M, TARGETS, Batch, FramePool


@runtime_checkable
class MovingPool(Protocol):
    """A pool whose frames change while training; what they are at a step depends on the step alone."""

    def advance(self, step: int) -> None:
        """Holds the frames of `step`, whatever it held before."""
        ...


class Mixture:
    """Draws augmented batches from weighted pools.

    Args:
        pools: the sources.
        shares: relative weight of each source in a batch; same length as `pools`.
        global_batch: samples of one optimiser step, over all processes and micro-batches.
        width_px: of the batch.
        height_px: of the batch.
        augment: strengths.
        seed: of everything drawn here.
        strong: strengths for pools whose depth a teacher gave; None takes `augment`.
        mix: probability that a picture of such a pool gets a rectangle of another.
        device: where frames are augmented; None leaves each pool's where it lies.
        more_sizes_px: widths and heights of batches beside that one; each step draws one of all.
        min_scales: of each pool's crops, 0 as the strengths say; empty for all.

    Raises:
        ConfigError: no pool, or weights that are negative or all zero.
    """

    def __init__(
        self,
        pools: Sequence[FramePool],
        shares: Sequence[float],
        global_batch: int,
        width_px: int,
        height_px: int,
        augment: AugmentConfig,
        seed: int,
        strong: AugmentConfig | None = None,
        mix: float = 0.0,
        device: torch.device | None = None,
        more_sizes_px: Sequence[Sequence[int]] = (),
        min_scales: Sequence[float] = (),
    ) -> None:
        if not pools:
            raise ConfigError("no data source is configured; add one under data.sources")
        if min(shares) < 0 or sum(shares) <= 0:
            raise ConfigError(f"source weights are {list(shares)}; they must not be negative, and one must be above 0")
        self.pools = pools
        self.shares = torch.tensor(shares, dtype=torch.float64)
        self.global_batch = global_batch
        self.sizes_px = [(width_px, height_px), *((width, height) for width, height in more_sizes_px)]
        self.augments = [augment if pool.target == METRIC else strong or augment for pool in pools]
        for index, min_scale in enumerate(min_scales):
            if min_scale:
                self.augments[index] = dataclasses.replace(self.augments[index], min_scale=min_scale)
        self.seed = seed
        self.mix = mix
        self.device = device

    def batch(self, step: int, first: int = 0, count: int | None = None, *, whole: bool = False) -> Batch:
        """Samples first..first+count of the global batch of `step`; `whole` shows every frame as the engine does."""
        count = self.global_batch - first if count is None else count
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + step) % 2**63)
        source = torch.multinomial(self.shares, self.global_batch, replacement=True, generator=generator)
        place = torch.rand(self.global_batch, generator=generator, dtype=torch.float64)
        draws = torch.rand(self.global_batch, DRAWS, generator=generator)
        noise_seeds = torch.randint(2**62, (self.global_batch,), generator=generator)
        mix_draws = torch.rand(self.global_batch, MIX_DRAWS, generator=generator)
        size = torch.randint(len(self.sizes_px), (), generator=generator)
        mine = slice(first, first + count)
        for pool in self.pools:
            if isinstance(pool, MovingPool):
                pool.advance(step)
        batch = assemble(
            self.pools,
            source[mine],
            place[mine],
            draws[mine],
            noise_seeds[mine].tolist(),
            self.sizes_px[int(size)],
            [dataclasses.replace(augment, whole=1.0) for augment in self.augments] if whole else self.augments,
            self.device,
        )
        return cutmix(batch, mix_draws[mine], self.mix)


def assemble(
    pools: Sequence[FramePool],
    source: torch.Tensor,
    place: torch.Tensor,
    draws: torch.Tensor,
    noise_seeds: list[int],
    size_px: tuple[int, int],
    augment: AugmentConfig | Sequence[AugmentConfig],
    device: torch.device | None = None,
) -> Batch:
    """One batch: sample i is frame floor(place[i] * n) of pool source[i], augmented by draws[i].

    `augment` is one for all pools or one for each. Frames go to `device` before they are augmented.
    """
    width_px, height_px = size_px
    count = len(source)
    augments = [augment] * len(pools) if isinstance(augment, AugmentConfig) else augment
    labelled = all(pool.target == METRIC for pool in pools)
    images, depth_m, valid, sure, rows, order, paths = [], [], [], [], [], [], [""] * count
    targets = torch.zeros(count, dtype=torch.int64)
    for s, pool in enumerate(pools):
        members = (source == s).nonzero().flatten()
        if not len(members):
            continue
        frames = pool.gather((place[members] * len(pool)).long().clamp_max(len(pool) - 1))
        frames = frames if device is None else frames.to(device)
        own_draws = draws[members]
        affine = draw_affine(own_draws.to(frames.sizes.device), frames.sizes, width_px, height_px, augments[s])
        image, depth, confidence = warp(frames, affine, width_px, height_px)
        if augments[s] is not NO_AUGMENT:
            image = change_colours(image, own_draws, [noise_seeds[i] for i in members.tolist()], augments[s])
        images.append(image)
        depth_m.append(depth)
        # A teacher's depth through an assumed lens has no range of its own.
        high_m = getattr(pool, "max_depth_m", MAX_VALID_DEPTH_M)
        in_range = (depth >= MIN_VALID_DEPTH_M) & (depth <= high_m) if pool.target == METRIC else depth > 0
        valid.append(in_range)
        targets[members] = TARGETS.index(pool.target)
        if not labelled:
            sure.append(torch.ones_like(depth) if confidence is None else confidence)
        rows.append(move_intrinsics(frames.intrinsics, affine))
        order.append(members)
        for member, path in zip(members.tolist(), frames.paths, strict=True):
            paths[member] = path
    back = torch.argsort(torch.cat(order))

    def joined(parts: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([part.to(parts[0].device) for part in parts])[back]

    usable = joined(valid)
    teacher = () if labelled else (joined(sure), targets)
    return Batch(joined(images), joined(depth_m) * usable, usable, joined(rows), paths, *teacher)
