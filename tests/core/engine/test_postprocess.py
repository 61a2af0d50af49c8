# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Metric depth at the image's size: scale, REP-117's special values, flying pixels."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from depthclip_ros.core.engine.limits import check_limits
from depthclip_ros.core.engine.postprocess import flying_pixels, metric_depth
from depthclip_ros.core.engine.view_depths import edge_threshold
from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.types import CloudRequest, DepthLimits, Intrinsics, View


@pytest.fixture
def metric(metric_depth):
    """Depth and confidence at the network's own size."""

    def of(depth, confidence=None, max_depth_m=math.inf, **limits):
        height, width = depth.shape[-2:]
        confidence = torch.ones_like(depth) if confidence is None else confidence
        limits = DepthLimits(**limits)
        return metric_depth(depth, confidence, torch.ones(len(depth)), (width, height), limits, max_depth_m)[:2]

    return of


def test_each_image_has_its_own_scale_and_the_images_size(metric_depth):
    depth = torch.full((2, 6, 8), 2.0)
    metres, certainty, _ = metric_depth(
        depth, torch.full_like(depth, 0.5), torch.tensor([1.5, 0.5]), (31, 17), DepthLimits(), 10
    )
    assert metres.shape == certainty.shape == (2, 17, 31)
    assert metres.dtype == torch.float32
    torch.testing.assert_close(metres[0], torch.full((17, 31), 3.0))
    torch.testing.assert_close(metres[1], torch.full((17, 31), 1.0))
    torch.testing.assert_close(certainty, torch.full((2, 17, 31), 0.5))


def test_depth_stays_where_the_pixels_centres_are(metric_depth):
    # Cell c of 8 covers pixels 8c to 8c + 7 of 64, so pixel u lies at (u + 0.5) / 8 - 0.5 on the network's grid.
    ramp = 1 + torch.arange(8.0).expand(1, 6, 8)
    metres, _, _ = metric_depth(ramp, torch.ones_like(ramp), torch.ones(1), (64, 48), DepthLimits(), 100)
    pixels = torch.arange(4, 60)
    torch.testing.assert_close(metres[0, 20, 4:60], 1 + (pixels + 0.5) / 8 - 0.5)


def test_an_exponent_bends_depth_about_its_pivot_after_the_scale(metric_depth):
    depth = torch.tensor([[[4.0, 1.0], [16.0, 64.0]]])
    limits = DepthLimits(exponent=1.5, pivot_m=2.0)
    metres, _, _ = metric_depth(depth, torch.ones_like(depth), torch.tensor([0.5]), (2, 2), limits, math.inf)
    expected = [[2.0, 2.0 * 0.25**1.5], [2.0 * 4**1.5, 2.0 * 16**1.5]]
    torch.testing.assert_close(metres[0], torch.tensor(expected))
    flat, _, _ = metric_depth(
        depth, torch.ones_like(depth), torch.tensor([0.5]), (2, 2), DepthLimits(exponent=0.5, pivot_m=2.0), math.inf
    )
    torch.testing.assert_close(flat[0], torch.tensor([[2.0, 1.0], [4.0, 8.0]]))


@pytest.mark.parametrize("exponent", [0.6, 1.7])
def test_what_is_no_depth_stays_none_and_limits_hold_after_an_exponent(metric, exponent):
    depth = torch.tensor([[[0.0, -2.0, math.nan, math.inf], [2.0, 1.0, 90.0, 0.01]]])
    metres, _ = metric(depth, exponent=exponent, pivot_m=2.0, min_depth_m=0.2, max_depth_m=10.0)
    assert torch.isnan(metres[0, 0]).all()
    assert metres[0, 1, 0] == 2.0
    assert metres[0, 1, 1] == pytest.approx(2 * 0.5**exponent)
    assert metres[0, 1, 2] == math.inf
    assert metres[0, 1, 3] == -math.inf


def test_special_values_are_those_of_rep_117(metric):
    depth = torch.tensor([[[0.1, 0.5, 3.0, 9.0, 3.0]]])
    confidence = torch.tensor([[[0.9, 0.9, 0.9, 0.9, 0.1]]])
    metres, _ = metric(depth, confidence, min_depth_m=0.3, max_depth_m=5.0, confidence_threshold=0.2)
    np.testing.assert_array_equal(metres[0, 0], np.array([-np.inf, 0.5, 3.0, np.inf, np.nan], np.float32))


def test_the_models_own_maximum_holds_without_limits(metric):
    metres, _ = metric(torch.tensor([[[4.0, 11.0]]]), max_depth_m=10.0)
    np.testing.assert_array_equal(metres[0, 0], [4.0, np.inf])


