# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Small models of the real kinds, so that the tests take seconds."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from depthclip_ros.core.model.registry import preset


@pytest.fixture
def nano_config():
    """Make a small configuration of nano's kind: `nano_config(last_blocks=2)`."""

    def make(**overrides: Any):
        small = {
            "tower_width": 48,
            "tower_blocks": 3,
            "stem_channels": (8, 12, 16),
            "stem_blocks": (0, 1, 1),
            "position_grid": (3, 4),
            "adapter_layers": (0, 2),
            "tap_layers": (2,),
            "decoder_channels": (24, 16, 12, 8),
            "last_blocks": 1,
            "input_pixels": 64 * 48,
        }
        return preset("nano", **{**small, **overrides})

    return make


@pytest.fixture(autouse=True)
def _same_every_time():
    """One seed."""
    torch.manual_seed(0)
