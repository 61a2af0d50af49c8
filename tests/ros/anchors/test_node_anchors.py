# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Each anchor of a running depth_node, over DDS."""

from __future__ import annotations

import math
import time

import cv2
import numpy as np
import pytest

from depthclip_ros.core.calibration import camera_model

SENSOR_Q = (0.5, -0.5, 0.5, 0.5)  # x forward, z up, seen from the optical frame


def test_a_range_beam_scales_the_depth_that_follows(robot):
    rig = robot("range")
    rig.transform("camera_optical_frame", "sonar", (0.0, 0.0, 0.0), SENSOR_Q)
    middle_m = float(np.median(rig.depth_m[55:65, 75:85]))
    stats = rig.drive(lambda: rig.beam(1.5 * middle_m), lambda one: "range" in one.anchors_accepted)
    stats = rig.drive(lambda: rig.beam(1.5 * middle_m), lambda one: one.anchor_scale > 1.3)
    assert stats.anchor_scale == pytest.approx(1.47, abs=0.1)
    assert 0.1 < stats.anchor_scale_sd < 0.3
    depth = rig.eye.answer(rig.eye.depth, stats.header.stamp)
    known = np.isfinite(rig.depth_of(depth)) & np.isfinite(rig.depth_m)
    np.testing.assert_allclose(rig.depth_of(depth)[known], rig.depth_m[known] * stats.anchor_scale, rtol=0.02)
    # what was learnt outlives deactivate and activate
    name, before = f"{rig.namespace}/depth_node", rig.eye.stats.messages[-1].frames_in
    assert rig.client.transition(name, "deactivate")
    assert rig.client.transition(name, "activate")
    rig.eye.node.wait_for_log("to begin with it next time, set scale.factor")
    stats = rig.drive(lambda: None, lambda one: one.frames_in < before)
    assert stats.anchor_scale == pytest.approx(1.47, abs=0.1)


def test_a_scan_scales_depth_and_diagnostics_say_so(robot):
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import LaserScan

    rig = robot("scan")
    rig.transform("camera_optical_frame", "laser", (0.0, 0.0, 0.0), SENSOR_Q)
    angles = np.linspace(-0.3, 0.3, 61)
    columns = np.rint(79.5 - 200 * np.tan(angles)).astype(int)

    def read():
        message = LaserScan(header=rig.header("laser"), angle_min=-0.3, angle_max=0.3, angle_increment=0.01)
        message.range_min, message.range_max = 0.02, 30.0
        ranges = 0.8 * rig.depth_m[60, columns] / np.cos(angles)
        message.ranges = [float(one) if np.isfinite(one) else math.inf for one in ranges]
        rig.publish(f"{rig.namespace}/anchors/scan", message)

    diagnostics = rig.client.subscribe(DiagnosticArray, "/diagnostics")
    stats = rig.drive(read, lambda one: "scan" in one.anchors_accepted and one.anchor_scale < 0.9)
    assert stats.anchor_scale == pytest.approx(0.81, abs=0.05)

    def said():
        for message in diagnostics.messages:
            for status in message.status:
                values = {one.key: one.value for one in status.values}
                if status.name.startswith(rig.namespace[1:]) and "accepted" in values.get("anchor scan", ""):
                    return values
        return None

    rig.drive(read, lambda _: said() is not None)
    assert float(said()["anchors' scale"]) == pytest.approx(0.81, abs=0.05)
    assert said()["anchors' scale, standard deviation"].endswith("%")


