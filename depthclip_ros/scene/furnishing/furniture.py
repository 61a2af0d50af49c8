# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Furniture at its real size. Frame: origin on the floor below the middle, back towards +y, front towards -y."""

from __future__ import annotations

import math
from collections.abc import Callable

from depthclip_ros.scene.furnishing import materials as mat
from depthclip_ros.scene.furnishing.builder import Piece
from depthclip_ros.scene.furnishing.items import lamp, monitor, plant, scatter
from depthclip_ros.scene.furnishing.kit import Kit
from depthclip_ros.scene.furnishing.kitchen import fridge, kitchen
from depthclip_ros.scene.tracing.primitives import ROUND, TUBE


def _legs(kit: Kit, piece: Piece, width: float, depth: float, height: float, material: int) -> None:
    thick, inset = kit.any(0.025, 0.07), kit.any(0.02, 0.08)
    is_round = kit.chance(0.3)
    for sx in (-1, 1):
        for sy in (-1, 1):
            at = (sx * (width / 2 - inset), sy * (depth / 2 - inset), height / 2)
            if is_round:
                piece.round(at, thick / 2, height, material, kind=ROUND)
            else:
                piece.box(at, (thick, thick, height), material)


def table(kit: Kit, clutter: float) -> Piece:
    """Dining table or desk, 0.70-0.78 m high, square or round."""
    w, d, h = kit.any(0.7, 1.9), kit.any(0.6, 1.0), kit.any(0.70, 0.78)
    piece = Piece(w, d, h)
    top, leg = kit.use(mat.wood(kit.rng)), kit.use(mat.metal(kit.rng) if kit.chance(0.4) else mat.wood(kit.rng))
    thick = kit.any(0.018, 0.05)
    if kit.chance(0.2):
        r = d / 2 + 0.1
        piece.width_m = piece.depth_m = 2 * r
        piece.round((0, 0, h - thick / 2), r, thick, top, kind=ROUND)
        piece.round((0, 0, h / 2), 0.04, h - thick, leg, kind=ROUND)
        piece.round((0, 0, 0.015), r * 0.5, 0.03, leg, kind=ROUND)
        scatter(kit, piece, (0, 0, h), (1.3 * r, 1.3 * r), 1.0, clutter)
        return piece
    piece.box((0, 0, h - thick / 2), (w, d, thick), top)
    _legs(kit, piece, w, d, h - thick, leg)
    if kit.chance(0.3):
        cloth = mat.fabric(kit.rng)
        piece.box((0, 0, h + 0.002), (w * kit.any(0.3, 1), d * kit.any(0.5, 1), 0.004), kit.use(cloth), casts=False)
    scatter(kit, piece, (0, 0, h + 0.002), (w, d), 1.0, clutter)
    return piece


def chair(kit: Kit, clutter: float) -> Piece:
    """Seat at 0.42-0.48 m, back to 0.8-1.0 m; four legs or an office foot."""
    w, d, h = kit.any(0.38, 0.5), kit.any(0.38, 0.5), kit.any(0.42, 0.48)
    high = kit.any(0.8, 1.0)
    piece = Piece(w, d, high)
    frame = kit.use(mat.wood(kit.rng) if kit.chance(0.6) else mat.metal(kit.rng))
    seat = kit.use(mat.fabric(kit.rng)) if kit.chance(0.6) else frame
    thick = kit.any(0.02, 0.08)
    piece.box((0, 0, h - thick / 2), (w, d, thick), seat)
    if kit.chance(0.25):
        piece.round((0, 0, h / 2), 0.03, h, frame, kind=ROUND)
        for k in range(5):
            a = k * 1.2566
            piece.box((0.14 * math.cos(a), 0.14 * math.sin(a), 0.05), (0.28, 0.04, 0.03), frame, yaw=a)
    else:
        _legs(kit, piece, w, d, h - thick, frame)
    lean = -kit.any(0.0, 0.22)
    y, z = d / 2 - 0.015 - math.sin(lean) * (high - h) / 2, (h + high) / 2
    if kit.chance(0.35):
        for k in range(3):
            f = 0.25 + 0.3 * k
            at = (0.0, y - math.sin(lean) * (f - 0.5) * (high - h), h + f * (high - h))
            piece.box(at, (w, 0.02, 0.06), frame, tilt=lean)
        for sx in (-1, 1):
            piece.box((sx * (w / 2 - 0.02), y, z), (0.03, 0.03, high - h), frame, tilt=lean)
    else:
        piece.box((0, y, z), (w, kit.any(0.02, 0.06), high - h), seat, tilt=lean)
    return piece


