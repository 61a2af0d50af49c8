# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Ghosts of a person who has left, in rendered rooms: exact depth, the network's, and with one anchor.

A figure of 1.7 m stands 1.5-2.2 m before the camera of `drives_on_the_map.py`, then leaves, and three more images go
into the map. Counted over all rooms, in cells of 5 cm: what he marked; of these what is still lethal (ghosts); and
cells of the room that were lethal before and no longer are (emptied). For the map of config/nav2.yaml, the same with
`uncertainty.level: 0.5`, the same where depth/points clears too, and what it was before there were two clouds.

`python scripts/person_leaves.py [WEIGHTS] [ROOMS]` prints the table.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Any

import numpy as np
import torch
from drives_on_the_map import CAMERA, DEPTHS, HEIGHT_M, PITCH_RAD, SETTINGS, Eye, Truth, costmap, start_and_goal
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


def both_clear() -> dict[str, Any]:
    """The costmap with depth/points clearing too, up to its points."""
    whole = costmap()
    mark = {**whole["voxel_layer"]["depth_mark"], "clearing": True, "raytrace_max_range": 6.0}
    return {**whole, "voxel_layer": {**whole["voxel_layer"], "depth_mark": mark}}


def one_cloud() -> dict[str, Any]:
    """The costmap with depth/points for both."""
    whole = costmap()
    layer = {**whole["voxel_layer"], "observation_sources": "depth_mark", "z_resolution": 0.1}
    layer["depth_mark"] = {**layer["depth_mark"], "clearing": True, "raytrace_max_range": 6.0}
    return {**whole, "voxel_layer": layer}


def main(weights: str = "default", rooms: str = "20") -> None:
    """Print the table."""
    engine = DepthEngine.load(weights, runtime="auto", device="cpu")
    half = dataclasses.replace(SETTINGS, uncertainty_level=0.5)
    maps = {
        "two clouds": (costmap(), SETTINGS),
        "two, level 0.5": (costmap(), half),
        "two, both clear": (both_clear(), SETTINGS),
        "one for both": (one_cloud(), SETTINGS),
    }
    counts = {(kind, name): np.zeros(3, int) for kind in DEPTHS for name in maps}
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
            for name, (parameters, settings) in maps.items():
                eye = Eye(kind, engine, settings)
                clouds = [eye.clouds_of(*seen[with_him]) for with_him in (0, 1, 0, 0, 0)]
                layer = VoxelLayer(parameters)
                layer.update(*clouds[0])
                before = layer.lethal.copy()
                layer.update(*clouds[1])
                marked = layer.lethal & ~before
                for cloud in clouds[2:]:
                    layer.update(*cloud)
                ghosts, emptied = layer.lethal & marked, before & ~layer.lethal
                counts[kind, name] += [marked.sum(), ghosts.sum(), emptied.sum()]
        done += 1
    print("depth                    map                  marked  ghosts  emptied")
    for (kind, name), (marked, ghosts, emptied) in counts.items():
        print(f"{kind:24} {name:20} {marked:6d} {ghosts:7d} {emptied:8d}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
