# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Goals reached on the costmap of config/nav2.yaml in rendered rooms: exact depth, the network's, and with one anchor.

A round robot of 0.17 m (a TurtleBot 4's), for which 0.2 m are planned, with one camera (256x192, 60 degrees, 0.5 m
high, 8 degrees down) drives to a goal 2.5-5 m away that a way leads to with 0.25 m more to all that the map can mark
(0.2-2 m high). It knows nothing of the room but its own pose. Before each step of 0.2 m, or turn of 30 degrees, it
stands for 1.5 s, in which the anchor is heard: the floor (`ground`, of known height and attitude) at 5 Hz, or a range
beam at 10 Hz. Then an image goes into the map (`tests/navigation/voxel_layer.py`, marking and clearing as
config/nav2.yaml says), and the cheapest way is looked for; what is not marked is taken as free. Where there is none, it
turns on the spot, and after a whole turn empties its map, once, as Nav2's default recovery does. A drive is good where
the goal is reached and nothing between min_obstacle_height and the robot's top was touched.

`python scripts/drives_on_the_map.py [WEIGHTS] [DRIVES] [FIRST_SEED]` prints the table. Each drive is told on the error
stream with its seed: what was broken off goes on from the next one.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from depthclip_ros.core.anchors.estimator import ScaleEstimator, prior_sd_of
from depthclip_ros.core.anchors.ground import measure_ground
from depthclip_ros.core.anchors.measurement import Measurement, Prediction
from depthclip_ros.core.anchors.range_beam import INFRARED, measure_range
from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros.camera_node import robot
from depthclip_ros.ros.depth_node.frames import Frame, FrameDepth
from depthclip_ros.ros.depth_node.parameters.values import Settings, settings_from
from depthclip_ros.ros.depth_node.pipeline import FramePipeline
from depthclip_ros.scene import SceneRanges, pose_matrix, random_scene, render
from depthclip_ros.scene.camera import FreeSpace

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "navigation"))
from voxel_layer import VoxelLayer  # noqa: E402

CAMERA = Intrinsics.from_hfov(60.0, 256, 192)
HEIGHT_M, PITCH_RAD = 0.5, math.radians(-8)
TOP_M, RADIUS_M, PLANNED_M, SPARE_M, NEAR_GOAL_M = 0.6, 0.17, 0.2, 0.25, 0.25
STEP_M, TURN_RAD, STOP_S = 0.2, math.radians(30), 1.5
CELL_M, ROOM_M = 0.1, 12.0  # of the planner's grid, and a side of the map, which holds the room
MOST_STEPS = 100
# Rays and points as far apart as those of 640x480 at the defaults.
SETTINGS = settings_from({"cloud.color": False, "cloud.clear_stride": 2})
DEPTHS = ("exact", "network", "network, anchor ground", "network, anchor range")
Points = NDArray[np.float64]
Cell = tuple[int, int]


def costmap() -> dict[str, Any]:
    """Of config/nav2.yaml, but as large as the room."""
    layers = yaml.safe_load((REPOSITORY / "config" / "nav2.yaml").read_text())
    parameters: dict[str, Any] = layers["local_costmap"]["local_costmap"]["ros__parameters"]
    return {**parameters, "width": ROOM_M, "height": ROOM_M}


class Truth:
    """The room from above: what stands between two heights."""

    def __init__(self, scene: Any, lowest_m: float, highest_m: float = TOP_M) -> None:
        space = FreeSpace(scene)
        z, reach = space.centre[:, 2], space.reach[:, 2]
        hit = (z + reach > lowest_m) & (z - reach < highest_m)
        self._boxes = list(zip(space.centre[hit], space.half[hit], space.matrix[hit], strict=True))
        self._half_m = space.room[:2] / 2

    def clearance(self, at: Points) -> Points:
        """Metres from points [N, 2] to the nearest thing or wall, [N]; things by their boxes, at their own heights."""
        nearest = (self._half_m - np.abs(at)).min(1)
        for centre, half, matrix in self._boxes:
            points = np.concatenate([at, np.full((len(at), 1), centre[2])], 1)
            gap = np.maximum(np.abs((points - centre) @ matrix.T) - 1, 0) * half
            nearest = np.minimum(nearest, np.sqrt((gap * gap).sum(1)))
        return nearest


