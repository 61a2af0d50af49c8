# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The costmap of config/nav2.yaml when somebody who stood before the robot has gone."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

HERE = Path(__file__).parent
CONFIG = HERE.parents[1] / "config" / "nav2.yaml"
HEIGHTS_M = (0.2, 0.4, 1.2, 1.7)


def _beside(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hall, voxel_layer = _beside("hall"), _beside("voxel_layer")
PLACES = {"hall": [hall.CRATE], "near wall": [hall.CRATE, hall.NEAR_WALL], "far wall": [hall.CRATE, hall.FAR_WALL]}


@pytest.fixture
def costmap() -> dict[str, Any]:
    parameters = yaml.safe_load(CONFIG.read_text())["local_costmap"]["local_costmap"]["ros__parameters"]
    return copy.deepcopy(parameters)


def leave(
    costmap: dict[str, Any], place: str, height_m: float, half_width: float | None = None
) -> tuple[int, int, int]:
    """A person stands and leaves: cells that he marked, his ghosts, and cells of what stays that were emptied."""
    layers = {name: voxel_layer.VoxelLayer(costmap) for name in ("seen", "never there")}
    sensor_m = np.array([0.0, 0.0, height_m])

    def show(layer: Any, boxes: list[Any], times: int) -> None:
        depth_m = hall.exact_depth(boxes, height_m)
        wide = None if half_width is None else np.full_like(depth_m, half_width)
        clouds = hall.clouds(depth_m, height_m, wide)
        for _ in range(times):
            layer.update(clouds, sensor_m)

    show(layers["never there"], PLACES[place], 1)
    show(layers["seen"], PLACES[place], 1)
    show(layers["seen"], [*PLACES[place], hall.PERSON], 1)
    there = layers["never there"].lethal
    person = layers["seen"].lethal & ~there
    show(layers["seen"], PLACES[place], 3)
    left = layers["seen"].lethal
    return int(person.sum()), int((left & ~there).sum()), int((there & ~left).sum())


@pytest.mark.parametrize("height_m", HEIGHTS_M)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("half_width", [None, 0.2])
def test_no_ghost_stays_and_nothing_that_is_there_goes(
    costmap: dict[str, Any], place: str, height_m: float, half_width: float | None
) -> None:
    marked, ghosts, emptied = leave(costmap, place, height_m, half_width)
    assert marked >= 10
    assert (ghosts, emptied) == (0, 0)


@pytest.mark.parametrize("place", PLACES)
def test_one_source_for_both_leaves_ghosts(costmap: dict[str, Any], place: str) -> None:
    """What the file was before: marks and clears with depth/points."""
    layer = costmap["voxel_layer"]
    layer.update(observation_sources="depth_mark", z_resolution=0.1)
    layer["depth_mark"].update(clearing=True, raytrace_max_range=6.0, raytrace_min_range=0.0)
    marked, ghosts, _ = leave(costmap, place, 1.2)
    assert ghosts == marked >= 10


def test_a_drop_off_is_not_marked(costmap: dict[str, Any]) -> None:
    """The floor ends 1.5 m ahead and goes on 1 m lower: docs/navigation.md says that the map does not know."""
    layer = voxel_layer.VoxelLayer(costmap)
    floor_m, lower_m = hall.exact_depth([], 0.4), hall.exact_depth([], 1.4)
    layer.update(hall.clouds(np.where(floor_m < 1.5, floor_m, lower_m), 0.4), np.array([0.0, 0.0, 0.4]))
    assert not layer.lethal.any()


def test_the_file_agrees_with_itself_and_with_the_node(costmap: dict[str, Any]) -> None:
    layer = costmap["voxel_layer"]
    mark, clear = layer["depth_mark"], layer["depth_clear"]
    assert layer["origin_z"] + layer["z_voxels"] * layer["z_resolution"] >= layer["max_obstacle_height"]
    assert layer["max_obstacle_height"] >= mark["max_obstacle_height"] > mark["min_obstacle_height"] > 0
    assert (mark["marking"], mark["clearing"], clear["marking"], clear["clearing"]) == (True, False, False, True)
    assert clear["raytrace_max_range"] > mark["obstacle_max_range"]
    assert hall.settings_from({}).cloud_clear_range > mark["obstacle_max_range"]
    assert max(HEIGHTS_M) < layer["z_voxels"] * layer["z_resolution"]  # a sensor above the map clears nothing
    stvl = costmap["stvl_layer"]
    assert stvl["depth_clear"]["max_z"] > stvl["depth_mark"]["obstacle_range"]
    assert "inf_is_valid" not in mark
