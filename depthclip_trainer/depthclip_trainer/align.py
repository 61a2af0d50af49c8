"""Feature alignment: the student's encoder stays near a frozen one on pictures that a teacher labelled.

Depth Anything (arXiv 2401.10891), section 3.3: 1 - cosine of the features of both at each place, on unlabelled
pictures only, and only where the cosine is not yet above 1 - margin, so that parts of one object may still differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.model.towers import Tower
from depthclip_ros.core.weights import load_weights
from depthclip_trainer.data.sample import METRIC, TARGETS, Batch
from depthclip_trainer.semi import SemiConfig
from depthclip_trainer.step import Objective, batch_loss, normalise

ALIGNMENT = "teacher/alignment"


def objective_of(model: DepthModel, loss: Mapping[str, float], semi: SemiConfig | None) -> Objective:
    """What a training with these settings minimises.

    Raises:
        ConfigError, WeightsError: an encoder to align to that does not read or does not fit.
    """
    plain: Objective = partial(batch_loss, weights=loss, semi=semi)
    if semi is None or not semi.align_to or not semi.align_weight:
        return plain
    return AlignedObjective(plain, model, load_weights(semi.align_to).model, semi)


class AlignedObjective:
    """An objective with the alignment beside it.

    Args:
        plain: the rest of the loss.
        model: the student; its encoder is watched.
        guide: whose encoder is the frozen one; belongs to the objective from here on.
        semi: weight and margin.

    Raises:
        ConfigError: a system without an encoder, or encoders of two widths.
    """

    def __init__(self, plain: Objective, model: DepthModel, guide: DepthModel, semi: SemiConfig) -> None:
        own, other = encoder_of(model), encoder_of(guide)
        widths = [getattr(encoder, "width", None) for encoder in (own, other)]
        if widths[0] != widths[1]:
            raise ConfigError(
                f"semi.align_to has an encoder of width {widths[1]}, the student's is {widths[0]}; "
                "align to the encoder that the student started from"
            )
        self.plain, self.semi, self.guide = plain, semi, guide.eval().requires_grad_(False)
        self._encoder = other
        self._seen: Tensor | None = None
        own.register_forward_hook(self._keep)

    def __call__(self, network: nn.Module, model: DepthModel, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """See `step.Objective`."""
        total, terms = self.plain(network, model, batch)
        seen, self._seen = self._seen, None
        if batch.targets is None or seen is None:
            return total, terms
        rows = (batch.targets != TARGETS.index(METRIC)).nonzero().flatten()
        if not len(rows):
            return total, terms
        images = batch.images[rows]
        self._encoder.to(images.device)
        with torch.no_grad():
            wanted = features_of(encode(self._encoder, normalise(images, self.guide)))
        value = alignment(seen[rows], wanted, self.semi.align_margin)
        total = total + self.semi.align_weight * value.sum() / len(batch.paths)
        return total, {**terms, ALIGNMENT: value.detach().mean()}

    def _keep(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._seen = features_of(output) if torch.is_grad_enabled() else None


def alignment(own: Tensor, wanted: Tensor, margin: float) -> Tensor:
    """1 - cosine, averaged over all places, those where it is below `margin` counting as 0; [B].

    Args:
        own: features of the student, [B, C, h, w] or tokens [B, N, C].
        wanted: of the frozen encoder, the same; maps are brought to the student's size.
        margin: 0.15 leaves alone what has a cosine above 0.85.
    """
    if own.ndim == 4 and own.shape[-2:] != wanted.shape[-2:]:
        wanted = F.interpolate(wanted.float(), size=tuple(own.shape[-2:]), mode="bilinear", align_corners=False)
    distance = 1 - F.cosine_similarity(own.float(), wanted.float(), dim=1 if own.ndim == 4 else 2)
    return torch.where(distance >= margin, distance, 0.0).flatten(1).mean(1)


def encoder_of(model: DepthModel) -> nn.Module:
    """The part of a system that sees.

    Raises:
        ConfigError: it has none of its own.
    """
    tower = getattr(model, "tower", None)
    network = getattr(model, "network", None)
    found = tower if isinstance(tower, Tower) else getattr(network, "backbone", None)
    if not isinstance(found, nn.Module):
        raise ConfigError(f"{model.config.system} has no encoder that could be aligned; leave semi.align_to empty")
    return found


def encode(encoder: nn.Module, images: Tensor) -> Any:
    """What an encoder says of normalised images; a tower is walked without adapters."""
    return encoder(images, {}, (encoder.blocks - 1,)) if isinstance(encoder, Tower) else encoder(images)


def features_of(output: Any) -> Tensor:
    """The deepest features: [B, C, h, w] of a tower, tokens [B, N, C] or a map of an encoder of transformers."""
    deepest: Tensor = output.taps[-1] if hasattr(output, "taps") else output.feature_maps[-1]
    return deepest
