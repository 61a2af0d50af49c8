# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Feature distillation: while it learns depth, the student's features are compared with those of a frozen network.

Alignment (Depth Anything, arXiv 2401.10891, section 3.3) keeps the student's encoder near the one that it started from:
1 - cosine of the features of both at each place, on pictures that a teacher labelled only, and only where the cosine is
not yet above 1 - margin, so that parts of one object may still differ.

Imitation teaches the student's stem to feed a decoder that its teacher has already trained. Where teacher and student
are the same network behind the stem, the student takes all of that over and is left with one thing to learn: to make of
a picture what the teacher's stem makes of it. That is a dense target, hundreds of channels at every place of every
picture, labelled or not, where depth is one number. The idea is that of "Knowledge Distillation with the Reused Teacher
Classifier" (Chen et al., CVPR 2022), with a depth decoder in place of the classifier.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.model.moa_depthclip import MoaDepthClip
from depthclip_ros.core.model.towers.tower import Tower
from depthclip_ros.core.weights.load import load_weights
from depthclip_trainer.data.sample import AFFINE, CANONICAL, Batch
from depthclip_trainer.losses.objective import Objective, batch_loss, normalise
from depthclip_trainer.losses.semi import SemiConfig

ALIGNMENT, IMITATION = "teacher/alignment", "teacher/imitation"


@dataclass(frozen=True)
class ImitateConfig:
    """Learning to replace another network's stem.

    Attributes:
        teacher: a weights file of MoA-DepthCLIP with a hybrid tower that is the same behind its stem. The student
            should start with what is there (`model.take_over`).
        weight: of the imitation against the loss on depth.
    """

    teacher: str
    weight: float = 0.5

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ConfigError(f"imitate.weight is {self.weight}; it must be above 0 (leave the section out for none)")


def objective_of(
    model: DepthModel, loss: Mapping[str, float], semi: SemiConfig | None, imitate: ImitateConfig | None = None
) -> Objective:
    """What a training with these settings minimises.

    Raises:
        ConfigError, WeightsError: a network to align to or to imitate that does not read or does not fit.
    """
    objective: Objective = partial(batch_loss, weights=loss, semi=semi)
    if semi is not None and semi.align_to and semi.align_weight:
        objective = AlignedObjective(objective, model, load_weights(semi.align_to).model, semi)
    return objective if imitate is None else ImitatingObjective(objective, model, imitate)


