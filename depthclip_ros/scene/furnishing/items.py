# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Small things at their real size: what lies on tables, shelves and floors. Frame: origin under the middle."""

from __future__ import annotations

import math
from collections.abc import Callable

from depthclip_ros.scene.furnishing import materials as mat
from depthclip_ros.scene.furnishing.builder import Piece
from depthclip_ros.scene.furnishing.kit import Kit, pick
from depthclip_ros.scene.furnishing.materials import Material
from depthclip_ros.scene.tracing.primitives import BOWL, ROUND, SPHERE, TUBE


def box(kit: Kit) -> Piece:
    """Carton, package: 6 to 35 cm, some with a label."""
    w, d, h = (float(v) for v in kit.rng.uniform(0.05, 0.32, 3))
    piece = Piece(w, d, h)
    kind = kit.rng.random()
    if kind < 0.4:
        material = mat.print_of(kit.rng, "label poster text")
    elif kind < 0.7:
        material = mat.make(
            kit.rng, "plain plaster", mat.colour(kit.rng, (0.06, 0.1), (0.3, 0.6), (0.4, 0.75)), (0.3, 1)
        )
    else:
        material = mat.plastic(kit.rng)
    piece.box((0, 0, h / 2), (w, d, h), kit.use(material, (w, h)))
    return piece


def can(kit: Kit) -> Piece:
    """Drink or food can, jar, spray."""
    r, h = kit.any(0.025, 0.05), kit.any(0.07, 0.2)
    piece = Piece(2 * r, 2 * r, h)
    label = mat.print_of(kit.rng, "label stripes text", specular=0.4, shininess=40.0)
    piece.round((0, 0, h / 2), r, h, kit.use(label, (2 * math.pi * r, h)), kind=ROUND)
    if kit.chance(0.5):
        piece.round((0, 0, h + 0.006), r * 0.95, 0.012, kit.use(mat.metal(kit.rng)), kind=ROUND)
    return piece


def bottle(kit: Kit) -> Piece:
    """Body, shoulder, neck, cap."""
    r, h = kit.any(0.03, 0.05), kit.any(0.2, 0.33)
    piece = Piece(2 * r, 2 * r, h)
    glass = kit.use(mat.plastic(kit.rng))
    body = h * 0.62
    piece.round((0, 0, body / 2), r, body, glass, kind=ROUND)
    piece.round((0, 0, body + 0.03), r, 0.06, glass, kind=ROUND, taper=0.35)
    piece.round((0, 0, (body + h) / 2), r * 0.35, h - body, glass, kind=ROUND)
    label = mat.print_of(kit.rng, "label")
    piece.round((0, 0, body * 0.5), r * 1.02, body * 0.45, kit.use(label, (2 * math.pi * r, body * 0.45)), kind=ROUND)
    piece.round((0, 0, h + 0.01), r * 0.38, 0.025, kit.use(mat.plastic(kit.rng)), kind=ROUND)
    return piece


def mug(kit: Kit) -> Piece:
    """Open cup with a handle."""
    r, h = kit.any(0.035, 0.05), kit.any(0.07, 0.12)
    piece = Piece(2.6 * r, 2 * r, h)
    china = kit.use(mat.plastic(kit.rng) if kit.chance(0.6) else mat.print_of(kit.rng, "label stripes dots"), (0.3, h))
    piece.round((0, 0, h / 2), r, h, china, kind=TUBE)
    for z in (0.3, 0.75):
        piece.box((r + 0.012, 0, h * z), (0.028, 0.012, 0.012), china)
    piece.box((r + 0.024, 0, h * 0.52), (0.012, 0.012, h * 0.5), china)
    return piece


def bowl(kit: Kit) -> Piece:
    """Open half sphere, sometimes with fruit."""
    r, h = kit.any(0.06, 0.16), kit.any(0.05, 0.1)
    piece = Piece(2 * r, 2 * r, h)
    piece.round((0, 0, h), r, 2 * h, kit.use(mat.plastic(kit.rng)), kind=BOWL)
    if kit.chance(0.5):
        fruit = kit.use(mat.plastic(kit.rng, mat.colour(kit.rng, (0.0, 0.3), (0.6, 0.95), (0.4, 0.9))))
        for _ in range(kit.rng.integers(1, 6)):
            q = kit.any(0.03, 0.045)
            a, s = kit.any(0, 6.28), kit.any(0, 0.5) * r
            piece.round((s * math.cos(a), s * math.sin(a), h * 0.55 + q), q, 2 * q, fruit, kind=SPHERE)
    return piece


