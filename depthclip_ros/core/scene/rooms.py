"""Random rooms: a shell with windows and doors, furniture along the walls and in the open, lamps and sunlight."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from depthclip_ros.core.scene import furniture, items
from depthclip_ros.core.scene import materials as mat
from depthclip_ros.core.scene.builder import MaterialTable, Part, Piece, primitive_table
from depthclip_ros.core.scene.items import Kit
from depthclip_ros.core.scene.materials import Material, Rgb
from depthclip_ros.core.scene.primitives import LIGHT_ROWS, ROOM, Scene
from depthclip_ros.core.scene.ranges import SceneRanges


@dataclass
class _Wall:
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


class _Layout:
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
            _Wall(0, l, 0.0, self.width), _Wall(-w, 0, math.pi / 2, self.length),
            _Wall(0, -l, math.pi, self.width), _Wall(w, 0, -math.pi / 2, self.length),
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

    def on_wall(self, wall: _Wall, along: float, size: tuple[float, float], z: float) -> bool:
        """Claim a stretch of a wall above what stands there already; False if it is taken."""
        low, high = along - size[0] / 2, along + size[0] / 2
        if low < -wall.length_m / 2 + 0.05 or high > wall.length_m / 2 - 0.05:
            return False
        if any(low < b and high > a and z < top for a, b, top in wall.used):
            return False
        wall.used.append((low, high, 9.0))
        return True


def random_scene(seed: int, ranges: SceneRanges | None = None, device: str | torch.device = "cpu") -> Scene:
    """A random furnished room; the same seed and ranges give the same room.

    Args:
        seed: any integer.
        ranges: what is drawn from; the preset "mixed" if None.
        device: where its tensors lie.
    """
    rng = np.random.default_rng(seed % (1 << 63))
    ranges, preset = resolve(ranges or SceneRanges.preset("mixed"), rng)
    layout = _Layout(rng, ranges)
    _shell(layout)
    if layout.length > 5.5 and rng.random() < ranges.partition_share:
        _partition(layout)
    windows = _openings(layout)
    _furnish(layout)
    _decorate(layout)
    _lamps(layout)
    for place in windows:
        _window_light(layout, place)
    ambient = np.outer(_warm(rng, 0.15), [1.0, float(rng.uniform(0.4, 0.9))]) * float(rng.uniform(0.08, 0.45))
    lights = np.array(layout.lights, np.float32).reshape(-1, LIGHT_ROWS).T
    focus = np.array(layout.world.focus, np.float32).reshape(-1, 3)
    return Scene(
        primitive_table(layout.world.parts),
        layout.kit.table.tensor(),
        torch.from_numpy(lights.copy()),
        torch.from_numpy(ambient.astype(np.float32)),
        torch.from_numpy(focus),
        preset,
    ).to(device)


def resolve(ranges: SceneRanges, rng: np.random.Generator) -> tuple[SceneRanges, str]:
    """Draw one preset where the ranges are a mix of them."""
    if not ranges.mix:
        return ranges, ""
    weights = np.array([w for _, w in ranges.mix])
    name = ranges.mix[int(rng.choice(len(weights), p=weights / weights.sum()))][0]
    return SceneRanges.preset(name), name


def _shell(layout: _Layout) -> None:
    kit, rng = layout.kit, layout.kit.rng
    wall = mat.paint(rng)
    papers = [mat.wall(rng, wall)] * 4
    if kit.chance(0.35):
        papers[int(rng.integers(4))] = mat.wall(rng, mat.paint(rng))
    first = [kit.use(m) for m in (*papers, mat.floor(rng), mat.ceiling(rng))][0]
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
    if kit.chance(0.2):
        side = kit.any(0.25, 0.6)
        x, y = (int(rng.choice([-1, 1])) * (h - side / 2) for h in half[:2])
        layout.world.box((x, y, half[2]), (side, side, layout.height), kit.use(papers[0]))
        layout.taken.append((x - side / 2, y - side / 2, x + side / 2, y + side / 2))


def _partition(layout: _Layout) -> None:
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
        _Wall(0, y + thick / 2, math.pi, layout.width, [(-right, -left, 9.0)]),
        _Wall(0, y - thick / 2, 0.0, layout.width, [(left, right, 9.0)]),
    ]


def _openings(layout: _Layout) -> list[tuple[_Wall, float, float, tuple[float, float]]]:
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
            wall.used[-1] = (*wall.used[-1][:2], 9.0)
            _window(layout, wall, along, sill, w, h)
            windows.append((wall, along, sill + h / 2, (w, h)))
    return windows


def _door(layout: _Layout, wall: _Wall, along: float, w: float, h: float) -> None:
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


def _window(layout: _Layout, wall: _Wall, along: float, sill: float, w: float, h: float) -> None:
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
        cloth = mat.make(rng, "folds folds stripes", mat.any_colour(rng), (0.3, 0.8), contrast=0.3, square=True)
        cloth = Material(cloth.colours, cloth.pattern, cloth.period_m, cloth.offset, swap=False)
        use, top = kit.use(cloth), min(layout.height - 0.05, sill + h + 0.15)
        low = 0.03 if kit.chance(0.6) else max(0.03, sill - 0.15)
        for side in (-1, 1):
            wide = kit.any(0.2, 0.5)
            x, y = wall.place(along + side * (w / 2 + 0.05 - wide * 0.3), 0.1)
            layout.world.box((x, y, (low + top) / 2), (wide, 0.07, top - low), use, yaw=wall.yaw)
        bar(0, top - z, (w + 0.5, 0.03), 0.1, 0.03)


def _furnish(layout: _Layout) -> None:
    kit, rng, ranges = layout.kit, layout.kit.rng, layout.ranges
    clutter = kit.any(*ranges.surface_clutter_per_m2)
    tries = max(1, round(layout.width * layout.length * kit.any(*ranges.furniture_per_m2)))
    close = ranges.close_up_share > 0
    for k in range(tries):
        if k == 0 and close:
            choices = furniture.WITH_A_TOP
        else:
            choices = furniture.AT_WALL if kit.chance(0.62) else furniture.IN_THE_OPEN
        piece = furniture.choose(kit, choices)(kit, clutter)
        for _ in range(4):
            if choices is not furniture.IN_THE_OPEN:
                wall = layout.walls[int(rng.integers(len(layout.walls)))]
                along = kit.any(-0.5, 0.5) * max(0.0, wall.length_m - piece.width_m - 0.06)
                if any(
                    along - piece.width_m / 2 < b and along + piece.width_m / 2 > a and piece.height_m > 0.9
                    for a, b, _ in wall.used
                ):
                    continue
                x, y = wall.place(along, piece.depth_m / 2 + 0.03)
                if layout.put(piece, x, y, wall.yaw):
                    wall.used.append((along - piece.width_m / 2, along + piece.width_m / 2, piece.height_m + 0.1))
                    break
            else:
                yaw = float(rng.integers(4)) * math.pi / 2 + float(rng.normal(0, 0.12))
                x, y = kit.any(-0.5, 0.5) * layout.width, kit.any(-0.5, 0.5) * layout.length
                if layout.put(piece, x, y, yaw, gap=0.25):
                    if 0.65 < piece.height_m < 0.8 and piece.width_m > 0.6:
                        _seats(layout, piece, x, y, yaw)
                    break
    for _ in range(int(kit.any(*ranges.floor_clutter))):
        thing = items.pick(kit, items.LOOSE)(kit)
        x, y = kit.any(-0.48, 0.48) * layout.width, kit.any(-0.48, 0.48) * layout.length
        layout.put(thing, x, y, kit.any(0, 6.28))
    if kit.chance(0.4):
        w, d = kit.any(0.8, 2.5), kit.any(1.0, 3.0)
        rug = mat.print_of(rng, "rug rug stripes plaid carpet")
        x, y = kit.any(-0.25, 0.25) * layout.width, kit.any(-0.25, 0.25) * layout.length
        w, d = min(w, layout.width - 2 * abs(x)), min(d, layout.length - 2 * abs(y))
        layout.world.box((x, y, 0.004), (w, d, 0.008), kit.use(rug, (w, d)), casts=False)


def _seats(layout: _Layout, table: Piece, x: float, y: float, yaw: float) -> None:
    """Chairs around a table, all of one kind, some pushed in and some turned."""
    kit = layout.kit
    model = furniture.chair(kit, 0.0)
    c, s = math.cos(yaw), math.sin(yaw)
    spots = [(0.0, -1), (0.0, 1)] if table.width_m < 1.2 else [(-0.25, -1), (0.25, -1), (-0.25, 1), (0.25, 1)]
    own = layout.taken.pop()
    for share, side in spots:
        if kit.chance(0.3):
            continue
        px, py = share * table.width_m, side * (table.depth_m / 2 + kit.any(0.0, 0.3))
        turn = yaw + (math.pi if side < 0 else 0.0) + float(kit.rng.normal(0, 0.2))
        layout.put(model, x + c * px - s * py, y + s * px + c * py, turn, gap=-0.05)
    layout.taken.append(own)


def _decorate(layout: _Layout) -> None:
    """Pictures, mirrors of paint, wall shelves, switches."""
    kit, rng = layout.kit, layout.kit.rng
    for wall in layout.walls:
        for _ in range(int(rng.integers(0, 4))):
            w, h = kit.any(0.2, 1.1), kit.any(0.2, 0.9)
            z, along = kit.any(1.2, 1.75), kit.any(-0.5, 0.5) * wall.length_m
            if z + h / 2 > layout.height - 0.05 or not layout.on_wall(wall, along, (w, h), z - h / 2):
                continue
            if kit.chance(0.15):
                piece = Piece()
                piece.box((0, 0, 0), (w, 0.2, 0.025), kit.use(mat.wood(rng)))
                items.scatter(kit, piece, (0, 0, 0.0125), (w, 0.2), 0.5, kit.any(*layout.ranges.surface_clutter_per_m2))
                x, y = wall.place(along, 0.1)
                layout.world.add(piece, x, y, z - h / 2, wall.yaw)
                continue
            x, y = wall.place(along, 0.012)
            layout.world.box((x, y, z), (w, 0.02, h), kit.use(mat.wood(rng)), yaw=wall.yaw, casts=False)
            x, y = wall.place(along, 0.024)
            inner = (w - 0.05, h - 0.05)
            front = kit.use(
                mat.print_of(rng, "poster poster poster text outdoor", specular=0.1 * kit.chance(0.5)), inner
            )
            layout.world.box((x, y, z), (inner[0], 0.004, inner[1]), front, yaw=wall.yaw, casts=False)


def _warm(rng: np.random.Generator, spread: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A light's colour between warm and cold, mean 1."""
    t = rng.normal(0, spread)
    rgb = np.array([1 + t, 1 + rng.normal(0, 0.02), 1 - t]).clip(0.3)
    out: np.ndarray[tuple[int], np.dtype[np.float64]] = rgb / rgb.mean()
    return out


