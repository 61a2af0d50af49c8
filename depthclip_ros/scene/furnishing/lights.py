# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Where the light comes from: ceiling lamps, the sky in a window, the sun through it."""

from __future__ import annotations

import math

import numpy as np

from depthclip_ros.scene.furnishing import materials as mat
from depthclip_ros.scene.furnishing.materials import Rgb
from depthclip_ros.scene.furnishing.shell import Layout, Wall
from depthclip_ros.scene.tracing.primitives import ROUND, SPHERE


def warm(rng: np.random.Generator, spread: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A light's colour between warm and cold, mean 1."""
    t = rng.normal(0, spread)
    rgb = np.array([1 + t, 1 + rng.normal(0, 0.02), 1 - t]).clip(0.3)
    out: np.ndarray[tuple[int], np.dtype[np.float64]] = rgb / rgb.mean()
    return out


def _light(
    at: tuple[float, float, float], u: Rgb, v: Rgb, normal: Rgb, rgb: object, sun: Rgb = (0, 0, 0)
) -> list[float]:
    return [*at, *u, *v, *normal, *np.asarray(rgb, np.float64).tolist(), *sun]


def lamps(layout: Layout) -> None:
    """Ceiling lamps, all of them on."""
    kit, rng = layout.kit, layout.kit.rng
    count = round(kit.any(*layout.ranges.light_count))
    kit.chance(0.85)  # nothing depends on it but the draws that follow: rooms of a seed stay what they were
    for k in range(count):
        x = kit.any(-0.25, 0.25) * layout.width
        y = ((k + 0.5) / count - 0.5 + kit.any(-0.1, 0.1)) * layout.length
        drop, r = (
            (kit.any(0.02, 0.1), kit.any(0.12, 0.3)) if kit.chance(0.6) else (kit.any(0.3, 0.8), kit.any(0.1, 0.25))
        )
        drop = min(drop, layout.height - 1.9)
        z, rgb = layout.height - drop, warm(rng, 0.22)
        glow = mat.make(
            rng, "plain", mat.colour(rng, (0.08, 0.16), (0, 0.2), (0.9, 1)), (1, 1), emission=kit.any(0.8, 5)
        )
        use = kit.use(glow)
        if drop > 0.2:
            layout.world.round(
                (x, y, layout.height - drop / 2), 0.006, drop, kit.use(mat.metal(rng)), kind=ROUND, casts=False
            )
            shape = int(rng.choice([ROUND, SPHERE]))
            layout.world.round((x, y, z), r, r * 1.2, use, kind=shape, taper=kit.any(0.4, 1), casts=False)
        elif kit.chance(0.5):
            layout.world.box((x, y, z), (kit.any(0.3, 1.2), kit.any(0.15, 0.6), 0.06), use, casts=False)
        else:
            layout.world.round((x, y, z), r, 0.08, use, kind=ROUND, casts=False)
        power = kit.any(0.5, 1.6) * layout.height
        layout.lights.append(_light((x, y, z - 0.1), (r, 0, 0), (0, r, 0), (0, 0, 0), rgb * power))


def window_light(layout: Layout, place: tuple[Wall, float, float, tuple[float, float]]) -> None:
    """The sky as an area light and, sometimes, the sun through the same opening."""
    kit, rng = layout.kit, layout.kit.rng
    wall, along, z, (w, h) = place
    if len(layout.lights) >= 3 or kit.chance(0.25):
        return
    x, y = wall.place(along, 0.04)
    c, s = math.cos(wall.yaw), math.sin(wall.yaw)
    inward = (s, -c, 0.0)
    u, v = (c * w / 2, s * w / 2, 0.0), (0.0, 0.0, h / 2)
    layout.lights.append(_light((x, y, z), u, v, inward, warm(rng, 0.12)[::-1] * kit.any(0.8, 5.0) * w * h))
    if kit.chance(0.35) and len(layout.lights) < 4:
        high, turn = kit.any(0.25, 1.0), kit.any(-0.9, 0.9)
        out = (-(s * math.cos(turn) + c * math.sin(turn)), c * math.cos(turn) - s * math.sin(turn))
        sun = (out[0] * math.cos(high), out[1] * math.cos(high), math.sin(high))
        layout.lights.append(_light((x, y, z), u, v, inward, warm(rng, 0.15) * kit.any(1.0, 6.0), sun))
