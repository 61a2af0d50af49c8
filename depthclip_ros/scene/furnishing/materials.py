# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Plausible indoor surfaces: which pattern, in which colours, at which real size."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from depthclip_ros.scene.tracing.patterns import FAMILIES
from depthclip_ros.scene.tracing.primitives import COLOUR_0, EMISSION, PERIOD, TEXTURE

Rgb = tuple[float, float, float]
Rng = np.random.Generator


@dataclass(frozen=True)
class Material:
    """One row of the material table; colours are linear.

    Attributes:
        colours: the three that the pattern mixes.
        pattern: which one of the bank.
        period_m: size of one pattern, (u, v) in metres; (0, 0) fits it once onto each face.
        offset: where the pattern starts, in periods.
        swap: whether u and v change places (grain along the other side).
        specular, shininess: strength and exponent of the highlight.
        emission: light that the surface sends out itself, as a multiple of its colour.
        grain: strength of the large soft stains that lie over every pattern.
    """

    colours: tuple[Rgb, Rgb, Rgb]
    pattern: int
    period_m: tuple[float, float]
    offset: tuple[float, float]
    swap: bool = False
    specular: float = 0.0
    shininess: float = 20.0
    emission: float = 0.0
    grain: float = 0.1

    def row(self, size_m: tuple[float, float] | None = None) -> list[float]:
        """The table's column; `size_m` is the face that a fitted pattern covers."""
        period, offset = self.period_m, self.offset
        if period[0] == 0:
            period, offset = (size_m or (1.0, 1.0)), (0.5, 0.5)
        colours = [c for rgb in self.colours for c in rgb]
        rest = [float(self.swap), self.specular, self.shininess, self.emission, self.grain]
        return [*colours, float(self.pattern), *period, *offset, *rest]


def _linear(r: float, g: float, b: float) -> Rgb:
    return (r**2.2, g**2.2, b**2.2)


def colour(rng: Rng, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]) -> Rgb:
    """A linear colour from ranges of hue, saturation and value of its sRGB form."""
    return _linear(*colorsys.hsv_to_rgb(rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value)))


def paint(rng: Rng) -> Rgb:
    """Colour of a wall: mostly whites and creams, sometimes a pastel or a strong one."""
    kind = rng.random()
    if kind < 0.6:
        return colour(rng, (0.05, 0.16), (0.0, 0.15), (0.72, 0.97))
    if kind < 0.8:
        return colour(rng, (0.0, 1.0), (0.08, 0.35), (0.55, 0.92))
    if kind < 0.93:
        return colour(rng, (0.0, 1.0), (0.2, 0.7), (0.25, 0.8))
    return colour(rng, (0.0, 1.0), (0.0, 0.1), (0.25, 0.6))


def wood_colour(rng: Rng) -> Rgb:
    """From birch to wenge."""
    return colour(rng, (0.045, 0.11), (0.2, 0.65), (0.22, 0.88))


def any_colour(rng: Rng) -> Rgb:
    """Colour of fabric or plastic: anything, greys and darks more often."""
    kind = rng.random()
    if kind < 0.35:
        return colour(rng, (0.0, 1.0), (0.0, 0.12), (0.06, 0.92))
    if kind < 0.65:
        return colour(rng, (0.0, 1.0), (0.15, 0.5), (0.2, 0.85))
    return colour(rng, (0.0, 1.0), (0.4, 0.95), (0.2, 0.9))


def shade_of(rng: Rng, base: Rgb, spread: float = 0.35) -> Rgb:
    """A lighter or darker neighbour of a colour."""
    gain = float(np.exp(rng.normal(0, spread)))
    r, g, b = (min(0.95, max(0.003, c * gain * float(np.exp(rng.normal(0, 0.06))))) for c in base)
    return (r, g, b)


def make(
    rng: Rng,
    families: str,
    base: Rgb,
    period_m: tuple[float, float],
    *,
    contrast: float = 0.35,
    accent: Rgb | None = None,
    specular: float = 0.0,
    shininess: float = 20.0,
    emission: float = 0.0,
) -> Material:
    """A material of one of the families (names separated by spaces) around a base colour.

    `period_m` is the range that the pattern's size is drawn from, (0, 0) to fit it onto each face.
    """
    names = families.split()
    rows = FAMILIES[names[int(rng.integers(len(names)))]]
    size = rng.uniform(*period_m) if period_m[1] > 0 else 0.0
    return Material(
        colours=(base, shade_of(rng, base, contrast), accent or shade_of(rng, base, 2 * contrast)),
        pattern=int(rng.integers(rows.start, rows.stop)),
        period_m=(size, size),
        offset=(rng.random(), rng.random()),
        swap=bool(rng.random() < 0.5) and size > 0,
        specular=specular,
        shininess=shininess,
        emission=emission,
    )


def wood(rng: Rng, base: Rgb | None = None) -> Material:
    """Furniture wood, sometimes painted."""
    base = base or (wood_colour(rng) if rng.random() < 0.75 else paint(rng))
    return make(rng, "wood wood plain", base, (0.4, 1.6), specular=rng.uniform(0, 0.25), shininess=rng.uniform(8, 60))