def _light(
    at: tuple[float, float, float], u: Rgb, v: Rgb, normal: Rgb, rgb: object, sun: Rgb = (0, 0, 0)
) -> list[float]:
    return [*at, *u, *v, *normal, *np.asarray(rgb, np.float64).tolist(), *sun]


def _lamps(layout: _Layout) -> None:
    kit, rng = layout.kit, layout.kit.rng
    count = round(kit.any(*layout.ranges.light_count))
    on = kit.chance(0.85) or not layout.lights
    for k in range(count):
        x = kit.any(-0.25, 0.25) * layout.width
        y = ((k + 0.5) / count - 0.5 + kit.any(-0.1, 0.1)) * layout.length
        drop, r = (
            (kit.any(0.02, 0.1), kit.any(0.12, 0.3)) if kit.chance(0.6) else (kit.any(0.3, 0.8), kit.any(0.1, 0.25))
        )
        drop = min(drop, layout.height - 1.9)
        z, rgb = layout.height - drop, _warm(rng, 0.22)
        glow = mat.make(
            rng, "plain", mat.colour(rng, (0.08, 0.16), (0, 0.2), (0.9, 1)), (1, 1), emission=kit.any(0.8, 5) * on
        )
        use = kit.use(glow)
        if drop > 0.2:
            layout.world.round(
                (x, y, layout.height - drop / 2), 0.006, drop, kit.use(mat.metal(rng)), kind=1, casts=False
            )
            shape = int(rng.choice([1, 2]))
            layout.world.round((x, y, z), r, r * 1.2, use, kind=shape, taper=kit.any(0.4, 1), casts=False)
        elif kit.chance(0.5):
            layout.world.box((x, y, z), (kit.any(0.3, 1.2), kit.any(0.15, 0.6), 0.06), use, casts=False)
        else:
            layout.world.round((x, y, z), r, 0.08, use, kind=1, casts=False)
        if on:
            power = kit.any(0.5, 1.6) * layout.height
            layout.lights.append(_light((x, y, z - 0.1), (r, 0, 0), (0, r, 0), (0, 0, 0), rgb * power))


