# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What the rendered robot measures, against geometry worked out by hand."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: the room's cameras")

from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros.camera_node import robot
from depthclip_ros.scene import pose_matrix

CAMERA = Intrinsics.from_hfov(70.0, 160, 120)
RNG = np.random.default_rng(0)


def wall_ahead(away_m: float, pitch_rad: float) -> np.ndarray:
    """Depth of an upright wall that stands so far before a camera that looks down on it."""
    v = (np.arange(120) - CAMERA.cy_px) / CAMERA.fy_px
    ahead = math.cos(pitch_rad) + v * math.sin(pitch_rad)  # of a ray of depth 1, level; looking down is a pitch below 0
    return np.repeat((away_m / ahead)[:, None], 160, 1).astype(np.float32)


def test_the_base_stands_under_the_camera_and_looks_where_it_looks():
    base = robot.base_pose(pose_matrix((1.0, 2.0, 0.8), math.radians(30), -0.2).numpy().astype(float))
    np.testing.assert_allclose(base[:3, 3], [1, 2, 0], atol=1e-6)
    np.testing.assert_allclose(base[:3, 0], [math.cos(math.radians(30)), 0.5, 0], atol=1e-6)
    np.testing.assert_allclose(base[:3, 2], [0, 0, 1], atol=1e-6)


def test_the_beam_reads_the_wall():
    flat = np.full((120, 160), 2.0, np.float32)
    assert robot.range_m(flat, CAMERA, RNG) == pytest.approx(2.0, abs=0.05)
    assert robot.range_m(np.full((120, 160), np.nan, np.float32), CAMERA, RNG) == math.inf


@pytest.mark.parametrize("yaw_deg", [0.0, 130.0])
def test_the_scan_is_level_whatever_the_cameras_pitch(yaw_deg):
    pitch = math.radians(-10)
    pose = pose_matrix((0.0, 0.0, 0.8), math.radians(yaw_deg), pitch).numpy().astype(float)
    ranges, first = robot.scan_m(wall_ahead(2.0, pitch), CAMERA, pose, RNG)
    angles = first + robot.SCAN_STEP_RAD * np.arange(len(ranges))
    seen = np.isfinite(ranges)
    assert seen.mean() > 0.9
    np.testing.assert_allclose(ranges[seen], 2.0 / np.cos(angles[seen]), atol=0.06)


def test_quaternions_are_those_of_their_rotations():
    from depthclip_ros.core.transforms import matrix_of

    for turn in [(0, 0, 0), (3.1, 0, 0), (0, -3.1, 0.1), (0.3, 0.2, 3.0), (0.5, -0.4, 0.3), (math.pi, 0, 0)]:
        rotation = cv2.Rodrigues(np.array(turn, float))[0]
        found = matrix_of(np.array([0, 0, 0, *robot.quaternion(rotation)]))
        np.testing.assert_allclose(found[:3, :3], rotation, atol=1e-9)


class Silent:
    """A generator whose noise is none; `shares` are the standard deviations that it was asked for."""

    def __init__(self):
        self.shares = []

    def normal(self, mean, sd, size=None):
        self.shares.append((mean, sd))
        return mean if size is None else np.full(size, mean)


def test_the_beam_is_the_middle_distance_within_four_degrees_of_the_axis():
    """Half of the cone is nearer: no matter where beyond the cone, and along the rays, not the axis."""
    v, u = np.mgrid[:120, :160]
    off_deg = np.degrees(np.arctan(np.hypot((u - CAMERA.cx_px) / CAMERA.fx_px, (v - CAMERA.cy_px) / CAMERA.fy_px)))
    depth_m = np.where(off_deg < 3.95, 2.0, np.where(off_deg < 4.05, np.nan, 1.0)).astype(np.float32)
    rng = Silent()
    found = robot.range_m(depth_m, CAMERA, rng)
    assert found == pytest.approx(2.0 / math.cos(math.radians(2.8)), rel=1e-3)  # half of a disk lies within 0.71 of it
    assert rng.shares == [(0, 0.01)]


def test_a_scan_has_a_beam_each_half_degree_of_the_view_and_ends_at_ten_metres():
    pose = pose_matrix((0.0, 0.0, 0.8), 0.0, 0.0).numpy().astype(float)
    rng = Silent()
    depth_m = np.full((120, 160), 9.0, np.float32)
    depth_m[:, :20] = np.nan
    ranges, first = robot.scan_m(depth_m, CAMERA, pose, rng)
    assert (math.degrees(first), len(ranges)) == (pytest.approx(-35.0), 140)
    angles = first + math.radians(0.5) * np.arange(140)
    columns = CAMERA.cx_px - CAMERA.fx_px * np.tan(angles)
    known = (9.0 / np.cos(angles) <= 10.0) & (columns > 20)
    np.testing.assert_allclose(ranges[known], (9.0 / np.cos(angles))[known], rtol=1e-5)
    assert np.isinf(ranges[~known & (np.abs(columns - 19.5) > 1)]).all()
    assert rng.shares == [(0, 0.01)]


def test_the_optical_frame_looks_along_z_with_y_down():
    np.testing.assert_array_equal(robot.OPTICAL @ [1, 2, 3, 1], [3, -1, -2, 1])
