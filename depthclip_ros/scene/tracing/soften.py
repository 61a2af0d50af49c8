# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Pictures in tiles, and half-resolution light made soft and full size without crossing the edges of surfaces."""

from __future__ import annotations

import torch
from torch import Tensor

from depthclip_ros.scene.tracing.trace import TILE_PX


def tile(image: Tensor) -> Tensor:
    """[..., H, W] to [..., T, S] in square tiles; both sides are multiples of TILE_PX."""
    *lead, h, w = image.shape
    n = TILE_PX
    out = image.reshape(*lead, h // n, n, w // n, n).transpose(-3, -2)
    return out.reshape(*lead, (h // n) * (w // n), n * n)


def untile(tiles: Tensor, height: int, width: int, side: int = TILE_PX) -> Tensor:
    """[..., T, S] back to [..., H, W]."""
    lead = tiles.shape[:-2]
    out = tiles.reshape(*lead, height // side, width // side, side, side).transpose(-3, -2)
    return out.reshape(*lead, height, width)


def half_resolution(tiles: Tensor) -> Tensor:
    """Every second pixel of [..., T, 16 * 16] tiles: [..., T, 8 * 8]."""
    n = TILE_PX
    return tiles.reshape(*tiles.shape[:-1], n, n)[..., ::2, ::2].flatten(-2)


def smooth(image: Tensor, guide: Tensor) -> Tensor:
    """Mean over 4x4 blocks around each pixel [B, C, h, w], only over pixels of the same surface."""
    for axis in (2, 3):
        total = torch.zeros_like(image)
        weight = torch.zeros_like(guide, dtype=image.dtype)
        for shift, share in ((-2, 0.5), (-1, 1.0), (0, 1.0), (1, 1.0), (2, 0.5)):
            same = _shifted(guide, shift, axis - 1).eq(guide).to(image.dtype) * share
            total += _shifted(image, shift, axis) * same[:, None]
            weight += same
        image = total / weight[:, None]
    return image


def _shifted(image: Tensor, by: int, axis: int) -> Tensor:
    """The neighbour `by` pixels along an axis; the border repeats."""
    if by == 0:
        return image
    n = image.shape[axis]
    if by > 0:
        edge = image.narrow(axis, n - 1, 1)
        return torch.cat([image.narrow(axis, by, n - by)] + [edge] * by, axis)
    edge = image.narrow(axis, 0, 1)
    return torch.cat([edge] * -by + [image.narrow(axis, 0, n + by)], axis)


def enlarge(image: Tensor, guide: Tensor) -> Tensor:
    """Twice the size, [B, C, h, w] to [B, C, 2h, 2w], from the neighbours that lie on the same surface."""
    small = guide[:, ::2, ::2]
    b, c, h, w = image.shape
    out = torch.empty(b, c, 2 * h, 2 * w, device=image.device)
    for py in range(2):
        for px in range(2):
            mine = guide[:, py::2, px::2]
            total = torch.zeros_like(image)
            weight = torch.zeros_like(mine, dtype=image.dtype)
            for dy in range(py + 1):
                for dx in range(px + 1):
                    near = _shifted(_shifted(small, dy, 1), dx, 2)
                    same = near.eq(mine).to(image.dtype) + 1e-3
                    total += _shifted(_shifted(image, dy, 2), dx, 3) * same[:, None]
                    weight += same
            out[:, :, py::2, px::2] = total / weight[:, None]
    return out