@pytest.mark.parametrize("limits", [{}, {"min_depth_m": 0.3}, {"edge_threshold": 0.1}])
def test_depth_at_or_behind_the_lens_is_unknown(limits: dict[str, float], metric_depth):
    depth = torch.full((1, 6, 8), 2.0)
    depth[0, 2, 3], depth[0, 4, 6] = -1.0, 0.0
    for size in ((8, 6), (64, 48), (5, 3)):
        metres, _, _ = metric_depth(depth, torch.ones_like(depth), torch.ones(1), size, DepthLimits(**limits), math.inf)
        known = metres[~metres.isnan()]
        assert 0 < len(known) < metres.numel()
        torch.testing.assert_close(known, torch.full_like(known, 2.0))


def test_what_is_unknown_is_never_infinite(metric_depth):
    depth = torch.tensor([[[20.0, 0.01]]])
    doubtful = torch.zeros_like(depth)
    metres, _, _ = metric_depth(
        depth, doubtful, torch.ones(1), (2, 1), DepthLimits(0.3, 5.0, confidence_threshold=0.5), math.inf
    )
    assert metres.isnan().all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_broken_cell_of_the_network_does_not_spread(bad: float, metric_depth):
    depth = torch.full((1, 8, 8), 2.0)
    depth[0, 3, 3] = bad
    metres, certainty, _ = metric_depth(depth, torch.ones(1, 8, 8), torch.ones(1), (64, 64), DepthLimits(), 10)
    assert metres[0, 28, 28].isnan()
    assert certainty.isfinite().all()
    known = metres[metres.isfinite()]
    assert known.numel() > 0.9 * metres.numel()
    torch.testing.assert_close(known, torch.full_like(known, 2.0))


def test_flying_pixels_between_two_walls_are_taken_out(metric_depth):
    depth = torch.full((1, 12, 16), 1.0)
    depth[..., 8:] = 3.0
    smeared, *_ = metric_depth(depth, torch.ones_like(depth), torch.ones(1), (160, 120), DepthLimits(), 10)
    between = (smeared > 1.01) & (smeared < 2.99)
    assert between.any()
    clean, *_ = metric_depth(
        depth, torch.ones_like(depth), torch.ones(1), (160, 120), DepthLimits(edge_threshold=0.05), 10
    )
    assert clean[between].isnan().all()
    kept = clean[clean.isfinite()]
    assert ((kept < 1.01) | (kept > 2.99)).all()
    assert kept.numel() > 0.9 * clean.numel()  # only the pixels between, not a band around them


def test_a_slope_below_the_threshold_stays(flying_pixels):
    slope = torch.linspace(1, 1.4, 16).expand(1, 12, 16)
    assert not flying_pixels(slope, (64, 48), 0.05).any()
    assert flying_pixels(slope, (64, 48), 0.01).any()


def steps(depth: torch.Tensor, threshold: float) -> np.ndarray:
    """Both sides of every step between touching pixels, plainly."""
    height, width = depth.shape
    mask = np.zeros((height, width), bool)
    for row, column in np.ndindex(height, width):
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            if row + dy < height and 0 <= column + dx < width:
                pair = depth[row, column].item(), depth[row + dy, column + dx].item()
                if abs(pair[0] - pair[1]) > threshold * min(pair):
                    mask[row, column] = mask[row + dy, column + dx] = True
    return mask


@pytest.fixture
def flying(flying_pixels):
    """Of depth at the image's own size."""

    def of(depth_m, threshold):
        depth = torch.from_numpy(np.ascontiguousarray(depth_m))[None]
        return flying_pixels(depth, depth_m.shape[::-1], threshold)[0].numpy()

    return of


def test_both_sides_of_a_depth_step_are_marked(flying):
    depth_m = np.full((6, 8), 2.0, np.float32)
    depth_m[:, 4:] = 2.2
    expected = np.zeros((6, 8), bool)
    expected[:, 3:5] = True
    assert np.array_equal(flying(depth_m, 0.05), expected)
    assert np.array_equal(flying(depth_m.T, 0.05), expected.T)
    assert not flying(depth_m, 0.11).any()


def test_diagonal_steps_count(flying):
    depth_m = np.ones((4, 4), np.float32)
    depth_m[0, 0] = 2.0
    expected = np.zeros((4, 4), bool)
    expected[:2, :2] = True
    assert np.array_equal(flying(depth_m, 0.5), expected)
    assert np.array_equal(flying(depth_m[:, ::-1], 0.5), expected[:, ::-1])


