# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The bank of surface patterns: small periodic pictures of two mixing weights, made once from a fixed seed.

A texel holds (a, b): the surface's colour is colour 0 mixed with colour 1 by a, then with colour 2 by b. The same
pattern so serves any palette at any size. Every family has several variants.
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
    """All levels of one pattern [SIDE, SIDE, 2] in a row: uint8 [TEXELS, 2]."""
    levels = []
    for _ in range(LEVELS):
        levels.append(plane.reshape(-1, 2))
        half = len(plane) // 2
        plane = plane.reshape(half, 2, half, 2, 2).mean((1, 3))
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
    """Mixing weights (a, b) 0..1, each [N], by bilinear lookup in the two levels next to the footprint.

    Args:
        pattern: int32 [N], which pattern of the bank.
        u: float32 [N], in periods of the pattern; any value.
        v: float32 [N], likewise.
        footprint: float32 [N], width of the pixel on the surface, in periods.
    """
    device = str(u.device)
    fine = torch.log2((footprint * SIDE).clamp(1.0, 2.0 ** (LEVELS - 1.01)))
    level = fine.to(torch.int32)
    part = fine - level
    a0, b0 = _sample_level(pattern, u, v, level, device)
    a1, b1 = _sample_level(pattern, u, v, level + 1, device)
    return a0.lerp_(a1, part).mul_(1 / 255), b0.lerp_(b1, part).mul_(1 / 255)


def _sample_level(pattern: Tensor, u: Tensor, v: Tensor, level: Tensor, device: str) -> tuple[Tensor, Tensor]:
    side = torch.bitwise_right_shift(torch.full_like(level, SIDE), level)
    x, y = u * side - 0.5, v * side - 0.5
    x0, y0 = x.floor(), y.floor()
    fx, fy = x - x0, y - y0
    wrap = side - 1
    left, low = x0.to(torch.int32) & wrap, y0.to(torch.int32) & wrap
    right, high = (left + 1) & wrap, (low + 1) & wrap
    first = pattern * TEXELS + level_starts(device).index_select(0, level)
    low, high = low * side + first, high * side + first
    texels = bank(device)
    a00, b00 = _unpack(texels.index_select(0, low + left))
    a01, b01 = _unpack(texels.index_select(0, low + right))
    a10, b10 = _unpack(texels.index_select(0, high + left))
    a11, b11 = _unpack(texels.index_select(0, high + right))
    a = a00.lerp_(a01, fx).lerp_(a10.lerp_(a11, fx), fy)
    b = b00.lerp_(b01, fx).lerp_(b10.lerp_(b11, fx), fy)
    return a, b


def _unpack(word: Tensor) -> tuple[Tensor, Tensor]:
    wide = word.to(torch.int32)
    return (wide & 255).float(), ((wide >> 8) & 255).float()
