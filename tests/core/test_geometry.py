# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Intrinsics, rays and clouds: every point must project back onto the pixel that it came from."""

from __future__ import annotations

import numpy as np
import pytest

from depthclip_ros.core import geometry
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics

CAMERA = Intrinsics(525.0, 520.0, 319.3, 238.7, 640, 480)


@pytest.fixture
def depth_m() -> np.ndarray:
    generator = np.random.default_rng(0)
    depth_m = generator.uniform(0.3, 9.0, (480, 640)).astype(np.float32)
    depth_m[::7, ::5] = np.nan
    depth_m[1::7, ::5] = np.inf
    depth_m[2::7, ::5] = -np.inf
    depth_m[3::7, ::5] = 0
    return depth_m


def test_scaled_intrinsics_keep_every_ray() -> None:
    small = geometry.scale_intrinsics(CAMERA, 320, 120)
    assert (small.width_px, small.height_px) == (320, 120)
    # The corner between the four top left pixels of a 2x4 block is the same point in both images.
    for u, v in ((-0.5, -0.5), (639.5, 479.5), (99.5, 199.5)):
        u_small, v_small = (u + 0.5) / 2 - 0.5, (v + 0.5) / 4 - 0.5
        assert (u_small - small.cx_px) / small.fx_px == pytest.approx((u - CAMERA.cx_px) / CAMERA.fx_px)
        assert (v_small - small.cy_px) / small.fy_px == pytest.approx((v - CAMERA.cy_px) / CAMERA.fy_px)
    assert small.hfov_deg == pytest.approx(CAMERA.hfov_deg)
    back = geometry.scale_intrinsics(small, 640, 480)
    assert back.cx_px == pytest.approx(CAMERA.cx_px)
    assert back.cy_px == pytest.approx(CAMERA.cy_px)


def test_cropped_intrinsics_keep_every_ray() -> None:
    crop = geometry.crop_intrinsics(CAMERA, 100, 50, 200, 300)
    assert (crop.width_px, crop.height_px) == (200, 300)
    whole = geometry.pixel_rays(CAMERA)[50:350, 100:300]
    np.testing.assert_allclose(geometry.pixel_rays(crop), whole, atol=1e-6)


@pytest.mark.parametrize("box", [(-1, 0, 10, 10), (0, 0, 641, 480), (600, 0, 41, 10), (0, 0, 0, 5)])
def test_crop_outside_the_image_is_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="does not lie inside an image of 640x480"):
        geometry.crop_intrinsics(CAMERA, *box)


def test_scale_to_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="0x480"):
        geometry.scale_intrinsics(CAMERA, 0, 480)


def test_pixel_rays_are_made_once_and_cannot_be_spoilt() -> None:
    rays = geometry.pixel_rays(CAMERA)
    assert rays.shape == (480, 640, 2)
    assert rays.dtype == np.float32
    assert geometry.pixel_rays(CAMERA) is rays
    with pytest.raises(ValueError, match="read-only"):
        rays[0, 0, 0] = 1


def test_points_project_back_onto_their_pixels(depth_m: np.ndarray) -> None:
    cloud = geometry.organised_cloud(depth_m, None, CAMERA)
    points = np.stack([cloud[axis] for axis in "xyz"], axis=-1)
    seen = np.isfinite(depth_m) & (depth_m > 0)
    assert np.array_equal(points[seen, 2], depth_m[seen])
    assert np.isnan(points[~seen]).all()
    rows_columns = np.argwhere(seen)
    np.testing.assert_allclose(geometry.project(points[seen], CAMERA), rows_columns[:, ::-1], atol=0.01)


def test_points_behind_the_camera_have_no_pixel() -> None:
    pixels = geometry.project(np.array([[0.1, 0.2, -1.0], [0.1, 0.2, 0.0], [0.0, 0.0, 2.0]]), CAMERA)
    assert np.isnan(pixels[:2]).all()
    assert pixels[2] == pytest.approx([CAMERA.cx_px, CAMERA.cy_px])


