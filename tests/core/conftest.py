# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Models for the engine and the runtimes: a real small one, and one whose depth can be told from the image by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn

from depthclip_ros.core.model.contract import DepthModel, Prediction
from depthclip_ros.core.model.model_config import ModelConfig
from depthclip_ros.core.model.registry import build_model, preset
from depthclip_ros.core.uncertainty import Uncertainty

TINY_CLIP = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
TINY_RESNET = {
    **TINY_CLIP,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None, "head_width": 64},
}


class ReadingModel(DepthModel):
    """Depth is ten times the red channel (0..1), confidence the green one, both at 1/`coarseness` of the input."""

    stride = 8
    image_mean = (0.0, 0.0, 0.0)
    image_std = (1.0, 1.0, 1.0)

    def __init__(self, config: ModelConfig, coarseness: int = 1, memory: int | None = None) -> None:
        super().__init__(config)
        self.coarseness = coarseness
        self.memory = memory  # images that fit into it; more are out of memory
        self.batches: list[int] = []
        self.weight = nn.Parameter(torch.ones(()))

    def see(self, images: Tensor) -> tuple[Tensor, ...]:
        self.batches.append(len(images))
        if self.memory is not None and len(images) > self.memory:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return (nn.functional.avg_pool2d(images, self.coarseness) * self.weight,)

    def read(self, *seen: Tensor) -> Prediction:
        red, green = seen[0][:, 0].float(), seen[0][:, 1].float()
        return Prediction(depth=red * 10, confidence=green)

    def all_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"adapters": [self.weight]}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are too small for more, and on a busy machine torch's threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def reading_model() -> Callable[..., ReadingModel]:
    def make(coarseness: int = 1, memory: int | None = None, **config: object) -> ReadingModel:
        values = {"system": "reading", "canonical_focal_px": 300.0, "max_depth_m": 50.0, "input_pixels": 64 * 48}
        return ReadingModel(ModelConfig(**(values | config)), coarseness, memory)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def small_model(small_config: Callable[[], ModelConfig]) -> Callable[[], DepthModel]:
    """The real system, with a tower of a few blocks."""

    def make() -> DepthModel:
        torch.manual_seed(0)
        return build_model(small_config())

    return make


@pytest.fixture
def compiled_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that runtimes keep compiled networks in, of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "depthclip_ros" / "compiled"


@pytest.fixture(scope="session")
def _compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def shared_cache(_compiled_once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of compiled networks that all tests of a run share: what one of them compiled serves the next."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(_compiled_once))


def _known_to_open_clip(folder: Path, name: str, settings: dict[str, Any]) -> str:
    path = folder / f"depthclip-{name}.json"
    path.write_text(json.dumps(settings))
    open_clip.add_model_config(path)
    return path.stem


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of a small CLIP on a ViT that open_clip knows for the length of the session."""
    return _known_to_open_clip(tmp_path_factory.mktemp("open_clip"), "tiny", TINY_CLIP)


@pytest.fixture(scope="session")
def tiny_resnet_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Likewise on a ResNet."""
    return _known_to_open_clip(tmp_path_factory.mktemp("open_clip"), "tiny-resnet", TINY_RESNET)


@pytest.fixture
def clip_config(tiny_clip: str) -> Callable[..., ModelConfig]:
    """Make the configuration of a preset on the small CLIP: `clip_config("dense-vitb16", scenes=(...))`."""

    def make(name: str = "dense-vitb16", **overrides: Any) -> ModelConfig:
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
def table() -> Uncertainty:
    """An uncertainty with round numbers: two levels, two bands."""
    return Uncertainty(
        floor=0.1,
        gain=0.2,
        scale_sd=0.4,
        levels=(0.5, 0.9),
        depths_m=(1.0, 4.0),
        free=((0.5, 0.6), (1.5, 2.0)),
        anchored=((0.7, 0.8), (1.0, 1.2)),
        even_odds=0.6,
        places=20,
        frames=100,
        data="rooms",
    )
