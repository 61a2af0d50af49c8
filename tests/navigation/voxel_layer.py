# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A voxel layer that follows the rules of Nav2's, for tests: the numbers are those of a Nav2 parameter file.

Rules (docs.nav2.org, "Voxel Layer Parameters", and how its layer behaves):

- Of each source's cloud, in the costmap's frame, points that are NaN or outside the source's min_obstacle_height to
  max_obstacle_height are dropped, for marking and for clearing.
- All clearing sources are traced before any marking source marks.
- A ray is traced from the sensor to two cells before the point, within the map and raytrace_max_range. A sensor outside
  the map traces none. The way is Bresenham's, from the sensor's voxel to the end's, as the grid's raytraceLine has it:
  of voxels that it crosses at a corner it visits some. All voxels that it visits are emptied.
- A point marks its voxel where it lies in the map, not above the layer's max_obstacle_height, and between
  obstacle_min_range and obstacle_max_range of the sensor.
- A column with more than mark_threshold voxels is lethal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


class VoxelLayer:
    """The map of a robot that stands at (0, 0) of the costmap's frame.

    Attributes:
        voxels: bool [x, y, z].
    """

    def __init__(self, costmap: dict[str, Any]) -> None:
        """Make an empty map of `local_costmap`'s ros__parameters."""
        layer = costmap["voxel_layer"]
        self._layer = layer
        self.sources: dict[str, dict[str, Any]] = {name: layer[name] for name in layer["observation_sources"].split()}
        self._cell_m = np.array([costmap["resolution"]] * 2 + [layer["z_resolution"]])
        counts = np.round([costmap["width"] / self._cell_m[0], costmap["height"] / self._cell_m[0]]).astype(int)
        assert layer["z_voxels"] <= 16
        self.voxels = np.zeros((*counts, layer["z_voxels"]), bool)
        self._origin_m = np.array([-costmap["width"] / 2, -costmap["height"] / 2, layer["origin_z"]])
        self._end_m = self._origin_m + self.voxels.shape * self._cell_m

    @property
    def lethal(self) -> NDArray[np.bool_]:
        """Columns with an obstacle, [x, y]."""
        return self.voxels.sum(2) > self._layer["mark_threshold"]

    def update(self, clouds: dict[str, Points], sensor_m: Points) -> None:
        """One cycle: clear, then mark.

        Args:
            clouds: by topic, points [N, 3] in the costmap's frame.
            sensor_m: where the camera is, [3].
        """
        observed = {
            name: self._within_heights(clouds[source["topic"]], source) for name, source in self.sources.items()
        }
        for name, source in self.sources.items():
            if source["clearing"]:
                self._clear(observed[name], sensor_m, source)
        for name, source in self.sources.items():
            if source["marking"]:
                self._mark(observed[name], sensor_m, source)

    def _within_heights(self, points: Points, source: dict[str, Any]) -> Points:
        z = points[:, 2]
        return points[(z >= source["min_obstacle_height"]) & (z <= source["max_obstacle_height"])]  # false for NaN

    def _mark(self, points: Points, sensor_m: Points, source: dict[str, Any]) -> None:
        away_m = np.linalg.norm(points - sensor_m, axis=1)
        near = (away_m >= source["obstacle_min_range"]) & (away_m < source["obstacle_max_range"])
        points = points[near & (points[:, 2] <= self._layer["max_obstacle_height"])]
        points[:, 2] = np.maximum(points[:, 2], self._origin_m[2])
        cells = self._cells(points[self._inside(points)])
        self.voxels[tuple(cells.T)] = True

    def _clear(self, points: Points, sensor_m: Points, source: dict[str, Any]) -> None:
        if not self._inside(sensor_m[None])[0]:
            return
        rays = points - sensor_m
        length_m = np.linalg.norm(rays, axis=1)
        rays = rays[length_m > 0]
        length_m = length_m[length_m > 0]
        rays *= np.clip((length_m - 2 * self._cell_m[0]) / length_m, 0, 1)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):  # the share of each ray within the map
            walls = np.where(rays > 0, self._end_m - sensor_m, self._origin_m - sensor_m) / rays
        share = np.minimum(1, np.where(rays != 0, walls, np.inf).min(1)) - 1e-5
        start = (sensor_m - self._origin_m) / self._cell_m
        ends = start + rays * share[:, None] / self._cell_m
        away = np.maximum(np.linalg.norm(ends - start, axis=1), 1e-9)
        reach = np.minimum(1, source["raytrace_max_range"] / self._cell_m[0] / away)
        self._trace(start.astype(int), ends.astype(int), reach)

    def _trace(self, start: NDArray[np.int_], ends: NDArray[np.int_], reach: NDArray[np.float64]) -> None:
        """Empty what nav2_voxel_grid's bresenham3D visits: one voxel a step along each ray's longest axis, from the
        sensor's voxel to a share `reach` of the way to the voxel at the ray's end."""
        way = ends - start
        longest = np.abs(way).max(1)
        steps = (reach * longest).astype(int)
        rays, first = np.unique(np.concatenate([way, steps[:, None]], 1), axis=0, return_index=True)
        way, longest, steps = rays[:, :3], longest[first], rays[:, 3]
        for step in range(steps.max(initial=-1) + 1):
            on = steps >= step
            along = np.maximum(longest[on], 1)[:, None]
            gone = (along // 2 + step * np.abs(way[on])) // along
            self.voxels[tuple((start + np.sign(way[on]) * gone).T)] = False

    def _inside(self, points: Points) -> NDArray[np.bool_]:
        return np.asarray(((points >= self._origin_m) & (points < self._end_m)).all(1))

    def _cells(self, points: Points) -> NDArray[np.int_]:
        return np.floor((points - self._origin_m) / self._cell_m).astype(int)
