# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.transforms import TransformNotYetError, Transforms

STORE = get_typestore(Stores.ROS2_JAZZY)


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


def moving(*stamps_s: float, **limits: float) -> Transforms:
    tree = Transforms(**limits)
    for stamp_s in stamps_s:
        tree.add(transform(stamp_s, "odom", "base", (stamp_s, 0, 0)), is_static=False)
    return tree


def test_a_gap_is_not_bridged():
    tree = moving(1, 2, 5, max_gap_s=1.5)
    assert tree.between("base", 1_500_000_000, "odom", 0)[0, 3] == pytest.approx(1.5)
    with pytest.raises(InputError, match=r"'base' has a gap of 3\.000 s at 4\.000 s; at most 1\.5 s is bridged"):
        tree.between("base", 4 * 10**9, "odom", 0)


def test_what_may_still_come_is_told_from_what_will_not():
    tree = moving(1, 2)
    with pytest.raises(TransformNotYetError, match=r"not at 3\.000 s"):
        tree.between("base", 3 * 10**9, "odom", 0)
    with pytest.raises(InputError) as early:
        tree.between("base", 10**8, "odom", 0)
    assert not isinstance(early.value, TransformNotYetError)


def test_old_transforms_are_forgotten_and_a_jump_back_begins_anew():
    tree = moving(1, 2, 3, 4, 5, history_s=2)
    with pytest.raises(InputError, match=r"known from 3\.000 to 5\.000 s"):
        tree.between("base", 2 * 10**9, "odom", 0)
    tree.add(transform(1, "odom", "base", (1, 0, 0)), is_static=False)
    assert tree.between("base", 10**9, "odom", 0)[0, 3] == 1.0
    with pytest.raises(InputError, match=r"known from 1\.000 to 1\.000 s"):
        tree.between("base", 4 * 10**9, "odom", 0)


def test_motion_of_a_frame_between_two_times():
    tree = moving(1, 2, 3)
    tree.add(transform(0, "base", "camera", (0.5, 0, 0)), is_static=True)
    # what was at the camera at 1 s lies 2 m behind it at 3 s
    np.testing.assert_allclose(tree.moved("odom", "camera", 10**9, 3 * 10**9)[:3, 3], [-2, 0, 0])
    with pytest.raises(InputError, match="'camera' does not hang on 'map'"):
        tree.moved("map", "camera", 10**9, 3 * 10**9)


def test_transforms_that_mean_nothing_are_counted():
    tree = Transforms()
    tree.add(transform(1, "a", "b", (math.nan, 0, 0)), is_static=True)
    tree.add(transform(1, "a", "b", (0, 0, 0), (0, 0, 0, 0)), is_static=True)
    tree.add(transform(1, "a", "a", (0, 0, 0)), is_static=True)
    assert (tree.refused, tree.parents) == (3, {})


