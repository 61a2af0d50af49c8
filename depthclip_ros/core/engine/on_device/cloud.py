# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The organised point cloud made on the device that made the depth; `geometry.organised_cloud` makes it on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthclip_ros.core.geometry import cloud_dtype, ray_axes
from depthclip_ros.core.types import CloudRequest, Intrinsics


def device_cloud(
    depth_m: Tensor,
    image: Tensor,
    intrinsics: Intrinsics,
    request: CloudRequest,
    half_width: Tensor | None = None,
    flying: Tensor | None = None,
) -> Tensor:
    """Points float32 [ceil(H/stride), ceil(W/stride), 4 or 5]: the bytes of `geometry.organised_cloud`'s result.

    Args:
        depth_m: float32 [H, W].
        image: uint8 [H, W, 3] on the same device.
        intrinsics: of the full size.
        request: what the cloud is made of.
        half_width: float32 [H, W] of ln depth, for points with uncertainty; NaN without.
        flying: bool [H, W], pixels that become no point.
    """
    stride = request.stride
    z = depth_m[::stride, ::stride]
    limit_m = min(request.max_range_m, float(np.finfo(np.float32).max))
    z = torch.where((z > 0) & (z <= limit_m), z, torch.nan)
    if flying is not None:
        z = torch.where(flying[::stride, ::stride], torch.nan, z)
    across, down = (_on(axis, depth_m.device) for axis in ray_axes(intrinsics))
    points = torch.empty((*z.shape, 5 if request.uncertainty else 4), dtype=torch.float32, device=depth_m.device)
    torch.mul(z, across[::stride], out=points[..., 0])
    torch.mul(z, down[::stride, None], out=points[..., 1])
    points[..., 2] = z
    colour = points.view(torch.int32)[..., 3]
    if request.color:
        red, green, blue = image[::stride, ::stride].to(torch.int32).unbind(-1)
        colour.copy_(red << 16 | green << 8 | blue)
    else:
        colour.zero_()
    if request.uncertainty:
        d = depth_m[::stride, ::stride]
        larger = torch.nan if half_width is None else d * half_width[::stride, ::stride].expm1()
        points[..., 4] = torch.where(d.isfinite(), larger, torch.nan)
    return points


def as_structured(points: NDArray[np.float32], request: CloudRequest) -> NDArray[np.void]:
    """Points [h, w, 4 or 5] as the structured array [h, w] that `geometry.organised_cloud` gives; no copy."""
    return points.view(cloud_dtype(request.color, points.shape[-1] == 5))[..., 0]


def _on(axis: NDArray[np.float32], device: torch.device) -> Tensor:
    return torch.tensor(axis, device=device)
