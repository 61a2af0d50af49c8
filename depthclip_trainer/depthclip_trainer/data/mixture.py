"""Batches from several sources: which frames step N holds is a function of the seed and N alone.

That makes resuming trivial (no sampler state), and lets several processes each make their slice of one global batch.
"""

from __future__ import annotations

from collections.abc import Sequence

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
from depthclip_trainer.data.sample import MAX_VALID_DEPTH_M, MIN_VALID_DEPTH_M, Batch, FramePool


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
    ) -> None:
        if not pools:
            raise ConfigError("no data source is configured; add one under data.sources")
        if min(shares) < 0 or sum(shares) <= 0:
            raise ConfigError(f"source weights are {list(shares)}; they must not be negative, and one must be above 0")
        self.pools = pools
        self.shares = torch.tensor(shares, dtype=torch.float64)
        self.global_batch = global_batch
        self.width_px, self.height_px = width_px, height_px
        self.augment = augment
        self.seed = seed

    def batch(self, step: int, first: int = 0, count: int | None = None) -> Batch:
        """Samples first..first+count of the global batch of `step`."""
        count = self.global_batch - first if count is None else count
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + step) % 2**63)
        source = torch.multinomial(self.shares, self.global_batch, replacement=True, generator=generator)
        place = torch.rand(self.global_batch, generator=generator, dtype=torch.float64)
        draws = torch.rand(self.global_batch, DRAWS, generator=generator)
        noise_seeds = torch.randint(2**62, (self.global_batch,), generator=generator)
        mine = slice(first, first + count)
        return assemble(
            self.pools,
            source[mine],
            place[mine],
            draws[mine],
            noise_seeds[mine].tolist(),
            (self.width_px, self.height_px),
            self.augment,
        )


def assemble(
    pools: Sequence[FramePool],
    source: torch.Tensor,
    place: torch.Tensor,
    draws: torch.Tensor,
    noise_seeds: list[int],
    size_px: tuple[int, int],
    augment: AugmentConfig,
) -> Batch:
    """One batch: sample i is frame floor(place[i] * n) of pool source[i], augmented by draws[i]."""
    width_px, height_px = size_px
    count = len(source)
    images, depth_m, rows, order, paths = [], [], [], [], [""] * count
    for s, pool in enumerate(pools):
        members = (source == s).nonzero().flatten()
        if not len(members):
            continue
        frames = pool.gather((place[members] * len(pool)).long().clamp_max(len(pool) - 1))
        device = frames.images.device
        affine = draw_affine(draws[members].to(device), frames.sizes, width_px, height_px, augment)
        image, depth = warp(frames, affine, width_px, height_px)
        images.append(image)
        depth_m.append(depth)
        rows.append(move_intrinsics(frames.intrinsics, affine))
        order.append(members)
        for member, path in zip(members.tolist(), frames.paths, strict=True):
            paths[member] = path
    back = torch.argsort(torch.cat(order))
    target = torch.cat([d.to(images[0].device) for d in depth_m])[back]
    valid = (target >= MIN_VALID_DEPTH_M) & (target <= MAX_VALID_DEPTH_M)
    batch_images = torch.cat([i.to(images[0].device) for i in images])[back]
    if augment is not NO_AUGMENT:
        batch_images = change_colours(batch_images, draws.to(batch_images.device), noise_seeds, augment)
    intrinsics = torch.cat([r.to(images[0].device) for r in rows])[back]
    return Batch(batch_images, target * valid, valid, intrinsics, paths)


def plain_batches(pool: FramePool, size: int, width_px: int, height_px: int) -> list[Batch]:
    """A whole pool in order, central crop, nothing random: for validation."""
    batches = []
    for start in range(0, len(pool), size):
        rows = torch.arange(start, min(start + size, len(pool)))
        zeros = torch.zeros(len(rows), dtype=torch.int64)
        place = (rows.double() + 0.5) / len(pool)
        draws = torch.full((len(rows), DRAWS), 0.5)
        batches.append(assemble([pool], zeros, place, draws, [0] * len(rows), (width_px, height_px), NO_AUGMENT))
    return batches
