# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Ends of rays: on the pixel's own ray, never beyond what is surely free."""

from __future__ import annotations

import numpy as np
import pytest

from depthclip_ros.core.clearing import clearing_cloud, ray_pixels
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import CLOUD_XYZ, organised_cloud
from depthclip_ros.core.types import Intrinsics

CAMERA = Intrinsics(60.0, 61.0, 31.3, 24.6, 65, 49)


@pytest.mark.parametrize(("side_px", "stride", "count"), [(480, 4, 121), (65, 4, 17), (5, 64, 2), (7, 1, 7)])
def test_rays_go_through_both_borders_and_are_never_further_apart_than_the_stride(
    side_px: int, stride: int, count: int
) -> None:
    pixels = ray_pixels(side_px, stride)
    assert (pixels[0], pixels[-1], pixels.size) == (0, side_px - 1, count)
    assert 1 <= np.diff(pixels).min() <= np.diff(pixels).max() <= stride


@pytest.mark.parametrize("stride", [1, 4])
def test_each_ray_ends_before_its_depth_and_infinity_at_the_range(stride: int) -> None:
    generator = np.random.default_rng(0)
    depth_m = generator.uniform(0.3, 9.0, (49, 65)).astype(np.float32)
    half_width = generator.uniform(0.05, 0.5, (49, 65)).astype(np.float32)
    depth_m[::8, ::4], depth_m[4::8, ::4], depth_m[::8, 4::8] = np.inf, np.nan, -np.inf
    half_width[::8, ::4] = np.nan  # of no depth nobody knows how far off it is
    flying = np.zeros((49, 65), bool)
    flying[8, 8] = True
    rays = clearing_cloud(depth_m, half_width, CAMERA, stride=stride, clear_range_m=7.0, unknown=flying)
    seen = depth_m[::stride, ::stride]
    expected = np.where(np.isinf(seen), 7.0, seen * np.exp(-half_width[::stride, ::stride]))
    expected[np.isneginf(seen) | np.isnan(seen) | flying[::stride, ::stride]] = np.nan
    assert rays.dtype == CLOUD_XYZ
    np.testing.assert_allclose(rays["z"], expected, rtol=1e-6)
    v, u = np.mgrid[:49:stride, :65:stride]
    known = np.isfinite(expected)
    np.testing.assert_allclose((rays["x"] / rays["z"] * 60 + 31.3)[known], u[known], atol=1e-3)
    np.testing.assert_allclose((rays["y"] / rays["z"] * 61 + 24.6)[known], v[known], atol=1e-3)


def test_a_share_of_the_interval_ends_rays_farther() -> None:
    depth_m = np.full((49, 65), 3.0, np.float32)
    rays = clearing_cloud(depth_m, np.full_like(depth_m, 0.8), CAMERA, stride=4, clear_range_m=9.0, share=0.25)
    np.testing.assert_allclose(rays["z"], 3.0 * np.exp(-0.2), rtol=1e-6)


def test_without_intervals_rays_end_at_the_depth() -> None:
    depth_m = np.random.default_rng(0).uniform(0.3, 9.0, (49, 65)).astype(np.float32)
    rays = clearing_cloud(depth_m, None, CAMERA, stride=2, clear_range_m=9.0)
    points = organised_cloud(depth_m, None, CAMERA, stride=2)
    for axis in "xyz":
        np.testing.assert_allclose(rays[axis], points[axis], rtol=1e-5, atol=1e-6)


def test_a_buffer_of_another_size_is_refused() -> None:
    depth_m = np.ones((49, 65), np.float32)
    with pytest.raises(InputError, match="cloud buffer"):
        clearing_cloud(depth_m, None, CAMERA, stride=4, clear_range_m=9.0, out=np.empty((49, 65), CLOUD_XYZ))
