# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The demo's drive: closed, free of collisions, never too fast."""

from __future__ import annotations

import numpy as np
import pytest

from depthclip_ros.scene import CameraPath, SceneRanges, random_scene
from depthclip_ros.scene.camera import FreeSpace

SEEDS = range(6)


@pytest.fixture(scope="module", params=SEEDS)
def drive(request):
    scene = random_scene(request.param, SceneRanges.preset("rooms"))
    path = CameraPath(scene, request.param)
    times = np.arange(0, path.period_s, 1 / 30)
    return scene, path, np.stack([path.pose(float(t)).numpy() for t in times])


def test_closed(drive):
    _, path, poses = drive
    np.testing.assert_allclose(path.pose(0.0), path.pose(path.period_s), atol=1e-5)
    np.testing.assert_allclose(path.pose(1.3), path.pose(1.3 + 2 * path.period_s), atol=1e-4)
    assert np.linalg.norm(poses[-1, :3, 3] - poses[0, :3, 3]) < 0.02


def test_touches_nothing(drive):
    scene, path, poses = drive
    distance = FreeSpace(scene).distance(poses[:, :3, 3].astype(np.float64))
    assert distance.min() > 0.15
    assert path.clearance_m > 0.1
    for height in (0.2, 0.4, 0.7):  # the robot below the camera passes too: no driving under seats and table tops
        body = poses[:, :3, 3].astype(np.float64)
        body[:, 2] = min(height, path.height_m)
        assert FreeSpace(scene).distance(body).min() > 0.1


def test_speed_and_turns_are_gentle(drive):
    _, path, poses = drive
    speed = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1) * 30
    assert speed.max() <= path.speed_m_s * 1.01
    yaw = np.unwrap(np.arctan2(poses[:, 1, 2], poses[:, 0, 2]))
    assert np.degrees(np.abs(np.diff(yaw))).max() * 30 < 110


def test_drives_a_fair_distance_at_a_robots_height(drive):
    _, path, poses = drive
    assert path.length_m > 4
    assert path.period_s == pytest.approx(path.length_m / 0.4)
    assert 0.5 <= path.height_m <= 1.2
    assert np.ptp(poses[:, 2, 3]) < 1e-6


def test_looks_where_it_goes(drive):
    _, _, poses = drive
    going = np.diff(poses[:, :2, 3], axis=0)
    going /= np.linalg.norm(going, axis=1, keepdims=True)
    looking = poses[:-1, :2, 2] / np.linalg.norm(poses[:-1, :2, 2], axis=1, keepdims=True)
    assert np.median((going * looking).sum(1)) > 0.75


def test_same_seed_same_drive():
    scene = random_scene(1, SceneRanges.preset("rooms"))
    a, b, c = CameraPath(scene, 4), CameraPath(scene, 4), CameraPath(scene, 5)
    np.testing.assert_array_equal(a.pose(3.0), b.pose(3.0))
    assert not np.array_equal(a.pose(3.0), c.pose(3.0))


def test_a_room_without_space_gets_a_small_circle(make_scene):
    scene = make_scene(half=(0.4, 0.4, 1.5))
    path = CameraPath(scene, 0)
    poses = np.stack([path.pose(t).numpy() for t in np.linspace(0, path.period_s, 50)])
    assert np.abs(poses[:, :2, 3]).max() < 0.35
