# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Ghosts of a person who has left, in rendered rooms: exact depth, the network's, and with one anchor.

A figure of 1.7 m stands 1.5-2.2 m before the camera of `drives_on_the_map.py`, then leaves, and three more images go
into the map. Counted over all rooms, in cells of 5 cm that were free before and are lethal while he is there: all of
them, and those at his place (within 0.1 m of what exact depth marks). Of both, what is still lethal after he left
(ghosts); of all, where the floor is truly free. And cells that were lethal before, truly occupied, and no longer are
(emptied). For the map of config/nav2.yaml and depth_node's defaults, and with one thing of them changed.

`python scripts/person_leaves.py [WEIGHTS] [ROOMS]` prints the table.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Any

import cv2
import numpy as np
import torch
from drives_on_the_map import CAMERA, DEPTHS, HEIGHT_M, PITCH_RAD, SETTINGS, Eye, Truth, costmap, start_and_goal
from numpy.typing import NDArray
from voxel_layer import VoxelLayer

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.scene import SceneRanges, pose_matrix, random_scene, render
from depthclip_ros.scene.furnishing.builder import Part, primitive_table
from depthclip_ros.scene.tracing.primitives import SPHERE


def with_person(scene: Any, x: float, y: float, yaw_rad: float) -> Any:
    """The scene with a figure: legs and trunk as boxes, a head."""
    material = 0
    parts = [
        Part((x, y, 0.42), (0.12, 0.2, 0.42), material, yaw=yaw_rad),
        Part((x, y, 1.12), (0.13, 0.25, 0.3), material + 1, yaw=yaw_rad),
        Part((x, y, 1.58), (0.11, 0.09, 0.13), material, SPHERE),
    ]
    return dataclasses.replace(scene, primitives=torch.cat([scene.primitives, primitive_table(parts)], 1))


WIDER = np.ones((5, 5), np.uint8)  # 0.1 m around
Masks = tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]


def with_marking(**changes: Any) -> dict[str, Any]:
    """The costmap with changes to what marks."""
    whole = costmap()
    mark = {**whole["voxel_layer"]["depth_mark"], **changes}
    return {**whole, "voxel_layer": {**whole["voxel_layer"], "depth_mark": mark}}


def one_cloud() -> dict[str, Any]:
    """The costmap with depth/points for both."""
    whole = with_marking(clearing=True, raytrace_max_range=6.0)
    layer = {**whole["voxel_layer"], "observation_sources": "depth_mark", "z_resolution": 0.1}
    return {**whole, "voxel_layer": layer}


def leave(parameters: dict[str, Any], clouds: list[Any]) -> Masks:
    """Lethal cells before he came, those that he marked, and lethal cells after he left."""
    layer = VoxelLayer(parameters)
    layer.update(*clouds[0])
    before = layer.lethal.copy()
    layer.update(*clouds[1])
    marked = layer.lethal & ~before
    for cloud in clouds[2:]:
        layer.update(*cloud)
    return before, marked, layer.lethal


def main(weights: str = "default", rooms: str = "20") -> None:
    """Print the table."""
    engine = DepthEngine.load(weights, runtime="auto", device="cpu")
    usual, surer = SETTINGS, dataclasses.replace(SETTINGS, cloud_clear_level=0.9)
    maps = {
        "config/nav2.yaml": (costmap(), usual),
        "clear_level 0.9": (costmap(), surer),
        "marking to 5 m": (with_marking(obstacle_max_range=5.0), usual),
        "depth/points clears": (with_marking(clearing=True, raytrace_max_range=6.0), usual),
        "one cloud for both": (one_cloud(), usual),
    }
    counts = {(kind, name): np.zeros(6, int) for kind in DEPTHS for name in maps}
    seed, done = 2000, 0
    while done < int(rooms):
        seed += 1
        scene = random_scene(seed, SceneRanges.preset("rooms"))
        truth, rng = Truth(scene, 0.05), np.random.default_rng(seed)
        found = start_and_goal(truth, rng)
        if found is None:
            continue
        at, ahead_m = found[0], float(rng.uniform(1.5, 2.2))
        yaw = math.atan2(*(found[1] - at)[::-1])
        there = at + ahead_m * np.array([math.cos(yaw), math.sin(yaw)])
        if truth.clearance(there[None])[0] < 0.35:
            continue
        pose = pose_matrix((float(at[0]), float(at[1]), HEIGHT_M), yaw, PITCH_RAD)
        seen = []
        for one in (scene, with_person(scene, *there, yaw)):
            image, depth = render(one, pose, CAMERA, seed=seed)
            seen.append((image.numpy(), depth.numpy(), pose.numpy().astype(np.float64)))
        for kind in DEPTHS:
            clouds = {}
            for settings in (usual, surer):
                eye = Eye(kind, engine, settings)
                clouds[settings.cloud_clear_level] = [eye.clouds_of(*seen[with_him]) for with_him in (0, 1, 0, 0, 0)]
            if kind == "exact":
                there_truly, his, _ = leave(costmap(), clouds[usual.cloud_clear_level])
                his = cv2.dilate(his.astype(np.uint8), WIDER) > 0
                free = free_floor(truth, his.shape)
            for name, (parameters, settings) in maps.items():
                before, marked, after = leave(parameters, clouds[settings.cloud_clear_level])
                ghosts, emptied = after & marked, before & ~after & there_truly
                masks = (marked & his, ghosts & his, marked, ghosts, ghosts & free, emptied)
                counts[kind, name] += [int(mask.sum()) for mask in masks]
        done += 1
    print("                                             at his place   everywhere             truly occupied")
    print("depth                    map                  marked ghosts  marked ghosts on floor  emptied")
    for (kind, name), numbers in counts.items():
        row = (f"{number:{width}d}" for number, width in zip(numbers, (6, 6, 7, 6, 8, 8), strict=True))
        print(f"{kind:24} {name:20}", *row)


def free_floor(truth: Truth, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Cells of the map whose middle is 5 cm or more from every thing and wall."""
    cells = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 2)
    resolution_m = costmap()["resolution"]
    middle_m = (cells + 0.5 - np.array(shape) / 2) * resolution_m
    return np.asarray(truth.clearance(middle_m).reshape(shape) >= 0.05)


if __name__ == "__main__":
    main(*sys.argv[1:3])
