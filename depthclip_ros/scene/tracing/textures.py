# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The bank of surface patterns: small periodic pictures of two mixing weights, made once from a fixed seed.

A texel holds (a, b): the surface's colour is colour 0 mixed with colour 1 by a, then with colour 2 by b. The same
pattern so serves any palette at any size. Every family has several variants.

Photographs lie in banks of their own, with three planes for their colour.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthclip_ros.scene.tracing.patterns import MAKERS, SIDE

LEVELS = 8
"""How many halvings of a pattern are kept; the last is 2 texels wide."""
_LEVEL_START = [sum((SIDE >> k) ** 2 for k in range(level)) for level in range(LEVELS + 1)]
TEXELS = _LEVEL_START[-1]


def _pyramid(plane: NDArray[np.float32]) -> NDArray[np.uint8]:
    """All levels of one picture [SIDE, SIDE, planes] in a row: uint8 [TEXELS, planes]."""
    levels = []
    for _ in range(LEVELS):
        planes = plane.shape[2]
        levels.append(plane.reshape(-1, planes))
        half = len(plane) // 2
        plane = plane.reshape(half, 2, half, 2, planes).mean((1, 3))
    return np.rint(np.concatenate(levels) * 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _bank_on_host() -> NDArray[np.uint8]:
    rows = []
    for f, (make, count) in enumerate(MAKERS.values()):
        for variant in range(count):
            a, b = make(np.random.default_rng((f, variant)))
            rows.append(_pyramid(np.clip(np.stack([a, b], 2), 0, 1).astype(np.float32)))
    return np.concatenate(rows)


@lru_cache(maxsize=4)
def bank(device: str) -> Tensor:
    """The patterns, int16 [patterns * TEXELS]: a in the low byte, b in the high one, so that one read fetches both."""
    both = _bank_on_host().astype(np.uint16)
    return torch.from_numpy((both[:, 0] | both[:, 1] << 8).view(np.int16)).to(device)


@lru_cache(maxsize=4)
def level_starts(device: str) -> Tensor:
    """First texel of each level inside a pattern, int32 [LEVELS]."""
    return torch.tensor(_LEVEL_START[:-1], dtype=torch.int32, device=device)


def sample(pattern: Tensor, u: Tensor, v: Tensor, footprint: Tensor) -> tuple[Tensor, Tensor]:
    """Mixing weights (a, b) 0..1 of patterns of the bank, each [N]; see `lookup`."""
    a, b = lookup(bank(str(u.device)), 2, pattern, u, v, footprint)
    return a, b


def photograph_bank(crops: NDArray[np.uint8]) -> Tensor:
    """Photographs as surfaces, int32 [n * TEXELS]: red, green and blue (sRGB) in the three low bytes.

    Args:
        crops: uint8 [n, SIDE / 2, SIDE / 2, 3] RGB; each is mirrored to both sides, so that it repeats without a seam.
    """
    whole = np.concatenate([crops, crops[:, ::-1]], 1)
    whole = np.concatenate([whole, whole[:, :, ::-1]], 2)
    rows = np.concatenate([_pyramid(picture.astype(np.float32) / 255) for picture in whole]).astype(np.int32)
    return torch.from_numpy(rows[:, 0] | rows[:, 1] << 8 | rows[:, 2] << 16)


def lookup(texels: Tensor, planes: int, picture: Tensor, u: Tensor, v: Tensor, footprint: Tensor) -> list[Tensor]:
    """Each plane 0..1, [N], by bilinear lookup in the two levels next to the footprint.

    Args:
        texels: integers [pictures * TEXELS] with a plane in each byte.
        planes: how many bytes count.
        picture: int32 [N], which one.
        u: float32 [N], in periods of the picture; any value.
        v: float32 [N], likewise.
        footprint: float32 [N], width of the pixel on the surface, in periods.
    """
    fine = torch.log2((footprint * SIDE).clamp(1.0, 2.0 ** (LEVELS - 1.01)))
    level = fine.to(torch.int32)
    part = fine - level
    low = _sample_level(texels, planes, picture, u, v, level)
    high = _sample_level(texels, planes, picture, u, v, level + 1)
    return [a.lerp_(b, part).mul_(1 / 255) for a, b in zip(low, high, strict=True)]


def _sample_level(texels: Tensor, planes: int, picture: Tensor, u: Tensor, v: Tensor, level: Tensor) -> list[Tensor]:
    side = torch.bitwise_right_shift(torch.full_like(level, SIDE), level)
    x, y = u * side - 0.5, v * side - 0.5
    x0, y0 = x.floor(), y.floor()
    fx, fy = x - x0, y - y0
    wrap = side - 1
    left, low = x0.to(torch.int32) & wrap, y0.to(torch.int32) & wrap
    right, high = (left + 1) & wrap, (low + 1) & wrap
    first = picture * TEXELS + level_starts(str(u.device)).index_select(0, level)
    low, high = low * side + first, high * side + first
    corners = [_unpack(texels.index_select(0, row + column), planes) for row in (low, high) for column in (left, right)]
    return [a00.lerp_(a01, fx).lerp_(a10.lerp_(a11, fx), fy) for a00, a01, a10, a11 in zip(*corners, strict=True)]


def _unpack(word: Tensor, planes: int) -> list[Tensor]:
    wide = word.to(torch.int32)
    return [((wide >> (8 * plane)) & 255).float() for plane in range(planes)]
