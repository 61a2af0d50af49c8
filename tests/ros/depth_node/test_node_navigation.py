# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What depth_node offers to navigation, over DDS: rays to clear along, a scan, what OctoMap makes of its clouds."""

from __future__ import annotations

import numpy as np
import pytest

ROWS = np.linspace(0, 119, 31).round().astype(int)  # of the rays: at most 4 apart, the first and the last among them
COLUMNS = np.linspace(0, 159, 41).round().astype(int)
RAYS = np.ix_(ROWS, COLUMNS)


@pytest.fixture(scope="module")
def live(start_node, camera):
    """A running node and the camera that feeds it; the farther half of the picture is +Inf."""
    node = start_node("/navigation")
    eye = camera("/navigation")
    eye.node = node
    return eye


def _say_where_the_camera_is(client) -> None:
    """0.3 m before the robot's middle and 0.4 m above the floor; it looks to the robot's left."""
    from geometry_msgs.msg import TransformStamped
    from rclpy.qos import DurabilityPolicy, QoSProfile

    from tf2_msgs.msg import TFMessage

    one = TransformStamped(child_frame_id="camera_optical_frame")
    one.header.frame_id = "base_footprint"
    translation, rotation = one.transform.translation, one.transform.rotation
    translation.x, translation.z = 0.3, 0.4
    rotation.x, rotation.w = -(0.5**0.5), 0.5**0.5
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    client.node.create_publisher(TFMessage, "/tf_static", qos).publish(TFMessage(transforms=[one]))


def _depth_m(message) -> np.ndarray:
    return np.frombuffer(message.data, "<f4").reshape(message.height, message.width)


def test_rays_end_before_the_depth_and_at_the_range_where_depth_is_infinite(live, room):
    from sensor_msgs.msg import PointCloud2

    def make():
        return live.image_message(room), live.info_message(160, 120)

    clear = live.client.subscribe(PointCloud2, "/navigation/depth/points_clear")
    first = live.send_until(make, clear)
    median_m = live.answer(live.stats, first.header.stamp).depth_median_m
    usual = live.answer(clear, live.send(*make()))
    near_end = {"output.max_depth": median_m, "cloud.clear_range": 0.8 * median_m, "cloud.clear_level": 0.9}
    for name, value in near_end.items():
        assert live.client.set_parameter("/navigation/depth_node", name, value).successful
    stamp = live.send(*make())
    rays, points = live.answer(clear, stamp), live.answer(live.cloud, stamp)
    depth_m = _depth_m(live.answer(live.depth, stamp))[RAYS]
    off_m = _depth_m(live.answer(live.uncertainty, stamp))[RAYS]
    assert (rays.width, rays.height, rays.point_step) == (41, 31, 16)
    assert [field.name for field in rays.fields] == ["x", "y", "z"]
    assert rays.header.frame_id == "camera_optical_frame"
    z = np.frombuffer(rays.data, "<f4").reshape(31, 41, 4)[..., 2]
    marked = np.isfinite(np.frombuffer(points.data, "<f4").reshape(120, 160, 4)[..., 2][RAYS])
    beyond = np.isposinf(depth_m)
    assert beyond.mean() > 0.2
    assert np.isnan(z[~beyond & ~marked]).all()  # on a depth step there is neither point nor ray
    np.testing.assert_allclose(z[marked], (depth_m**2 / (depth_m + off_m))[marked], rtol=1e-4)  # d e^-h
    farther = np.frombuffer(usual.data, "<f4").reshape(31, 41, 4)[..., 2]  # cloud.clear_level below uncertainty.level
    assert (farther[marked] > 1.05 * z[marked]).all()
    assert (farther[marked] < depth_m[marked]).all()
    assert np.isfinite(z[beyond]).any()
    np.testing.assert_allclose(z[beyond & np.isfinite(z)], 0.8 * median_m, rtol=1e-5)

    # never beyond what +Inf tells
    assert live.client.set_parameter("/navigation/depth_node", "cloud.clear_range", 50.0).successful
    stamp = live.send(*make())
    z = np.frombuffer(live.answer(clear, stamp).data, "<f4").reshape(31, 41, 4)[..., 2]
    assert np.nanmax(z) == pytest.approx(median_m, rel=1e-5)


