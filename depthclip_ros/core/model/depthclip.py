# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""DepthCLIP: depth from how well each place of the picture fits sentences about distance; nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from depthclip_ros.core.model.contract import ADAPTERS, LAST_BLOCKS, TOWER, DepthModel, Prediction, full_precision
from depthclip_ros.core.model.model_config import ModelConfig, require

RAW, PROJECTED = "raw", "projected"


@dataclass(frozen=True, kw_only=True)
class DepthClipConfig(ModelConfig):
    """DepthCLIP (arXiv 2207.01077), as its code is.

    Attributes:
        tower: a ResNet of open_clip by name, or a vision transformer with projected features.
        base_weights: a pretrained tag of open_clip (downloaded), the path of a safetensors file, or None for random
            weights.
        features: "raw" (published) or "projected" (image and text share a space), see `clip_features`.
        template: the sentence, with {} for the distance class.
        classes: distance classes, near to far.
        bins_m: depth of each class, ascending.
        logit_scale: factor on the cosine; CLIP's own is 100.
        temperature: the scaled cosines are divided by it before the softmax.
    """

    system: str = "depthclip"
    canonical_focal_px: float | None = None
    input_pixels: int = 416 * 544
    tower: str = "RN50-quickgelu"
    base_weights: str | None = "openai"
    features: str = RAW
    template: str = "This object is {}"
    classes: tuple[str, ...] = (
        "giant",
        "extremely close",
        "close",
        "not in distance",
        "a little remote",
        "far",
        "unseen",
    )
    bins_m: tuple[float, ...] = (1.0, 1.5, 2.0, 2.25, 2.5, 2.75, 3.0)
    logit_scale: float = 100.0
    temperature: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.system == "depthclip", "system", self.system, "depthclip")
        require(self.features in (RAW, PROJECTED), "features", self.features, f"{RAW}, {PROJECTED}")
        require(self.template.count("{}") == 1, "template", self.template, "a sentence with one {} for the class")
        require(len(set(self.classes)) == len(self.classes) >= 2, "classes", self.classes, "two or more that differ")
        require(len(self.bins_m) == len(self.classes), "bins_m", self.bins_m, f"{len(self.classes)}, one a class")
        steps = [far - near for near, far in zip(self.bins_m[:-1], self.bins_m[1:], strict=True)]
        require(min(steps) > 0, "bins_m", self.bins_m, "ascending: order the classes from near to far")
        inside = self.min_depth_m <= self.bins_m[0] and self.bins_m[-1] <= self.max_depth_m
        require(inside, "bins_m", self.bins_m, f"{self.min_depth_m}..{self.max_depth_m} (min_depth_m, max_depth_m)")
        for name, value in (("logit_scale", self.logit_scale), ("temperature", self.temperature)):
            require(0 < value < math.inf, name, value, "above 0")

    @property
    def ready_made(self) -> bool:
        """See `ModelConfig.ready_made`."""
        return self.base_weights is not None


PRESETS = {
    "depthclip-rn50": DepthClipConfig(),
    "depthclip-rn50-projected": DepthClipConfig(features=PROJECTED),
}