def metal(rng: Rng) -> Material:
    """Steel, brass, black lacquer."""
    base = colour(rng, (0.05, 0.65), (0.0, 0.15), (0.1, 0.8))
    return make(rng, "plain", base, (0.5, 1.0), specular=rng.uniform(0.3, 0.9), shininess=rng.uniform(20, 90))


def plastic(rng: Rng, base: Rgb | None = None) -> Material:
    """Smooth and coloured."""
    base = base or any_colour(rng)
    return make(rng, "plain", base, (0.3, 1.0), specular=rng.uniform(0.05, 0.5), shininess=rng.uniform(10, 80))


def fabric(rng: Rng, base: Rgb | None = None) -> Material:
    """Upholstery, bedding, curtains: often plain weave, sometimes patterned in a second colour."""
    base = base or any_colour(rng)
    if rng.random() < 0.6:
        return make(rng, "carpet plaster speckle", base, (0.15, 0.6), contrast=0.25)
    return make(rng, "stripes plaid dots rug checker", base, (0.2, 1.0), contrast=0.8, accent=any_colour(rng))


def floor(rng: Rng) -> Material:
    """Wood, tiles, stone, carpet, linoleum."""
    kind = rng.random()
    gloss, shine = rng.uniform(0, 0.5), rng.uniform(15, 90)
    if kind < 0.4:
        return make(
            rng, "planks planks parquet", wood_colour(rng), (0.7, 2.2), contrast=0.3, specular=gloss, shininess=shine
        )
    if kind < 0.65:
        base = colour(rng, (0.02, 0.14), (0.0, 0.35), (0.35, 0.9))
        return make(rng, "tiles tiles checker", base, (0.6, 2.4), contrast=0.3, specular=gloss, shininess=shine)
    if kind < 0.85:
        base = colour(rng, (0.0, 1.0), (0.0, 0.5), (0.15, 0.75))
        return make(rng, "carpet carpet speckle", base, (0.3, 1.2))
    base = colour(rng, (0.0, 1.0), (0.0, 0.2), (0.25, 0.8))
    return make(rng, "marble plaster speckle plain", base, (0.8, 2.5), specular=gloss, shininess=shine)


def wall(rng: Rng, base: Rgb) -> Material:
    """Paint mostly; wallpaper, brick, wood panels, tiles sometimes."""
    kind = rng.random()
    if kind < 0.72:
        return make(rng, "plain plaster", base, (0.6, 2.5), contrast=rng.uniform(0.02, 0.12))
    if kind < 0.84:
        return make(rng, "stripes dots plaid folds", base, (0.3, 1.2), contrast=rng.uniform(0.05, 0.3))
    if kind < 0.91:
        return make(rng, "brick", colour(rng, (0.0, 0.08), (0.1, 0.6), (0.4, 0.85)), (0.5, 1.6), accent=paint(rng))
    if kind < 0.95:
        return make(rng, "planks wood", wood_colour(rng), (0.8, 2.0))
    return make(rng, "tiles", paint(rng), (0.5, 1.5), specular=0.3, shininess=50.0)


def ceiling(rng: Rng) -> Material:
    """White, rarely coloured; sometimes office panels."""
    base = colour(rng, (0.0, 1.0), (0.0, 0.08), (0.75, 0.98)) if rng.random() < 0.85 else paint(rng)
    if rng.random() < 0.2:
        return make(rng, "grid tiles", base, (1.2, 2.4), contrast=0.15)
    return make(rng, "plain plaster", base, (1.0, 3.0), contrast=0.06)


def print_of(
    rng: Rng, families: str = "poster", *, specular: float = 0.0, shininess: float = 20.0, emission: float = 0.0
) -> Material:
    """A picture fitted onto the face: three unrelated colours."""
    made = make(rng, families, any_colour(rng), (0.0, 0.0), specular=specular, shininess=shininess, emission=emission)
    colours = (any_colour(rng), any_colour(rng), any_colour(rng) if rng.random() < 0.6 else paint(rng))
    return replace(made, colours=colours, grain=0.0)


def papered(materials: Tensor, photographs: int, rng: Rng) -> Tensor:
    """The material table [MATERIAL_ROWS, M] with photographs on a random share of the surfaces that send out no light.

    Where they lie and how large they are is as random as their colours: they bring what real surfaces have and no
    pattern has, not plausible rooms.

    Args:
        materials: of one scene.
        photographs: how many there are.
        rng: decides everything.
    """
    table = materials.clone()
    count = table.shape[1]
    chosen = (rng.random(count) < rng.uniform(0, 0.8)) & (table[EMISSION] == 0).numpy()
    period_m = np.geomspace(0.1, 2.0, 65)[rng.integers(65, size=count)]
    tint = rng.uniform(0.5, 1.4, count) * np.exp(rng.normal(0, 0.1, (3, count)))
    rows = np.concatenate([tint, (-1.0 - rng.integers(photographs, size=count))[None], [period_m, period_m]])
    where = [COLOUR_0, COLOUR_0 + 1, COLOUR_0 + 2, TEXTURE, PERIOD, PERIOD + 1]
    table[where] = torch.where(torch.from_numpy(chosen), torch.from_numpy(rows).float(), table[where])
    return table