def plate(kit: Kit) -> Piece:
    """A flat dish."""
    r = kit.any(0.09, 0.14)
    piece = Piece(2 * r, 2 * r, 0.03)
    piece.round((0, 0, 0.03), r, 0.06, kit.use(mat.plastic(kit.rng)), kind=BOWL)
    return piece


def books(kit: Kit) -> Piece:
    """A pile of books or one book."""
    count = int(kit.rng.integers(1, 6))
    piece = Piece(0.28, 0.28, 0.0)
    z = 0.0
    for _ in range(count):
        w, d, h = kit.any(0.11, 0.22), kit.any(0.17, 0.3), kit.any(0.008, 0.05)
        cover = mat.print_of(kit.rng, "poster label text plain", specular=0.1)
        yaw = kit.any(-0.4, 0.4)
        piece.box((0, 0, z + h / 2), (w, d, h), kit.use(cover, (w, d)), yaw=yaw)
        z += h
    piece.height_m = z
    return piece


def paper(kit: Kit) -> Piece:
    """A sheet or a magazine."""
    w, d = (0.21, 0.297) if kit.chance(0.7) else (kit.any(0.1, 0.4), kit.any(0.1, 0.4))
    piece = Piece(w, d, 0.004)
    sheet = mat.print_of(kit.rng, "text text poster plain")
    if kit.chance(0.6):
        ink, white = (
            mat.colour(kit.rng, (0, 1), (0, 0.3), (0.05, 0.3)),
            mat.colour(kit.rng, (0, 1), (0, 0.1), (0.85, 1)),
        )
        sheet = Material((white, ink, mat.any_colour(kit.rng)), sheet.pattern, (0.0, 0.0), (0.5, 0.5), grain=0.0)
    piece.box((0, 0, 0.002), (w, d, 0.004), kit.use(sheet, (w, d)), casts=False)
    return piece


def laptop(kit: Kit) -> Piece:
    """Open, its screen leaning back."""
    w, d = kit.any(0.29, 0.38), kit.any(0.2, 0.26)
    piece = Piece(w, d, d)
    shell = kit.use(mat.metal(kit.rng))
    piece.box((0, 0, 0.009), (w, d, 0.018), shell)
    keys = mat.print_of(kit.rng, "grid")
    piece.box((0, 0.02, 0.0185), (w * 0.9, d * 0.5, 0.002), kit.use(keys, (w * 0.9, d * 0.5)), casts=False)
    lean = kit.any(0.05, 0.5)
    y, z = d / 2 + math.sin(lean) * d / 2, 0.018 + math.cos(lean) * d / 2
    piece.box((0, y, z), (w, 0.008, d), shell, tilt=-lean)
    screen = mat.print_of(kit.rng, "screen", emission=kit.any(0.2, 1.2), specular=0.3, shininess=60.0)
    y, z = y - 0.005 * math.cos(lean), z + 0.005 * math.sin(lean)
    piece.box((0, y, z), (w * 0.94, 0.004, d * 0.9), kit.use(screen, (w * 0.94, d * 0.9)), tilt=-lean, casts=False)
    return piece


def monitor(kit: Kit) -> Piece:
    """A flat screen on its foot; also a small television."""
    w = kit.any(0.45, 0.75)
    h = w * 0.58
    piece = Piece(w, 0.2, h + 0.12)
    black = kit.use(mat.plastic(kit.rng, mat.colour(kit.rng, (0, 1), (0, 0.1), (0.03, 0.3))))
    piece.box((0, 0.02, 0.008), (w * 0.4, 0.18, 0.016), black)
    piece.box((0, 0.05, 0.1), (0.05, 0.03, 0.2), black)
    piece.box((0, 0.0, 0.1 + h / 2), (w, 0.035, h), black)
    screen = mat.print_of(kit.rng, "screen poster", emission=kit.any(0, 1.2), specular=0.3, shininess=60.0)
    piece.box((0, -0.019, 0.1 + h / 2), (w - 0.03, 0.004, h - 0.03), kit.use(screen, (w - 0.03, h - 0.03)), casts=False)
    return piece


