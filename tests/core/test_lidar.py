# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.lidar import cloud_points, sparse_depth, visible
from depthclip_ros.core.types import Intrinsics

CAMERA = Intrinsics(100.0, 100.0, 79.5, 59.5, 160, 120)
STORE = get_typestore(Stores.ROS2_JAZZY)


def test_points_become_depth_of_their_pixel():
    depth_m = sparse_depth(np.array([[0.0, 0.0, 2.0], [1.0, 0.5, 4.0], [0, 0, -1], [9, 0, 1.0]]), CAMERA)
    assert np.count_nonzero(depth_m) == 2
    assert depth_m[60, 80] == 2.0  # 79.5, 59.5 rounds to even
    assert depth_m[72, 104] == 4.0


def test_what_stands_behind_something_near_does_not_count():
    far = np.stack(
        [
            *(g.ravel() for g in np.meshgrid(np.linspace(-3, 3, 120), np.linspace(-2, 2, 90))),
        ],
        -1,
    )
    far = np.column_stack([far, np.full(len(far), 5.0)])
    near = np.stack([g.ravel() for g in np.meshgrid(np.linspace(-0.4, 0.4, 40), np.linspace(-0.4, 0.4, 40))], -1)
    near = np.column_stack([near, np.full(len(near), 2.0)])
    depth_m = sparse_depth(np.concatenate([far, near]), CAMERA)
    box = depth_m[45:75, 65:95]  # well inside what the near plate covers
    assert set(np.unique(box)) <= {0.0, 2.0}
    assert (box == 2.0).sum() > 500
    assert 5.0 in depth_m[:, :40]


def test_a_floor_at_a_slant_is_kept():
    x, z = np.meshgrid(np.linspace(-2, 2, 200), np.linspace(1.5, 6, 300))
    floor = np.stack([x.ravel(), np.full(x.size, 1.0), z.ravel()], -1)
    depth_m = sparse_depth(floor, CAMERA)
    rows, _ = np.nonzero(depth_m)
    expected = 100.0 * 1.0 / (rows - 59.5)
    np.testing.assert_allclose(depth_m[depth_m > 0], expected, rtol=0.06)
    assert depth_m.max() > 5.5


def test_points_of_any_layout_are_read_and_a_cloud_without_z_is_refused():
    field, kind = STORE.types["sensor_msgs/msg/PointField"], STORE.types["sensor_msgs/msg/PointCloud2"]
    header = STORE.types["std_msgs/msg/Header"](STORE.types["builtin_interfaces/msg/Time"](0, 0), "lidar")
    layout = np.dtype({"names": list("zyx"), "formats": [">f8"] * 3, "offsets": [0, 8, 20], "itemsize": 32})
    rows = np.zeros((2, 2), layout)
    rows["x"], rows["y"], rows["z"] = [[1, 2], [3, np.nan]], 5, 6
    padded = np.zeros((2, 70), np.uint8)
    padded[:, :64] = rows.view(np.uint8).reshape(2, 64)
    fields = [field(name, offset, 8, 1) for name, offset in (("z", 0), ("y", 8), ("x", 20))]
    cloud = kind(header, 2, 2, fields, True, 32, 70, padded.reshape(-1), False)
    np.testing.assert_array_equal(cloud_points(cloud), [[1, 5, 6], [2, 5, 6], [3, 5, 6]])
    cloud.fields = fields[1:]
    with pytest.raises(InputError, match="it needs x, y and z"):
        cloud_points(cloud)


def test_points_without_an_image_of_them_are_judged_alike():
    rng = np.random.default_rng(0)
    pixels = rng.random((3000, 2)) * (159, 119)
    near = (np.abs(pixels - (80, 60)) < (20, 15)).all(axis=1)
    depth_m = np.where(near & (rng.random(3000) < 0.5), 2.0, 5.0)
    seen = visible(pixels, depth_m, CAMERA)
    assert seen[depth_m == 2].all()
    inner = (np.abs(pixels - (80, 60)) < (15, 10)).all(axis=1)
    assert seen[inner & (depth_m == 5)].mean() < 0.25  # half of the points there are too few for each cell
    assert seen[(np.abs(pixels - (80, 60)) > (30, 25)).any(axis=1)].all()
    v = rng.random(500) * 90 + 25  # a floor, as test_a_floor_at_a_slant_is_kept
    floor = np.stack([rng.random(500) * 159, v], axis=-1)
    assert visible(floor, 100.0 / v, CAMERA).mean() > 0.95
