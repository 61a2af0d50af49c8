"""Frames that stay on disk: read when a batch takes them, for sets that are larger than the memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from depthclip_ros.core.errors import InputError
from depthclip_trainer.data.frames import FrameSet, cropped, read_frames, trainable_range
from depthclip_trainer.data.sample import MAX_VALID_DEPTH_M, METRIC, RawBatch, Sample, pool_from_samples

log = logging.getLogger(__name__)

LOOKED_AT = 12
"""Frames that are read when the pool is opened, spread over the set: unit and depth are checked on them."""

NEIGHBOURS = 8


class DiskPool:
    """A `FramePool` over a `FrameSet`; `gather` gives what a `MemoryPool` of the same frames would.

    A broken frame is named once and its place taken by the next whole one, so that the number of frames, and with it
    which frames a step holds, does not hang on when it was found.

    Args:
        name: of the source.
        frames: the set.
        names: which of its frames.
        crop: left, top, width, height in pixels taken of each frame; None takes the whole.
        longest_px: frames are shrunk to this.
        max_depth_m: farther readings are none.
        threads: that read and decode; 0 takes eight, or the processors where there are fewer.

    Raises:
        InputError: of the frames looked at none has a valid pixel, or their unit is wrong.
    """

    target = METRIC

    def __init__(
        self,
        name: str,
        frames: FrameSet,
        names: Sequence[str],
        crop: Sequence[int] | None,
        longest_px: int,
        max_depth_m: float = MAX_VALID_DEPTH_M,
        threads: int = 0,
    ) -> None:
        self.name, self.max_depth_m = name, max_depth_m
        self._frames, self._names, self._crop, self._longest_px = frames, list(names), crop, longest_px
        self._broken: set[int] = set()
        self._threads = ThreadPoolExecutor(threads or min(8, os.cpu_count() or 1), f"read-{name}")
        step = max(1, len(self._names) // LOOKED_AT)
        for _ in read_frames(frames, self._names[::step][:LOOKED_AT], crop):
            pass

    def __len__(self) -> int:
        return len(self._names)

    def gather(self, indices: torch.Tensor) -> RawBatch:
        """Frames at `indices` (int64 [N], cpu), on the CPU.

        Raises:
            InputError: a frame and those behind it are all broken.
        """
        samples = list(self._threads.map(self._read, indices.tolist()))
        return pool_from_samples(self.name, samples, self._longest_px).frames

    def _read(self, index: int) -> Sample:
        for place in range(index, index + NEIGHBOURS):
            i = place % len(self._names)
            if i in self._broken:
                continue
            try:
                sample = self._frames.read(self._names[i])
                sample = sample if self._crop is None else cropped(sample, self._crop)
            except InputError as error:
                self._broken.add(i)
                log.warning("replaced by the next frame: %s", error)
                continue
            return trainable_range(sample, self.max_depth_m)
        raise InputError(f"{self._frames.name} has {NEIGHBOURS} broken frames in a row at {self._names[index]}")