def test_at_the_networks_own_size_both_sides_of_a_step_go(flying_pixels):
    generator = torch.Generator().manual_seed(0)
    depth = 1 + torch.rand(2, 20, 30, generator=generator) * 0.2
    expected = np.stack([steps(image, 0.1) for image in depth])
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(flying_pixels(depth, (30, 20), 0.1), expected)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (DepthLimits(scale_factor=0), "scale_factor is 0; allowed: above 0"),
        (DepthLimits(scale_factor=math.nan), "scale_factor is nan"),
        (DepthLimits(confidence_threshold=1.5), "confidence_threshold is 1.5"),
        (DepthLimits(edge_threshold=-1), "edge_threshold is -1"),
        (DepthLimits(min_depth_m=2, max_depth_m=1), "max_depth_m is 1; allowed: above min_depth_m, 2"),
        (DepthLimits(min_depth_m=-1), "min_depth_m is -1"),
        (DepthLimits(max_depth_m=math.nan), "max_depth_m is nan"),
        *(
            (DepthLimits(**{name: bad}), f"{name} is {bad}; allowed: above 0")
            for name in ("exponent", "pivot_m", "width")
            for bad in (0.0, -1.0, math.inf, math.nan)
        ),
        (DepthLimits(log_scale_sd=-0.1), "log_scale_sd is -0.1; allowed: 0 or more, or none"),
    ],
)
def test_limits_that_mean_nothing_are_refused(limits: DepthLimits, message: str):
    with pytest.raises(ConfigError, match=message):
        check_limits(limits)


@pytest.mark.parametrize("size", [(48, 64), (16, 12), (8, 24), (64, 6), (5, 48), (48, 5)])
def test_sizes_of_other_proportions_average_where_they_shrink_and_interpolate_where_they_grow(size, metric_depth):
    """(width, height), from 24 x 16: a constant stays, and a fine pattern that is made small becomes its mean."""
    depth = torch.full((1, 16, 24), 2.0)
    metres, _, _ = metric_depth(depth, torch.ones_like(depth), torch.ones(1), size, DepthLimits(), 10)
    torch.testing.assert_close(metres, torch.full((1, size[1], size[0]), 2.0))
    if size[0] <= 12 and size[1] <= 16:
        stripes = 2.0 + 0.5 * (torch.arange(24) % 2 * 2 - 1).expand(1, 16, 24)
        metres, _, _ = metric_depth(stripes, torch.ones_like(depth), torch.ones(1), size, DepthLimits(), 10)
        inside = metres[:, :, 1:-1]
        torch.testing.assert_close(inside, torch.full_like(inside, 2.0), rtol=0.06, atol=0)


def test_what_shrinks_along_one_axis_is_averaged_along_it_and_loses_nothing():
    """A cell of ten in the first of nine rows, three rows for nine: bilinear alone would look past it."""
    depth = np.ones((9, 4), np.float32)
    depth[0] = 10.0
    metres, *_ = metric_depth(depth, np.ones_like(depth), 1.0, (8, 3), DepthLimits(), math.inf)
    assert metres.shape == (3, 8)
    assert (metres[0] > 2).all()
    np.testing.assert_allclose(metres[2], 1.0)
    across, *_ = metric_depth(depth.T.copy(), np.ones_like(depth.T), 1.0, (3, 8), DepthLimits(), math.inf)
    np.testing.assert_allclose(across, metres.T, rtol=1e-6)


@pytest.mark.parametrize("size", [(8, 4), (4, 8), (8, 8)])
def test_a_step_is_that_of_the_networks_grid_only_where_both_axes_grow(size):
    """A step between the middle columns of 4 x 4: enlarged, all that is interpolated across it; else both its sides."""
    depth = np.ones((4, 4), np.float32)
    depth[:, 2:] = 2.0
    width, height = size
    resized = cv2.resize(depth, size, interpolation=cv2.INTER_LINEAR)
    found = flying_pixels(depth, size, 0.1)
    if size == (8, 8):
        assert np.flatnonzero(found[0]).tolist() == [3, 4]
    else:
        neighbours = np.abs(np.diff(resized[0])) > 0.1 * np.minimum(resized[0, 1:], resized[0, :-1])
        expected = np.zeros(width, bool)
        expected[1:] |= neighbours
        expected[:-1] |= neighbours
        np.testing.assert_array_equal(found, np.broadcast_to(expected, (height, width)))


def test_limits_that_are_not_given_change_nothing_and_a_cloud_keeps_all():
    depth = np.array([[1e-4, 1.0, 1e4]], np.float32)
    metres, certainty, wide = metric_depth(depth, np.zeros_like(depth), 1.0, (3, 1), DepthLimits(), math.inf)
    np.testing.assert_array_equal(metres, depth)
    assert (certainty.tolist(), wide) == ([[0.0, 0.0, 0.0]], None)
    camera = Intrinsics(1.0, 1.0, 0.0, 0.0, 3, 1)
    assert edge_threshold(View(np.zeros((1, 3, 3), np.uint8), camera, cloud=CloudRequest())) == 0.0
    assert CloudRequest() == CloudRequest(1, math.inf, True, False, 0.0)