def stool(kit: Kit, clutter: float) -> Piece:
    """Round stool or pouf."""
    r, h = kit.any(0.16, 0.28), kit.any(0.35, 0.7)
    piece = Piece(2 * r, 2 * r, h)
    if kit.chance(0.5):
        piece.round((0, 0, h / 2), r, h, kit.use(mat.fabric(kit.rng)), kind=ROUND)
    else:
        wood = kit.use(mat.wood(kit.rng))
        piece.round((0, 0, h - 0.02), r, 0.04, wood, kind=ROUND)
        _legs(kit, piece, 1.3 * r, 1.3 * r, h - 0.04, wood)
    return piece


def sofa(kit: Kit, clutter: float) -> Piece:
    """One to three seats at 0.42 m, arms, back, cushions."""
    seats = int(kit.rng.integers(1, 4))
    w, d = 0.3 + seats * kit.any(0.6, 0.75), kit.any(0.8, 1.0)
    piece = Piece(w, d, 0.85)
    cover = mat.fabric(kit.rng)
    cloth = kit.use(cover)
    arm, back = kit.any(0.1, 0.22), kit.any(0.15, 0.25)
    low = kit.any(0.0, 0.15)
    piece.box((0, 0, (low + 0.3) / 2), (w, d, 0.3 - low), cloth)
    if low > 0.03:
        _legs(kit, piece, w, d, low, kit.use(mat.wood(kit.rng)))
    for k in range(seats):
        x = (k - (seats - 1) / 2) * (w - 2 * arm) / seats
        piece.box((x, -back / 2, 0.37), ((w - 2 * arm) / seats - 0.01, d - back, 0.14), cloth)
        piece.box((x, d / 2 - back * 0.75, 0.6), ((w - 2 * arm) / seats - 0.02, back, 0.4), cloth, tilt=-0.12)
    piece.box((0, d / 2 - back / 4, 0.42), (w, back / 2, 0.75), cloth)
    for sx in (-1, 1):
        piece.box((sx * (w - arm) / 2, 0, 0.3), (arm, d, 0.6), cloth)
    for _ in range(kit.rng.integers(0, 3)):
        x = kit.any(-w / 2 + arm + 0.2, w / 2 - arm - 0.2) if seats > 1 else 0.0
        piece.box((x, 0.08, 0.6), (0.4, 0.12, 0.36), kit.use(mat.fabric(kit.rng)), tilt=-0.35, yaw=kit.any(-0.3, 0.3))
    return piece


def bed(kit: Kit, clutter: float) -> Piece:
    """Frame, mattress at 0.45-0.6 m, blanket, pillows, head board."""
    w, d, h = float(kit.rng.choice([0.9, 1.2, 1.4, 1.6, 1.8])), kit.any(1.95, 2.1), kit.any(0.4, 0.6)
    piece = Piece(w, d, 1.0)
    frame = kit.use(mat.wood(kit.rng))
    piece.box((0, 0, h * 0.35), (w, d, h * 0.3), frame)
    _legs(kit, piece, w, d, h * 0.3, frame)
    white = mat.colour(kit.rng, (0, 1), (0, 0.15), (0.7, 0.98))
    piece.box((0, -0.02, h * 0.75), (w - 0.04, d - 0.08, h * 0.5), kit.use(mat.fabric(kit.rng, white)))
    long = kit.any(0.55, 0.85)
    blanket = kit.use(mat.fabric(kit.rng))
    piece.box((0, -(1 - long) * d / 2, h * 0.86), (w + 0.03, d * long, h * 0.4), blanket)
    if kit.chance(0.8):
        high = kit.any(0.75, 1.15)
        piece.box((0, d / 2 - 0.02, high / 2), (w, 0.05, high), frame)
    for x in (0.0,) if w < 1.3 else (-w / 4, w / 4):
        pillow = kit.use(mat.fabric(kit.rng, white if kit.chance(0.6) else None))
        piece.ellipsoid((x, d / 2 - 0.28, h + 0.09), (0.33, 0.22, 0.1), pillow)
    return piece