def keyboard(kit: Kit) -> Piece:
    """Keyboard with its mouse."""
    piece = Piece(0.56, 0.16, 0.03)
    shell = kit.use(mat.plastic(kit.rng, mat.colour(kit.rng, (0, 1), (0, 0.1), (0.05, 0.9))))
    piece.box((-0.06, 0, 0.011), (0.43, 0.14, 0.022), shell)
    piece.box((-0.06, 0, 0.0225), (0.41, 0.12, 0.003), kit.use(mat.print_of(kit.rng, "grid"), (0.4, 0.12)), casts=False)
    piece.ellipsoid((0.24, 0, 0.01), (0.03, 0.05, 0.025), shell)
    return piece


def lamp(kit: Kit) -> Piece:
    """Table lamp with a shade that glows."""
    r, h = kit.any(0.08, 0.17), kit.any(0.25, 0.5)
    piece = Piece(2 * r, 2 * r, h)
    foot = kit.use(mat.metal(kit.rng))
    piece.round((0, 0, 0.012), r * 0.6, 0.024, foot, kind=ROUND)
    piece.round((0, 0, h * 0.35), 0.012, h * 0.7, foot, kind=ROUND)
    shade = mat.make(
        kit.rng, "plain folds", mat.colour(kit.rng, (0.05, 0.16), (0, 0.4), (0.6, 1)), (0.3, 0.5), contrast=0.1
    )
    shade = Material(
        shade.colours, shade.pattern, shade.period_m, shade.offset, emission=kit.any(0, 2.5) * kit.chance(0.6)
    )
    piece.round((0, 0, h * 0.78), r, h * 0.44, kit.use(shade), kind=ROUND, taper=kit.any(0.5, 0.95))
    return piece


def plant(kit: Kit) -> Piece:
    """A pot with leaves: ellipsoids and slats in greens."""
    r, h = kit.any(0.06, 0.13), kit.any(0.1, 0.2)
    tall = kit.any(0.12, 0.4)
    piece = Piece(2.6 * r, 2.6 * r, h + tall)
    piece.round((0, 0, h / 2), r, h, kit.use(mat.plastic(kit.rng)), kind=ROUND, tilt=math.pi, taper=kit.any(0.65, 0.95))
    green = mat.colour(kit.rng, (0.2, 0.38), (0.3, 0.8), (0.15, 0.6))
    leaves = kit.use(mat.make(kit.rng, "speckle carpet plaster", green, (0.1, 0.4), contrast=0.5))
    for _ in range(kit.rng.integers(5, 16)):
        a, s, z = kit.any(0, 6.28), kit.any(0, 1.2) * r, h + kit.any(0.1, 1) * tall
        half = (kit.any(0.01, 0.03), kit.any(0.03, 0.5) * r + 0.02, kit.any(0.2, 0.5) * tall)
        at = (s * math.cos(a), s * math.sin(a), z)
        piece.ellipsoid(at, half, leaves, yaw=a - math.pi / 2, tilt=-kit.any(0.1, 1.2))
    return piece


def ball(kit: Kit) -> Piece:
    """Ball, orange, ornament."""
    r = kit.any(0.025, 0.12)
    piece = Piece(2 * r, 2 * r, 2 * r)
    piece.round(
        (0, 0, r), r, 2 * r, kit.use(mat.fabric(kit.rng) if kit.chance(0.4) else mat.plastic(kit.rng)), kind=SPHERE
    )
    return piece


