# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A scan as a level laser scanner would give it, from a depth image: the nearest obstacle of each bearing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.geometry import ray_axes
from depthclip_ros.core.types import Intrinsics

STRIDE = 2  # every second pixel of both axes is looked at
BEAM_PX = 4.0  # width of a beam in the middle of the image: two looked-at columns, so that none stays empty
NEAR_M = 0.5  # bearings from the frame's origin and from the camera differ; those of the image from here on are covered


@dataclass(frozen=True)
class ScanLimits:
    """What is an obstacle: a height between two, above the x-y plane of the scan's frame, and a range; all metres."""

    min_height_m: float
    max_height_m: float
    min_range_m: float
    max_range_m: float


@dataclass(frozen=True)
class LevelScan:
    """Ranges of beams that are `increment_rad` wide, the first one's middle at `first_rad` from x towards y.

    Attributes:
        ranges_m: float32 [N], in the x-y plane from the frame's origin. +Inf: the camera looks between the two heights
            through to the largest range. NaN: it does not, and what is seen there is no obstacle: unknown.
    """

    first_rad: float
    increment_rad: float
    ranges_m: NDArray[np.float32]


def level_scan(
    depth_m: NDArray[np.float32],
    intrinsics: Intrinsics,
    to_scan: NDArray[np.float64],
    limits: ScanLimits,
    certain: NDArray[np.bool_] | None = None,
    *,
    farthest_m: float = math.inf,
) -> LevelScan:
    """The nearest certain obstacle of each bearing.

    Args:
        depth_m: float32 [H, W], metres along the optical axis; +Inf is free up to `farthest_m`, NaN and -Inf unknown.
        intrinsics: of the depth.
        to_scan: 4x4, takes a point of the camera's optical frame to the scan's frame (x forward, z up).
        limits: see there.
        certain: bool [H, W]; other pixels are unknown. None: all are certain.
        farthest_m: along the optical axis; +Inf is free up to there and no farther.
    """
    every = slice(None, None, STRIDE)
    rotation, origin = to_scan[:3, :3].astype(np.float32), to_scan[:3, 3].astype(np.float32)
    across, down = (axis[every] for axis in ray_axes(intrinsics))
    ahead = [across * row[0] + (down * row[1] + row[2])[:, None] for row in rotation]  # per metre of depth, by axis
    z = np.where(depth_m[every, every] > 0, depth_m[every, every], np.nan)
    if certain is not None:
        z[~certain[every, every]] = np.nan

    first_rad, width_rad = _view(ahead, origin, rotation[:, 2], limits.max_range_m)
    increment_rad = BEAM_PX / intrinsics.fx_px
    beams = math.ceil(width_rad / increment_rad) + 1
    first_rad += (width_rad - (beams - 1) * increment_rad) / 2

    def beam(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.intp]:
        off_rad = np.arctan2(y, x) - (first_rad - increment_rad / 2)
        index: NDArray[np.float32] = np.floor(off_rad % (2 * math.pi) / increment_rad)
        return np.minimum(index, beams).astype(np.intp)  # behind the last one: into a beam that is cut off

    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        x, y, height = (at + z * axis for at, axis in zip(origin, ahead, strict=True))
        away = np.hypot(x, y)
        hit = (height >= limits.min_height_m) & (height <= limits.max_height_m)
        hit &= (away >= limits.min_range_m) & (away <= limits.max_range_m)
        # where a ray would be at the largest range, but for the way from the frame's origin to the camera
        z_out = limits.max_range_m / np.hypot(ahead[0], ahead[1])
        height_out = origin[2] + z_out * ahead[2]
        free = np.minimum(z, np.float32(farthest_m)) >= z_out
        free &= (height_out >= limits.min_height_m) & (height_out <= limits.max_height_m)
    nearest = np.full(beams + 1, np.nan, np.float32)
    nearest[beam(origin[0] + z_out[free] * ahead[0][free], origin[1] + z_out[free] * ahead[1][free])] = np.inf
    np.fmin.at(nearest, beam(x[hit], y[hit]), away[hit])
    return LevelScan(first_rad, increment_rad, nearest[:beams])


def _view(
    ahead: list[NDArray[np.float32]], origin: NDArray[np.float32], axis: NDArray[np.float32], max_range_m: float
) -> tuple[float, float]:
    """Smallest bearing and width in radians of what the image's border shows from `NEAR_M` on."""
    border = [np.concatenate([one[0], one[-1], one[:, 0], one[:, -1]]) for one in ahead[:2]]
    middle_rad = math.atan2(axis[1], axis[0])
    found = []
    for depth_m in (NEAR_M, 4 * NEAR_M, max_range_m):
        with np.errstate(over="ignore"):  # infinitely far has a bearing as well
            bearing = np.arctan2(origin[1] + depth_m * border[1], origin[0] + depth_m * border[0])
        found.append((bearing - middle_rad + math.pi) % (2 * math.pi) - math.pi)
    off_rad = np.concatenate(found)
    return middle_rad + float(off_rad.min()), float(off_rad.max() - off_rad.min())
