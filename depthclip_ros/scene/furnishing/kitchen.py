# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Kitchen units and white goods at their real size. Frames as in `furniture`."""

from __future__ import annotations

import math

from depthclip_ros.scene.furnishing import materials as mat
from depthclip_ros.scene.furnishing.builder import Piece
from depthclip_ros.scene.furnishing.items import scatter
from depthclip_ros.scene.furnishing.kit import Kit
from depthclip_ros.scene.tracing.primitives import ROUND


def kitchen(kit: Kit, clutter: float) -> Piece:
    """A counter with worktop at 0.88-0.92 m, wall cabinets above, sometimes an oven and a fridge at its end."""
    w, d, h = kit.any(1.4, 3.2), 0.6, kit.any(0.86, 0.93)
    piece = Piece(w, d, 2.1)
    base = mat.paint(kit.rng) if kit.chance(0.6) else mat.wood_colour(kit.rng)
    front = mat.make(kit.rng, "panel", base, (0.0, 0.0), contrast=0.4, specular=0.15)
    count = max(2, round(w / 0.6))
    piece.box((0, 0.03, h / 2), (w, d - 0.06, h), kit.use(mat.plastic(kit.rng, base)))
    unit = w / count
    door = kit.use(front, (unit, h - 0.16))
    for k in range(count):
        x = (k - (count - 1) / 2) * unit
        piece.box((x, -d / 2 + 0.02, h / 2 + 0.05), (unit - 0.008, 0.022, h - 0.16), door)
    stone = mat.make(kit.rng, "speckle marble wood plain", mat.paint(kit.rng), (0.4, 1.2), specular=0.3, shininess=50.0)
    piece.box((0, 0, h + 0.02), (w, d + 0.03, 0.04), kit.use(stone))
    scatter(kit, piece, (0, -0.03, h + 0.04), (w, d - 0.08), 0.45, clutter)
    tiles = mat.make(kit.rng, "tiles brick plain", mat.paint(kit.rng), (0.4, 1.0), specular=0.3)
    piece.box((0, d / 2 - 0.005, h + 0.3), (w, 0.01, 0.6), kit.use(tiles), casts=False)
    if kit.chance(0.8):
        high = kit.any(0.55, 0.8)
        upper = kit.use(front, (unit, high))
        piece.box((0, d / 2 - 0.16, 1.42 + high / 2), (w, 0.32, high), kit.use(mat.plastic(kit.rng, base)))
        for k in range(count):
            x = (k - (count - 1) / 2) * unit
            piece.box((x, d / 2 - 0.33, 1.42 + high / 2), (unit - 0.008, 0.02, high - 0.01), upper)
    if kit.chance(0.6):
        dark = mat.print_of(kit.rng, "panel screen", specular=0.5, shininess=60.0)
        piece.box(
            ((count // 2 - (count - 1) / 2) * unit, -d / 2 + 0.012, h / 2),
            (unit * 0.95, 0.03, 0.55),
            kit.use(dark, (unit, 0.55)),
        )
    return piece


def fridge(kit: Kit, clutter: float) -> Piece:
    """Fridge, 0.6 m wide; the smaller form is a washing machine with its window."""
    w, d, h = 0.6, kit.any(0.58, 0.68), kit.any(1.4, 2.0) if kit.chance(0.6) else 0.85
    piece = Piece(w, d, h)
    base = mat.colour(kit.rng, (0, 1), (0, 0.1), (0.5, 0.97))
    shell = kit.use(mat.make(kit.rng, "plain", base, (1, 2), specular=0.3, shininess=40.0))
    piece.box((0, 0.02, h / 2), (w, d - 0.04, h), shell)
    if h < 1:
        dark = kit.use(mat.plastic(kit.rng, mat.colour(kit.rng, (0, 1), (0, 0.2), (0.05, 0.3))))
        piece.box((0, -d / 2 + 0.03, h / 2), (w, 0.03, h), shell)
        piece.round((0, -d / 2 + 0.012, 0.42), 0.2, 0.03, dark, kind=ROUND, tilt=math.pi / 2)
        scatter(kit, piece, (0, 0, h), (w, d), 0.6, clutter)
    else:
        split = h * kit.any(0.3, 0.7)
        for low, high in ((0.03, split - 0.006), (split + 0.006, h)):
            piece.box((0, -d / 2 + 0.02, (low + high) / 2), (w, 0.045, high - low), shell)
            piece.box((-w / 2 + 0.05, -d / 2 - 0.02, (low + high) / 2), (0.02, 0.03, min(0.4, high - low)), shell)
    return piece