def way(gap_m: Points, margin_m: float, start: Cell, goal: Cell) -> list[Cell]:
    """Cells from `start` to `goal`, the cheapest with more than `margin_m` to spare (A*); empty where there is none."""
    _, region = cv2.connectedComponents((gap_m > margin_m).astype(np.uint8), connectivity=4)
    if not region[goal] or region[goal] != region[start]:
        return []
    cost, before = {start: 0.0}, {}
    queue = [(0.0, start)]
    while queue:
        _, cell = heapq.heappop(queue)
        if cell == goal:
            break
        x, y = cell
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            to = (x + dx, y + dy)
            if not (0 <= to[0] < gap_m.shape[0] and 0 <= to[1] < gap_m.shape[1]) or gap_m[to] <= margin_m:
                continue
            total = cost[cell] + math.hypot(dx, dy) * (1 + 0.1 / float(gap_m[to]))
            if total < cost.get(to, math.inf):
                cost[to], before[to] = total, cell
                heapq.heappush(queue, (total + math.hypot(goal[0] - to[0], goal[1] - to[1]), to))
    found = [goal]
    while found[-1] != start:
        found.append(before[found[-1]])
    return found[::-1]


def cell_of(at: Points) -> Cell:
    """Of the planner's grid."""
    x, y = np.floor((at + ROOM_M / 2) / CELL_M).astype(int)
    return int(x), int(y)


def middle_of(cell: Cell) -> Points:
    """Metres."""
    return (np.array(cell) + 0.5) * CELL_M - ROOM_M / 2


def start_and_goal(truth: Truth, rng: np.random.Generator) -> tuple[Points, Points] | None:
    """Two places with a way between them that has room to spare."""
    count = round(ROOM_M / CELL_M)
    cells = np.stack(np.meshgrid(*[np.arange(count)] * 2, indexing="ij"), -1).reshape(-1, 2)
    gap_m = truth.clearance((cells + 0.5) * CELL_M - ROOM_M / 2).reshape(count, count)
    free = [(int(x), int(y)) for x, y in np.argwhere(gap_m > PLANNED_M + SPARE_M)]
    for _ in range(200 if free else 0):
        start, goal = (free[int(rng.integers(len(free)))] for _ in range(2))
        away_m = math.hypot(start[0] - goal[0], start[1] - goal[1]) * CELL_M
        if 2.5 < away_m < 5.0 and way(gap_m, PLANNED_M + SPARE_M, start, goal):
            return middle_of(start), middle_of(goal)
    return None


class Eye:
    """Depth of one kind, image by image."""

    def __init__(self, kind: str, engine: DepthEngine, settings: Settings = SETTINGS) -> None:
        self._kind = kind
        self._settings = settings
        self._pipeline = FramePipeline(engine, settings)
        self._estimator = ScaleEstimator(prior_sd_of(engine.uncertainty))
        self._rng = np.random.default_rng(0)
        self._time_s = 0.0

    def clouds(self, scene: Any, at: Points, yaw_rad: float) -> tuple[dict[str, Points], Points]:
        """By topic, points [N, 3] in the room's frame, and where the camera is."""
        pose = pose_matrix((float(at[0]), float(at[1]), HEIGHT_M), yaw_rad, PITCH_RAD)
        image, depth = render(scene, pose, CAMERA, seed=int(self._time_s * 1000))
        return self.clouds_of(image.numpy(), depth.numpy(), pose.numpy().astype(np.float64))

    def clouds_of(
        self, rgb: NDArray[np.uint8], depth_m: NDArray[np.float32], matrix: Points
    ) -> tuple[dict[str, Points], Points]:
        """As `clouds`, of a picture with its exact depth, taken at a pose [4, 4]."""
        frame = Frame(rgb, CAMERA, None, False, 0.0, self._settings, stamp_s=self._time_s)
        if self._kind == "exact":
            seen_m = np.where(depth_m > SETTINGS.output_max_depth, np.inf, depth_m).astype(np.float32)
            result = FrameDepth(frame, seen_m, np.ones_like(seen_m), 1.0, {})
        else:
            if "anchor" in self._kind:
                self._learn(self._pipeline.infer(frame).depth_m, rgb, depth_m, matrix)
                frame = dataclasses.replace(frame, scale=self._estimator.estimate)
            result = self._pipeline.infer(frame, cloud=True, rays=True)
        self._time_s += STOP_S
        made = {"/depth/points": result.make_cloud(), "/depth/points_clear": result.make_clearing_cloud()}
        clouds = {}
        for topic, cloud in made.items():
            points = np.stack([cloud["x"], cloud["y"], cloud["z"]], -1).reshape(-1, 3).astype(np.float64)
            clouds[topic] = points @ matrix[:3, :3].T + matrix[:3, 3]
        return clouds, matrix[:3, 3]

    def _learn(self, predicted_m: NDArray[np.float32], rgb: Any, depth_m: Any, matrix: Points) -> None:
        """What the anchor says while the robot stands; a beam has 1 cm of noise."""
        prediction = Prediction(predicted_m, CAMERA)
        name, period_s = ("ground", 0.2) if "ground" in self._kind else ("range", 0.1)

        def measure() -> Measurement:
            if name == "ground":
                return measure_ground(prediction, HEIGHT_M, -matrix[2, :3])
            metres = robot.range_m(depth_m, CAMERA, self._rng)
            beam = {"field_of_view_rad": robot.BEAM_RAD, "radiation": INFRARED}
            return measure_range(prediction, metres, np.linalg.inv(robot.OPTICAL), **beam)

        for time_s in map(float, self._time_s + np.arange(0, STOP_S, period_s)):
            self._estimator.see(time_s, predicted_m, rgb)
            try:
                said = measure()
            except InputError as error:
                self._estimator.refuse(name, time_s, str(error))
            else:
                self._estimator.add(name, time_s, said)


