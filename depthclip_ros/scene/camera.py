# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Where cameras stand: poses, and a random camera that sees something worth seeing."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthclip_ros.core.types import Intrinsics
from depthclip_ros.scene.ranges import PRESETS, SceneRanges
from depthclip_ros.scene.tracing.primitives import CENTRE, HALF, MATRIX, RADIUS, Scene, SceneBatch
from depthclip_ros.scene.tracing.trace import visible

_CLEAR_M = 0.12
_GRID = (12, 16)


def pose_matrix(at: tuple[float, float, float], yaw_rad: float, pitch_rad: float, roll_rad: float = 0.0) -> Tensor:
    """Camera-to-world float32 [4, 4] of an optical frame: z forward, x right, y down.

    Args:
        at: world position, metres.
        yaw_rad: heading about the world's z, 0 looks along x.
        pitch_rad: above the horizon; negative looks down.
        roll_rad: clockwise turn of the camera about its own axis.
    """
    cy, sy, cp, sp = math.cos(yaw_rad), math.sin(yaw_rad), math.cos(pitch_rad), math.sin(pitch_rad)
    forward = np.array([cp * cy, cp * sy, sp])
    right = np.array([sy, -cy, 0.0])
    down = np.cross(forward, right)
    cr, sr = math.cos(roll_rad), math.sin(roll_rad)
    pose = np.eye(4, dtype=np.float32)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = cr * right + sr * down, cr * down - sr * right, forward
    pose[:3, 3] = at
    return torch.from_numpy(pose)


