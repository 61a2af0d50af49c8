# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A robot's drive through a room: a smooth closed way that touches nothing, for the demo's camera."""

from __future__ import annotations

import heapq
import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from depthclip_ros.scene.camera import FreeSpace, pose_matrix
from depthclip_ros.scene.tracing.primitives import HALF, MATRIX, RADIUS, Scene

Points = NDArray[np.float64]
_CELL_M = 0.1
_STEP_M = 0.05
_AHEAD_M = 0.7
_SLOW_TURN_M = 0.4


class CameraPath:
    """A closed drive at constant speed: `pose(t)` equals `pose(t + period_s)`.

    Attributes:
        period_s: time of one lap.
        length_m: of one lap.
        speed_m_s: along the way.
        height_m: of the camera above the floor.
        clearance_m: from the camera to the nearest thing, at the narrowest place of the way.
    """

    def __init__(self, scene: Scene, seed: int, speed_m_s: float = 0.4) -> None:
        """Find a way.

        Args:
            scene: the room.
            seed: of the way and of the camera's height, 0.5-1.2 m.
            speed_m_s: along the way.
        """
        rng = np.random.default_rng((seed % (1 << 63), 2))
        self.height_m = float(rng.uniform(0.5, 1.2))
        self.speed_m_s = speed_m_s
        self._pitch = math.radians(float(rng.uniform(-12, -4)))
        plan = _Plan(scene, self.height_m)
        lap = _find_lap(plan, rng)
        self._at = _resample(lap, max(24, round(_length(lap) / _STEP_M)))
        self.length_m = _length(self._at)
        self.period_s = self.length_m / speed_m_s
        self.clearance_m = float(plan.clearance(self._at).min())
        self._heading = _look_ahead(self._at, self.length_m)

    def pose(self, t_s: float) -> Tensor:
        """Camera to world, float32 [4, 4], optical frame, at a time in seconds."""
        count = len(self._at)
        where = (t_s / self.period_s) % 1.0 * count
        k, part = int(where) % count, where - int(where)
        x, y = (1 - part) * self._at[k] + part * self._at[(k + 1) % count]
        yaw = (1 - part) * self._heading[k] + part * self._heading[k + 1]
        sway = math.radians(0.5) * math.sin(2 * math.pi * 5 * where / count)
        return pose_matrix((x, y, self.height_m), float(yaw), self._pitch + sway, 0.6 * sway)


def _length(lap: Points) -> float:
    return float(np.linalg.norm(np.roll(lap, -1, 0) - lap, axis=1).sum())


