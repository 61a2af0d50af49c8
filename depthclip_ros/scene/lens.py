# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""From light to pixels: exposure, white balance, vignetting, blur, sensor noise, tone curve, JPEG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Look:
    """What one camera does to one picture.

    Attributes:
        exposure: factor on the exposure that makes the mean 0.2.
        white: gains of red, green, blue.
        vignette: loss of light in the corners, 0..1.
        blur_px: sigma of the lens.
        motion_px, motion_rad: length and direction of a shake.
        shot, read: noise that grows with light, and noise that does not.
        gamma: of the tone curve; 2.2 is neutral.
        contrast, saturation: around 1.
        jpeg: quality 1..100; 0 for none.
    """

    exposure: float = 1.0
    white: tuple[float, float, float] = (1.0, 1.0, 1.0)
    vignette: float = 0.0
    blur_px: float = 0.5
    motion_px: float = 0.0
    motion_rad: float = 0.0
    shot: float = 0.0
    read: float = 0.0
    gamma: float = 2.2
    contrast: float = 1.0
    saturation: float = 1.0
    jpeg: int = 0

    @classmethod
    def random(cls, rng: np.random.Generator, width_px: int) -> Look:
        """A camera by chance: most are decent, some are bad."""
        scale = width_px / 320
        noisy = rng.random() ** 2
        warm = rng.normal(0, 0.09)
        return cls(
            exposure=float(np.exp(rng.normal(0, 0.35))),
            white=(1 + warm, float(1 + rng.normal(0, 0.03)), 1 - warm),
            vignette=float(rng.uniform(0, 0.5)) * (rng.random() < 0.6),
            blur_px=float(rng.uniform(0.4, 0.75) + (rng.random() < 0.25) * rng.uniform(0, 1.2) * scale),
            motion_px=float(rng.uniform(1, 6) * scale) * (rng.random() < 0.15),
            motion_rad=float(rng.uniform(0, math.pi)),
            shot=0.03 * noisy,
            read=0.025 * noisy,
            gamma=float(rng.uniform(1.8, 2.6)),
            contrast=float(rng.uniform(0.8, 1.3)),
            saturation=float(rng.uniform(0.5, 1.35)),
            jpeg=int(rng.uniform(25, 96)) if rng.random() < 0.6 else 0,
        )


PLAIN = Look(blur_px=0.0)
"""Exposure and tone curve only."""


def develop(light: Tensor, look: Look, seed: int) -> Tensor:
    """One picture uint8 [H, W, 3] from linear light float32 [3, H, W]; `seed` is for the noise."""
    _, h, w = light.shape
    luma = light.mean(0)
    # as a camera meters: highlights count little
    metered = luma.clamp_max(4 * luma.mean()).mean().clamp_min(1e-5)
    image = light * (0.2 * look.exposure / metered)
    if look.vignette > 0:
        y = torch.linspace(-1, 1, h, device=light.device)[:, None]
        x = torch.linspace(-1, 1, w, device=light.device)[None]
        image = image * (1 - look.vignette * 0.5 * (x * x + y * y))
    if look.blur_px > 0:
        image = _gauss(image, look.blur_px)
    if look.motion_px > 1:
        image = _shake(image, look.motion_px, look.motion_rad)
    image = image * torch.tensor(look.white, device=light.device)[:, None, None]
    if look.shot > 0 or look.read > 0:
        generator = torch.Generator(light.device).manual_seed(seed % (1 << 63))
        noise = torch.randn(image.shape, generator=generator, device=light.device)
        image = image + noise * (look.shot * look.shot * image.clamp_min(0) + look.read * look.read).sqrt()
    # a shoulder instead of a hard clip, then the curve
    image = image.clamp_min(0)
    image = torch.where(image > 0.7, 0.7 + 0.3 * torch.tanh((image - 0.7) / 0.3 * 0.6), image)
    image = image.pow(1 / look.gamma)
    if look.contrast != 1:
        image = (image - 0.45) * look.contrast + 0.45
    if look.saturation != 1:
        grey = image.mean(0, keepdim=True)
        image = grey + (image - grey) * look.saturation
    image = image.clamp(0, 1) * 255
    if look.jpeg > 0:
        image = _jpeg(image, look.jpeg)
    return image.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous()