def drive(scene: Any, truth: Truth, start: Points, goal: Points, eye: Eye) -> str:
    """How it ended: reached, touched, lost (no way, or out of steps)."""
    layer = VoxelLayer(costmap())
    at, yaw = start.copy(), math.atan2(*(goal - start)[::-1])
    turned, emptied = 0, False
    for _ in range(MOST_STEPS):
        if np.linalg.norm(goal - at) < NEAR_GOAL_M:
            return "reached"
        layer.update(*eye.clouds(scene, at, yaw))
        lethal = layer.lethal
        side = lethal.shape[0] // round(ROOM_M / CELL_M)
        coarse = lethal.reshape(lethal.shape[0] // side, side, lethal.shape[1] // side, side).any((1, 3))
        gap_m = cv2.distanceTransform((~coarse).astype(np.uint8), cv2.DIST_L2, 5) * CELL_M - CELL_M / 2
        gap_m[cell_of(at)] = np.inf  # where the robot stands is free
        found = way(gap_m, PLANNED_M, cell_of(at), cell_of(goal))
        if not found:
            yaw, turned = yaw + TURN_RAD, turned + 1
            if turned * TURN_RAD >= 2 * math.pi:
                if emptied:
                    return "lost"
                layer.voxels[:], turned, emptied = False, 0, True
            continue
        ahead = middle_of(found[min(3, len(found) - 1)]) if len(found) > 1 else goal  # about 0.3 m
        off = (math.atan2(*(ahead - at)[::-1]) - yaw + math.pi) % (2 * math.pi) - math.pi
        if abs(off) > TURN_RAD:
            yaw += math.copysign(TURN_RAD, off)
            continue
        yaw += off
        turned = 0
        length_m = min(STEP_M, float(np.linalg.norm(ahead - at)))
        steps = at + np.linspace(0, length_m, 5)[:, None] * np.array([math.cos(yaw), math.sin(yaw)])
        if (truth.clearance(steps) < RADIUS_M).any():
            return "touched"
        at = steps[-1]
    return "lost"


def main(weights: str = "default", drives: str = "50", first_seed: str = "1000") -> None:
    """Print how the drives ended, by kind of depth; each to the error stream as soon as it is known."""
    engine = DepthEngine.load(weights, runtime="auto", device="cpu")
    mark = costmap()["voxel_layer"]["depth_mark"]
    lowest_m, highest_m = mark["min_obstacle_height"], mark["max_obstacle_height"]
    ends: dict[str, list[str]] = {kind: [] for kind in DEPTHS}
    seed = int(first_seed) - 1
    while len(ends["exact"]) < int(drives):
        seed += 1
        scene = random_scene(seed, SceneRanges.preset("rooms"))
        truth = Truth(scene, lowest_m)
        found = start_and_goal(Truth(scene, lowest_m, highest_m), np.random.default_rng(seed))
        if found is None or max(scene.room_size_m[:2]) > ROOM_M - 0.2:
            continue
        for kind in DEPTHS:
            ends[kind].append(drive(scene, truth, *found, Eye(kind, engine)))
        print(seed, [ends[kind][-1] for kind in DEPTHS], file=sys.stderr, flush=True)
    print("depth                    reached  touched  lost")
    for kind, ended in ends.items():
        print(f"{kind:24} {ended.count('reached'):7d} {ended.count('touched'):8d} {ended.count('lost'):5d}")


if __name__ == "__main__":
    main(*sys.argv[1:4])
