# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from depthclip_ros.core.engine.interval import WIDEST
from depthclip_ros.core.types import DepthLimits


@pytest.fixture
def one(table, half_width):
    def half_width_of_one(confidence, depth_m, level=0.9, log_scale_sd=None):
        return float(half_width(torch.tensor([[confidence]]), torch.tensor([[depth_m]]), table, level, log_scale_sd))

    return half_width_of_one


def test_half_width_by_hand(one):
    # c = 0.5: spread 1, s^2 = 0.2^2 + 0.1^2 + 0.4^2 = 0.21; q at 1 m is 1.5, at 4 m 2, between in ln depth.
    s = math.sqrt(0.21)
    assert one(0.5, 1.0) == pytest.approx(1.5 * s, rel=1e-5)
    assert one(0.5, 4.0) == pytest.approx(2.0 * s, rel=1e-5)
    assert one(0.5, 2.0) == pytest.approx(1.75 * s, rel=1e-5)
    assert one(0.5, 0.2) == pytest.approx(1.5 * s, rel=1e-5)
    assert one(0.5, 9.0) == pytest.approx(2.0 * s, rel=1e-5)
    assert one(0.5, 1.0, log_scale_sd=0.0) == pytest.approx(1.0 * math.sqrt(0.05), rel=1e-5)
    assert one(0.5, 1.0, level=0.5) == pytest.approx(0.5 * s, rel=1e-5)


def test_a_measured_width_multiplies_every_interval_and_confidence_follows(table, metric_depth):
    confidence, depth = torch.full((1, 12, 16), 0.7), torch.rand(1, 12, 16) * 5 + 0.2
    (_, certain, usual), (metres, surer, narrow) = (
        metric_depth(depth, confidence, torch.ones(1), (16, 12), DepthLimits(width=width), 10, table)
        for width in (1.0, 0.6)
    )
    torch.testing.assert_close(narrow, 0.6 * usual)
    torch.testing.assert_close(metres, depth)
    assert (surer > certain).all()


def test_what_the_network_knows_nothing_of_is_as_wide_as_it_gets(one):
    assert one(0.0, 1.0) == WIDEST


def test_a_known_scale_narrows_every_interval_and_lifts_every_confidence(table, metric_depth):
    confidence, depth = torch.rand(1, 12, 16), torch.rand(1, 12, 16) * 5 + 0.2
    results = [
        metric_depth(depth, confidence, torch.ones(1), (64, 48), DepthLimits(log_scale_sd=sd), 10, table)
        for sd in (None, 0.05)
    ]
    (metres, certain, wide), (same_m, more_certain, narrow) = results
    assert torch.equal(metres, same_m)
    assert narrow is not None
    assert wide is not None
    assert (narrow < wide).all()
    assert (more_certain > certain).all()
    assert wide.shape == metres.shape == (1, 48, 64)


def test_confidence_is_a_falling_function_of_the_width(table, metric_depth, confidence_of):
    widths = torch.tensor([0.1, 0.6, 1.2])
    assert confidence_of(widths, 0.6).tolist() == pytest.approx([1 / (1 + 1 / 36), 0.5, 0.2])
    depth = torch.rand(1, 12, 16) + 1
    _, certain, wide = metric_depth(depth, torch.rand(1, 12, 16), torch.ones(1), (64, 48), DepthLimits(), 10, table)
    assert wide is not None
    order = np.argsort(wide.numpy().ravel())
    assert (np.diff(certain.numpy().ravel()[order]) <= 0).all()


def test_the_scale_of_a_camera_moves_the_band_that_a_pixel_is_in(table, metric_depth):
    depth, sure = torch.ones(1, 4, 4), torch.full((1, 4, 4), 0.5)
    near, far = (
        metric_depth(depth, sure, torch.tensor([scale]), (4, 4), DepthLimits(), 10, table)[2] for scale in (1.0, 4.0)
    )
    assert near is not None
    assert far is not None
    assert (far > near).all()


def test_weights_without_a_table_keep_the_networks_confidence_and_have_no_widths(metric_depth):
    confidence = torch.full((1, 4, 4), 0.25)
    _, certain, wide = metric_depth(torch.ones(1, 4, 4), confidence, torch.ones(1), (4, 4), DepthLimits(), 10)
    assert wide is None
    assert (certain == 0.25).all()


def test_a_table_of_one_band_holds_at_any_depth(table, half_width):
    single = dataclasses.replace(table, depths_m=(2.0,), free=((0.5,), (1.5,)), anchored=((0.4,), (1.0,)))
    depth_m = torch.tensor([[0.2, 2.0, 9.0]])
    wide = half_width(torch.full_like(depth_m, 0.5), depth_m, single, 0.9, None)
    expected = half_width(torch.full_like(depth_m, 0.5), depth_m, table, 0.9, None)[0, 0]  # below the first band
    torch.testing.assert_close(wide, torch.full_like(wide, float(expected)))
