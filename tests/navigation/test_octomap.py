# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""OctoMap fed with the node's clouds: it marks what is there and clears what has left.

As octomap_server does: one cloud whose ends are marked and whose rays are cleared, and a largest range, beyond which a
ray clears and marks nothing. So of depth/points_clear it may have only what ends beyond it: where depth is +Inf.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pyoctomap = pytest.importorskip("pyoctomap", reason="needs pyoctomap (pip install pyoctomap)")

HERE = Path(__file__).parent
MOST_M = 5.0  # octomap_server's max_range; below cloud.clear_range


def _hall() -> Any:
    if "hall" not in sys.modules:
        spec = importlib.util.spec_from_file_location("hall", HERE / "hall.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules["hall"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["hall"])
    return sys.modules["hall"]


hall = _hall()
PLACES = {"hall": [hall.CRATE], "near wall": [hall.CRATE, hall.NEAR_WALL], "far wall": [hall.CRATE, hall.FAR_WALL]}


def show(tree: Any, boxes: list[Any], height_m: float, *, far: bool, times: int = 1) -> None:
    """Insert what the camera sees of boxes; `far`: with the rays of +Inf."""
    sensor_m = np.array([0.0, 0.0, height_m])
    clouds = hall.clouds(hall.exact_depth(boxes, height_m), height_m)
    ends = clouds["/depth/points"][::7]  # there are 300,000
    if far:
        rays = clouds["/depth/points_clear"]
        ends = np.concatenate([ends, rays[np.linalg.norm(rays - sensor_m, axis=1) > MOST_M]])
    ends = np.ascontiguousarray(ends[np.isfinite(ends).all(1)])
    for _ in range(times):
        tree.insertPointCloud(ends, sensor_m, max_range=MOST_M)


def occupied(tree: Any, box: Any) -> int:
    """Occupied voxels of a box, 0.1 m up from the floor, which is occupied too."""
    low, high = np.array(box[0]) + np.array([-0.05, -0.05, 0.15]), np.array(box[1]) + 0.05
    count = 0
    for x, y, z in np.stack(np.meshgrid(*map(np.arange, low, high, [0.1] * 3)), -1).reshape(-1, 3):
        node = tree.search([float(x), float(y), float(z)])
        count += node is not None and bool(tree.isNodeOccupied(node))
    return count


@pytest.mark.parametrize("height_m", [0.4, 1.2])
@pytest.mark.parametrize("place", PLACES)
def test_a_person_is_marked_and_is_cleared_when_he_has_left(place: str, height_m: float) -> None:
    tree = pyoctomap.OcTree(0.1)
    show(tree, [*PLACES[place], hall.PERSON], height_m, far=True)
    assert occupied(tree, hall.PERSON) > 20
    crate = occupied(tree, hall.CRATE)
    assert crate > 3
    show(tree, PLACES[place], height_m, far=True, times=4)
    assert occupied(tree, hall.PERSON) == 0
    assert occupied(tree, hall.CRATE) >= crate


def test_in_a_hall_points_alone_leave_him_there() -> None:
    tree = pyoctomap.OcTree(0.1)
    show(tree, [hall.CRATE, hall.PERSON], 1.2, far=False)
    marked = occupied(tree, hall.PERSON)
    show(tree, [hall.CRATE], 1.2, far=False, times=4)
    assert 0 < occupied(tree, hall.PERSON) <= marked
