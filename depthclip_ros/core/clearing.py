# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Ray ends for maps that clear what a camera looks through: never beyond what is surely free."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import CLOUD_XYZ, check_size, ray_axes
from depthclip_ros.core.types import Intrinsics


def ray_pixels(side_px: int, stride: int) -> NDArray[np.intp]:
    """Rows or columns of rays, about every stride-th and at most `stride` apart, int [ceil((side - 1) / stride) + 1].

    The first and the last are among them: what only the outermost pixels marked would never be cleared otherwise.
    """
    evenly = np.linspace(0, side_px - 1, -(-(side_px - 1) // stride) + 1, dtype=np.float64)
    pixels: NDArray[np.intp] = evenly.round().astype(np.intp)
    return pixels


def clearing_cloud(
    depth_m: NDArray[np.float32],
    half_width: NDArray[np.float32] | None,
    intrinsics: Intrinsics,
    *,
    stride: int,
    clear_range_m: float,
    share: float = 1.0,
    unknown: NDArray[np.bool_] | None = None,
    out: NDArray[np.void] | None = None,
) -> NDArray[np.void]:
    """Organised cloud of the ends of rays through the pixels of `ray_pixels`, structured [h, w], dtype CLOUD_XYZ.

    A ray ends at the near end of its depth's interval, d e^-(share h), and at `clear_range_m` where depth is +Inf. NaN
    (no depth), -Inf (too near) and depth that is not above 0 are no rays: x, y and z are NaN.

    Args:
        depth_m: float32 [H, W], metres along the optical axis.
        half_width: h, float32 [H, W] of ln depth (`ViewDepth.half_width`); None: rays end at the depth.
        intrinsics: of the depth.
        stride: at most so many pixels from ray to ray along both axes.
        clear_range_m: metres along the optical axis.
        share: of h by which a ray ends before the depth.
        unknown: bool [H, W], pixels that are no ray whatever their depth; None: none.
        out: an earlier result of the same size to be filled again.

    Raises:
        InputError: sizes that differ, or an `out` that does not fit.
    """
    check_size("depth", depth_m.shape, intrinsics)
    rows, columns = (ray_pixels(side, stride) for side in depth_m.shape)
    shape = rows.size, columns.size
    if out is None:
        out = np.empty(shape, CLOUD_XYZ)
    elif out.shape != shape or out.dtype != CLOUD_XYZ:
        raise InputError(f"cloud buffer is {out.dtype} {out.shape}; {CLOUD_XYZ} {shape} is needed")
    pixels = np.ix_(rows, columns)
    z = depth_m[pixels]
    beyond = np.isposinf(z)
    if half_width is not None:
        z *= np.exp(-share * half_width[pixels])
    z[beyond] = clear_range_m
    z[~((z > 0) & np.isfinite(z))] = np.nan
    if unknown is not None:
        z[unknown[pixels]] = np.nan
    across, down = ray_axes(intrinsics)
    out["x"], out["y"], out["z"] = z * across[columns], z * down[rows, None], z
    return out
