# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Depth against closed forms of plane, box, sphere, cylinder, cone and bowl."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.scene import pose_matrix, render
from depthclip_ros.scene.furnishing.builder import Part
from depthclip_ros.scene.picture import pixel_rays
from depthclip_ros.scene.tracing.primitives import BOWL, BOX, ROUND, SPHERE, TUBE

CAMERA = Intrinsics(210.0, 205.0, 101.3, 66.8, 200, 136)
AHEAD = pose_matrix((-3.0, 0.0, 1.5), 0.0, 0.0)  # looks along world x


def pixel_grid(camera: Intrinsics) -> tuple[np.ndarray, np.ndarray]:
    """Slopes x/z and y/z of all pixels, float64 [H, W]."""
    v, u = np.mgrid[0 : camera.height_px, 0 : camera.width_px].astype(np.float64)
    return (u - camera.cx_px) / camera.fx_px, (v - camera.cy_px) / camera.fy_px


def depth_of(scene, pose=AHEAD, camera=CAMERA, **options) -> np.ndarray:
    return render(scene, pose, camera, photometric=False, **options)[1].numpy().astype(np.float64)


def test_wall_ahead_is_at_one_depth_and_floor_follows_its_plane(make_scene):
    depth = depth_of(make_scene())
    x, y = pixel_grid(CAMERA)
    with np.errstate(divide="ignore"):
        wall, side = 7.0, 5.0 / np.abs(x)
        floor, ceiling = np.where(y > 0, 1.5 / y, np.inf), np.where(y < 0, 1.5 / -y, np.inf)
    expected = np.minimum(np.minimum(wall, side), np.minimum(floor, ceiling))
    np.testing.assert_allclose(depth, expected, atol=1e-4)
    assert (floor < 7).any()
    assert (ceiling < 7).any()


def test_plane_seen_by_a_turned_camera(make_scene):
    pose = pose_matrix((-1.0, 0.7, 1.1), math.radians(33), math.radians(-25), math.radians(7))
    depth = depth_of(make_scene(), pose)
    x, y = pixel_grid(CAMERA)
    rays = np.stack([x, y, np.ones_like(x)], 2) @ pose[:3, :3].numpy().astype(np.float64).T
    origin = pose[:3, 3].numpy().astype(np.float64)
    low, high = np.array([-4, -5, 0.0]), np.array([4, 5, 3.0])
    expected = np.where(rays > 0, (high - origin) / rays, (low - origin) / rays).min(2)
    np.testing.assert_allclose(depth, expected, atol=1e-4)


def test_box_at_known_pose(make_scene):
    box = Part((-1.0, 0.2, 1.4), (0.3, 0.5, 0.4), 0, BOX, yaw=0.6, tilt=0.3)
    depth = depth_of(make_scene(box))
    # independent truth: the depth of a convex solid is the largest depth among the faces that look at the camera
    cy, sy, ct, st = math.cos(0.6), math.sin(0.6), math.cos(0.3), math.sin(0.3)
    turn = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, ct, -st], [0, st, ct]])
    x, y = pixel_grid(CAMERA)
    rays = np.stack([np.ones_like(x), -x, -y], 2)  # the camera looks along x, its right is -y, its down is -z
    start, way = (np.array([-3, 0, 1.5]) - np.array(box.at)) @ turn, rays @ turn
    a, b = (-np.array(box.half) - start) / way, (np.array(box.half) - start) / way
    enter, leave = np.minimum(a, b).max(2), np.maximum(a, b).min(2)
    inside = enter < leave - 1e-3
    assert inside.sum() > 1000
    np.testing.assert_allclose(depth[inside], enter[inside], atol=1e-4)
    np.testing.assert_allclose(depth[enter > leave], depth_of(make_scene())[enter > leave], atol=1e-6)


@pytest.mark.parametrize("radius", [0.02, 0.5])
def test_sphere_at_known_pose(make_scene, radius):
    distance = 6 * radius
    depth = depth_of(make_scene(Part((-3.0 + distance, 0.0, 1.5), (radius,) * 3, 0, SPHERE)))
    x, y = pixel_grid(CAMERA)
    square = 1 + x * x + y * y
    rest = distance**2 - square * (distance**2 - radius**2)
    hit = rest > 1e-4 * radius**2
    expected = (distance - np.sqrt(np.where(hit, rest, 0))) / square
    assert hit.sum() > 2000
    np.testing.assert_allclose(depth[hit], expected[hit], atol=1e-4)


def test_small_far_sphere_keeps_its_shape(make_scene):
    camera = Intrinsics.from_hfov(1.2, 128, 128)
    depth = depth_of(make_scene(Part((3.5, 0.0, 1.5), (0.03,) * 3, 0, SPHERE)), AHEAD, camera)
    assert depth.min() == pytest.approx(6.5 - 0.03, abs=1e-4)


