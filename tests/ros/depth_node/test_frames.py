# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a frame's depth becomes for its topics; depth that is made up."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depthclip_ros.core.anchors.estimator import NO_SCALE, ScaleEstimate
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros.depth_node.frames import Frame, FrameDepth, summary
from depthclip_ros.ros.depth_node.parameters.values import settings_from

CAMERA = Intrinsics(30.0, 30.0, 15.5, 11.5, 32, 24)


def frame_depth(depth_m=2.0, *, settings=None, half_width=None, scale=NO_SCALE, focal_assumed=False, **fields):
    rgb = np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3)
    frame = Frame(rgb, CAMERA, None, focal_assumed, 1.0, settings_from(settings or {}), scale=scale)
    depth_m = np.broadcast_to(np.asarray(depth_m, np.float32), (24, 32)).copy()
    wide = None if half_width is None else np.full((24, 32), half_width, np.float32)
    return FrameDepth(frame, depth_m, np.full((24, 32), 0.75, np.float32), 1.5, {}, half_width=wide, **fields)


def test_uncertainty_is_the_larger_side_of_the_interval():
    found = frame_depth(half_width=0.2).uncertainty_m
    np.testing.assert_allclose(found, 2 * (math.exp(0.2) - 1), rtol=1e-5)
    assert np.isnan(frame_depth().uncertainty_m).all()


@pytest.mark.parametrize("stride", [1, 5])
@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("fields", [[], ["uncertainty"]])
def test_a_cloud_is_of_the_shape_and_fields_that_are_announced(stride, color, fields):
    settings = {"cloud.stride": stride, "cloud.color": color, "cloud.fields": fields, "cloud.max_range": 3.0}
    depth_m = np.where(np.arange(32) < 20, 2.0, 4.0)
    flying = np.zeros((24, 32), bool)
    flying[:, 5] = True
    result = frame_depth(depth_m, settings=settings, half_width=0.2, flying=flying)
    shape, dtype = result.cloud_type
    assert shape == (-(-24 // stride), -(-32 // stride))
    cloud = result.make_cloud(np.empty(shape, dtype))
    columns = np.arange(0, 32, stride)
    expected = np.where((columns < 20) & (columns != 5), 2.0, np.nan)
    np.testing.assert_array_equal(cloud["z"], np.broadcast_to(expected, shape))
    assert ("uncertainty" in (dtype.names or ())) is bool(fields)
    assert ("rgb" in (dtype.names or ())) is color
    if fields:
        np.testing.assert_allclose(
            cloud["uncertainty"],
            2 * (math.exp(0.2) - 1) * np.where(columns < 20, 1, 2)[None].repeat(shape[0], 0),
            rtol=1e-5,
        )
    assert result.make_cloud().dtype == dtype


def test_rays_to_clear_along_are_of_the_announced_shape_and_end_where_the_least_is_known():
    settings = {"cloud.clear_stride": 8, "cloud.clear_range": 6.0}
    depth_m = np.where(np.arange(32) < 16, 2.0, np.inf)
    result = frame_depth(depth_m, settings=settings, half_width=0.2, clear_share=0.5, farthest_m=5.0)
    shape, dtype = result.clearing_cloud_type
    rays = result.make_clearing_cloud()
    assert (rays.shape, rays.dtype) == (shape, dtype)
    assert rays["z"].max() <= 5.0, "+Inf says no more"
    assert rays["z"].max() > 3.0
    assert rays["z"][:, 0] == pytest.approx(2 * math.exp(-0.5 * 0.2), rel=1e-5)
    farther = frame_depth(depth_m, settings=settings, half_width=0.2, farthest_m=50.0)
    assert 5.0 < farther.make_clearing_cloud()["z"].max() <= 6.0
    assert result.scan_limits.max_range_m == 5.0, "a scan reaches no farther than depth"
    assert farther.scan_limits.max_range_m == 8.0


@pytest.mark.parametrize(
    ("threshold", "flies", "seen"), [(0.0, False, True), (0.7, False, True), (0.8, False, False), (0.0, True, False)]
)
def test_a_scan_takes_what_is_certain(threshold, flies, seen):
    settings = {"scan.confidence_threshold": threshold, "scan.min_height": -5.0, "scan.max_height": 5.0}
    result = frame_depth(settings=settings, flying=np.full((24, 32), flies))
    to_scan = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    ranges = np.asarray(result.make_scan(to_scan).ranges_m)
    assert bool(np.isfinite(ranges).any()) is seen


def test_the_summary_is_of_the_finite_depths():
    depth_m = np.full((24, 32), 3.0)
    depth_m[:12] = 1.0
    depth_m[12, :16] = 8.0
    depth_m[0], depth_m[1], depth_m[2] = np.nan, np.inf, -np.inf
    found = summary(
        frame_depth(
            depth_m, half_width=0.25, scale=ScaleEstimate(math.log(1.2), 0.1), focal_assumed=True,
            scenes=[("office", 0.7), ("hall", 0.2)], settings={"uncertainty.level": 0.8},
        )
    )  # fmt: skip
    assert (found["depth_min_m"], found["depth_median_m"], found["depth_max_m"]) == (1.0, 3.0, 8.0)
    assert found["valid_ratio"] == pytest.approx(21 / 24)
    assert found["confidence_mean"] == pytest.approx(0.75)
    assert (found["half_width_mean"], found["half_width_level"]) == (pytest.approx(0.25), 0.8)
    assert (found["scale"], found["anchor_scale"], found["anchor_scale_sd"]) == (1.5, pytest.approx(1.2), 0.1)
    assert found["focal_assumed"] is True
    assert (found["scene_labels"], found["scene_weights"]) == (["office", "hall"], [0.7, 0.2])


def test_the_summary_of_nothing_is_nan_and_not_an_error():
    found = summary(frame_depth(np.nan, half_width=0.25))
    names = ("depth_min_m", "depth_median_m", "depth_max_m", "half_width_mean", "anchor_scale_sd")
    assert all(math.isnan(found[name]) for name in names)
    assert found["valid_ratio"] == 0.0
    assert math.isnan(summary(frame_depth())["half_width_mean"])
    lonely = np.full((1024, 1024), np.nan, np.float32)
    lonely[1, 1] = 4.0  # beside the grid that the median is taken of
    camera = Intrinsics(30.0, 30.0, 15.5, 11.5, 1024, 1024)
    frame = Frame(np.zeros((1024, 1024, 3), np.uint8), camera, None, False, 1.0, settings_from({}))
    assert summary(FrameDepth(frame, lonely, np.ones_like(lonely), 1.0, {}))["depth_median_m"] == 4.0


@pytest.mark.parametrize(("assumed", "hfov", "has"), [(False, 0.0, True), (True, 0.0, False), (True, 60.0, True)])
def test_rays_are_known_of_a_calibrated_camera_or_a_stated_field_of_view(assumed, hfov, has):
    assert frame_depth(focal_assumed=assumed, settings={"input.assumed_hfov": hfov}).frame.has_camera is has
