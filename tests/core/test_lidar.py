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
    empty = kind(header, 2, 0, fields, True, 2**32 - 1, 0, padded[0, :0], False)
    assert cloud_points(empty).shape == (0, 3)
    signals = np.frombuffer(padded.tobytes(), np.uint8).copy()
    signals[:8] = list(b"\x7f\xf0\0\0\0\0\0\1")  # z of the first point: a NaN that signals
    assert len(cloud_points(kind(header, 2, 2, fields, True, 32, 70, signals, False))) == 2
    cloud.point_step = 27
    with pytest.raises(InputError, match="point_step is 27 bytes, and x, y and z need 28"):
        cloud_points(cloud)
    cloud.point_step = 32
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


def around(u, v, px):
    return [(u + px, v), (u - px, v), (u, v + px), (u, v - px)]


@pytest.mark.parametrize(("width_px", "reach_px"), [(400, 4), (100, 1)])
def test_a_point_hides_what_is_a_quarter_farther_within_a_hundredth_of_the_width(width_px, reach_px):
    """The window is a fiftieth of the width, an odd number of pixels, three at least."""
    camera = Intrinsics(100.0, 100.0, 50.0, 50.0, width_px, 100)

    def depth_m(*pixels_and_depths):
        u, v, z = np.array([(50, 50, 2.0), *pixels_and_depths], np.float64).T
        return sparse_depth(np.stack([(u - 50) / 100 * z, (v - 50) / 100 * z, z], axis=-1), camera)

    for u, v in around(50, 50, reach_px):
        assert depth_m((u, v, 2.5))[v, u] == 2.5
        assert depth_m((u, v, 2.6))[v, u] == 0
    for u, v in around(50, 50, reach_px + 1):
        assert depth_m((u, v, 9.0))[v, u] == 9.0
    assert depth_m((50, 50, 1.9))[50, 50] == np.float32(1.9), "of one pixel the nearest"


@pytest.mark.parametrize(
    ("width_px", "at", "first", "last"), [(400, 50.0, 43.5, 55.5), (40, 20.0, 18.5, 21.5)], ids=["4 px", "1 px"]
)
def test_of_points_alone_those_of_the_cells_around_are_hidden(width_px, at, first, last):
    """Cells of a hundredth of the width, of a pixel at least; the first one begins at -0.5."""
    camera = Intrinsics(100.0, 100.0, 20.0, 50.0, width_px, 300)

    def is_seen(u, v, depth_m):
        near, other = visible(np.array([[at, at], [u, v]]), np.array([2.0, depth_m]), camera)
        assert near
        return bool(other)

    for inside in (first + 0.1, last - 0.1):
        assert is_seen(inside, at, 2.5)
        assert is_seen(at, inside, 2.5)
        assert not is_seen(inside, at, 2.6)
        assert not is_seen(at, inside, 2.6)
    for beyond in (first - 0.1, last + 0.1):
        assert is_seen(beyond, at, 9.0)
        assert is_seen(at, beyond, 9.0)
    assert is_seen(width_px - 0.6, 299.4, 9.0), "the last pixel"