def shelf(kit: Kit, clutter: float) -> Piece:
    """Open shelf with books and things on every board."""
    w, d, h = kit.any(0.5, 1.4), kit.any(0.22, 0.4), kit.any(0.8, 2.1)
    piece = Piece(w, d, h)
    wood = kit.use(mat.wood(kit.rng))
    boards = max(2, round(h / kit.any(0.28, 0.42)))
    gap = h / boards
    for sx in (-1, 1):
        piece.box((sx * (w / 2 - 0.01), 0, h / 2), (0.02, d, h), wood)
    if kit.chance(0.75):
        piece.box((0, d / 2 - 0.005, h / 2), (w, 0.01, h), wood)
    for k in range(boards + 1):
        z = max(0.01, k * gap - 0.01)
        piece.box((0, 0, z), (w - 0.04, d, 0.02), wood)
        if k == boards:
            scatter(kit, piece, (0, 0, h), (w, d), 0.4, clutter * 0.7)
        elif kit.chance(0.55):
            high = gap * kit.any(0.6, 0.88)
            wide = (w - 0.06) * kit.any(0.3, 1.0)
            side = kit.any(-1, 1) * (w - 0.06 - wide) / 2
            row = kit.use(mat.print_of(kit.rng, "books"), (wide, high))
            piece.box((side, 0.02, z + 0.01 + high / 2), (wide, d * 0.7, high), row)
            piece.focus.append((side, 0.0, z + high / 2))
        else:
            scatter(kit, piece, (0, 0, z + 0.01), (w - 0.06, d), gap - 0.03, clutter * 1.3)
    return piece


def cabinet(kit: Kit, clutter: float) -> Piece:
    """Sideboard, chest of drawers or wardrobe with panelled fronts."""
    tall = kit.chance(0.4)
    w, d = kit.any(0.45, 1.7), kit.any(0.35, 0.6)
    h = kit.any(1.7, 2.2) if tall else kit.any(0.45, 1.1)
    piece = Piece(w, d, h)
    body = mat.wood(kit.rng)
    piece.box((0, 0.01, h / 2), (w, d - 0.02, h), kit.use(body))
    front = mat.make(kit.rng, "panel", body.colours[0], (0.0, 0.0), contrast=0.5, specular=0.1)
    piece.box((0, -d / 2 + 0.01, h / 2 + 0.02), (w - 0.01, 0.02, h - 0.06), kit.use(front, (w, h - 0.06)))
    if not tall:
        scatter(kit, piece, (0, 0, h), (w, d), 0.9, clutter)
        if kit.chance(0.2) and w > 0.8:
            piece.add(monitor(kit), 0, 0, h)
    return piece


def low_table(kit: Kit, clutter: float) -> Piece:
    """Coffee or bedside table, 0.35-0.55 m."""
    w, d, h = kit.any(0.4, 1.2), kit.any(0.4, 0.7), kit.any(0.35, 0.55)
    piece = Piece(w, d, h)
    wood = kit.use(mat.wood(kit.rng))
    piece.box((0, 0, h - 0.02), (w, d, 0.04), wood)
    _legs(kit, piece, w, d, h - 0.04, wood)
    if kit.chance(0.4):
        piece.box((0, 0, h * 0.4), (w - 0.1, d - 0.1, 0.02), wood)
    scatter(kit, piece, (0, 0, h), (w, d), 0.8, clutter)
    if kit.chance(0.25):
        piece.add(lamp(kit), 0, 0, h)
    return piece


