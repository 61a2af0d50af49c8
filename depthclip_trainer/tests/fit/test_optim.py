# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import pytest
import torch
from depthclip_trainer.fit.optim import Ema, rate_factor
from torch import nn


def test_rate_rises_then_falls_to_its_end():
    assert rate_factor(0.0, 0.1, 0.02) == 0.0
    assert rate_factor(0.05, 0.1, 0.02) == pytest.approx(0.5)
    assert rate_factor(0.1, 0.1, 0.02) == pytest.approx(1.0)
    assert rate_factor(0.55, 0.1, 0.02) == pytest.approx(0.51)
    assert rate_factor(1.0, 0.1, 0.02) == pytest.approx(0.02)
    assert rate_factor(0.05, 0.1, 0.02, "linear") == pytest.approx(0.5)
    assert rate_factor(0.325, 0.1, 0.0, "linear") == pytest.approx(0.75)
    assert rate_factor(1.0, 0.1, 0.02, "linear") == pytest.approx(0.02)


def test_average_follows_trained_weights_and_saved_buffers_only():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[0].bias.requires_grad_(False)
    model.register_buffer("own", torch.ones(1), persistent=False)
    ema = Ema(model, 0.5)
    assert set(ema.average) == {"0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var"}
    before = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight += 1
    for _ in range(3):
        ema.update()
    # decays (1 + n) / (10 + n) for n = 1, 2, 3, all below 0.5
    left = (2 / 11) * (3 / 12) * (4 / 13)
    assert torch.allclose(ema.average["0.weight"], before + 1 - left)


def test_swapping_twice_changes_nothing():
    model = nn.Linear(3, 3)
    ema = Ema(model, 0.9)
    with torch.no_grad():
        model.weight += 1
    kept, average = model.weight.detach().clone(), ema.average["weight"].clone()
    ema.swap()
    assert torch.equal(model.weight, average)
    ema.swap()
    assert torch.equal(model.weight, kept)
    assert torch.equal(ema.average["weight"], average)