class FreeSpace:
    """Distances from points to the things of a scene, in numpy."""

    def __init__(self, scene: Scene) -> None:
        table = scene.primitives.cpu().numpy().astype(np.float64)
        things = table[:, 1:][:, table[RADIUS, 1:] > 0]
        self.room = np.array(scene.room_size_m)
        self.centre, self.half = things[CENTRE : CENTRE + 3].T, things[HALF : HALF + 3].T
        self.matrix = things[MATRIX : MATRIX + 9].T.reshape(-1, 3, 3)  # world to unit
        self.reach = np.abs(self.matrix * (self.half**2)[:, :, None]).sum(1)  # half sizes along the world's axes

    def distance(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metres from each point [N, 3] to the nearest bounding box of a thing, or to the shell; 0 inside, [N]."""
        nearest = np.minimum((self.room[:2] / 2 - np.abs(points[:, :2])).min(1), points[:, 2])
        nearest = np.minimum(nearest, self.room[2] - points[:, 2])
        for centre, half, matrix in zip(self.centre, self.half, self.matrix, strict=True):
            gap = np.maximum(np.abs((points - centre) @ matrix.T) - 1, 0) * half
            nearest = np.minimum(nearest, np.sqrt((gap * gap).sum(1)))
        out: NDArray[np.float64] = np.maximum(nearest, 0)
        return out


def random_camera(
    scene: Scene, rng: np.random.Generator, ranges: SceneRanges, width_px: int, height_px: int
) -> tuple[Tensor, Intrinsics]:
    """A camera in free space that neither touches nor stares at something; the best of several tries."""
    if ranges.mix:
        ranges = PRESETS.get(scene.preset) or SceneRanges.preset("rooms")
    space = FreeSpace(scene)
    host = scene.to("cpu")
    enough = int(rng.integers(3, 16))
    best: tuple[float, Tensor, Intrinsics] | None = None
    for _ in range(24):
        hfov = float(rng.uniform(*ranges.hfov_deg))
        intrinsics = Intrinsics.from_hfov(hfov, width_px, height_px)
        close = len(scene.focus) > 0 and rng.random() < ranges.close_up_share
        pose = _close_up(host, rng, ranges) if close else _overview(host, rng, ranges)
        if space.distance(pose[None, :3, 3].numpy().astype(np.float64))[0] < _CLEAR_M:
            continue
        depth, things = _glance(host, pose, intrinsics)
        near, median = float(depth.min()), float(depth.median())
        wanted = (0.2, 1.8) if close else (1.1, 12.0)
        # how badly the picture misses what is wanted of it; 0 is good
        fault = max(0.0, ranges.nearest_m - near) * 4 + max(0.0, wanted[0] - median) + max(0.0, median - wanted[1])
        if not close:
            fault += max(0.0, 0.35 - float(depth.flatten().quantile(0.1)))
            # a blank wall teaches little; a few such pictures stay
            fault += 0.1 * max(0, enough - things)
        if best is None or fault < best[0]:
            best = (fault, pose, intrinsics)
        if fault == 0:
            break
    if best is None:  # a room so full that no try stood free: under the ceiling there is room
        pose = pose_matrix((0.0, 0.0, scene.room_size_m[2] - 0.3), float(rng.uniform(0, 6.28)), -0.5)
        best = (0.0, pose, Intrinsics.from_hfov(70.0, width_px, height_px))
    return best[1], best[2]


def _overview(scene: Scene, rng: np.random.Generator, ranges: SceneRanges) -> Tensor:
    w, length, h = scene.room_size_m
    z = min(float(rng.uniform(*ranges.camera_height_m)), h - 0.25)
    x, y = float(rng.uniform(-0.5, 0.5)) * (w - 0.4), float(rng.uniform(-0.5, 0.5)) * (length - 0.4)
    if rng.random() < 0.6:  # towards some place of the room, so that there is depth ahead
        to = (float(rng.uniform(-0.4, 0.4)) * w, float(rng.uniform(-0.4, 0.4)) * length)
        yaw = math.atan2(to[1] - y, to[0] - x)
    else:
        yaw = float(rng.uniform(-math.pi, math.pi))
    low, high = ranges.pitch_deg
    pitch = float(np.clip(rng.normal(-8 if z > 0.8 else -1, 9), low, high))
    return pose_matrix((x, y, z), yaw, math.radians(pitch), math.radians(_roll(rng, ranges)))


def _roll(rng: np.random.Generator, ranges: SceneRanges) -> float:
    low, high = ranges.roll_deg
    return float(np.clip(rng.normal((low + high) / 2, (high - low) / 5), low, high))


def _close_up(scene: Scene, rng: np.random.Generator, ranges: SceneRanges) -> Tensor:
    to = scene.focus[int(rng.integers(len(scene.focus)))].numpy() + rng.normal(0, 0.12, 3) * (1, 1, 0.3)
    distance = float(np.exp(rng.uniform(*np.log(ranges.close_up_distance_m))))
    pitch = math.radians(rng.uniform(*ranges.close_up_pitch_deg))
    yaw = float(rng.uniform(-math.pi, math.pi))
    back = distance * math.cos(pitch)
    at = (to[0] - back * math.cos(yaw), to[1] - back * math.sin(yaw), to[2] - distance * math.sin(pitch))
    aim = math.radians(float(rng.normal(0, 4)))
    return pose_matrix(at, yaw + aim, pitch + aim / 2, math.radians(_roll(rng, ranges)))


def _glance(scene: Scene, pose: Tensor, intrinsics: Intrinsics) -> tuple[Tensor, int]:
    """Depth on a grid of a few rays, 12x16, and how many different things they meet."""
    rows, columns = _GRID
    v = (torch.arange(rows) + 0.5) / rows * intrinsics.height_px - 0.5
    u = (torch.arange(columns) + 0.5) / columns * intrinsics.width_px - 0.5
    x, y = (u - intrinsics.cx_px) / intrinsics.fx_px, (v - intrinsics.cy_px) / intrinsics.fy_px
    rays = torch.stack([x.expand(rows, columns), y[:, None].expand(rows, columns)], 2)
    tiles = rays.reshape(rows // 4, 4, columns // 4, 4, 2).transpose(1, 2).reshape(1, -1, 16, 2)
    depth, which = visible(SceneBatch.stack([scene]), pose[None], tiles)
    return depth, len(set(which.flatten().tolist()))