def _gauss(image: Tensor, sigma: float) -> Tensor:
    reach = max(1, math.ceil(2.5 * sigma))
    at = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weight = torch.exp(-0.5 * (at / sigma) ** 2)
    weight = weight / weight.sum()
    _, h, w = image.shape
    # a sum of shifted pictures: several times faster than a convolution of one channel on a CPU
    padded = F.pad(image[None], (reach, reach, reach, reach), mode="replicate")[0]
    taps = weight.tolist()
    rows = padded[:, :h] * taps[0]
    for k in range(1, len(taps)):
        rows.add_(padded[:, k : k + h], alpha=taps[k])
    out: Tensor = rows[:, :, :w] * taps[0]
    for k in range(1, len(taps)):
        out.add_(rows[:, :, k : k + w], alpha=taps[k])
    return out


def _shake(image: Tensor, length: float, angle: float) -> Tensor:
    steps = max(2, round(length))
    reach = math.ceil(length / 2)
    padded = F.pad(image[None], (reach, reach, reach, reach), mode="replicate")[0]
    _, h, w = image.shape
    total = torch.zeros_like(image)
    for k in range(steps):
        t = (k / (steps - 1) - 0.5) * length
        x, y = reach + round(t * math.cos(angle)), reach + round(t * math.sin(angle))
        total += padded[:, y : y + h, x : x + w]
    return total / steps


_LUMA = [
    [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99],
]  # fmt: skip
_CHROMA = [
    [17, 18, 24, 47, 99, 99, 99, 99], [18, 21, 26, 66, 99, 99, 99, 99], [24, 26, 56, 99, 99, 99, 99, 99],
    [47, 66, 99, 99, 99, 99, 99, 99], *[[99] * 8] * 4,
]  # fmt: skip


@lru_cache(maxsize=4)
def _cosines(device: str) -> Tensor:
    k = torch.arange(8, dtype=torch.float64)
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis.float().to(device)


@lru_cache(maxsize=4)
def _steps(device: str) -> Tensor:
    return torch.tensor([_LUMA, _CHROMA], dtype=torch.float32, device=device)


def _quantise(plane: Tensor, table: Tensor, device: str) -> Tensor:
    """JPEG's loss on planes [C, H, W] of -128..127, sides multiples of 8."""
    c, h, w = plane.shape
    basis = _cosines(device)
    blocks = plane.reshape(c, h // 8, 8, w // 8, 8).transpose(2, 3)
    waves = basis @ blocks @ basis.T
    waves = (waves / table).round() * table
    return (basis.T @ waves @ basis).transpose(2, 3).reshape(c, h, w)


def _jpeg(image: Tensor, quality: int) -> Tensor:
    """What JPEG with halved chroma does to an image [3, H, W] of 0..255 (ITU-T T.81 annex K tables)."""
    device = str(image.device)
    _, h, w = image.shape
    scale = (5000 / quality if quality < 50 else 200 - 2 * quality) / 100
    luma, chroma = (_steps(device) * scale).round().clamp(1, 255)
    padded = F.pad(image[None], (0, -w % 16, 0, -h % 16), mode="replicate")[0]
    r, g, b = padded
    y = 0.299 * r + 0.587 * g + 0.114 * b
    colour = torch.stack([(b - y) * 0.564, (r - y) * 0.713])
    y = _quantise((y - 128)[None], luma, device)[0] + 128
    colour = _quantise(F.avg_pool2d(colour[None], 2)[0], chroma, device)
    cb, cr = F.interpolate(colour[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
    out = torch.stack([y + 1.403 * cr, y - 0.344 * cb - 0.714 * cr, y + 1.773 * cb])
    return out[:, :h, :w]
