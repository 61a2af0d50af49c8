"""Fixtures: a tiny data set of the real file format, a tiny network, a config over both."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from depthclip_trainer.config import TrainConfig, config_from_mapping

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real RGB-D frames beside the checkout; a user's machine does not have them."""
    path = REPOSITORY.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("needs the RGB-D frames of ../shared/data, which are not on this machine")
    return path


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes an RGB-D folder: a slanted floor whose colour tells its depth, 0 in the left column."""

    def make(name: str = "walk", frames: int = 6, units: float = 1000.0, **meta: Any) -> Path:
        folder = tmp_path / name
        (folder / "rgb").mkdir(parents=True)
        (folder / "depth").mkdir()
        rng = np.random.default_rng(0)
        for i in range(frames):
            far = 1.5 + 3.0 * rng.random()
            depth_m = np.linspace(far, 0.8, 48)[:, None] * np.ones((48, 64))
            image = np.stack([depth_m * 25, 255 - depth_m * 25, np.full_like(depth_m, 20.0 * i)], -1)
            depth_m[:, 0] = 0
            cv2.imwrite(str(folder / "rgb" / f"{i:04d}.png"), image.astype(np.uint8)[..., ::-1])
            cv2.imwrite(str(folder / "depth" / f"{i:04d}.png"), np.round(depth_m * units).astype(np.uint16))
        content = {
            "source": name,
            "depth_units_per_metre": units,
            "intrinsics": {"fx": 50.0, "fy": 50.0, "cx": 31.5, "cy": 23.5},
            "licence": "made by the tests",
            **meta,
        }
        (folder / "meta.json").write_text(json.dumps(content))
        return folder

    return make


TINY_MODEL = {
    "tower_width": 32,
    "tower_blocks": 2,
    "tower_heads": 2,
    "stem_channels": [8, 8, 16, 16],
    "decoder_channels": [16, 16, 8, 8, 8],
    "tap_layers": [1],
    "adapter_layers": [1],
    "adapter_width": 8,
    "gate_width": 8,
    "last_blocks": 1,
    "bins": 16,
    "position_grid": [2, 3],
    "input_pixels": 96 * 64,
}


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., TrainConfig]:
    """A training of seconds on rendered rooms; section__key=value (or section=mapping) goes on top."""
    rooms = {"kind": "rooms", "count": 8, "seed": 3, "longest_px": 96}
    base = {
        "data": {
            "root": str(tmp_path),
            "width_px": 96,
            "height_px": 64,
            "train": {"rooms": rooms},
            "validation": {"held_out": {**rooms, "count": 2, "seed": 4}},
        },
        "model": {"preset": "nano", "overrides": TINY_MODEL},
        "loss": {"bin_cross_entropy": 0.3, "log_l1": 1.0, "silog": 0.1, "gradient_matching": 0.2},
        "optim": {"rates": {"adapters": 3e-3, "last_blocks": 3e-3, "tower": 3e-3}, "ema_decay": 0.9},
        "loop": {
            "out": str(tmp_path / "run"),
            "steps": 6,
            "batch": 4,
            "accelerator": "cpu",
            "precision": "32-true",
            "threads": 1,
            "log_every": 1000,
            "evaluate_every": 3,
        },
    }

    def make(**overrides: Any) -> TrainConfig:
        mapping: dict[str, Any] = copy.deepcopy(base)
        for dotted, value in overrides.items():
            section, _, key = dotted.partition("__")
            if key:
                mapping[section][key] = value
            else:
                mapping[section] = value
        return config_from_mapping(mapping)

    return make
