# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What every depth system is to the rest of the package: a configuration, a network, a prediction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from depthclip_ros.core.model.model_config import ModelConfig, require

ADAPTERS = "adapters"
LAST_BLOCKS = "last_blocks"
TOWER = "tower"


@dataclass
class Prediction:
    """What a network says about a batch, at its own output grid (h, w), any size.

    Attributes:
        depth: float32 [B, h, w], canonical units (metres where the configuration's `canonical_focal_px` is None).
        confidence: float32 [B, h, w], 0..1.
        bin_logits: float32 [B, K, hb, wb] over `DepthModel.bin_centres`.
        regression: float32 [B, hr, wr], depth of the regression head alone, in the units of `depth`.
        scene_weights: float32 [B, S], one per `DepthModel.scene_labels`; each row sums to 1.
    """

    depth: Tensor
    confidence: Tensor
    bin_logits: Tensor | None = None
    regression: Tensor | None = None
    scene_weights: Tensor | None = None


class DepthModel(nn.Module, ABC):
    """Base of every depth system.

    Attributes:
        config: the system's frozen configuration.
        image_mean, image_std: of RGB in 0..1; the input is (rgb - mean) / std.
        stride: sides of the network's input are multiples of it.
        scene_labels: names of the scene prompts, empty where the system has none.
        base_name: the pretrained tower that this model was built on, None for a random one.
        sources: the weights files that tensors were loaded from, in order, each with the names of its tensors.
    """

    config: ModelConfig
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]
    stride: int
    scene_labels: tuple[str, ...] = ()
    base_name: str | None = None
    sources: tuple[tuple[str, frozenset[str]], ...] = ()

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self._trained: tuple[str, ...] = ()

    def forward(self, images: Tensor) -> Prediction:
        """Predict depth for normalised images [B, 3, h, w] (h and w multiples of `stride`; float32 or bfloat16)."""
        return self.read(*self.see(images))

    @abstractmethod
    def see(self, images: Tensor) -> tuple[Tensor, ...]:
        """The part that may run in half precision or int8: nearly all operations. Each tensor [B, ...]."""

    @abstractmethod
    def read(self, *seen: Tensor) -> Prediction:
        """The part that needs float32 whatever the rest runs in: from what `see` gives to depth and confidence."""

    @abstractmethod
    def all_groups(self) -> dict[str, list[nn.Parameter]]:
        """Every parameter by group: "adapters" (all but the tower), "last_blocks", "tower" (its rest)."""

    @property
    def bin_centres(self) -> Tensor | None:
        """Centres of the depth bins [K], in the units of `Prediction.depth`; None where the system has no bins."""
        return None

    def network_size(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Input size (width, height) for an image: about `config.input_pixels`, its aspect to the nearest stride."""
        return self.config.network_size(width_px, height_px, self.stride)

    def select_trained(self, groups: Sequence[str]) -> None:
        """Choose which groups of `all_groups` are trained; every other parameter is frozen.

        Raises:
            ConfigError: a group that this model does not have.
        """
        available = self.all_groups()
        for group in groups:
            require(group in available, "trained group", group, ", ".join(available))
        self._trained = tuple(groups)
        self.requires_grad_(False)
        for group in groups:
            for parameter in available[group]:
                parameter.requires_grad_(True)
        self.train(self.training)

    @property
    def trained_groups(self) -> tuple[str, ...]:
        """The groups that are trained now."""
        return self._trained

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The parameters that are trained now, by group; all others have requires_grad False."""
        available = self.all_groups()
        return {group: available[group] for group in self._trained}

    def trainable_names(self) -> set[str]:
        """State-dict names that training changes: what an adapter-only weights file holds.

        A buffer goes with the parameters of its own module (statistics of a normalisation), and with the adapters
        where its module has none.
        """
        chosen = {id(parameter) for group in self.parameter_groups().values() for parameter in group}
        saved = set(self.state_dict())
        names = set()
        for prefix, module in self.named_modules():
            own = list(module.parameters(recurse=False))
            trained = any(id(parameter) in chosen for parameter in own) if own else ADAPTERS in self._trained
            for name, parameter in module.named_parameters(prefix, recurse=False):
                if id(parameter) in chosen:
                    names.add(name)
            if trained:
                names.update(name for name, _ in module.named_buffers(prefix, recurse=False) if name in saved)
        return names

    def train(self, mode: bool = True) -> DepthModel:
        """Training mode, except for frozen batch normalisation, whose statistics stay as they are."""
        super().train(mode)
        for module in self.frozen_norms():
            module.eval()
        return self

    def frozen_norms(self) -> Iterator[nn.Module]:
        """Batch normalisations whose parameters are not trained."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and not any(p.requires_grad for p in module.parameters()):
                yield module

    def prepare_inference(self) -> DepthModel:
        """Make the model cheap to run without changing its output; it can no longer be trained or saved."""
        self.requires_grad_(False)
        self.eval()
        return self


def full_precision(tensor: Tensor) -> torch.autocast:
    """A context in which autocast does not lower the precision of what is computed."""
    return torch.autocast(tensor.device.type, enabled=False)
