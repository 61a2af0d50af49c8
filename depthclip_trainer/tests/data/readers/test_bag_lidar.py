from __future__ import annotations

import math

import numpy as np
import pytest
from depthclip_trainer.data.readers.bag import open_bag
from depthclip_trainer.data.readers.bag_lidar import cloud_points, sparse_depth
from depthclip_trainer.data.readers.bag_transforms import Transforms
from rosbags.typesys import Stores, get_typestore

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics

CAMERA = Intrinsics(100.0, 100.0, 79.5, 59.5, 160, 120)
# base (x forward, z up) → optical frame (z forward, y down), as a quaternion of the child in its parent
OPTICAL = (-0.5, 0.5, -0.5, 0.5)
STORE = get_typestore(Stores.ROS2_JAZZY)


def wall(x_m: float, y_m: float = 3.0, z_m: float = 2.0, step_m: float = 0.05) -> np.ndarray:
    """Points of a wall x_m ahead, [N, 3], in a frame with x forward and z up."""
    y, z = np.meshgrid(np.arange(-y_m, y_m, step_m), np.arange(-z_m, z_m, step_m))
    return np.stack([np.full(y.size, x_m), y.ravel(), z.ravel()], -1)


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


def transform(time_s: float, parent: str, child: str, xyz: tuple, quaternion: tuple = (0, 0, 0, 1)):
    t = STORE.types
    stamp = t["builtin_interfaces/msg/Time"](int(time_s), round(time_s % 1 * 1e9))
    moved = t["geometry_msgs/msg/Transform"](
        t["geometry_msgs/msg/Vector3"](*map(float, xyz)), t["geometry_msgs/msg/Quaternion"](*map(float, quaternion))
    )
    one = t["geometry_msgs/msg/TransformStamped"](t["std_msgs/msg/Header"](stamp, parent), child, moved)
    return t["tf2_msgs/msg/TFMessage"]([one])


def test_moving_transforms_are_interpolated_and_motion_is_taken_out():
    tree = Transforms()
    tree.add(transform(0, "base", "/lidar", (0, 0, 1)), is_static=True)
    tree.add(transform(0, "base", "camera", (0.5, 0, 0)), is_static=True)
    tree.add(transform(1, "odom", "base", (0, 0, 0)), is_static=False)
    quarter = (0, 0, math.sin(math.pi / 4), math.cos(math.pi / 4))
    tree.add(transform(2, "odom", "base", (2, 0, 0), quarter), is_static=False)
    np.testing.assert_allclose(tree.between("lidar", 10**9, "camera", 10**9) @ [1, 0, 0, 1], [0.5, 0, 1, 1])
    # half a second on, base is 1 m ahead, turned by 45 degrees
    found = tree.between("lidar", 10**9, "camera", 1_500_000_000) @ [1, 0, 0, 1]
    np.testing.assert_allclose(found, [-0.5, 0, 1, 1], atol=1e-9)
    found = tree.between("lidar", 10**9, "camera", 1_500_000_000) @ [2, 0, 0, 1]
    np.testing.assert_allclose(found, [math.sqrt(0.5) - 0.5, -math.sqrt(0.5), 1, 1], atol=1e-9)
    # before odom is known, the nearest common frame has to do
    np.testing.assert_allclose(tree.between("lidar", 0, "camera", 0) @ [1, 0, 0, 1], [0.5, 0, 1, 1])


def test_a_time_or_a_chain_that_is_not_there_is_named():
    tree = Transforms()
    tree.add(transform(1, "base", "arm", (0, 0, 0)), is_static=False)
    tree.add(transform(2, "base", "arm", (0, 0, 0)), is_static=False)
    tree.add(transform(0, "base", "camera", (0, 0, 0)), is_static=True)
    with pytest.raises(InputError, match=r"'arm' is known from 1\.000 to 2\.000 s, not at 3\.000 s"):
        tree.between("arm", 3 * 10**9, "camera", 3 * 10**9)
    with pytest.raises(InputError, match="no chain of transforms leads from 'lidar' to 'camera'"):
        tree.between("lidar", 0, "camera", 0)
    tree.add(transform(0, "camera", "base", (0, 0, 0)), is_static=True)
    with pytest.raises(InputError, match="in a circle"):
        tree.between("arm", 10**9, "camera", 10**9)


def test_a_bag_with_a_lidar_gives_the_depth_that_the_camera_sees(record):
    with record(storage="sqlite3") as bag:
        bag.transform(0.5, "base", "cam", (0.2, 0, 0.3), OPTICAL, "/tf_static")
        bag.transform(0.5, "base", "lidar", (0, 0, 1.0), (0, 0, 0, 1), "/tf_static")
        for i in range(5):
            bag.transform(1 + i * 0.1, "odom", "base", (i * 0.1, 0, 0), (0, 0, 0, 1))
        for i in range(4):
            bag.image(1 + i * 0.1, np.full((120, 160, 3), 100, np.uint8))
            bag.info(1 + i * 0.1, CAMERA)
            bag.cloud(1 + i * 0.1 + 0.05, wall(4.0 - 0.05 - i * 0.1))  # as the lidar sees it where it is by then
    frames = open_bag(bag.path)
    assert frames.topics.is_cloud
    for i, name in enumerate(frames.frame_names):
        sample = frames.read(name)
        assert 0.05 < sample.valid.mean() < 1
        np.testing.assert_allclose(sample.depth_m[sample.valid], 4.0 - 0.2 - i * 0.1, atol=1e-5)


def test_a_bag_without_the_transform_of_its_lidar_is_an_error(record):
    with record() as bag:
        bag.transform(0.5, "base", "cam", (0, 0, 0), OPTICAL, "/tf_static")
        bag.image(1.0, np.zeros((120, 160, 3), np.uint8))
        bag.info(1.0, CAMERA)
        bag.cloud(1.0, wall(4.0))
    with pytest.raises(InputError, match="no chain of transforms leads from 'lidar' to 'cam'"):
        open_bag(bag.path)