def _resample(lap: Points, count: int) -> Points:
    """Equal steps along a closed line [N, 2] -> [count, 2]."""
    closed = np.concatenate([lap, lap[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.arange(count) / count * along[-1]
    return np.stack([np.interp(at, along, closed[:, k]) for k in range(2)], 1)


class _Plan:
    """The scene seen from above, for a robot as high as its camera: footprints of what it could touch."""

    def __init__(self, scene: Scene, height: float) -> None:
        space = FreeSpace(scene)
        table = scene.primitives.cpu().numpy().astype(np.float64)
        table = table[:, 1:][:, table[RADIUS, 1:] > 0]
        reach = space.reach  # half of each thing's box along the world's axes
        z = space.centre[:, 2]
        # rugs and papers are driven on, lamps and lintels are driven under
        hit = (z + reach[:, 2] > 0.03) & (z - reach[:, 2] < height + 0.15)
        upright = table[MATRIX + 8] * table[HALF + 2] > 0.999
        axes = np.where(upright[:, None, None], space.matrix[:, :2, :2] * space.half[:, :2, None], np.eye(2))
        half = np.where(upright[:, None], space.half[:, :2], reach[:, :2])
        self.centre, self.axes, self.half = space.centre[hit, :2], axes[hit], half[hit]
        self.size = space.room[:2]

    def clearance(self, at: Points) -> Points:
        """Metres from points [N, 2] to the nearest footprint or wall; negative beyond a wall, 0 in a thing, [N]."""
        nearest: Points = (self.size / 2 - np.abs(at)).min(1)
        for centre, axes, half in zip(self.centre, self.axes, self.half, strict=True):
            away = at - centre
            gap = np.maximum(np.abs(away @ axes.T) - half, 0)
            nearest = np.minimum(nearest, np.hypot(gap[:, 0], gap[:, 1]))
        return nearest


def _find_lap(plan: _Plan, rng: np.random.Generator) -> Points:
    w, length = plan.size
    xs = np.arange(-w / 2 + _CELL_M / 2, w / 2, _CELL_M)
    ys = np.arange(-length / 2 + _CELL_M / 2, length / 2, _CELL_M)
    cells = np.stack(np.meshgrid(xs, ys, indexing="ij"), 2)
    gap = plan.clearance(cells.reshape(-1, 2)).reshape(len(xs), len(ys))
    centre = np.unravel_index(int(gap.argmax()), gap.shape)
    best = _circle(cells[centre], 0.6 * float(gap[centre]))
    for margin in (0.4, 0.3, 0.22):
        if gap[centre] < margin:
            continue
        for _ in range(4):
            lap = _tour(cells, gap, margin, (int(centre[0]), int(centre[1])), rng)
            if lap is None:
                continue
            lap = _relax(plan, lap, margin)
            fits = plan.clearance(_resample(lap, round(_length(lap) / 0.02) + 8)).min() > 0.6 * margin
            if fits and _length(lap) > max(4.0, _length(best)):
                best = lap
        if _length(best) > 4.0:
            break
    return best


def _circle(centre: Points, radius: float) -> Points:
    turn = np.arange(64) / 64 * 2 * np.pi
    return centre + max(radius, 0.05) * np.stack([np.cos(turn), np.sin(turn)], 1)


def _tour(cells: Points, gap: Points, margin: float, start: tuple[int, int], rng: np.random.Generator) -> Points | None:
    """A closed way over the grid by places far from each other, in the order of their angle."""
    reached = _flood(gap >= margin, start)
    if len(reached) < 30:
        return None
    spots = [reached[int(rng.integers(len(reached)))]]
    where = np.array(reached)
    far = np.full(len(reached), np.inf)
    for _ in range(int(rng.integers(4, 8))):
        far = np.minimum(far, np.hypot(*(where - spots[-1]).T))
        spots.append(reached[int((far * rng.uniform(0.8, 1.0, len(far))).argmax())])
    spots = spots[1:]
    middle = np.mean(spots, 0)
    spots.sort(key=lambda c: math.atan2(c[1] - middle[1], c[0] - middle[0]))
    lap: list[tuple[int, int]] = []
    used = np.zeros(gap.shape)
    for a, b in pairwise([*spots, spots[0]]):
        leg = _cheapest(gap, margin, used, a, b)
        for x, y in leg:  # the way back should differ from the way there
            used[max(0, x - 3) : x + 4, max(0, y - 3) : y + 4] = 2.0
        lap += leg[:-1]
    return np.array([cells[c] for c in lap]) if len(lap) > 20 else None


def _neighbours(cell: tuple[int, int], shape: tuple[int, ...]) -> list[tuple[int, int, float]]:
    x, y = cell
    return [
        (x + dx, y + dy, math.hypot(dx, dy))
        for dx in (-1, 0, 1)
        for dy in (-1, 0, 1)
        if (dx or dy) and 0 <= x + dx < shape[0] and 0 <= y + dy < shape[1]
    ]


def _flood(free: NDArray[np.bool_], start: tuple[int, int]) -> list[tuple[int, int]]:
    seen, queue = {start}, [start]
    for cell in queue:
        for x, y, _ in _neighbours(cell, free.shape):
            if free[x, y] and (x, y) not in seen:
                seen.add((x, y))
                queue.append((x, y))
    return queue


def _cheapest(
    gap: Points, margin: float, used: Points, start: tuple[int, int], goal: tuple[int, int]
) -> list[tuple[int, int]]:
    """Dijkstra over free cells; open space and unused cells are cheaper."""
    cost, before = {start: 0.0}, {start: start}
    queue = [(0.0, start)]
    while queue:
        so_far, cell = heapq.heappop(queue)
        if cell == goal:
            break
        if so_far > cost[cell]:
            continue
        for x, y, step in _neighbours(cell, gap.shape):
            if gap[x, y] < margin:
                continue
            total = so_far + step * (1 + 0.3 / float(gap[x, y]) + float(used[x, y]))
            if total < cost.get((x, y), math.inf):
                cost[x, y], before[x, y] = total, cell
                heapq.heappush(queue, (total, (x, y)))
    way = [goal]
    while way[-1] != start:
        way.append(before[way[-1]])
    return way[::-1]


def _relax(plan: _Plan, lap: Points, margin: float) -> Points:
    """Smooth the line; places that come too near to something stay where they were."""
    lap = _resample(lap, max(40, round(_length(lap) / 0.08)))
    for _ in range(60):
        smooth = 0.5 * lap + 0.25 * (np.roll(lap, 1, 0) + np.roll(lap, -1, 0))
        fits = plan.clearance(smooth) >= 0.8 * margin
        lap = np.where(fits[:, None], smooth, lap)
    return lap


def _look_ahead(at: Points, length: float) -> Points:
    """Headings [N] in radians, continuous over the lap, towards where the camera will be; slow to turn."""
    count = len(at)
    ahead = max(1, round(min(_AHEAD_M, length / 4) / length * count))
    look = np.roll(at, -ahead, 0) - at
    yaw = np.unwrap(np.arctan2(look[:, 1], look[:, 0]))
    lap = yaw[-1] + _turn(yaw[-1], yaw[0]) - yaw[0]  # whole turns of one lap
    reach = max(1, round(_SLOW_TURN_M / length * count))
    offset = np.arange(-3 * reach, 3 * reach + 1)
    kernel = np.exp(-0.5 * (offset / reach) ** 2)
    kernel /= kernel.sum()
    index = np.arange(count)[:, None] + offset
    smooth: Points = ((yaw[index % count] + lap * (index // count)) * kernel).sum(1)
    return np.append(smooth, smooth[0] + lap)


def _turn(a: float, b: float) -> float:
    """The short way from heading a to heading b."""
    return (b - a + math.pi) % (2 * math.pi) - math.pi
