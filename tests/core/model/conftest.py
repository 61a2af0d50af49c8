"""Small models of the real kinds, so that the tests take seconds."""

from __future__ import annotations

import json
from typing import Any

import open_clip
import pytest
import torch

from depthclip_ros.core.model.registry import preset

TINY_CLIP = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory) -> str:
    """Name of a small CLIP that open_clip knows for the length of the session."""
    path = tmp_path_factory.mktemp("open_clip") / "depthclip-tiny.json"
    path.write_text(json.dumps(TINY_CLIP))
    open_clip.add_model_config(path)
    return path.stem


@pytest.fixture
def clip_config(tiny_clip):
    """Make the configuration of a preset on the small CLIP: `clip_config("dense-vitb16", scenes=(...))`."""

    def make(name: str = "dense-vitb16", **overrides: Any):
        taps = {"tap_layers": (3,)} if name == "paper-vitb32" else {"tap_layers": (0, 1, 2, 3)}
        channels = (24, 16, 8) if name == "paper-vitb32" else (24, 16, 12, 8)
        small = {
            "tower": tiny_clip,
            "base_weights": None,
            "adapter_layers": (1, 3),
            "adapter_width": 8,
            "gate_width": 8,
            "last_blocks": 1,
            "decoder_channels": channels,
            "input_pixels": 64 * 64,
            **taps,
        }
        return preset(name, **{**small, **overrides})

    return make


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
    """One seed, one thread: threads cost small models more than they give."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
