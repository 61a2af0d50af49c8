# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The data path twice: in numpy as on the CPU, in torch as on a device. What is tested of one is tested of both."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depthclip_ros.core.engine import interval, postprocess, preprocess
from depthclip_ros.core.engine.on_device import interval as device_interval
from depthclip_ros.core.engine.on_device import postprocess as device_postprocess
from depthclip_ros.core.engine.on_device import preprocess as device_preprocess


def _host_metric_depth(depth, confidence, scale, size, limits, max_depth_m, uncertainty=None):
    found = [
        postprocess.metric_depth(one.numpy(), sure.numpy(), float(factor), size, limits, max_depth_m, uncertainty)
        for one, sure, factor in zip(depth, confidence, scale, strict=True)
    ]
    assert all(part is None or part.dtype == np.float32 for parts in found for part in parts)
    return tuple(None if parts[0] is None else torch.from_numpy(np.stack(parts)) for parts in zip(*found, strict=True))


def _host_flying_pixels(depth, size, threshold):
    return torch.from_numpy(np.stack([postprocess.flying_pixels(one, size, threshold) for one in depth.numpy()]))


def _host_half_width(confidence, depth_m, *rest):
    return torch.from_numpy(interval.half_width(confidence.numpy(), depth_m.numpy(), *rest))


def _host_confidence_of(half_width, even_odds):
    return torch.from_numpy(interval.confidence_of(half_width.numpy(), even_odds))


def _device_pixels(image, network_size):
    return device_preprocess.network_pixels(device_preprocess.on_device(image, torch.device("cpu")), network_size)[0]


@pytest.fixture(params=["host", "device"])
def path(request):
    """Which of the two."""
    return request.param


@pytest.fixture
def metric_depth(path):
    return _host_metric_depth if path == "host" else device_postprocess.metric_depth


@pytest.fixture
def flying_pixels(path):
    return _host_flying_pixels if path == "host" else device_postprocess.flying_pixels


@pytest.fixture
def half_width(path):
    return _host_half_width if path == "host" else device_interval.half_width


@pytest.fixture
def confidence_of(path):
    return _host_confidence_of if path == "host" else device_interval.confidence_of


@pytest.fixture
def network_pixels(path):
    """From an image to a tensor uint8 [h, w, 3]."""
    if path == "device":
        return _device_pixels
    return lambda image, size: torch.from_numpy(preprocess.network_pixels(image, size).copy())
