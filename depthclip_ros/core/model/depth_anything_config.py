# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Configuration of Depth Anything, its presets, and what a folder of transformers says."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.model_config import ModelConfig, require
from depthclip_ros.core.model.transformers_network import (
    DEPTH,
    IMAGENET_MEAN,
    IMAGENET_STD,
    family_of,
    farthest_m,
    output_of,
    read_folder,
    shape_text,
)


@dataclass(frozen=True, kw_only=True)
class DepthAnythingConfig(ModelConfig):
    """Depth Anything V1 (arXiv 2401.10891) and V2 (2406.09414) through the transformers library, or its relatives.

    A relative network gives disparity up to scale and shift, in units of its own. Its depth here is 1 / disparity,
    which is no metres, and `metric` is False. With `disparity_scale` s and `disparity_shift` t, fitted to measured
    depth, depth is 1 / (s * disparity + t) in canonical units, and `metric` is True.

    A published metric network gives metres for the lens it was trained with; like its makers we leave the camera's
    focal length out (`canonical_focal_px` None). Networks that were trained or fitted here are canonical.

    Attributes:
        network: the configuration of transformers, as JSON.
        base_weights: a folder in transformers' layout, a Hugging Face id (downloaded), or None for random weights.
        image_mean, image_std: of RGB in 0..1.
        disparity_scale, disparity_shift: of a relative network that was fitted; None and 0 otherwise.
        train_tower: train the whole encoder, as published; otherwise only `last_blocks` of it.
        last_blocks: how many of the encoder's last transformer blocks form the group "last_blocks".
        prior: depth (metric) or disparity (relative) that an untrained network starts with.
    """

    system: str = "depth_anything"
    metric: bool = False
    canonical_focal_px: float | None = None
    network: str
    base_weights: str | None = None
    image_mean: tuple[float, ...] = IMAGENET_MEAN
    image_std: tuple[float, ...] = IMAGENET_STD
    disparity_scale: float | None = None
    disparity_shift: float = 0.0
    train_tower: bool = True
    last_blocks: int = 4
    prior: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.system == "depth_anything", "system", self.system, "depth_anything")
        try:
            network = json.loads(self.network)
        except ValueError as error:
            raise ConfigError(
                f"network is {self.network!r}; allowed: a configuration of transformers as JSON"
            ) from error
        require(isinstance(network, dict), "network", self.network, "transformers' configuration as JSON")
        family_of(network)
        for name, values in (("image_mean", self.image_mean), ("image_std", self.image_std)):
            require(len(values) == 3 and all(map(math.isfinite, values)), name, values, "three numbers")
        require(min(self.image_std) > 0, "image_std", self.image_std, "above 0")
        scale = self.disparity_scale
        require(scale is None or 0 < scale < math.inf, "disparity_scale", scale, "above 0, or none")
        require(math.isfinite(self.disparity_shift), "disparity_shift", self.disparity_shift, "finite")
        has_scale = output_of(network) == DEPTH or scale is not None
        why = f"{has_scale}, as its network{' with disparity_scale' if scale else ''} gives"
        require(self.metric == has_scale, "metric", self.metric, why)
        require(self.last_blocks >= 0, "last_blocks", self.last_blocks, "0 or more")
        require(0 < self.prior < math.inf, "prior", self.prior, "above 0")

    @property
    def ready_made(self) -> bool:
        """See `ModelConfig.ready_made`."""
        return self.base_weights is not None