def test_a_cloud_scales_depth_and_the_intervals_are_counted(robot):
    from sensor_msgs.msg import PointCloud2, PointField

    rig = robot("points")
    rig.transform("camera_optical_frame", "lidar", (0.0, 0.0, 0.0), SENSOR_Q)
    v, u = np.mgrid[5:115:10, 5:155:10]
    depth_m = 1.2 * rig.depth_m[v, u]
    ahead = np.stack([depth_m, -depth_m * (u - 79.5) / 200, -depth_m * (v - 59.5) / 200], -1)  # x forward, z up
    points = ahead[np.isfinite(depth_m)].astype("<f4")
    fields = [PointField(name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate("xyz")]

    def read():
        message = PointCloud2(header=rig.header("lidar"), height=1, width=len(points), fields=fields)
        message.point_step, message.row_step, message.is_dense = 12, 12 * len(points), True
        message.data = points.tobytes()
        rig.publish(f"{rig.namespace}/anchors/points", message)

    stats = rig.drive(read, lambda one: "points" in one.anchors_accepted and one.anchor_scale > 1.1)
    assert stats.anchor_scale == pytest.approx(1.2, abs=0.03)
    stats = rig.drive(read, lambda one: one.interval_coverage > 0.9)  # all but what was measured before it was known
    assert stats.interval_coverage <= 1.0


def test_a_depth_camera_scales_depth(robot):
    from sensor_msgs.msg import Image

    rig = robot("depth")
    millimetres = np.nan_to_num(700 * rig.depth_m).astype("<u2")
    millimetres[::2] = 0  # holes

    def read():
        message = Image(header=rig.header("camera_optical_frame"), height=120, width=160, encoding="16UC1", step=320)
        message.data = millimetres.tobytes()
        rig.publish(f"{rig.namespace}/anchors/depth", message)

    stats = rig.drive(read, lambda one: "depth" in one.anchors_accepted and one.anchor_scale < 0.8)
    assert stats.anchor_scale == pytest.approx(0.7, abs=0.02)


def test_a_marker_of_known_side_scales_depth(robot, room):
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    room[30:90, 50:110] = 255
    room[36:84, 56:104] = cv2.aruco.generateImageMarker(dictionary, 5, 48)[..., None]
    rig = robot("tag", anchor__tag__side_m=0.3)
    true_m = 200 * 0.3 / 48
    predicted_m = float(np.median(rig.depth_m[36:84, 56:104]))
    stats = rig.drive(lambda: None, lambda one: "tag" in one.anchors_accepted)
    stats = rig.drive(lambda: None, lambda one: abs(math.log(one.anchor_scale)) > 0.5 * abs(_log(true_m, predicted_m)))
    assert math.log(stats.anchor_scale) == pytest.approx(_log(true_m, predicted_m), abs=0.15)


def _log(true_m, predicted_m):
    return math.log(true_m / predicted_m)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Of a camera that drives through a rendered room, with poses."""
    pytest.importorskip("torch", reason="needs torch to render")
    from depthclip_ros.ros.camera_node.room_source import RoomSource
    from depthclip_ros.ros.camera_node.source import SourceOptions

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return list(RoomSource(SourceOptions(width_px=320, height_px=240, frames=90)))


def through_tf(robot, frames):
    """The wheels and the camera's place over the floor, by /tf; parameters, and what publishes it of a frame."""
    from depthclip_ros.ros.camera_node.robot_topics import RobotTopics

    topics = RobotTopics(robot.client.node, "camera_optical_frame")
    pinhole = camera_model(frames[0].camera, 320, 240).pinhole
    return {}, lambda frame, stamp: topics.publish(frame, pinhole, stamp)


def by_messages(robot, frames):
    """The wheels by nav_msgs/Odometry, the attitude by an IMU, the height by parameter; in /tf the mountings alone."""
    from geometry_msgs.msg import Quaternion
    from nav_msgs.msg import Odometry
    from sensor_msgs.msg import Imu
    from std_msgs.msg import Header

    from depthclip_ros.ros.camera_node import robot as rendered

    mounted = np.linalg.inv(rendered.base_pose(frames[0].pose)) @ frames[0].pose

    def publish(frame, stamp):
        robot.transform("chassis", "camera_optical_frame", mounted[:3, 3], rendered.quaternion(mounted[:3, :3]))
        chassis = frame.pose @ np.linalg.inv(mounted)
        x, y, z, w = rendered.quaternion(chassis[:3, :3])
        wheels = Odometry(header=Header(stamp=stamp, frame_id="wheels"), child_frame_id="chassis")
        position = wheels.pose.pose.position
        position.x, position.y, position.z = (float(one) for one in chassis[:3, 3])
        wheels.pose.pose.orientation = Quaternion(x=x, y=y, z=z, w=w)
        robot.publish(f"{robot.namespace}/anchors/odometry", wheels)
        imu = Imu(header=Header(stamp=stamp, frame_id="chassis"), orientation=wheels.pose.pose.orientation)
        robot.publish(f"{robot.namespace}/anchors/imu", imu)

    height_m = float(frames[0].pose[2, 3])
    return {"anchor.odom_frame": "wheels", "anchor.base_frame": "none", "anchor.ground.height_m": height_m}, publish


@pytest.mark.parametrize("knows", [through_tf, by_messages])
def test_the_floor_and_the_wheels_scale_the_depth_of_a_drive(knows, start_node, camera, sensors, frames):
    namespace = f"/drive_{knows.__name__}"
    eye = camera(namespace)
    robot = sensors(eye)
    parameters, publish = knows(robot, frames)
    start_node(namespace, {"model.weights": "fast", "anchors": "[ground, odometry]", **parameters})
    fx_px = camera_model(frames[0].camera, 320, 240).pinhole.fx_px
    accepted: set[str] = set()
    end_s = time.monotonic() + 90
    number = 0
    last = None
    # where images are dropped or the drive begins again, the picture may be cut, and the prior be back for a while
    while accepted != {"ground", "odometry"} or last is None or not last.anchor_scale_sd < 0.4:
        assert time.monotonic() < end_s, (accepted, eye.stats.messages[-1:])
        frame = frames[number % len(frames)]
        image = eye.image_message(frame.rgb)
        publish(frame, image.header.stamp)
        eye.send(image, eye.info_message(320, 240, fx_px))
        number += 1
        time.sleep(0.1)
        for one in eye.stats.messages:
            accepted |= set(one.anchors_accepted)
            last = one
    assert 0.5 < last.anchor_scale < 2.0
    assert 0 < last.anchor_scale_sd < 0.4


def test_a_depth_camera_bends_depth_that_is_too_flat(start_node, camera, sensors, frames):
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import Image

    eye = camera("/bent")
    robot = sensors(eye)
    diagnostics = robot.client.subscribe(DiagnosticArray, "/diagnostics")
    start_node("/bent", {"model.weights": "fast", "anchors": "[depth]"})
    fx_px = camera_model(frames[0].camera, 320, 240).pinhole.fx_px

    def see():
        return eye.image_message(frames[0].rgb), eye.info_message(320, 240, fx_px)

    network_m = robot.depth_of(eye.send_until(see, eye.depth)).copy()
    assert np.std(np.log(network_m[np.isfinite(network_m)])) > 0.2, "the room is deep enough to tell"
    true_m = np.nan_to_num(1.1 * 2.0 * (network_m / 2.0) ** 1.3, posinf=0.0).astype("<f4")

    def exponent():
        return float(robot.anchors(diagnostics).get("anchors' exponent of depth", "1 ").split()[0].strip(":"))

    def error():
        depth_m = robot.depth_of(eye.answer(eye.depth, stamp))
        both = np.isfinite(depth_m) & (true_m > 0)
        return np.mean(np.abs(depth_m[both] / true_m[both] - 1))

    end_s = time.monotonic() + 60
    while exponent() != pytest.approx(1.3, abs=0.05) or error() >= 0.03:
        assert time.monotonic() < end_s, (robot.anchors(diagnostics), eye.stats.messages[-1:])
        image, info = see()
        measured = Image(header=image.header, height=240, width=320, encoding="32FC1", step=4 * 320)
        measured.data = true_m.tobytes()
        stamp = eye.send(image, info)
        robot.publish("/bent/anchors/depth", measured)
        time.sleep(0.1)
    depth_m = robot.depth_of(eye.answer(eye.depth, stamp))
    assert robot.eye.stats.messages[-1].anchors_accepted == ["depth"]
    cloud = eye.answer(eye.cloud, stamp)  # it is bent as the image is
    z = np.ndarray((cloud.height, cloud.width), "<f4", bytes(cloud.data), 8, (cloud.row_step, cloud.point_step))
    near = np.isfinite(z) & np.isfinite(depth_m)
    assert near.mean() > 0.3
    np.testing.assert_allclose(z[near], depth_m[near], rtol=1e-5)


def test_the_floor_is_refused_where_there_is_none(robot):
    rig = robot("ground", anchor__ground__height_m=0.5)
    stats = rig.drive(lambda: None, lambda one: any("floor is not seen" in text for text in one.anchors_refused))
    assert stats.anchor_scale == 1.0
    assert math.isnan(stats.anchor_scale_sd)


def test_a_tag_without_its_side_is_a_configuration_that_is_refused(start_node):
    node = start_node("/tagless", {"anchors": "[tag]"})
    deadline = time.monotonic() + 60
    while "anchor.tag.side_m is 0" not in node.log():
        assert time.monotonic() < deadline, node.log()
        time.sleep(0.1)
