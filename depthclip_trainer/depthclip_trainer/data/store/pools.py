# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Frames that stay on disk: read when a batch takes them, for sets that are larger than the memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

from depthclip_ros.core.errors import InputError
from depthclip_trainer.data.frames import FrameSet, cropped, read_frames, trainable_range
from depthclip_trainer.data.sample import MAX_VALID_DEPTH_M, METRIC, RawBatch, Sample, pool_from_samples

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOKED_AT = 12
"""Frames that are read when the pool is opened, spread over the set: unit and depth are checked on them."""

NEIGHBOURS = 8


class DiskPool(Generic[T]):
    """A `FramePool` whose frames are read in threads as they are drawn; `gather` gives what a `MemoryPool` would.

    Args:
        name: of the source.
        count: frames.
        read: one frame by its number; is called from several threads.
        join: what was read, on one canvas.
        target: one of `TARGETS`.
        max_depth_m: farther readings are none.
        threads: that read and decode; 0 takes eight, or the processors where there are fewer.
    """

    def __init__(
        self,
        name: str,
        count: int,
        read: Callable[[int], T],
        join: Callable[[Sequence[T]], RawBatch],
        target: str = METRIC,
        max_depth_m: float = MAX_VALID_DEPTH_M,
        threads: int = 0,
    ) -> None:
        self.name, self.target, self.max_depth_m = name, target, max_depth_m
        self._count, self._read, self._join = count, read, join
        self._threads = ThreadPoolExecutor(threads or min(8, os.cpu_count() or 1), f"read-{name}")

    def __len__(self) -> int:
        return self._count

    def gather(self, indices: torch.Tensor) -> RawBatch:
        """Frames at `indices` (int64 [N], cpu), on the CPU.

        Raises:
            InputError: a frame that cannot be had.
        """
        return self._join(list(self._threads.map(self._read, indices.tolist())))


def frames_on_disk(
    name: str,
    frames: FrameSet,
    names: Sequence[str],
    crop: Sequence[int] | None,
    longest_px: int,
    max_depth_m: float = MAX_VALID_DEPTH_M,
) -> DiskPool[Sample]:
    """A pool over recorded frames.

    A broken frame is named once and its place taken by the next whole one, so that the number of frames, and with it
    which frames a step holds, does not hang on when it was found.

    Args:
        name: of the source.
        frames: the set.
        names: which of its frames.
        crop: left, top, width, height in pixels taken of each frame; None takes the whole.
        longest_px: frames are shrunk to this.
        max_depth_m: farther readings are none.

    Raises:
        InputError: of the frames looked at none has a valid pixel, or their unit is wrong.
    """
    broken: set[int] = set()
    step = max(1, len(names) // LOOKED_AT)
    for _ in read_frames(frames, names[::step][:LOOKED_AT], crop):
        pass

    def read(index: int) -> Sample:
        for place in range(index, index + NEIGHBOURS):
            i = place % len(names)
            if i in broken:
                continue
            try:
                sample = frames.read(names[i])
                sample = sample if crop is None else cropped(sample, crop)
            except InputError as error:
                broken.add(i)
                log.warning("replaced by the next frame: %s", error)
                continue
            return trainable_range(sample, max_depth_m)
        raise InputError(f"{frames.name} has {NEIGHBOURS} broken frames in a row at {names[index]}")

    def join(samples: Sequence[Sample]) -> RawBatch:
        return pool_from_samples(name, samples, longest_px).frames

    return DiskPool(name, len(names), read, join, max_depth_m=max_depth_m)
