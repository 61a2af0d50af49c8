# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Collects primitives and materials of a scene; furniture is built in its own frame and then put into the room."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from depthclip_ros.scene.furnishing.materials import Material
from depthclip_ros.scene.tracing.primitives import (
    BOX,
    CASTS,
    CENTRE,
    FACES,
    HALF,
    KIND,
    MATERIAL,
    MATRIX,
    PRIMITIVE_ROWS,
    RADIUS,
    SPHERE,
    TAPER,
)

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """One primitive in some frame: angles in radians, `yaw` about z after `tilt` about x."""

    at: Point
    half: Point
    material: int
    kind: int = BOX
    yaw: float = 0.0
    tilt: float = 0.0
    taper: float = 1.0
    per_face: bool = False
    casts: bool = True


@dataclass
class Piece:
    """Something that is placed as a whole. Its frame: origin on the floor below its middle, its back towards +y.

    Attributes:
        width_m, depth_m, height_m: bounding box along x, y, z.
        parts: its primitives.
        focus: points that are worth a close look.
    """

    width_m: float = 0.0
    depth_m: float = 0.0
    height_m: float = 0.0
    parts: list[Part] = field(default_factory=list)
    focus: list[Point] = field(default_factory=list)

    def box(
        self, at: Point, size: Point, material: int, *, yaw: float = 0.0, tilt: float = 0.0, casts: bool = True
    ) -> None:
        """A box by its middle and full size."""
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        self.parts.append(Part(at, half, material, yaw=yaw, tilt=tilt, casts=casts))

    def round(
        self, at: Point, radius_m: float, height_m: float, material: int, *, kind: int, taper: float = 1.0,
        yaw: float = 0.0, tilt: float = 0.0, casts: bool = True,
    ) -> None:  # fmt: skip
        """A round shape by its middle, largest radius and full height."""
        half = (radius_m, radius_m, height_m / 2)
        self.parts.append(Part(at, half, material, kind, yaw, tilt, taper, casts=casts))

    def ellipsoid(self, at: Point, half: Point, material: int, *, yaw: float = 0.0, tilt: float = 0.0) -> None:
        """An ellipsoid by its middle and half axes."""
        self.parts.append(Part(at, half, material, SPHERE, yaw, tilt))

    def add(self, other: Piece, x: float, y: float, z: float = 0.0, yaw: float = 0.0) -> None:
        """Put another piece into this one's frame."""
        c, s = math.cos(yaw), math.sin(yaw)

        def moved(p: Point) -> Point:
            return (x + c * p[0] - s * p[1], y + s * p[0] + c * p[1], z + p[2])

        for part in other.parts:
            self.parts.append(
                Part(
                    moved(part.at),
                    part.half,
                    part.material,
                    part.kind,
                    part.yaw + yaw,
                    part.tilt,
                    part.taper,
                    part.per_face,
                    part.casts,
                )
            )
        self.focus.extend(moved(p) for p in other.focus)


class MaterialTable:
    """Materials of one scene, by index."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []

    def add(self, material: Material, size_m: tuple[float, float] | None = None) -> int:
        """Index of the new row; `size_m` is the face that a fitted pattern covers."""
        self.rows.append(material.row(size_m))
        return len(self.rows) - 1

    def tensor(self) -> torch.Tensor:
        """float32 [MATERIAL_ROWS, M]."""
        return torch.from_numpy(np.asarray(self.rows, np.float32).T.copy())


def primitive_table(parts: list[Part]) -> torch.Tensor:
    """float32 [PRIMITIVE_ROWS, P] of parts in the world frame."""
    count = len(parts)
    table = np.zeros((PRIMITIVE_ROWS, count), np.float64)
    half = np.array([p.half for p in parts], np.float64)  # [P, 3]
    yaw, tilt = np.array([p.yaw for p in parts]), np.array([p.tilt for p in parts])
    cy, sy, ct, st = np.cos(yaw), np.sin(yaw), np.cos(tilt), np.sin(tilt)
    zero = np.zeros(count)
    # columns of Rz(yaw) Rx(tilt) are the shape's axes in the world
    axes = np.array([[cy, sy, zero], [-sy * ct, cy * ct, st], [sy * st, -cy * st, ct]])  # [axis, xyz, P]
    table[MATRIX : MATRIX + 9] = (axes / half.T[:, None]).reshape(9, count)
    table[CENTRE : CENTRE + 3] = np.array([p.at for p in parts]).T
    table[HALF : HALF + 3] = half.T
    table[KIND] = [p.kind for p in parts]
    table[TAPER] = [p.taper for p in parts]
    table[MATERIAL] = [p.material for p in parts]
    table[FACES] = [p.per_face for p in parts]
    table[CASTS] = [p.casts for p in parts]
    table[RADIUS] = np.linalg.norm(half, axis=1)
    return torch.from_numpy(table.astype(np.float32))
