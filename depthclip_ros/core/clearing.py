"""Ray ends for maps that clear what a camera looks through: never beyond what is surely free."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.geometry import organised_cloud
from depthclip_ros.core.types import Intrinsics


def clearing_cloud(
    depth_m: NDArray[np.float32],
    half_width: NDArray[np.float32] | None,
    intrinsics: Intrinsics,
    *,
    stride: int,
    clear_range_m: float,
    unknown: NDArray[np.bool_] | None = None,
    out: NDArray[np.void] | None = None,
) -> NDArray[np.void]:
    """Organised cloud of the ends of rays, structured [ceil(H/stride), ceil(W/stride)], dtype CLOUD_XYZ.

    A ray ends at the near end of its depth's interval, d e^-h, and at `clear_range_m` where depth is +Inf. NaN (no
    depth) and -Inf (too near) are no rays: all of a point is NaN.

    Args:
        depth_m: float32 [H, W], metres along the optical axis.
        half_width: h, float32 [H, W] of ln depth (`ViewDepth.half_width`); None: rays end at the depth.
        intrinsics: of the depth at its full size, whatever the stride.
        stride: every stride-th pixel of both axes, from the top left one.
        clear_range_m: metres along the optical axis.
        unknown: bool [H, W], pixels that are no ray whatever their depth; None: none.
        out: see `geometry.organised_cloud`.

    Raises:
        InputError: sizes that differ, or an `out` that does not fit.
    """
    every = slice(None, None, stride)
    d = depth_m[every, every]
    beyond = np.isposinf(d)
    ends_m = d.copy()
    if half_width is not None:
        ends_m *= np.exp(-half_width[every, every])
    ends_m[beyond] = clear_range_m
    if unknown is not None:
        ends_m[unknown[every, every]] = np.nan
    return organised_cloud(ends_m, None, strided_intrinsics(intrinsics, stride), out=out)


def strided_intrinsics(intrinsics: Intrinsics, stride: int) -> Intrinsics:
    """Of the image of every stride-th pixel of both axes, from the top left one: no pixel is averaged."""
    return Intrinsics(
        intrinsics.fx_px / stride,
        intrinsics.fy_px / stride,
        intrinsics.cx_px / stride,
        intrinsics.cy_px / stride,
        -(-intrinsics.width_px // stride),
        -(-intrinsics.height_px // stride),
    )
