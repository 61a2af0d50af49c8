"""Learning from a teacher's labels: drop the worst pixels, weigh by confidence, mix pictures, stay near an encoder.

The recipe is Depth Anything's (arXiv 2401.10891, V2 2406.09414); its ablation says that labels alone buy nothing and
strong perturbation of what the student sees makes them work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.contract import DepthModel, Prediction
from depthclip_trainer.data.augment import AugmentConfig
from depthclip_trainer.data.sample import AFFINE, METRIC, TARGETS, Batch
from depthclip_trainer.losses import AFFINE_TERMS, composite, log_ratio, normalised_disparity


@dataclass(frozen=True)
class StrongAugmentConfig(AugmentConfig):
    """What the student alone sees of a picture that a teacher has labelled clean."""

    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    hue_deg: float = 45.0
    gamma: float = 1.6
    grey: float = 0.2
    blur: float = 0.5


@dataclass(frozen=True)
class SemiConfig:
    """How a teacher's labels are learned from.

    Attributes:
        loss: weights of the terms of `losses.TERMS` on pictures that a teacher labelled. Those with affine labels take
            `losses.AFFINE_TERMS` only.
        weight: of all of it against measured depth.
        drop_worst: share of each picture's pixels, those that student and teacher agree on least, that is left out.
        confidence: weigh pixels by the teacher's confidence.
        cutmix: probability that a rectangle of another picture is pasted in.
        augment: strengths on these pictures, in place of the section `augment`.
        align_to: a weights file whose frozen tower the student's tower stays near; empty leaves that out.
        align_weight: of that term.
        align_margin: places whose features differ by less than this (1 - cosine) are left alone.
    """

    loss: dict[str, float]
    weight: float = 1.0
    drop_worst: float = 0.1
    confidence: bool = True
    cutmix: float = 0.5
    augment: StrongAugmentConfig = field(default_factory=StrongAugmentConfig)
    align_to: str = ""
    align_weight: float = 1.0
    align_margin: float = 0.15

    def __post_init__(self) -> None:
        for name in ("drop_worst", "cutmix", "align_margin"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"semi.{name} is {getattr(self, name)}; allowed: 0..1")
        if self.drop_worst == 1:
            raise ConfigError("semi.drop_worst is 1; then no pixel is left to learn from")


def mixed_loss(
    prediction: Prediction,
    batch: Batch,
    canonical_focal_px: float | None,
    bin_centres: Tensor | None,
    loss: Mapping[str, float],
    semi: SemiConfig,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of a batch of measured and teacher-labelled pictures, each picture counting once, and its terms.

    The terms of each kind are means over the pictures of that kind; those of labels are named `teacher/TERM`.

    Raises:
        ConfigError: a term that does not exist, or none for the labels at hand.
    """
    target = batch.canonical_depth(canonical_focal_px)
    count = len(batch.paths)
    if batch.targets is None:
        return composite(prediction, target, batch.valid, bin_centres, loss)
    total, terms = prediction.depth.new_zeros((), dtype=torch.float32), {}
    for kind in sorted(set(batch.targets.tolist())):
        rows = (batch.targets == kind).nonzero().flatten()
        part = rows_of(prediction, rows)
        share = len(rows) / count
        if TARGETS[kind] == METRIC:
            value, found = composite(part, target[rows], batch.valid[rows], bin_centres, loss)
            total = total + share * value
            terms.update(found)
        else:
            affine = TARGETS[kind] == AFFINE
            value, found = label_loss(part, target[rows], batch_rows(batch, rows), bin_centres, semi, affine)
            total = total + share * semi.weight * value
            terms.update({f"teacher/{name}": term for name, term in found.items()})
    return total, terms


