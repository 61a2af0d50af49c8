"""Models for the engine and the runtimes: a real small one, and one whose depth can be told from the image by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from depthclip_ros.core.model.contract import DepthModel, ModelConfig, Prediction
from depthclip_ros.core.model.registry import build_model, preset


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


@pytest.fixture
def small_model() -> Callable[[], DepthModel]:
    """The real system, with a tower of a few blocks."""

    def make() -> DepthModel:
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
        return build_model(config)

    return make


@pytest.fixture
def compiled_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that runtimes keep compiled networks in, of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "depthclip_ros" / "compiled"