def test_depth_of_another_size_than_its_intrinsics_is_refused() -> None:
    with pytest.raises(InputError, match="depth is 320x240 but its intrinsics are 640x480"):
        geometry.organised_cloud(np.ones((240, 320), np.float32), None, CAMERA)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_cloud_points_are_those_of_the_strided_pixels(depth_m: np.ndarray, stride: int) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
    cloud = geometry.organised_cloud(depth_m, rgb, CAMERA, stride=stride, max_range_m=8.0)
    assert cloud.shape == (-(-480 // stride), -(-640 // stride))
    assert cloud.dtype.itemsize == 16
    expected = depth_m[::stride, ::stride]
    seen = np.isfinite(expected) & (expected > 0) & (expected <= 8.0)
    assert seen.any()
    assert not seen.all()
    assert np.array_equal(cloud["z"][seen], expected[seen])
    for name in ("x", "y", "z"):
        assert np.isnan(cloud[name][~seen]).all()
    points = np.stack([cloud["x"], cloud["y"], cloud["z"]], -1)[seen]
    pixels = np.argwhere(seen)[:, ::-1] * stride
    np.testing.assert_allclose(geometry.project(points, CAMERA), pixels, atol=0.01)
    red, green, blue = np.moveaxis(rgb[::stride, ::stride].astype(np.uint32), -1, 0)
    assert np.array_equal(cloud["rgb"], red << 16 | green << 8 | blue)


def test_cloud_without_colour_and_without_range(depth_m: np.ndarray) -> None:
    cloud = geometry.organised_cloud(depth_m, None, CAMERA)
    assert cloud.dtype.names == ("x", "y", "z")
    assert cloud.dtype.itemsize == 16
    assert np.array_equal(np.isfinite(cloud["z"]), np.isfinite(depth_m) & (depth_m > 0))
    assert not cloud.view(np.uint32).reshape(480, 640, 4)[..., 3].any()


def test_a_cloud_without_colour_holds_none_of_the_one_before(depth_m: np.ndarray) -> None:
    geometry.organised_cloud(depth_m, np.full((480, 640, 3), 255, np.uint8), CAMERA)
    bare = geometry.organised_cloud(depth_m, None, CAMERA)
    assert not bare.view(np.uint32).reshape(480, 640, 4)[..., 3].any()


def test_a_cloud_buffer_is_filled_again_and_earlier_clouds_stay(depth_m: np.ndarray) -> None:
    rgb = np.zeros((480, 640, 3), np.uint8)
    first = geometry.organised_cloud(depth_m, rgb, CAMERA)
    kept = first.copy()
    nearer = geometry.organised_cloud(depth_m / 2, rgb, CAMERA)
    assert first.tobytes() == kept.tobytes()
    again = geometry.organised_cloud(depth_m / 2, rgb, CAMERA, out=first)
    assert again is first
    assert again.tobytes() == nearer.tobytes()


def test_cloud_refuses_what_does_not_fit(depth_m: np.ndarray) -> None:
    rgb = np.zeros((240, 320, 3), np.uint8)
    with pytest.raises(InputError, match="colour image is 320x240"):
        geometry.organised_cloud(depth_m, rgb, CAMERA)
    with pytest.raises(InputError, match="stride is 0"):
        geometry.organised_cloud(depth_m, None, CAMERA, stride=0)
    with pytest.raises(InputError, match="cloud buffer"):
        geometry.organised_cloud(depth_m, None, CAMERA, out=np.zeros((4, 4), geometry.CLOUD_XYZ))


@pytest.mark.parametrize("box", [(0, 0, 640, 480), (639, 479, 1, 1), (0, 0, 1, 1)])
def test_a_crop_may_reach_to_the_edge(box: tuple[int, int, int, int]) -> None:
    crop = geometry.crop_intrinsics(CAMERA, *box)
    assert (crop.width_px, crop.height_px) == box[2:]


@pytest.mark.parametrize("box", [(0, -1, 10, 10), (0, 471, 10, 10), (0, 0, 5, 0), (1, 0, 640, 10)])
def test_a_crop_over_any_edge_is_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="does not lie inside"):
        geometry.crop_intrinsics(CAMERA, *box)


def test_the_nearest_pixel_is_half_a_pixel_wide_to_either_side_and_none_lies_outside() -> None:
    camera = Intrinsics(1.0, 1.0, 0.0, 0.0, 4, 3)
    inside = [(-0.4, -0.4), (3.4, 2.4), (0.6, 1.4)]
    outside = [(-0.6, 1), (3.6, 1), (1, -0.6), (1, 2.6), (np.nan, 1), (1, np.inf), (-1e300, 1)]
    found, columns, rows = geometry.nearest_pixels(np.array([*inside, *outside], np.float64), camera)
    assert found.tolist() == [True] * 3 + [False] * 7
    assert (columns.tolist(), rows.tolist()) == ([0, 3, 1], [0, 2, 1])


def test_the_camera_matrix_is_that_of_the_projection() -> None:
    points = np.random.default_rng(0).uniform((-1, -1, 0.5), (1, 1, 4), (20, 3))
    by_matrix = points @ geometry.camera_matrix(CAMERA).T
    np.testing.assert_allclose(by_matrix[:, :2] / by_matrix[:, 2:], geometry.project(points, CAMERA))
    np.testing.assert_allclose(by_matrix[:, 2], points[:, 2])
