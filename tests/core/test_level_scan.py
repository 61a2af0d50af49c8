# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A level scan against geometry by hand: walls, a low box, a camera that is turned, tilted and off the origin."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from depthclip_ros.core.level_scan import LevelScan, ScanLimits, level_scan
from depthclip_ros.core.types import Intrinsics

CAMERA = Intrinsics(140.0, 140.0, 79.5, 59.5, 160, 120)
LIMITS = ScanLimits(0.2, 1.5, 0.1, 8.0)
LEVEL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # optical to x forward, z up


def pose(at: tuple[float, float, float], yaw_deg: float = 0.0, down_deg: float = 0.0) -> NDArray[np.float64]:
    yaw, down = math.radians(yaw_deg), math.radians(down_deg)
    turned = np.array([[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]])
    tilted = np.array([[math.cos(down), 0, math.sin(down)], [0, 1, 0], [-math.sin(down), 0, math.cos(down)]])
    to_scan = np.eye(4)
    to_scan[:3, :3] = turned @ tilted @ LEVEL
    to_scan[:3, 3] = at
    return to_scan


def depth_of(to_scan: NDArray[np.float64], wall_m: float, floor: bool = True) -> NDArray[np.float32]:
    """Of a wall across x at `wall_m` and a floor at height 0; beyond 10 m +Inf."""
    v, u = np.mgrid[:120, :160]
    rays = np.stack([(u - 79.5) / 140, (v - 59.5) / 140, np.ones(u.shape)], -1) @ to_scan[:3, :3].T
    with np.errstate(divide="ignore"):
        to_wall = np.where(rays[..., 0] > 0, (wall_m - to_scan[0, 3]) / rays[..., 0], np.inf)
        to_floor = np.where(rays[..., 2] < 0, -to_scan[2, 3] / rays[..., 2], np.inf)
    depth_m = np.minimum(to_wall, to_floor) if floor else to_wall
    return np.where(depth_m > 10, np.inf, depth_m).astype(np.float32)


def bearings(scan: LevelScan) -> NDArray[np.float64]:
    return scan.first_rad + np.arange(scan.ranges_m.size) * scan.increment_rad


@pytest.mark.parametrize("yaw_deg", [0.0, 20.0, -15.0])
@pytest.mark.parametrize("down_deg", [0.0, 10.0])
@pytest.mark.parametrize("at", [(0.0, 0.0, 0.5), (0.2, 0.1, 1.0)])
def test_a_wall_is_at_its_range_in_each_bearing(
    at: tuple[float, float, float], down_deg: float, yaw_deg: float
) -> None:
    to_scan = pose(at, yaw_deg, down_deg)
    scan = level_scan(depth_of(to_scan, 2.0), CAMERA, to_scan, LIMITS)
    seen = np.isfinite(scan.ranges_m)
    angle = bearings(scan)[seen]
    assert not np.isposinf(scan.ranges_m).any()
    across = np.array([[80, 0, 140], [-80, 0, 140]]) / 140 @ to_scan[:3, :3].T  # the image's borders at half height
    at_wall = to_scan[:3, 3] + across * ((2.0 - to_scan[0, 3]) / across[:, :1])
    right, left = np.arctan2(at_wall[:, 1], at_wall[:, 0])
    assert (angle.min(), angle.max()) == pytest.approx((right, left), abs=2 * scan.increment_rad)
    assert np.diff(np.flatnonzero(seen)).max() == 1  # no beam between is empty
    # the nearest of a beam's width
    low = 2.0 / np.cos(np.maximum(np.abs(angle) - scan.increment_rad / 2, 0))
    high = 2.0 / np.cos(np.abs(angle) + scan.increment_rad / 2)
    assert (scan.ranges_m[seen] >= low - 1e-3).all()
    assert (scan.ranges_m[seen] <= high + 1e-3).all()


def test_what_is_too_low_or_too_high_is_no_obstacle() -> None:
    to_scan = pose((0.0, 0.0, 0.5))
    depth_m = depth_of(to_scan, 20.0)
    v = np.arange(120)
    height_at_2m = 0.5 - 2.0 * (v - 59.5) / 140
    for low, high, seen in ((0.0, 0.15, False), (0.0, 0.3, True), (1.2, 1.4, True)):
        with_box = depth_m.copy()
        with_box[(height_at_2m > low) & (height_at_2m < high), 70:90] = 2.0
        scan = level_scan(with_box, CAMERA, to_scan, LIMITS)
        ahead = scan.ranges_m[np.abs(bearings(scan)) < 0.05]
        assert (np.isfinite(ahead).all() and ahead.min() == pytest.approx(2.0, abs=0.01)) == seen
    limits = ScanLimits(0.2, 1.1, 0.1, 8.0)
    assert np.isposinf(level_scan(with_box, CAMERA, to_scan, limits).ranges_m).all()


