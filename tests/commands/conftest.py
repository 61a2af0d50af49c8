"""Weights that load in no time, for commands that need some."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from depthclip_ros.core.model.registry import build_model, preset
from depthclip_ros.core.weights import save_weights


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real system with a tower of two blocks, untrained."""
    torch.manual_seed(0)
    config = preset(
        "nano",
        input_pixels=64 * 48,
        tower_blocks=2,
        tower_width=48,
        stem_channels=(8, 16, 24),
        stem_blocks=(0, 1, 1),
        adapter_layers=(1,),
        tap_layers=(1,),
        last_blocks=1,
        decoder_channels=(32, 24, 16, 16),
    )
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(path, build_model(config), training={"data": {"rooms": 3}, "steps": 7}, metrics={"delta1": 0.5})
    return path