def shape(
    hidden: int,
    blocks: int,
    heads: int,
    taps: tuple[int, ...],
    neck: tuple[int, ...],
    fusion: int,
    *,
    metric_m: float | None = None,
    side_px: int = 518,
) -> str:
    """The `network` of a Depth Anything of any size.

    Args:
        hidden: channels of the encoder.
        blocks: of the encoder.
        heads: of each block.
        taps: the blocks, from 1, whose outputs the decoder reads.
        neck: channels of each tap in the decoder.
        fusion: channels where the taps are joined.
        metric_m: where a metric head ends, metres; None: a relative head.
        side_px: image side of the position embeddings; other sizes are interpolated.
    """
    encoder = {"model_type": "dinov2", "hidden_size": hidden, "num_hidden_layers": blocks, "num_attention_heads": heads}
    encoder.update(image_size=side_px, patch_size=14, reshape_hidden_states=False)
    network: dict[str, Any] = {"model_type": "depth_anything", "patch_size": 14, "reassemble_hidden_size": hidden}
    network["backbone_config"] = {**encoder, "out_indices": list(taps)}
    network.update(neck_hidden_sizes=list(neck), fusion_hidden_size=fusion, head_hidden_size=32)
    if metric_m is not None:
        network.update(depth_estimation_type="metric", max_depth=round(metric_m))
    return shape_text(network)


_ENCODERS: dict[str, tuple[int, int, int, tuple[int, ...], tuple[int, ...]]] = {
    "small": (384, 12, 6, (9, 10, 11, 12), (3, 6, 9, 12)),  # taps of V1, of V2
    "base": (768, 12, 12, (9, 10, 11, 12), (3, 6, 9, 12)),
    "large": (1024, 24, 16, (21, 22, 23, 24), (5, 12, 18, 24)),
}
_NECKS = {"small": (48, 96, 192, 384), "base": (96, 192, 384, 768), "large": (256, 512, 1024, 1024)}
_FUSION = {"small": 64, "base": 128, "large": 256}
_TINY = (192, 8, 3, (2, 4, 6, 8), (32, 64, 96, 128), 64)


def _pixels(side_px: int, keeps_aspect: bool = True) -> int:
    """Pixels of a 4:3 image whose shorter side is `side_px`, or of the square."""
    return round(side_px * side_px * (4 / 3 if keeps_aspect else 1))


def _published(size: str, v2: bool, base: str, metric_m: float | None = None) -> DepthAnythingConfig:
    hidden, blocks, heads, *taps = _ENCODERS[size]
    network = shape(hidden, blocks, heads, taps[v2], _NECKS[size], _FUSION[size], metric_m=metric_m)
    return DepthAnythingConfig(
        network=network,
        base_weights=base,
        metric=metric_m is not None,
        max_depth_m=metric_m or 10.0,
        input_pixels=_pixels(518),
    )


PRESETS: dict[str, ModelConfig] = {
    **{
        f"depth-anything-{version}-{size}": _published(size, version == "v2", hub.format(size=name))
        for version, hub, names in (
            ("v1", "LiheYoung/depth-anything-{size}-hf", ("small", "base", "large")),
            ("v2", "depth-anything/Depth-Anything-V2-{size}-hf", ("Small", "Base", "Large")),
        )
        for size, name in zip(_ENCODERS, names, strict=True)
    },
    "depth-anything-v2-indoor-small": _published(
        "small", True, "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf", 20.0
    ),
    "depth-anything-v2-outdoor-small": _published(
        "small", True, "depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf", 80.0
    ),
    # Ours, to be trained on a machine without network.
    "depth-anything-tiny": DepthAnythingConfig(network=shape(*_TINY, side_px=224)),
    "depth-anything-tiny-metric": DepthAnythingConfig(
        network=shape(*_TINY, side_px=224, metric_m=20.0), metric=True, canonical_focal_px=300.0, prior=3.5
    ),
}


def config_of_folder(folder: Path, base_weights: str) -> DepthAnythingConfig:
    """The configuration of a folder in transformers' layout.

    Args:
        folder: with config.json, model.safetensors and, where it has one, preprocessor_config.json.
        base_weights: how the user calls it: the folder, or a Hugging Face id.

    Raises:
        WeightsError: no such layout, or another kind of network.
    """
    info = read_folder(folder)
    network = json.loads(info.network)
    metric = output_of(network) == DEPTH
    return DepthAnythingConfig(
        network=info.network,
        base_weights=base_weights,
        metric=metric,
        max_depth_m=farthest_m(network) if metric else 10.0,
        input_pixels=max(1024, _pixels(info.side_px, info.keeps_aspect)),
        image_mean=info.mean,
        image_std=info.std,
    )