def label_loss(
    prediction: Prediction, target: Tensor, batch: Batch, bin_centres: Tensor | None, semi: SemiConfig, affine: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of pictures with labels of one kind; where two were mixed, each region's loss counts by its area.

    Args:
        prediction: of the pictures of `batch`.
        target: their labels in the network's units, float32 [B, h, w].
        batch: whose `valid`, `confidence` and `region` are read.
        bin_centres: of the network, or None.
        semi: the recipe.
        affine: labels have neither scale nor shift in 1/depth.

    Raises:
        ConfigError: `semi.loss` has no term for such labels.
    """
    weights = {name: weight for name, weight in semi.loss.items() if not affine or name in AFFINE_TERMS}
    if affine and not weights:
        raise ConfigError(f"semi.loss has no term for affine labels; give {' or '.join(AFFINE_TERMS)}")
    region = batch.region
    regions = [(None, batch.valid)]
    if region is not None and bool(region.any()):
        area = region.float().mean((1, 2))  # [B]
        regions = [(1 - area, batch.valid & ~region), (area, batch.valid & region)]
    total, terms = prediction.depth.new_zeros((), dtype=torch.float32), {}
    for area, own in regions:
        weight = own & agreed(prediction.depth.detach().float(), target, own, semi.drop_worst, affine)
        if semi.confidence and batch.confidence is not None:
            weight = weight * batch.confidence
        part, found = composite(prediction, target, weight, bin_centres, weights, area)
        total = total + part
        for name, term in found.items():
            terms[name] = terms.get(name, 0) + term
    return total, terms


def agreed(depth: Tensor, target: Tensor, valid: Tensor, drop: float, affine: bool) -> Tensor:
    """Bool [B, H, W], at the target's size: all but the share `drop` of each picture's valid pixels, the worst ones.

    Args:
        depth: [B, h, w], of the student, at its own size.
        target: [B, H, W].
        valid: bool [B, H, W].
        drop: share, 0..1.
        affine: compare normalised disparities, not log depth.
    """
    size = tuple(depth.shape[-2:])
    small, mask = target, valid
    if target.shape[-2:] != depth.shape[-2:]:
        small = F.interpolate((target * valid)[:, None], size=size, mode="nearest-exact")[:, 0]
        mask = small > 0
    if affine:
        error = (normalised_disparity(depth, mask) - normalised_disparity(small, mask)).abs()
    else:
        error = log_ratio(depth, small, mask).abs()
    # The limit is the k-th smallest error; invalid pixels stand at the end of the order.
    flat = error.masked_fill(~mask, torch.inf).flatten(1)
    ordered = flat.sort(1).values
    keep = (mask.flatten(1).sum(1).float() * (1 - drop)).ceil().long().clamp_min(1)
    limit = ordered.gather(1, keep[:, None] - 1)
    kept = (flat <= limit).view_as(error)
    if target.shape[-2:] == depth.shape[-2:]:
        return kept
    return F.interpolate(kept[:, None].float(), size=tuple(target.shape[-2:]), mode="nearest-exact")[:, 0] > 0.5


def rows_of(prediction: Prediction, rows: Tensor) -> Prediction:
    """The prediction for some pictures of its batch."""
    if len(rows) == len(prediction.depth):
        return prediction
    parts = {f.name: getattr(prediction, f.name) for f in dataclasses.fields(prediction)}
    return Prediction(**{name: None if value is None else value[rows] for name, value in parts.items()})


def batch_rows(batch: Batch, rows: Tensor) -> Batch:
    """Some pictures of a batch."""
    if len(rows) == len(batch.paths):
        return batch
    values = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    taken = {name: v[rows] for name, v in values.items() if isinstance(v, Tensor)}
    return dataclasses.replace(batch, paths=[batch.paths[i] for i in rows.tolist()], **taken)


def tower_of(model: DepthModel) -> torch.nn.Module:
    """The part of a model that sees.

    Raises:
        ConfigError: a system without one of its own.
    """
    tower = getattr(model, "tower", None)
    if not isinstance(tower, torch.nn.Module):
        raise ConfigError(
            f"{model.config.system} has no tower that another could be aligned to; leave semi.align_to empty"
        )
    return tower