def test_a_scan_in_the_robots_frame_as_soon_as_tf_says_where_the_camera_is(live, room):
    from sensor_msgs.msg import LaserScan

    def make():
        return live.image_message(room), live.info_message(160, 120)

    node = "/navigation/depth_node"
    for name, value in (("output.max_depth", 10.0), ("cloud.clear_range", 10.0), ("cloud.edge_threshold", 0.0)):
        assert live.client.set_parameter(node, name, value).successful
    for name, value in (("scan.min_height", -50.0), ("scan.max_height", 50.0), ("scan.max_range", 10.0)):
        assert live.client.set_parameter(node, name, value).successful
    refused = live.client.set_parameter(node, "scan.min_height", 60.0)
    assert not refused.successful
    assert "scan.max_height" in refused.reason
    scans = live.client.subscribe(LaserScan, "/navigation/depth/scan")
    live.send_until(make, live.depth)

    def warned():
        live.send(*make())
        return "no depth/scan: no chain of transforms" in live.node.log()

    live.client.wait(warned, what="a warning of the missing transform", pause_s=0.3)
    assert "scan.frame" in live.node.log()
    assert not scans.messages

    _say_where_the_camera_is(live.client)
    live.send_until(make, scans)
    stamp = live.send(*make())
    scan, depth_m = live.answer(scans, stamp), _depth_m(live.answer(live.depth, stamp))

    assert (scan.header.frame_id, scan.header.stamp) == ("base_footprint", stamp)
    assert (scan.range_min, scan.range_max) == pytest.approx((0.1, 10.0))
    ranges = np.array(scan.ranges)
    angles = scan.angle_min + np.arange(ranges.size) * scan.angle_increment
    assert scan.angle_max == pytest.approx(angles[-1])
    known = np.isfinite(depth_m)
    x = 0.3 + (np.arange(160) - 79.5) / 200 * depth_m  # to the right of a camera that looks left is ahead
    away, bearing = np.hypot(x, depth_m), np.arctan2(depth_m, x)
    assert np.isfinite(ranges).sum() > 20
    for angle, metres in zip(angles, ranges, strict=True):
        beam = known & (np.abs(bearing - angle) <= scan.angle_increment / 2 + 1e-5)
        if np.isfinite(metres):
            assert metres >= away[beam].min() - 1e-3
            assert np.abs(away[beam] - metres).min() < 1e-3


def test_of_a_transform_that_is_there_nothing_is_said(start_node, camera, client, room):
    from sensor_msgs.msg import LaserScan

    _say_where_the_camera_is(client)
    node, eye = start_node("/later"), camera("/later")

    def make():
        return eye.image_message(room), eye.info_message(160, 120)

    eye.send_until(make, eye.depth)
    scans = client.subscribe(LaserScan, "/later/depth/scan")  # only now does the node listen to /tf
    eye.send_until(make, scans)
    assert "no depth/scan" not in node.log()


def _voxels(tree, points) -> set[tuple[int, ...]]:
    """Keys of the voxels of points that are occupied."""
    keys = [tree.coordToKey(point) for point in points]
    nodes = [
        (tuple(key[axis] for axis in range(3)), tree.search(point)) for key, point in zip(keys, points, strict=True)
    ]
    return {key for key, node in nodes if node is not None and tree.isNodeOccupied(node)}


def test_octomap_marks_what_is_there_and_clears_it_when_it_is_farther(live, room):
    pyoctomap = pytest.importorskip("pyoctomap", reason="needs pyoctomap (pip install pyoctomap)")
    node = "/navigation/depth_node"

    def make():
        return live.image_message(room), live.info_message(160, 120)

    def points_m(factor):
        assert live.client.set_parameter(node, "scale.factor", factor).successful
        stamp = live.send(*make())
        cloud = live.answer(live.cloud, stamp)
        rows = np.frombuffer(cloud.data, "<f4").reshape(-1, cloud.point_step // 4)[:, :3].astype(float)
        return np.ascontiguousarray(rows[np.isfinite(rows).all(1)])

    live.send_until(make, live.cloud)
    near = points_m(1.0)
    tree = pyoctomap.OcTree(0.05)
    camera = np.zeros(3)
    tree.insertPointCloud(near, camera)
    assert len(near) > 1000
    marked = _voxels(tree, near)
    assert len(marked) > 100
    far = points_m(1.5)  # whatever was there has gone half as far again
    live.client.set_parameter(node, "scale.factor", 1.0)
    assert np.median(far[:, 2]) == pytest.approx(1.5 * np.median(near[:, 2]), rel=0.1)
    for _ in range(4):
        tree.insertPointCloud(far, camera)
    assert len(_voxels(tree, far)) > 100
    assert len(_voxels(tree, near) & marked) < 0.1 * len(marked)
