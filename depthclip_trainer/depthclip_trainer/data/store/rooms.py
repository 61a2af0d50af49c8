# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Rendered rooms: made at the start, made anew while training, or read from a cache on disk that was rendered once.

A cache is a folder of numbered shards of `SHARD` frames, three arrays each (`NNNNNN_image.npy` uint8 [n, 3, H, W],
`NNNNNN_depth.npy` float16 [n, H, W], `NNNNNN_intrinsics.npy` float32 [n, 4]), and a `meta.json`. Arrays are mapped,
not read, so a cache may be larger than the memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.files import replaced
from depthclip_ros.scene import SceneRanges, render_batch
from depthclip_trainer.data.sample import METRIC, MemoryPool, RawBatch, intrinsics_row
from depthclip_trainer.data.store.photographs import Photographs

SHARD = 128
RENDER_BATCH = 32
STREAM_BLOCK = 8
ROOMS_OF_A_SEED = 10_000_000


def render_frames(
    first_seed: int,
    count: int,
    width_px: int,
    height_px: int,
    preset: str,
    device: torch.device,
    photographs: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Frames of the rooms with seeds first_seed..first_seed+count, on `device`; see `scene.render_batch`.

    Returns:
        images uint8 [n, 3, H, W], depth float16 [n, H, W] in metres (0: none), intrinsics float32 [n, 4].
    """
    ranges = SceneRanges.preset(preset)
    images, depths, rows = [], [], []
    for start in range(first_seed, first_seed + count, RENDER_BATCH):
        seeds = range(start, min(start + RENDER_BATCH, first_seed + count))
        image, depth_m, cameras = render_batch(seeds, width_px, height_px, ranges, device, photographs=photographs)
        images.append(image.permute(0, 3, 1, 2).contiguous())
        depths.append(depth_m.half())
        rows.extend(intrinsics_row(camera) for camera in cameras)
    return torch.cat(images), torch.cat(depths), torch.tensor(rows, dtype=torch.float32, device=device)


def render_pool(
    name: str, count: int, width_px: int, height_px: int, seed: int, device: torch.device, preset: str = "mixed"
) -> MemoryPool:
    """`count` rooms in memory on `device`; the same for the same seed."""
    images, depth_m, intrinsics = render_frames(first_seed(seed), count, width_px, height_px, preset, device)
    sizes = torch.tensor([[width_px, height_px]], dtype=torch.float32, device=device).repeat(count, 1)
    paths = [f"{name}/{seed}:{i}" for i in range(count)]
    return MemoryPool(name, RawBatch(images, depth_m, intrinsics, sizes, paths))


def first_seed(seed: int) -> int:
    """Room seeds of different sets must not overlap: each set has ten million of its own."""
    return seed * ROOMS_OF_A_SEED


def render_cache(
    out: Path,
    count: int,
    seed: int,
    width_px: int,
    height_px: int,
    preset: str,
    device: torch.device,
    on_shard: Callable[[int, int], None] | None = None,
    photographs: Photographs | None = None,
) -> None:
    """Renders a cache, or goes on with one that was begun; a larger `count` adds shards.

    `photographs` are what a share of the surfaces shows; their name and licence are kept with the cache.

    Raises:
        ConfigError: the folder holds a cache made with other settings.
    """
    size = {"width_px": width_px, "height_px": height_px}
    settings: dict[str, Any] = {"seed": seed, **size, "preset": preset, "shard": SHARD}
    if photographs:
        settings["photographs"] = photographs.account
    out.mkdir(parents=True, exist_ok=True)
    meta_path = out / "meta.json"
    if meta_path.is_file():
        found = json.loads(meta_path.read_text())
        if found != settings:
            raise ConfigError(f"{out} holds rooms rendered with {found}, not {settings}; use another folder")
    else:
        meta_path.write_text(json.dumps(settings))
    bank = photographs.bank.to(device) if photographs else None
    shards = -(-count // SHARD)
    for shard in range(shards):
        # The intrinsics are written last: a shard that has them is whole.
        if not (out / f"{shard:06d}_intrinsics.npy").is_file():
            start = first_seed(seed) + shard * SHARD
            arrays = render_frames(start, SHARD, width_px, height_px, preset, device, bank)
            for kind, array in zip(("image", "depth", "intrinsics"), arrays, strict=True):
                with replaced(out / f"{shard:06d}_{kind}.npy") as file:
                    np.save(file, array.cpu().numpy())
        if on_shard:
            on_shard(shard + 1, shards)


class RoomStream:
    """A `FramePool` of rooms that are rendered while training: the newest `count` of an endless row.

    At step s it holds rooms number s * fresh .. s * fresh + count of its seed (in blocks of `STREAM_BLOCK`), so a
    training that was stopped goes on with the rooms that it would have had, and every process has the same.

    Args:
        name: of the source.
        count: rooms in memory, rounded up to whole blocks.
        fresh: rooms rendered anew per step, on average.
        width_px: of a room's picture.
        height_px: of a room's picture.
        seed: rooms of different seeds do not overlap.
        device: where rooms are rendered and kept.
        preset: of `SceneRanges`.
    """

    target = METRIC

    def __init__(
        self,
        name: str,
        count: int,
        fresh: float,
        width_px: int,
        height_px: int,
        seed: int,
        device: torch.device,
        preset: str = "mixed",
    ) -> None:
        self.name, self.fresh, self.seed, self.preset = name, fresh, seed, preset
        self._size_px = (width_px, height_px)
        self._held: list[int | None] = [None] * max(1, -(-count // STREAM_BLOCK))
        rows = len(self._held) * STREAM_BLOCK
        self._frames = RawBatch(
            torch.zeros(rows, 3, height_px, width_px, dtype=torch.uint8, device=device),
            torch.zeros(rows, height_px, width_px, dtype=torch.float16, device=device),
            torch.zeros(rows, 4, device=device),
            torch.tensor([[width_px, height_px]], dtype=torch.float32, device=device).repeat(rows, 1),
            [""] * rows,
        )
        self._pool = MemoryPool(name, self._frames)

    def __len__(self) -> int:
        return len(self._frames.paths)

    def advance(self, step: int) -> None:
        """Renders what the window of `step` has and this pool does not hold."""
        blocks = len(self._held)
        first = int(step * self.fresh) // STREAM_BLOCK
        for block in range(first, first + blocks):
            if self._held[block % blocks] != block:
                self._render(block)

    def _render(self, block: int) -> None:
        start = block * STREAM_BLOCK % ROOMS_OF_A_SEED
        arrays = render_frames(
            first_seed(self.seed) + start, STREAM_BLOCK, *self._size_px, self.preset, self._frames.images.device
        )
        row = block % len(self._held) * STREAM_BLOCK
        rows = slice(row, row + STREAM_BLOCK)
        self._frames.images[rows], self._frames.depth_m[rows], self._frames.intrinsics[rows] = arrays
        self._frames.paths[rows] = [f"{self.name}/{self.seed}:{start + i}" for i in range(STREAM_BLOCK)]
        self._held[block % len(self._held)] = block

    def gather(self, indices: torch.Tensor) -> RawBatch:
        """Frames at `indices` (int64 [N], cpu) of the window."""
        return self._pool.gather(indices)


class RoomCache:
    """A `FramePool` over a cache on disk; takes the shards that are whole when it is opened.

    Args:
        name: of the source.
        path: the cache's folder.
        count: frames to use; 0 for all.

    Raises:
        InputError: no cache there, or no whole shard yet.
    """

    target = METRIC

    def __init__(self, name: str, path: Path, count: int = 0) -> None:
        self.name = name
        whole = sorted(p.name.split("_")[0] for p in path.glob("*_intrinsics.npy") if not p.name.startswith("."))
        if not whole or not (path / "meta.json").is_file():
            raise InputError(
                f"{path} holds no rendered rooms with their meta.json; make some: "
                f"depthclip-train render-rooms --out {path}"
            )
        self._images = [np.load(path / f"{s}_image.npy", mmap_mode="r") for s in whole]
        self._depth = [np.load(path / f"{s}_depth.npy", mmap_mode="r") for s in whole]
        self._intrinsics: list[NDArray[np.float32]] = [np.load(path / f"{s}_intrinsics.npy") for s in whole]
        self._starts = np.cumsum([0, *(len(rows) for rows in self._intrinsics)])
        total = int(self._starts[-1])
        self._count = min(count, total) if count else total

    def __len__(self) -> int:
        return self._count

    def gather(self, indices: torch.Tensor) -> RawBatch:
        """Frames at `indices` (int64 [N]), on the CPU."""
        shards = np.searchsorted(self._starts, indices.numpy(), "right") - 1
        places = [(int(s), int(i - self._starts[s])) for s, i in zip(shards, indices.numpy(), strict=True)]
        images = np.stack([self._images[s][i] for s, i in places])
        height_px, width_px = images.shape[-2:]
        return RawBatch(
            torch.from_numpy(images),
            torch.from_numpy(np.stack([self._depth[s][i] for s, i in places])),
            torch.from_numpy(np.stack([self._intrinsics[s][i] for s, i in places])),
            torch.tensor([[width_px, height_px]], dtype=torch.float32).repeat(len(places), 1),
            [f"{self.name}/{i}" for i in indices.tolist()],
        )