def floor_lamp(kit: Kit, clutter: float) -> Piece:
    """A standing lamp, 1.4-1.8 m."""
    h, r = kit.any(1.35, 1.8), kit.any(0.15, 0.25)
    piece = Piece(2 * r, 2 * r, h)
    pole = kit.use(mat.metal(kit.rng))
    piece.round((0, 0, 0.015), r * 0.7, 0.03, pole, kind=ROUND)
    piece.round((0, 0, h * 0.45), 0.015, h * 0.9, pole, kind=ROUND)
    cloth = mat.colour(kit.rng, (0.05, 0.16), (0, 0.4), (0.6, 1))
    shade = mat.make(
        kit.rng, "plain folds", cloth, (0.3, 0.6), contrast=0.1, emission=kit.any(0, 2.0) * kit.chance(0.5)
    )
    piece.round((0, 0, h - 0.13), r, 0.26, kit.use(shade), kind=ROUND, taper=kit.any(0.6, 1.0))
    return piece


def big_plant(kit: Kit, clutter: float) -> Piece:
    """A house plant of 0.5-1.6 m."""
    piece, scale = Piece(), kit.any(1.6, 3.2)
    small = plant(kit)
    for p in small.parts:
        at = (p.at[0] * scale, p.at[1] * scale, p.at[2] * scale)
        half = (p.half[0] * scale, p.half[1] * scale, p.half[2] * scale)
        piece.parts.append(type(p)(at, half, p.material, p.kind, p.yaw, p.tilt, p.taper))
    piece.width_m = piece.depth_m = small.width_m * scale
    piece.height_m = small.height_m * scale
    return piece


def stack(kit: Kit, clutter: float) -> Piece:
    """Removal boxes or crates on each other."""
    w, d = kit.any(0.3, 0.6), kit.any(0.3, 0.6)
    piece, z = Piece(w, d), 0.0
    card = mat.make(
        kit.rng, "label plain plaster", mat.colour(kit.rng, (0.05, 0.11), (0.2, 0.6), (0.4, 0.8)), (0.3, 0.6)
    )
    for _ in range(kit.rng.integers(1, 4)):
        h = kit.any(0.2, 0.5)
        piece.box(
            (0, 0, z + h / 2), (w * kit.any(0.75, 1), d * kit.any(0.75, 1), h), kit.use(card), yaw=kit.any(-0.1, 0.1)
        )
        z += h
    piece.height_m = z
    return piece


def bin_(kit: Kit, clutter: float) -> Piece:
    """A waste bin or laundry basket."""
    r, h = kit.any(0.13, 0.22), kit.any(0.3, 0.65)
    piece = Piece(2 * r, 2 * r, h)
    piece.round((0, 0, h / 2), r, h, kit.use(mat.plastic(kit.rng)), kind=TUBE, taper=kit.any(0.85, 1.0))
    return piece


Maker = Callable[[Kit, float], Piece]
AT_WALL: tuple[tuple[Maker, float], ...] = (
    (shelf, 2.2), (cabinet, 2.6), (sofa, 1.8), (bed, 1.3), (table, 1.2), (kitchen, 0.9), (fridge, 0.6),
    (low_table, 0.8), (chair, 1.0), (floor_lamp, 0.6), (big_plant, 0.8), (stack, 0.6), (bin_, 0.6),
)  # fmt: skip
IN_THE_OPEN: tuple[tuple[Maker, float], ...] = (
    (table, 3.0), (low_table, 2.0), (chair, 2.5), (stool, 1.2), (sofa, 0.8), (stack, 0.5), (big_plant, 0.3), (bed, 0.3),
)  # fmt: skip
WITH_A_TOP: tuple[tuple[Maker, float], ...] = (
    (table, 4.0),
    (shelf, 2.0),
    (low_table, 1.5),
    (cabinet, 1.0),
    (kitchen, 1.2),
)
