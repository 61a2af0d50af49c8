# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Measured depth for images: .npy in metres, or 16-bit PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.commands.files.lens import Job, Lens
from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.images.compressed import decode_depth_values
from depthclip_ros.ros.measure.scores import require_same_view


def read_truths(
    jobs: Sequence[Job], lens: Lens, depth: Sequence[Path] | None, units_per_metre: float
) -> list[NDArray[np.float32] | None]:
    """Measured depth of each image, float32 [h, w] metres, 0 unknown; None where a folder has none.

    Where the lens takes distortion out of the images, it is taken out of their depth alike.

    Raises:
        InputError: other than one file an image, a file that does not read, or that cannot be of its image's view.
        ConfigError: units that cannot be.
    """
    if not 0 < units_per_metre < math.inf:
        raise ConfigError(f"--depth-units is {units_per_metre}; it must be finite and above 0")
    if not depth:
        return [None] * len(jobs)
    if len(depth) == 1 and depth[0].is_dir():
        there = {(file.stem, file.suffix.lower()): file for file in depth[0].iterdir()}
        files = [there.get((job.path.stem, ".npy")) or there.get((job.path.stem, ".png")) for job in jobs]
        if not any(files):
            raise InputError(f"--depth {depth[0]} holds no .npy or .png with the name of an image")
    elif len(depth) == len(jobs):
        files = list(depth)
    else:
        raise InputError(f"--depth names {len(depth)} files for {len(jobs)} images; give one each, or a folder")
    return [
        None if file is None else _of_view(job, lens, file, _read_depth(file, units_per_metre))
        for job, file in zip(jobs, files, strict=True)
    ]


def _of_view(job: Job, lens: Lens, path: Path, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    try:
        require_same_view(job.rgb.shape[:2], depth_m.shape)
        return lens.rectify_depth(depth_m)
    except InputError as error:
        raise InputError(f"depth {path} is not of {job.path}: {error}") from error


def _read_depth(path: Path, units_per_metre: float) -> NDArray[np.float32]:
    try:
        if path.suffix.lower() == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            values = decode_depth_values(path.read_bytes()) / units_per_metre
    except (OSError, ValueError, InputError) as error:
        raise InputError(f"depth {path} does not read: {error}") from error
    if values.ndim != 2:
        raise InputError(f"depth {path} has the shape {list(values.shape)}; it must be [H, W]")
    return np.where(np.isfinite(values) & (values > 0), values, 0).astype(np.float32)
