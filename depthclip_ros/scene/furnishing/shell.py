# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The building: shell, inner walls, doors and windows, and the plan of what is taken."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from depthclip_ros.scene.furnishing import materials as mat
from depthclip_ros.scene.furnishing.builder import MaterialTable, Part, Piece
from depthclip_ros.scene.furnishing.kit import Kit
from depthclip_ros.scene.furnishing.materials import Material
from depthclip_ros.scene.ranges import SceneRanges
from depthclip_ros.scene.tracing.primitives import ROOM


@dataclass
class Wall:
    """An inner face to put things on: `x`, `y` its middle, `yaw` turns a piece's back (+y) to it."""

    x: float
    y: float
    yaw: float
    length_m: float
    used: list[tuple[float, float, float]] = field(default_factory=list)  # from, to, height above which it is free

    def place(self, along: float, off: float) -> tuple[float, float]:
        """World x, y of a point at `along` the wall and `off` in front of it."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return self.x + c * along + s * off, self.y + s * along - c * off


class Layout:
    """The room while it is furnished."""

    def __init__(self, rng: np.random.Generator, ranges: SceneRanges) -> None:
        self.kit = Kit(rng, MaterialTable())
        self.ranges = ranges
        self.width, self.length, self.height = (
            float(rng.uniform(*r)) for r in (ranges.room_width_m, ranges.room_length_m, ranges.room_height_m)
        )
        self.world = Piece()
        self.lights: list[list[float]] = []
        self.taken: list[tuple[float, float, float, float]] = []  # x0, y0, x1, y1 of footprints
        w, l = self.width / 2, self.length / 2  # noqa: E741
        self.walls = [
            Wall(0, l, 0.0, self.width), Wall(-w, 0, math.pi / 2, self.length),
            Wall(0, -l, math.pi, self.width), Wall(w, 0, -math.pi / 2, self.length),
        ]  # fmt: skip

    def free(self, x: float, y: float, hx: float, hy: float, gap: float = 0.03) -> bool:
        """Whether a footprint lies in the room and on no other."""
        if abs(x) + hx > self.width / 2 + 0.01 or abs(y) + hy > self.length / 2 + 0.01:
            return False
        return all(
            x + hx + gap < a or x - hx - gap > c or y + hy + gap < b or y - hy - gap > d for a, b, c, d in self.taken
        )

    def put(self, piece: Piece, x: float, y: float, yaw: float, *, gap: float = 0.03, claim: bool = True) -> bool:
        """Add a piece if its footprint is free."""
        c, s = abs(math.cos(yaw)), abs(math.sin(yaw))
        hx, hy = (c * piece.width_m + s * piece.depth_m) / 2, (s * piece.width_m + c * piece.depth_m) / 2
        if piece.height_m > self.height - 0.05 or not self.free(x, y, hx, hy, gap):
            return False
        self.world.add(piece, x, y, 0.0, yaw)
        if claim:
            self.taken.append((x - hx, y - hy, x + hx, y + hy))
        return True

    def on_wall(self, wall: Wall, along: float, size: tuple[float, float], z: float) -> bool:
        """Claim a stretch of a wall above what stands there already; False if it is taken."""
        low, high = along - size[0] / 2, along + size[0] / 2
        if low < -wall.length_m / 2 + 0.05 or high > wall.length_m / 2 - 0.05:
            return False
        if any(low < b and high > a and z < top for a, b, top in wall.used):
            return False
        wall.used.append((low, high, 9.0))
        return True


def shell(layout: Layout) -> None:
    """Walls, floor and ceiling, skirting boards, beams, a shaft."""
    kit, rng = layout.kit, layout.kit.rng
    wall = mat.paint(rng)
    papers = [mat.wall(rng, wall)] * 4
    if kit.chance(0.35):
        papers[int(rng.integers(4))] = mat.wall(rng, mat.paint(rng))
    first, *_ = [kit.use(m) for m in (*papers, mat.floor(rng), mat.ceiling(rng))]
    half = (layout.width / 2, layout.length / 2, layout.height / 2)
    layout.world.parts.append(Part((0, 0, half[2]), half, first, ROOM, per_face=True, casts=False))
    if kit.chance(0.75):
        high, thick = kit.any(0.05, 0.14), 0.015
        board = kit.use(mat.plastic(rng, wall if kit.chance(0.3) else mat.colour(rng, (0, 1), (0, 0.2), (0.3, 0.97))))
        for side in layout.walls:
            x, y = side.place(0, thick / 2)
            layout.world.box((x, y, high / 2), (side.length_m, thick, high), board, yaw=side.yaw, casts=False)
    if kit.chance(0.15):
        beam = kit.use(mat.wood(rng))
        for k in range(int(rng.integers(2, 6))):
            y = (k + 0.5) / 5 * layout.length - layout.length / 2
            layout.world.box((0, y, layout.height - 0.07), (layout.width, 0.14, 0.14), beam)
    if kit.chance(0.2):  # a chimney or a shaft in a corner
        wide = kit.any(0.25, 0.6)
        x, y = (int(rng.choice([-1, 1])) * (h - wide / 2) for h in half[:2])
        layout.world.box((x, y, half[2]), (wide, wide, layout.height), kit.use(papers[0]))
        layout.taken.append((x - wide / 2, y - wide / 2, x + wide / 2, y + wide / 2))


def partition(layout: Layout) -> None:
    """An inner wall across the room with an open doorway 0.8-1.4 m wide: the next room is seen through it."""
    kit, rng = layout.kit, layout.kit.rng
    y = kit.any(-0.25, 0.25) * layout.length
    gap, thick, lintel = kit.any(0.8, 1.4), kit.any(0.08, 0.2), kit.any(1.98, 2.15)
    middle = kit.any(-0.5, 0.5) * (layout.width - gap - 0.3)
    paint = kit.use(mat.wall(rng, mat.paint(rng)))
    left, right = middle - gap / 2, middle + gap / 2
    w, h = layout.width / 2, layout.height
    for a, b in ((-w, left), (right, w)):
        layout.world.box(((a + b) / 2, y, h / 2), (b - a, thick, h), paint)
        layout.taken.append((a, y - thick / 2, b, y + thick / 2))
    layout.world.box((middle, y, (lintel + h) / 2), (gap, thick, h - lintel), paint)
    layout.taken.append((left, y - 0.8, right, y + 0.8))
    frame = kit.use(mat.wood(rng))
    for x in (left, right):
        layout.world.box((x, y, lintel / 2), (0.07, thick + 0.03, lintel), frame, casts=False)
    layout.world.box((middle, y, lintel), (gap + 0.07, thick + 0.03, 0.07), frame, casts=False)
    if kit.chance(0.5):  # the open door leaf
        leaf = kit.use(mat.make(rng, "panel", mat.paint(rng), (0.0, 0.0), contrast=0.4), (gap, lintel))
        turn = kit.any(1.2, 1.9)
        c, s = math.cos(turn), math.sin(turn)
        layout.world.box((left + c * gap / 2, y + s * gap / 2, lintel / 2), (gap, 0.04, lintel - 0.01), leaf, yaw=turn)
    layout.walls += [
        Wall(0, y + thick / 2, math.pi, layout.width, [(-right, -left, 9.0)]),
        Wall(0, y - thick / 2, 0.0, layout.width, [(left, right, 9.0)]),
    ]


def openings(layout: Layout) -> list[tuple[Wall, float, float, tuple[float, float]]]:
    """Doors and windows on the outer walls; returns the windows (wall, along, middle height, size)."""
    kit, rng = layout.kit, layout.kit.rng
    windows = []
    for _ in range(int(rng.integers(1, 3))):
        wall = layout.walls[int(rng.integers(4))]
        w, h = kit.any(0.78, 0.98), kit.any(1.98, 2.1)
        along = kit.any(-0.5, 0.5) * (wall.length_m - w - 0.3)
        if layout.on_wall(wall, along, (w + 0.2, h), 0.0):
            _door(layout, wall, along, w, h)
    for _ in range(int(rng.integers(0, 4))):
        wall = layout.walls[int(rng.integers(4))]
        w, h, sill = kit.any(0.6, 2.2), kit.any(0.8, 1.5), kit.any(0.4, 1.1)
        if kit.chance(0.15):
            h, sill = 2.0, 0.05
        h = min(h, layout.height - sill - 0.12)
        along = kit.any(-0.5, 0.5) * max(0.0, wall.length_m - w - 0.5)
        if layout.on_wall(wall, along, (w + 0.3, h), sill):
            _window(layout, wall, along, sill, w, h)
            windows.append((wall, along, sill + h / 2, (w, h)))
    return windows


def _door(layout: Layout, wall: Wall, along: float, w: float, h: float) -> None:
    kit, rng = layout.kit, layout.kit.rng
    base = mat.paint(rng) if kit.chance(0.6) else mat.wood_colour(rng)
    leaf = mat.make(rng, "panel wood plain", base, (0.0, 0.0), contrast=0.4, specular=0.15)
    frame = kit.use(mat.plastic(rng, mat.shade_of(rng, base, 0.2)))
    x, y = wall.place(along, 0.01)
    layout.world.box((x, y, h / 2), (w, 0.03, h), kit.use(leaf, (w, h)), yaw=wall.yaw, casts=False)
    for side in (-1, 1):
        x, y = wall.place(along + side * (w / 2 + 0.035), 0.012)
        layout.world.box((x, y, h / 2 + 0.03), (0.07, 0.05, h + 0.06), frame, yaw=wall.yaw, casts=False)
    x, y = wall.place(along, 0.012)
    layout.world.box((x, y, h + 0.035), (w + 0.14, 0.05, 0.07), frame, yaw=wall.yaw, casts=False)
    x, y = wall.place(along + w * 0.42, 0.06)
    layout.world.box((x, y, 1.02), (0.12, 0.02, 0.02), kit.use(mat.metal(rng)), yaw=wall.yaw)
    a, b = wall.place(along - w / 2, 0), wall.place(along + w / 2, 0.9)
    layout.taken.append((min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])))


def _window(layout: Layout, wall: Wall, along: float, sill: float, w: float, h: float) -> None:
    kit, rng = layout.kit, layout.kit.rng
    day = kit.any(0.5, 6.0) if kit.chance(0.8) else kit.any(0.005, 0.05)
    sky = mat.colour(rng, (0.53, 0.62), (0.0, 0.45), (0.8, 1.0))
    view = mat.print_of(rng, "outdoor", emission=day)
    green = mat.colour(rng, (0.08, 0.4), (0.1, 0.6), (0.15, 0.7))
    view = Material((sky, green, mat.any_colour(rng)), view.pattern, (0.0, 0.0), (0.5, 0.5), emission=day, grain=0.0)
    frame = kit.use(mat.plastic(rng, mat.colour(rng, (0.05, 0.1), (0, 0.4), (0.3, 0.97))))
    z = sill + h / 2

    def bar(a: float, up: float, size: tuple[float, float], off: float = 0.015, thick: float = 0.05) -> None:
        x, y = wall.place(along + a, off)
        layout.world.box((x, y, z + up), (size[0], thick, size[1]), frame, yaw=wall.yaw, casts=False)

    x, y = wall.place(along, 0.002)
    layout.world.box((x, y, z), (w, 0.012, h), kit.use(view, (w, h)), yaw=wall.yaw, casts=False)
    for side in (-1, 1):
        bar(side * w / 2, 0, (0.06, h + 0.06))
        bar(0, side * h / 2, (w + 0.06, 0.06))
    for k in range(1, max(1, round(w / kit.any(0.5, 0.9)))):
        bar(k * w / max(1, round(w / 0.7)) - w / 2, 0, (0.05, h))
    if kit.chance(0.7) and sill > 0.2:
        bar(0, -h / 2 - 0.01, (w + 0.2, 0.03), 0.09, 0.18)
    if kit.chance(0.5) and sill > 0.5:  # radiator
        x, y = wall.place(along, 0.1)
        high = min(0.6, sill - 0.2)
        grille = kit.use(mat.make(rng, "stripes grid", mat.paint(rng), (0.2, 0.4), contrast=0.25))
        layout.world.box((x, y, 0.12 + high / 2), (min(w, 1.4), 0.1, high), grille, yaw=wall.yaw)
    if kit.chance(0.5):  # curtains
        cloth = mat.make(rng, "folds folds stripes", mat.any_colour(rng), (0.3, 0.8), contrast=0.3)
        cloth = Material(cloth.colours, cloth.pattern, cloth.period_m, cloth.offset, swap=False)
        use, top = kit.use(cloth), min(layout.height - 0.05, sill + h + 0.15)
        low = 0.03 if kit.chance(0.6) else max(0.03, sill - 0.15)
        for side in (-1, 1):
            wide = kit.any(0.2, 0.5)
            x, y = wall.place(along + side * (w / 2 + 0.05 - wide * 0.3), 0.1)
            layout.world.box((x, y, (low + top) / 2), (wide, 0.07, top - low), use, yaw=wall.yaw)
        bar(0, top - z, (w + 0.5, 0.03), 0.1, 0.03)