def test_cylinder_cone_and_caps(make_scene):
    above = pose_matrix((0.0, 0.0, 2.5), 0.0, -math.pi / 2)
    camera = Intrinsics.from_hfov(60, 64, 64)
    cylinder = depth_of(make_scene(Part((0, 0, 0.5), (0.4, 0.4, 0.5), 0, ROUND)), above, camera)
    assert cylinder[32, 32] == pytest.approx(1.5, abs=1e-5)  # its lid
    side = depth_of(make_scene(Part((-1.0, 0, 1.5), (0.4, 0.4, 1.2), 0, ROUND)))
    assert side[67, 101] == pytest.approx(1.6, abs=1e-3)
    # a cone frustum of radii 0.4 and 0.2: halfway up its side stands at radius 0.3
    cone = depth_of(make_scene(Part((-1.0, 0, 1.5), (0.4, 0.4, 1.2), 0, ROUND, taper=0.5)))
    y = (67 - CAMERA.cy_px) / CAMERA.fy_px
    x = (101 - CAMERA.cx_px) / CAMERA.fx_px
    t = cone[67, 101]
    assert math.hypot(2 - t, t * x) == pytest.approx(0.3 + 0.2 * (t * y) / 2.4, abs=1e-4)


@pytest.mark.parametrize(("kind", "bottom"), [(TUBE, 2.5), (BOWL, 2.5)])
def test_hollow_shapes_show_their_inside(make_scene, kind, bottom):
    above = pose_matrix((0.0, 0.0, 2.9), 0.0, -math.pi / 2)
    half = (0.4, 0.4, 0.4)
    depth = depth_of(make_scene(Part((0, 0, 0.8), half, 0, kind)), above, Intrinsics.from_hfov(50, 65, 65))
    assert depth[32, 32] == pytest.approx(bottom, abs=1e-5)


def test_known_corner_projects_where_the_intrinsics_say(make_scene):
    box = Part((-1.0, 0.25, 1.0), (0.2, 0.2, 0.2), 0, BOX)
    depth = depth_of(make_scene(box))
    # left upper edge of the front face: y 0.45, z 1.2 at x = -1.2, so 1.8 m ahead
    u = CAMERA.cx_px + CAMERA.fx_px * -0.45 / 1.8
    v = CAMERA.cy_px + CAMERA.fy_px * 0.3 / 1.8
    row = round(v) + 5
    front = np.isclose(depth, 1.8, atol=1e-4)
    assert front[row].argmax() == math.ceil(u)
    assert front.any(1).argmax() == math.ceil(v)


def test_distorted_pixels_see_what_opencv_says(make_scene):
    coefficients = (-0.12, 0.03, 0.001, -0.002, -0.01)
    depth = depth_of(make_scene(), distortion=coefficients)
    matrix = np.array([[CAMERA.fx_px, 0, CAMERA.cx_px], [0, CAMERA.fy_px, CAMERA.cy_px], [0, 0, 1]])
    v, u = np.mgrid[0 : CAMERA.height_px, 0 : CAMERA.width_px].astype(np.float64)
    pixels = np.stack([u.ravel(), v.ravel()], 1)[:, None]
    x, y = cv2.undistortPoints(pixels, matrix, np.array(coefficients))[:, 0].T.reshape(2, *depth.shape)
    with np.errstate(divide="ignore"):
        expected = np.minimum(np.minimum(7.0, 5.0 / np.abs(x)), 1.5 / np.abs(y))
    np.testing.assert_allclose(depth, expected, rtol=1e-3)
    assert np.abs(depth - depth_of(make_scene())).max() > 0.05


def test_rays_of_a_strong_lens_project_onto_their_pixels():
    coefficients = (-0.28, 0.09, 0.001, -0.002, -0.01)
    rays = pixel_rays(CAMERA, coefficients)[: CAMERA.height_px, : CAMERA.width_px].numpy().astype(np.float64)
    matrix = np.array([[CAMERA.fx_px, 0, CAMERA.cx_px], [0, CAMERA.fy_px, CAMERA.cy_px], [0, 0, 1]])
    points = np.concatenate([rays, np.ones_like(rays[..., :1])], 2).reshape(-1, 1, 3)
    back = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, np.array(coefficients))[0].reshape(rays.shape)
    v, u = np.mgrid[0 : CAMERA.height_px, 0 : CAMERA.width_px]
    np.testing.assert_allclose(back, np.stack([u, v], 2), atol=1e-3)


def test_bad_pose_and_coefficients_are_refused(make_scene):
    with pytest.raises(InputError, match=r"\[3, 4\]"):
        render(make_scene(), torch.zeros(3, 4), CAMERA)
    with pytest.raises(InputError, match="6 distortion"):
        render(make_scene(), AHEAD, CAMERA, distortion=[0.1] * 6)
