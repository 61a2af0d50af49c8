# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Depth Anything: DINOv2 with a DPT decoder; ZoeDepth and DPT (MiDaS 3) of the same library load here too."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip_ros.core.model.contract import ADAPTERS, LAST_BLOCKS, TOWER, DepthModel, Prediction, full_precision
from depthclip_ros.core.model.depth_anything_config import DepthAnythingConfig
from depthclip_ros.core.model.model_config import require
from depthclip_ros.core.model.transformers_network import (
    DEPTH,
    build_network,
    family_of,
    farthest_m,
    fetch,
    load_network,
    output_of,
    stride_of,
    takes_squares_only,
)

UNUSED = "unused"
"""Group of parameters that these networks hold without using them; it is never trained."""
LEAST_DISPARITY = 1e-3  # of a relative network, whose outputs are of the order of 1
FARTHEST = 4.0  # times max_depth_m: depth of a pixel whose disparity is zero or less
_BLOCK = re.compile(r"encoder\.layer\.(\d+)\.")


class DepthAnything(DepthModel):
    """See `DepthAnythingConfig`. Depth comes at the size of the input.

    These networks give no confidence. Ours is 1 / (1 + (s / s0)^2), s half the range of ln depth among the 3x3
    neighbours and s0 the buffer `confidence_scale`: it knows that depth at edges is uncertain, and nothing else.

    Args:
        config: what to build.
        load_base: read `config.base_weights`; False builds the same tensors for a weights file to fill.

    Raises:
        ConfigError: transformers is not installed, or cannot build the network.
        WeightsError: base weights that cannot be read, or are another network's.
    """

    config: DepthAnythingConfig
    confidence_scale: Tensor

    def __init__(self, config: DepthAnythingConfig, *, load_base: bool = True) -> None:
        super().__init__(config)
        network = json.loads(config.network)
        self._encoder = family_of(network).encoder
        if load_base and config.base_weights is not None:
            self.network = self._load_base(config, config.base_weights)
            self.base_name = config.base_weights
        else:
            self.network = build_network(config.network)
            self._start_at_prior(config, network)
        self.register_buffer("confidence_scale", torch.tensor(0.25))
        self.gives_depth = output_of(network) == DEPTH
        self.stride = stride_of(network)
        self.image_mean = _triple(config.image_mean)
        self.image_std = _triple(config.image_std)
        self._square = takes_squares_only(network)
        groups = [ADAPTERS, LAST_BLOCKS, TOWER] if config.train_tower else [ADAPTERS, LAST_BLOCKS]
        self.select_trained(groups if config.last_blocks else [group for group in groups if group != LAST_BLOCKS])

    def _load_base(self, config: DepthAnythingConfig, base: str) -> nn.Module:
        place = Path(base).expanduser()
        loaded = load_network(place if place.is_dir() else fetch(base))
        wanted = {name: tensor.shape for name, tensor in build_network(config.network).state_dict().items()}
        found = {name: tensor.shape for name, tensor in loaded.state_dict().items()}
        differing = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
        require(not differing, "base_weights", base, f"a network of this shape (it differs in {differing[:3]})")
        return loaded

    def _start_at_prior(self, config: DepthAnythingConfig, network: dict[str, Any]) -> None:
        """Let an untrained decoder carry its signal, and its output start around the prior.

        The library draws kernels with a deviation of 0.02, which in a small network leaves nothing of the picture at
        the output; and behind the rectifier of a relative head, pixels that start below 0 would have no gradient.
        """
        last = getattr(getattr(self.network, "head", None), "conv3", None)
        if not isinstance(last, nn.Conv2d) or last.bias is None:
            return
        for name, module in self.network.named_modules():
            if isinstance(module, nn.Conv2d) and not name.startswith(self._encoder):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            elif isinstance(module, nn.ConvTranspose2d):  # its kernels do not overlap: stride and size are equal
                nn.init.normal_(module.weight, std=1 / math.sqrt(module.in_channels))
        start = config.prior
        if output_of(network) == DEPTH:
            share = min(config.prior / farthest_m(network), 0.9)
            start = math.log(share / (1 - share))
        nn.init.normal_(last.weight, std=0.1 / math.sqrt(last.in_channels))
        nn.init.constant_(last.bias, start)

    def see(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `DepthModel.see`: disparity or depth at the size of the input."""
        output: Tensor = self.network(pixel_values=images).predicted_depth  # [B, h, w]
        if output.shape[-2:] != images.shape[-2:]:
            with full_precision(output):
                output = F.interpolate(output[:, None].float(), images.shape[-2:], mode="bilinear")[:, 0]
        return (output,)

    def read(self, *seen: Tensor) -> Prediction:
        """See `DepthModel.read`."""
        output = seen[0]
        with full_precision(output):
            output = output.float()
            depth = output.clamp_min(1e-3) if self.gives_depth else self._depth_of(output)
            spread = _log_steps(depth)
            confidence = 1 / (1 + (spread / self.confidence_scale.float()).square())
        return Prediction(depth=depth, confidence=confidence)

    def network_size(self, width_px: int, height_px: int) -> tuple[int, int]:
        """See `DepthModel.network_size`; a square for networks that take nothing else."""
        return super().network_size(1, 1) if self._square else super().network_size(width_px, height_px)

    def _depth_of(self, disparity: Tensor) -> Tensor:
        scale = self.config.disparity_scale
        if scale is None:
            return 1 / disparity.clamp_min(LEAST_DISPARITY)
        fitted = scale * disparity + self.config.disparity_shift
        return 1 / fitted.clamp_min(1 / (FARTHEST * self.config.max_depth_m))

    def all_groups(self) -> dict[str, list[nn.Parameter]]:
        """See `DepthModel.all_groups`: "adapters" is the decoder, the tower is the encoder.

        A fourth group, UNUSED, holds what these networks have without using it.
        """
        named = list(self.network.named_parameters())
        numbers = [int(found[1]) for name, _ in named if (found := _BLOCK.search(name))]
        first_of_last = max(numbers, default=-1) + 1 - self.config.last_blocks
        groups: dict[str, list[nn.Parameter]] = {ADAPTERS: [], LAST_BLOCKS: [], TOWER: [], UNUSED: []}
        for name, parameter in named:
            block = _BLOCK.search(name)
            if "mask_token" in name or "fusion_stage.layers.0.residual_layer1." in name:
                groups[UNUSED].append(parameter)
            elif not name.startswith(self._encoder):
                groups[ADAPTERS].append(parameter)
            else:
                groups[LAST_BLOCKS if block and int(block[1]) >= first_of_last else TOWER].append(parameter)
        return groups


def _triple(values: tuple[float, ...]) -> tuple[float, float, float]:
    r, g, b = values
    return r, g, b


def _log_steps(depth: Tensor) -> Tensor:
    """Half of ln(farthest / nearest) among the 3x3 neighbours of each pixel, [B, h, w]."""
    log_depth = depth.detach().log()[:, None]
    far = F.max_pool2d(log_depth, 3, stride=1, padding=1)
    near = -F.max_pool2d(-log_depth, 3, stride=1, padding=1)
    return ((far - near) / 2)[:, 0]