def _window_light(layout: _Layout, place: tuple[_Wall, float, float, tuple[float, float]]) -> None:
    """The sky as an area light and, sometimes, the sun through the same opening."""
    kit, rng = layout.kit, layout.kit.rng
    wall, along, z, (w, h) = place
    if len(layout.lights) >= 3 or kit.chance(0.25):
        return
    x, y = wall.place(along, 0.04)
    c, s = math.cos(wall.yaw), math.sin(wall.yaw)
    inward = (s, -c, 0.0)
    u, v = (c * w / 2, s * w / 2, 0.0), (0.0, 0.0, h / 2)
    layout.lights.append(_light((x, y, z), u, v, inward, _warm(rng, 0.12)[::-1] * kit.any(0.8, 5.0) * w * h))
    if kit.chance(0.35) and len(layout.lights) < 4:
        high, turn = kit.any(0.25, 1.0), kit.any(-0.9, 0.9)
        out = (-(s * math.cos(turn) + c * math.sin(turn)), c * math.cos(turn) - s * math.sin(turn))
        sun = (out[0] * math.cos(high), out[1] * math.cos(high), math.sin(high))
        layout.lights.append(_light((x, y, z), u, v, inward, _warm(rng, 0.15) * kit.any(1.0, 6.0), sun))
