# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Random rooms: a shell with windows and doors, furniture along the walls and in the open, lamps and sunlight."""

from __future__ import annotations

import math

import numpy as np
import torch

from depthclip_ros.scene.furnishing import furniture, items
from depthclip_ros.scene.furnishing import materials as mat
from depthclip_ros.scene.furnishing.builder import Piece, primitive_table
from depthclip_ros.scene.furnishing.kit import pick
from depthclip_ros.scene.furnishing.lights import lamps, warm, window_light
from depthclip_ros.scene.furnishing.shell import Layout, openings, partition, shell
from depthclip_ros.scene.ranges import SceneRanges
from depthclip_ros.scene.tracing.primitives import LIGHT_ROWS, Scene


def random_scene(seed: int, ranges: SceneRanges | None = None, device: str | torch.device = "cpu") -> Scene:
    """A random furnished room; the same seed and ranges give the same room.

    Args:
        seed: any integer.
        ranges: what is drawn from; the preset "mixed" if None.
        device: where its tensors lie.
    """
    rng = np.random.default_rng(seed % (1 << 63))
    ranges, preset = resolve(ranges or SceneRanges.preset("mixed"), rng)
    layout = Layout(rng, ranges)
    shell(layout)
    if layout.length > 5.5 and rng.random() < ranges.partition_share:
        partition(layout)
    windows = openings(layout)
    _furnish(layout)
    _decorate(layout)
    lamps(layout)
    for place in windows:
        window_light(layout, place)
    ambient = np.outer(warm(rng, 0.15), [1.0, float(rng.uniform(0.4, 0.9))]) * float(rng.uniform(0.08, 0.45))
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


def _furnish(layout: Layout) -> None:
    kit, rng, ranges = layout.kit, layout.kit.rng, layout.ranges
    clutter = kit.any(*ranges.surface_clutter_per_m2)
    tries = max(1, round(layout.width * layout.length * kit.any(*ranges.furniture_per_m2)))
    close = ranges.close_up_share > 0
    for k in range(tries):
        if k == 0 and close:
            choices = furniture.WITH_A_TOP
        else:
            choices = furniture.AT_WALL if kit.chance(0.62) else furniture.IN_THE_OPEN
        piece = pick(kit, choices)(kit, clutter)
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
        thing = pick(kit, items.LOOSE)(kit)
        x, y = kit.any(-0.48, 0.48) * layout.width, kit.any(-0.48, 0.48) * layout.length
        layout.put(thing, x, y, kit.any(0, 6.28))
    if kit.chance(0.4):
        w, d = kit.any(0.8, 2.5), kit.any(1.0, 3.0)
        rug = mat.print_of(rng, "rug rug stripes plaid carpet")
        x, y = kit.any(-0.25, 0.25) * layout.width, kit.any(-0.25, 0.25) * layout.length
        w, d = min(w, layout.width - 2 * abs(x)), min(d, layout.length - 2 * abs(y))
        layout.world.box((x, y, 0.004), (w, d, 0.008), kit.use(rug, (w, d)), casts=False)


def _seats(layout: Layout, table: Piece, x: float, y: float, yaw: float) -> None:
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


def _decorate(layout: Layout) -> None:
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