def test_infinite_is_what_is_looked_through_and_nan_what_is_not_known() -> None:
    to_scan = pose((0.0, 0.0, 0.5))
    hall = depth_of(to_scan, 20.0)
    assert np.isposinf(level_scan(hall, CAMERA, to_scan, LIMITS).ranges_m).all()
    far_wall = level_scan(depth_of(to_scan, 9.5), CAMERA, to_scan, LIMITS).ranges_m  # beyond max_range_m
    assert np.isposinf(far_wall).all()
    looks_down = pose((0.0, 0.0, 0.5), down_deg=50.0)  # and sees nothing but the floor
    assert np.isnan(level_scan(depth_of(looks_down, 20.0), CAMERA, looks_down, LIMITS).ranges_m).all()
    for nothing in (np.nan, -np.inf):
        assert np.isnan(level_scan(np.full_like(hall, nothing), CAMERA, to_scan, LIMITS).ranges_m).all()


@pytest.mark.parametrize(("farthest_m", "free"), [(20.0, True), (10.0, False)])
def test_infinite_depth_is_free_only_as_far_as_it_tells(farthest_m: float, free: bool) -> None:
    """Of a camera that looks down a bank: 8 m ahead are 11 m along the optical axis."""
    to_scan = pose((0.0, 0.0, 9.0), down_deg=45.0)
    limits = dataclasses.replace(LIMITS, max_range_m=8.0, min_height_m=-5.0, max_height_m=1.0)
    bank = np.full((CAMERA.height_px, CAMERA.width_px), np.inf, np.float32)
    ranges_m = level_scan(bank, CAMERA, to_scan, limits, farthest_m=farthest_m).ranges_m
    assert np.isposinf(ranges_m[ranges_m.size // 2]) == free


def test_uncertain_pixels_are_unknown() -> None:
    to_scan = pose((0.0, 0.0, 0.5))
    depth_m, certain = depth_of(to_scan, 3.0), np.ones((120, 160), bool)
    depth_m[:, 76:84] = 1.0
    certain[:, 76:84] = False
    scan = level_scan(depth_m, CAMERA, to_scan, LIMITS, certain)
    assert np.nanmin(scan.ranges_m) == pytest.approx(3.0, abs=0.01)
    assert np.isnan(scan.ranges_m[np.abs(bearings(scan)) < 0.01]).all()
    certain[:, 76:84] = True
    assert np.nanmin(level_scan(depth_m, CAMERA, to_scan, LIMITS, certain).ranges_m) == pytest.approx(1.0, abs=0.01)


def test_a_camera_that_looks_back_scans_behind() -> None:
    to_scan = pose((-0.2, 0.0, 0.5), yaw_deg=180.0)
    depth_m = np.full((120, 160), 1.8, np.float32)  # a wall at x = -2
    scan = level_scan(depth_m, CAMERA, to_scan, LIMITS)
    back = np.abs((bearings(scan) % (2 * math.pi)) - math.pi) < 0.02
    np.testing.assert_allclose(scan.ranges_m[back], 2.0, atol=0.01)


def test_what_is_near_beside_a_camera_on_the_robots_side_has_its_bearing() -> None:
    """Camera 0.5 m to the left; a wall half a metre before it lies at bearings from 45 degrees to the left."""
    scan = level_scan(np.full((120, 160), 0.5, np.float32), CAMERA, pose((0.0, 0.5, 0.5)), LIMITS)
    beside = np.abs(bearings(scan) - math.pi / 4) < 0.02
    np.testing.assert_allclose(scan.ranges_m[beside], 0.5 * 2**0.5, atol=0.02)
    farthest_left = math.atan2(0.5 + 0.5 * 79.5 / 140, 0.5)
    assert bearings(scan)[np.isfinite(scan.ranges_m)].max() == pytest.approx(farthest_left, abs=2 * scan.increment_rad)


def test_rays_of_a_lens_that_no_camera_has_overflow_nothing() -> None:
    camera = Intrinsics(1e-3, 1e-3, -1e9, 1e9, 160, 120)
    scan = level_scan(np.full((120, 160), 3.0, np.float32), camera, pose((0, 0, 0.5)), ScanLimits(0.2, 1.5, 0.1, 3e38))
    assert np.isnan(scan.ranges_m).all()
