# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a training minimises: the loss of one micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.contract import DepthModel, Prediction
from depthclip_trainer.data.sample import Batch
from depthclip_trainer.losses.semi import SemiConfig, mixed_loss
from depthclip_trainer.losses.terms import AFFINE_TERMS, composite, image_terms

Objective = Callable[[nn.Module, DepthModel, Batch], "tuple[Tensor, dict[str, Tensor]]"]
"""What a micro-batch costs: `objective(network, model, batch)` is a loss to go backward from, and its detached terms.

`network` is `model` as Fabric wrapped it. The loss is a mean over images, so that the mean over processes of equal
share is what one process would get with all of them.
"""


def normalise(images: Tensor, model: DepthModel) -> Tensor:
    """RGB 0..1 [B, 3, h, w] as the network takes it; channels last, which convolutions on a CPU like best."""
    mean = torch.tensor(model.image_mean, device=images.device)[:, None, None]
    std = torch.tensor(model.image_std, device=images.device)[:, None, None]
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def batch_loss(
    network: nn.Module, model: DepthModel, batch: Batch, weights: Mapping[str, float], semi: SemiConfig | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Total loss and its terms of one batch; `network` is `model`, as Fabric wrapped it.

    Raises:
        ConfigError: a term that compares metres, for a system of relative depth.
    """
    metric_terms = sorted({name for name, weight in weights.items() if weight} - set(AFFINE_TERMS))
    if metric_terms and not model.config.metric:
        raise ConfigError(
            f"loss term {metric_terms[0]!r} compares metres, but {model.config.system} gives relative depth here; "
            f"allowed: {', '.join(AFFINE_TERMS)}"
        )
    prediction: Prediction = network(normalise(batch.images, model))
    height_px, width_px = batch.images.shape[-2:]
    canonical_focal_px = model.config.focal_px_at(width_px, height_px)
    if semi is not None:
        return mixed_loss(prediction, batch, canonical_focal_px, model.bin_centres, weights, semi)
    target = batch.canonical_depth(canonical_focal_px)
    return composite(prediction, target, batch.valid, model.bin_centres, weights)


@torch.no_grad()
def left_out(model: DepthModel, weights: Mapping[str, float]) -> list[str]:
    """Loss terms that have a weight but no head in this system to apply to (bins, regression)."""
    was_training, device = model.training, next(model.parameters()).device
    prediction: Prediction = model.eval()(torch.zeros(1, 3, 4 * model.stride, 4 * model.stride, device=device))
    model.train(was_training)
    target = torch.ones_like(prediction.depth)
    applied = image_terms(prediction, target, target > 0, model.bin_centres, weights)
    return [name for name, weight in weights.items() if weight and name not in applied]