class DepthClasses(nn.Module):
    """From vectors in the space of texts to depth: a softmax over the distance classes, then the expected depth.

    p = softmax(logit_scale * cosine / temperature) and depth = sum_k p_k c_k (arXiv 2207.01077). Confidence is
    1 / (1 + (s / s0)^2) with s^2 = sum_k p_k (ln c_k - ln depth)^2, as in `heads.DepthHeads`.

    The depths c_k are the only parameters, held as ln of the steps between them: positive and ascending whatever
    training does. Everything here stays in float32: a cosine is multiplied by 1,000.

    Args:
        prompts: [K, D], L2-normalised.
        bins_m: K depths, ascending.
        factor: on the cosine.
    """

    prompts: Tensor
    confidence_scale: Tensor

    def __init__(self, prompts: Tensor, bins_m: tuple[float, ...], factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.log_steps = nn.Parameter(torch.empty(len(bins_m)))
        self.register_buffer("prompts", prompts)
        self.register_buffer("confidence_scale", torch.tensor(0.25))
        self.set_centres(torch.tensor(bins_m, dtype=torch.float64))

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> DepthClasses:
        super()._apply(lambda tensor: tensor.to(fn(tensor).device), recurse)  # type: ignore[no-untyped-call]
        return self

    @property
    def centres(self) -> Tensor:
        """Depth of each class [K], metres."""
        return self.log_steps.exp().cumsum(0)

    @torch.no_grad()
    def set_centres(self, centres_m: Tensor) -> None:
        """Take other depths, [K], above 0 and ascending."""
        steps = torch.diff(centres_m, prepend=centres_m.new_zeros(1))
        require(bool((steps > 0).all()), "bin centres", centres_m.tolist(), "above 0 and ascending")
        self.log_steps.copy_(steps.log())

    def forward(self, places: Tensor) -> Prediction:
        """Read vectors [B, D, h, w]; their length counts, as published."""
        with full_precision(places):
            cosine = torch.einsum("bdhw,kd->bkhw", places.float(), self.prompts)
            logits = self.factor * cosine  # [B, K, h, w]
            probability = logits.softmax(dim=1)
            centres = self.centres
            depth = torch.einsum("bkhw,k->bhw", probability, centres)
            deviation = centres.log()[:, None, None] - depth.log()[:, None]
            spread = (probability * deviation.square()).sum(dim=1)  # s^2
            confidence = 1 / (1 + spread / self.confidence_scale.square())
        return Prediction(depth=depth, confidence=confidence, bin_logits=logits)


class DepthClip(DepthModel):
    """The zero-shot baseline; see `DepthClipConfig`. Depth comes at the tower's own grid, in metres.

    The image's focal length plays no part: the sentences name distances, not sizes.

    Args:
        config: what to build.
        load_base: read `config.base_weights` and embed the sentences; False builds the same tensors for a weights
            file to fill, without download or text tower.

    Raises:
        ConfigError: a tower or a pretrained tag that does not exist, or is of no use here.
        WeightsError: base weights that cannot be read.
    """

    config: DepthClipConfig

    def __init__(self, config: DepthClipConfig, *, load_base: bool = True) -> None:
        super().__init__(config)
        # open_clip takes a second to import: only where one of its models is built
        from depthclip_ros.core.model.towers.clip_features import spatial_features
        from depthclip_ros.core.model.towers.clip_tower import embed_texts, open_clip_model

        clip, self.base_name = open_clip_model(config.tower, config.base_weights, load_base=load_base)
        prompts = None
        if load_base:
            prompts = embed_texts(clip, config.tower, [config.template.format(name) for name in config.classes])
        self.features = spatial_features(clip.visual, config.features == PROJECTED)
        if prompts is None:
            prompts = torch.zeros(len(config.classes), self.features.width)
        self.classes = DepthClasses(prompts, config.bins_m, config.logit_scale / config.temperature)
        self.image_mean, self.image_std = self.features.image_mean, self.features.image_std
        self.stride = self.features.stride
        self.select_trained([ADAPTERS])

    def see(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `DepthModel.see`: a vector for each place of the picture."""
        return (self.features(images),)

    def read(self, *seen: Tensor) -> Prediction:
        """See `DepthModel.read`."""
        prediction: Prediction = self.classes(seen[0])
        return prediction

    @property
    def bin_centres(self) -> Tensor:
        """See `DepthModel.bin_centres`."""
        return self.classes.centres.detach()

    def all_groups(self) -> dict[str, list[nn.Parameter]]:
        """See `DepthModel.all_groups`; the adapters are the depths of the classes, K numbers."""
        return {ADAPTERS: list(self.classes.parameters()), LAST_BLOCKS: [], TOWER: list(self.features.parameters())}

    def prepare_inference(self) -> DepthClip:
        """See `DepthModel.prepare_inference`: batch normalisations go into their convolutions."""
        super().prepare_inference()
        self.features.fold()
        return self