def basket(kit: Kit) -> Piece:
    """Bin or basket, open at the top."""
    r, h = kit.any(0.1, 0.2), kit.any(0.15, 0.4)
    piece = Piece(2 * r, 2 * r, h)
    weave = mat.make(kit.rng, "grid carpet stripes plain", mat.any_colour(kit.rng), (0.1, 0.4))
    piece.round((0, 0, h / 2), r, h, kit.use(weave), kind=TUBE, tilt=0.0, taper=kit.any(0.8, 1.0))
    return piece


def picture(kit: Kit) -> Piece:
    """A small framed picture or a clock that stands and leans a little."""
    w, h = kit.any(0.1, 0.25), kit.any(0.12, 0.3)
    piece = Piece(w, 0.08, h)
    lean = kit.any(0.05, 0.25)
    piece.box((0, 0, h / 2), (w, 0.015, h), kit.use(mat.wood(kit.rng)), tilt=-lean)
    front = kit.use(mat.print_of(kit.rng, "poster text outdoor"), (w * 0.85, h * 0.85))
    piece.box((0, -0.009, h / 2 - 0.002), (w * 0.85, 0.004, h * 0.85), front, tilt=-lean, casts=False)
    return piece


def shoes(kit: Kit) -> Piece:
    """A pair of shoes or slippers."""
    piece = Piece(0.24, 0.3, 0.1)
    leather = kit.use(mat.plastic(kit.rng))
    for x in (-0.06, 0.06):
        piece.box((x, 0, 0.02), (0.085, 0.27, 0.035), leather)
        piece.ellipsoid((x, -0.06, 0.04), (0.04, 0.07, 0.035), leather)
        piece.box((x, 0.07, 0.05), (0.075, 0.12, 0.07), leather)
    return piece


def bag(kit: Kit) -> Piece:
    """Backpack or cushion: a soft ellipsoid."""
    half = (kit.any(0.13, 0.25), kit.any(0.08, 0.16), kit.any(0.1, 0.22))
    piece = Piece(2 * half[0], 2 * half[1], 2 * half[2])
    piece.ellipsoid((0, 0, half[2]), half, kit.use(mat.fabric(kit.rng)))
    return piece


SMALL: tuple[tuple[Callable[[Kit], Piece], float], ...] = (
    (box, 3), (can, 2), (bottle, 1.5), (mug, 2), (bowl, 1.2), (plate, 1), (books, 2.5), (paper, 2), (laptop, 0.8),
    (keyboard, 0.6), (lamp, 0.5), (plant, 0.7), (ball, 1), (picture, 0.7), (monitor, 0.4), (basket, 0.3),
)  # fmt: skip
LOOSE: tuple[tuple[Callable[[Kit], Piece], float], ...] = (
    (box, 4), (basket, 2), (shoes, 2), (bag, 2), (ball, 2), (books, 1), (plant, 1), (paper, 0.6), (bottle, 0.6),
)  # fmt: skip


def scatter(
    kit: Kit, piece: Piece, centre: tuple[float, float, float], size: tuple[float, float], clear_m: float, per_m2: float
) -> None:
    """Put small things, none through another, on a horizontal surface of a piece.

    Args:
        kit: random stream and materials.
        piece: receives them.
        centre: middle of the surface, in the piece's frame.
        size: free extent along x and y, metres.
        clear_m: free height above; taller things are left out.
        per_m2: things per square metre.
    """
    taken: list[tuple[float, float, float]] = []
    piece.focus.append(centre)
    for _ in range(min(14, int(kit.rng.poisson(per_m2 * size[0] * size[1])))):
        thing = pick(kit, SMALL)(kit)
        reach = math.hypot(thing.width_m, thing.depth_m) / 2
        room_x, room_y = size[0] / 2 - reach * 0.8, size[1] / 2 - reach * 0.8
        if thing.height_m > clear_m - 0.02 or room_x <= 0 or room_y <= 0:
            continue
        x, y = kit.any(-room_x, room_x), kit.any(-room_y, room_y)
        if any(math.hypot(x - a, y - b) < reach * 0.9 + r for a, b, r in taken):
            continue
        taken.append((x, y, reach * 0.9))
        turn = kit.rng.normal(0, 0.25) if kit.chance(0.6) else kit.any(0, 6.28)
        piece.add(thing, centre[0] + x, centre[1] + y, centre[2], float(turn))
