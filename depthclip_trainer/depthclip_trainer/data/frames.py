# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a reader of recorded frames is: a set of named frames that are read one by one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import crop_intrinsics
from depthclip_trainer.data.sample import MAX_VALID_DEPTH_M, MIN_VALID_DEPTH_M, Sample

log = logging.getLogger(__name__)

PLAUSIBLE_MEDIAN_M = (0.05, 200.0)


class FrameSet(Protocol):
    """Frames of one source, opened and checked.

    A reader may also have `times_s`: the frames' stamps, in the order of `frame_names`; and `recorded_names()`: what
    the frames were called in the set that they were written from, in the same order.
    """

    @property
    def name(self) -> str:
        """Of the source, for tables and messages."""
        ...

    @property
    def licence(self) -> str:
        """As the source states it."""
        ...

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Names that `read` takes, in order."""
        ...

    def read(self, name: str) -> Sample:
        """One frame at its recorded size.

        Raises:
            InputError: the frame is broken; the next one may not be.
        """
        ...


def read_frames(
    frames: FrameSet, names: Sequence[str] | None = None, crop: Sequence[int] | None = None
) -> Iterator[Sample]:
    """Reads frames in turn (all, without `names`); broken ones are named, counted and skipped.

    Args:
        frames: the set.
        names: which, in which order.
        crop: left, top, width, height in pixels taken of each frame; None takes the whole.

    Raises:
        InputError: no frame has a valid pixel, or the median depth is nothing that a camera sees (a wrong unit).
    """
    skipped, medians = 0, []
    for name in frames.frame_names if names is None else names:
        try:
            sample = frames.read(name)
            sample = sample if crop is None else cropped(sample, crop)
        except InputError as error:
            skipped += 1
            log.warning("skipped: %s", error)
            continue
        readings = sample.depth_m[sample.valid]
        if readings.size:
            medians.append(float(np.median(readings)))
        yield sample
    if skipped:
        log.warning("%s: %d broken frames skipped", frames.name, skipped)
    if not medians:
        raise InputError(f"{frames.name} has no frame with a valid depth pixel; nothing to learn from")
    middle = float(np.median(medians))
    if not PLAUSIBLE_MEDIAN_M[0] <= middle <= PLAUSIBLE_MEDIAN_M[1]:
        raise InputError(
            f"{frames.name} has a median depth of {middle:.3g} m; check the unit of its depth "
            "(depth_units_per_metre: 1000 is millimetres, 5000 TUM, 256 KITTI)"
        )


def cropped(sample: Sample, crop: Sequence[int]) -> Sample:
    """A rectangle (left, top, width, height in pixels) of a frame, intrinsics with it.

    Raises:
        InputError: a rectangle that does not lie inside the frame.
    """
    left, top, width, height = crop
    intrinsics = crop_intrinsics(sample.intrinsics, left, top, width, height)
    rows, columns = slice(top, top + height), slice(left, left + width)
    image, depth_m, valid = (
        np.ascontiguousarray(a[rows, columns]) for a in (sample.image, sample.depth_m, sample.valid)
    )
    return Sample(image, depth_m, valid, intrinsics, sample.path, sample.assumed_intrinsics)


def trainable_range(sample: Sample, max_depth_m: float = MAX_VALID_DEPTH_M) -> Sample:
    """The same frame with readings outside 0.1..`max_depth_m` marked as none."""
    valid = sample.valid & (sample.depth_m >= MIN_VALID_DEPTH_M) & (sample.depth_m <= max_depth_m)
    depth_m = np.where(valid, sample.depth_m, np.float32(0))
    return Sample(sample.image, depth_m, valid, sample.intrinsics, sample.path, sample.assumed_intrinsics)