@pytest.mark.parametrize("quaternion", [(0.1, -0.2, 0.3, 0.9), (0, 0, 0, 2), (0.5, -0.5, 0.5, -0.5), (1, 0, 0, 0)])
def test_rotations_are_those_of_their_quaternions(quaternion):
    """q v q* by Hamilton's product, written out."""
    tree = Transforms()
    tree.add(transform(1, "a", "b", (0, 0, 0), quaternion), is_static=True)
    x, y, z, w = np.array(quaternion) / np.linalg.norm(quaternion)
    point, axis = np.array([1.0, 2.0, 3.0]), np.array([x, y, z])
    expected = point + 2 * np.cross(axis, np.cross(axis, point) + w * point)
    np.testing.assert_allclose(tree.between("b", 0, "a", 0)[:3, :3] @ point, expected, atol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_a_turn_is_interpolated_evenly_along_the_shorter_way_whatever_its_quaternions_say(sign, share):
    """From 20 to 140 degrees about z; the later quaternion is of length 3, and of either sign."""
    tree = Transforms()
    first, last = (
        (0, 0, math.sin(math.radians(degrees) / 2), math.cos(math.radians(degrees) / 2)) for degrees in (20, 140)
    )
    tree.add(transform(1, "odom", "base", (1, 0, 0), first), is_static=False)
    tree.add(transform(2, "odom", "base", (3, 0, 4), tuple(3 * sign * value for value in last)), is_static=False)
    found = tree.between("base", 10**9 + round(share * 10**9), "odom", 0)
    angle = math.radians(20 + share * 120)
    np.testing.assert_allclose(found[:2, :2], [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    np.testing.assert_allclose(found[:3, 3], [1 + 2 * share, 0, 4 * share])


def test_a_gap_of_just_the_most_and_both_ends_of_what_is_known_are_served():
    tree = moving(1, 2.5, max_gap_s=1.5)
    assert [tree.between("base", ns, "odom", 0)[0, 3] for ns in (10**9, 2 * 10**9, 2_500_000_000)] == [1.0, 2.0, 2.5]
    tree = moving(1, 2, 3, history_s=2)
    assert tree.between("base", 10**9, "odom", 0)[0, 3] == 1.0, "two seconds ago are still known"
    tree.add(transform(1, "odom", "base", (7, 0, 0)), is_static=False)  # not so old that a new history begins
    assert [tree.between("base", ns * 10**9, "odom", 0)[0, 3] for ns in (1, 3)] == [7.0, 3.0]


def test_after_the_clock_went_back_by_seconds_only_the_new_timeline_counts():
    tree = moving(5, 6, 7, 8, history_s=10)
    for stamp_s in (1, 1.1):  # a late one or two change nothing
        tree.add(transform(stamp_s, "odom", "base", (0, 0, 0)), is_static=False)
    assert tree.between("base", 6 * 10**9, "odom", 0)[0, 3] == 6.0
    tree.add(transform(1.2, "odom", "base", (0, 0, 0)), is_static=False)
    assert tree.between("base", 1_050_000_000, "odom", 0)[0, 3] == 0.0
    with pytest.raises(TransformNotYetError, match=r"known from 1\.000 to 1\.200 s"):
        tree.between("base", 6 * 10**9, "odom", 0)


@pytest.mark.parametrize("stamps_s", [(8, 1, 8.1, 2, 8.2, 3), (8, 3, 2, 1), (8, 7.1, 7.2, 7.3, 7.4)])
def test_what_is_late_by_turns_out_of_order_or_by_little_is_no_new_timeline(stamps_s):
    tree = moving(5, *stamps_s, history_s=10)
    assert tree.between("base", 8 * 10**9, "odom", 0)[0, 3] == pytest.approx(8.0)


def test_a_recording_is_read_in_any_order():
    tree = moving(8, 1, 2, 3, 4)
    assert [tree.between("base", ns * 10**9, "odom", 0)[0, 3] for ns in (1, 4, 8)] == [1.0, 4.0, 8.0]


def test_what_moves_is_forgotten_and_what_is_fixed_is_not():
    tree = moving(1, 2)
    tree.add(transform(0, "base", "camera", (0, 0, 0)), is_static=True)
    tree.forget()
    np.testing.assert_allclose(tree.between("camera", 0, "base", 0), np.eye(4))
    with pytest.raises(InputError, match="nothing is known yet of the transform of 'base'"):
        tree.between("camera", 10**9, "odom", 10**9)
    tree.add(transform(0.5, "odom", "base", (7, 0, 0)), is_static=False)
    assert tree.between("camera", 500_000_000, "odom", 500_000_000)[0, 3] == 7.0


def test_motion_that_is_not_known_yet_is_left_out_only_by_the_impatient():
    tree = moving(1, 2)
    tree.add(transform(0, "base", "camera", (0, 0, 0)), is_static=True)
    tree.add(transform(0, "base", "laser", (0, 0, 0)), is_static=True)
    ends = "laser", 1_950_000_000, "camera", 2_050_000_000
    assert tree.between(*ends)[0, 3] == 0.0
    with pytest.raises(TransformNotYetError):
        tree.between(*ends, patient=True)
    tree.add(transform(2.1, "odom", "base", (2.1, 0, 0)), is_static=False)
    assert tree.between(*ends, patient=True)[0, 3] == pytest.approx(-0.1)
    one_moment = "laser", 9 * 10**9, "camera", 9 * 10**9
    np.testing.assert_allclose(tree.between(*one_moment, patient=True), np.eye(4))


def test_a_rotation_about_one_axis_alone_and_slashes_before_names_are_taken():
    tree = Transforms()
    tree.add(transform(1, "/a", "/b", (0, 0, 0), (1, 0, 0, 0)), is_static=True)
    np.testing.assert_allclose(tree.between("/b", 0, "/a", 0) @ [1, 2, 3, 1], [1, -2, -3, 1], atol=1e-12)
    tree.add(transform(1, "b", "c", (0, 0, 0)), is_static=False)
    tree.add(transform(3, "b", "c", (0, 0, 2)), is_static=False)
    np.testing.assert_allclose(tree.moved("/a", "/c", 10**9, 3 * 10**9)[:3, 3], [0, 0, -2])


def test_where_only_one_frame_is_common_the_time_that_is_missing_is_named():
    tree = moving(1, 2)
    tree.add(transform(0, "base", "camera", (0, 0, 0)), is_static=True)
    tree.add(transform(0, "base", "lidar", (0, 0, 1)), is_static=True)
    assert tree.common_frames("lidar", "camera") == ["base", "odom"]
    np.testing.assert_allclose(tree.between("lidar", 9 * 10**9, "camera", 9 * 10**9)[:3, 3], [0, 0, 1])
    with pytest.raises(TransformNotYetError):
        tree.between("camera", 9 * 10**9, "odom", 0)