class DistillingObjective(ABC):
    """An objective with a comparison of features beside it.

    Args:
        plain: the rest of the loss.
        guide: the frozen network; belongs to the objective from here on.
        seeing: the part of it that sees; only that goes to the device.
        watched: modules of the student whose outputs are compared.
        weight: of the comparison.
        term: its name.
    """

    def __init__(
        self,
        plain: Objective,
        guide: DepthModel,
        seeing: nn.Module,
        watched: Sequence[nn.Module],
        weight: float,
        term: str,
    ) -> None:
        self.plain, self.weight, self.term = plain, weight, term
        self.guide = guide.eval().requires_grad_(False)
        self.seeing = seeing.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._seen: dict[int, Any] = {}
        for index, module in enumerate(watched):
            module.register_forward_hook(lambda _m, _i, output, index=index: self._keep(index, output))

    def __call__(self, network: nn.Module, model: DepthModel, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """See `objective.Objective`. The frozen network sees what the student sees, as it was augmented."""
        total, terms = self.plain(network, model, batch)
        seen, self._seen = self._seen, {}
        rows = self.compared(batch)
        if not seen or not len(rows):
            return total, terms
        rows = rows.to(batch.images.device, non_blocking=True)
        images = batch.images[rows]
        self.seeing.to(images.device)
        with torch.no_grad():
            wanted = self.look(normalise(images, self.guide))
        value = torch.stack([self.distance(i, features[rows], wanted[i]) for i, features in sorted(seen.items())]).sum(
            0
        )
        total = total + self.weight * value.sum() / len(batch.paths)
        return total, {**terms, self.term: value.detach().mean()}

    def _keep(self, index: int, output: Any) -> None:
        if torch.is_grad_enabled():
            self._seen[index] = features_of(output)

    def compared(self, batch: Batch) -> Tensor:
        """Rows of the batch that are compared, int64 [n] on the CPU; all."""
        return torch.arange(len(batch.paths))

    @abstractmethod
    def look(self, images: Tensor) -> Sequence[Tensor]:
        """What the frozen network says of normalised images, in the order of the watched modules."""

    @abstractmethod
    def distance(self, index: int, own: Tensor, wanted: Tensor) -> Tensor:
        """Of two features of the watched module `index`, [B]."""


class AlignedObjective(DistillingObjective):
    """Keeps the student's encoder near a frozen one.

    Args:
        plain: the rest of the loss.
        model: the student; its encoder is watched.
        guide: whose encoder is the frozen one.
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
        super().__init__(plain, guide, other, [own], semi.align_weight, ALIGNMENT)
        self._margin = semi.align_margin

    def compared(self, batch: Batch) -> Tensor:
        """Pictures that a teacher labelled."""
        return batch.rows_of(CANONICAL, AFFINE)

    def look(self, images: Tensor) -> Sequence[Tensor]:
        """The deepest features."""
        return [features_of(encode(self.seeing, images))]

    def distance(self, index: int, own: Tensor, wanted: Tensor) -> Tensor:
        """See `alignment`."""
        return alignment(own, wanted, self._margin)


class ImitatingObjective(DistillingObjective):
    """Teaches the student's stem what the teacher's does.

    Args:
        plain: the rest of the loss.
        model: the student; its joints are watched.
        config: names the teacher.

    Raises:
        ConfigError: networks that have no stem, or differ behind it.
        WeightsError: a teacher that does not read.
    """

    def __init__(self, plain: Objective, model: DepthModel, config: ImitateConfig) -> None:
        teacher = load_weights(config.teacher).model
        if not isinstance(model, MoaDepthClip) or not isinstance(teacher, MoaDepthClip):
            raise ConfigError("imitate takes two networks of moa_depthclip with hybrid towers; leave the section out")
        own, other = ([_norm(joint).num_features for joint in network.joints()] for network in (model, teacher))
        if own != other:
            raise ConfigError(
                f"imitate.teacher passes {other} channels on from its stem, the student {own}; they must be the same: "
                "see tower_width and decoder_channels"
            )
        super().__init__(plain, teacher, teacher, list(model.joints()), config.weight, IMITATION)
        self._enter = teacher.enter
        # What a normalisation passes on has its gain as standard deviation.
        self._spread = [_norm(joint).weight.detach().abs().clamp_min(1e-3) for joint in teacher.joints()]

    def look(self, images: Tensor) -> Sequence[Tensor]:
        """What the teacher's stem passes on."""
        return self._enter(images)

    def distance(self, index: int, own: Tensor, wanted: Tensor) -> Tensor:
        """See `imitation`."""
        return imitation(own, wanted, self._spread[index].to(own.device))


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


def imitation(own: Tensor, wanted: Tensor, spread: Tensor) -> Tensor:
    """Smooth L1 between two maps [B, C, h, w] in units of each channel's `spread` [C]; one number an image, [B]."""
    scale = spread[:, None, None]
    return F.smooth_l1_loss(own.float() / scale, wanted.float() / scale, reduction="none").flatten(1).mean(1)


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
    """A joint's output, or the deepest features: [B, C, h, w] of a tower, tokens [B, N, C] or a map of transformers."""
    if isinstance(output, Tensor):
        return output
    deepest: Tensor = output.taps[-1] if hasattr(output, "taps") else output.feature_maps[-1]
    return deepest


def _norm(joint: nn.Module) -> nn.BatchNorm2d:
    return [module for module in joint.modules() if isinstance(module, nn.BatchNorm2d)][-1]
