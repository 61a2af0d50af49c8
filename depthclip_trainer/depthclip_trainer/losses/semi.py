# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Learning from a teacher's labels: drop the worst pixels, weigh by confidence, mix pictures, stay near an encoder.

The recipe is Depth Anything's (arXiv 2401.10891, V2 2406.09414); its ablation says that labels alone buy nothing and
strong perturbation of what the student sees makes them work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.contract import Prediction
from depthclip_trainer.data.augment import AugmentConfig
from depthclip_trainer.data.sample import AFFINE, CANONICAL, METRIC, Batch
from depthclip_trainer.losses.terms import (
    AFFINE_TERMS,
    EPS,
    POINTWISE_TERMS,
    check_terms,
    composite,
    enlarged,
    image_terms,
    log_ratio,
    normalised_disparity,
)


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
        loss: weights of the terms of `terms.TERMS` on pictures that a teacher labelled. Those with affine labels take
            `terms.AFFINE_TERMS` only. Empty takes the section `loss`.
        weight: of all of it against measured depth.
        drop_worst: share of each picture's pixels, those that student and teacher agree on least, that is left out.
        confidence: weigh pixels by the teacher's confidence.
        cutmix: probability that a rectangle of another picture is pasted in.
        augment: strengths on these pictures, in place of the section `augment`.
        align_to: a weights file whose frozen tower the student's tower stays near; empty leaves that out.
        align_weight: of that term.
        align_margin: places whose features differ by less than this (1 - cosine) are left alone.
    """

    loss: dict[str, float] = field(default_factory=dict)
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

    Where two pictures were mixed, each region's loss counts by its area. The terms that come back are means over the
    pictures of their kind; those of labels are named `teacher/TERM`.

    Raises:
        ConfigError: a term that does not exist, or none for the labels at hand.
    """
    if batch.targets is None:
        return composite(prediction, batch.canonical_depth(canonical_focal_px), batch.valid, bin_centres, loss)
    check_terms([*loss, *semi.loss])
    target = batch.canonical_depth(canonical_focal_px)
    measured, canonical, affine = (batch.rows_of(kind) for kind in (METRIC, CANONICAL, AFFINE))
    if len(affine) and not set(semi.loss) & set(AFFINE_TERMS):
        raise ConfigError(f"semi.loss has no term for affine labels; give {' or '.join(AFFINE_TERMS)}")
    weight = label_weight(prediction.depth.detach(), target, batch, semi)
    names = [name for name in {**loss, **semi.loss} if loss.get(name) or semi.loss.get(name)]
    terms = region_terms(prediction, target, weight, batch, bin_centres, names)
    if not terms:
        raise ConfigError(f"none of the loss terms {', '.join(names) or '(none given)'} applies to this system")
    total, means = prediction.depth.new_zeros((), dtype=torch.float32), {}
    for name, term in terms.items():
        labelled = torch.cat([canonical, affine]) if name in AFFINE_TERMS else canonical
        for rows, share, title in (
            (measured, loss.get(name, 0.0), name),
            (labelled, semi.weight * semi.loss.get(name, 0.0), f"teacher/{name}"),
        ):
            if share and len(rows):
                own = term[rows.to(term.device, non_blocking=True)]
                total = total + share * own.sum() / len(batch.paths)
                means[title] = own.detach().mean()
    return total, means


def region_terms(
    prediction: Prediction,
    target: Tensor,
    weight: Tensor,
    batch: Batch,
    bin_centres: Tensor | None,
    names: Sequence[str],
) -> dict[str, Tensor]:
    """Each term [B]; of a mixed picture the area-weighted sum of the losses of its two regions.

    `weight` float32 [B, h, w] is that of each pixel; `batch.region` says what was pasted in.
    """
    region = batch.region
    if region is None or batch.mixed is None:
        return image_terms(prediction, target, weight, bin_centres, names)
    area = region.float().mean((1, 2))
    # What each pixel has by itself takes one pass: weights that give each region its area do the same as two passes.
    inside, outside = weight * region, weight * ~region
    by_area = inside * _share(area, inside) + outside * _share(1 - area, outside)
    terms = image_terms(prediction, target, by_area, bin_centres, [n for n in names if n in POINTWISE_TERMS])
    joint = [n for n in names if n not in POINTWISE_TERMS]
    first = image_terms(prediction, target, outside, bin_centres, joint)
    rows = batch.mixed.to(area.device, non_blocking=True)
    depths = Prediction(prediction.depth[rows], prediction.confidence[rows])
    second = image_terms(depths, target[rows], inside[rows], bin_centres, joint)
    for name, values in first.items():
        terms[name] = (values * (1 - area)).index_add(0, rows, second[name] * area[rows])
    return terms


def label_weight(depth: Tensor, target: Tensor, batch: Batch, semi: SemiConfig) -> Tensor:
    """Weight of each pixel, float32 [B, H, W]: of labels, the teacher's confidence, and 0 where the student is far off.

    Args:
        depth: [B, h, w], of the student.
        target: [B, H, W].
        batch: whose `valid`, `confidence`, `targets` and `region` are read; every measured pixel weighs 1.
        semi: the recipe.
    """
    weight = batch.valid.float()
    rows = batch.rows_of(CANONICAL, AFFINE)
    if not len(rows):
        return weight
    affine = torch.isin(rows, batch.rows_of(AFFINE))
    labelled = rows.to(weight.device, non_blocking=True)
    own, valid = weight[labelled], batch.valid[labelled]
    if semi.drop_worst > 0:
        region = None if batch.region is None else batch.region[labelled]
        student = enlarged(depth[labelled], target.shape[-2:])
        error = disagreement(student, target[labelled], valid, affine, region)
        own = own * best_part(error, valid, 1 - semi.drop_worst)
    if semi.confidence and batch.confidence is not None:
        own = own * batch.confidence[labelled]
    return weight.index_copy(0, labelled, own)


def disagreement(depth: Tensor, target: Tensor, valid: Tensor, affine: Tensor, region: Tensor | None) -> Tensor:
    """|ln depth - ln target|, or of affine pictures the difference of disparities, normalised by region; [B, h, w].

    `affine` bool [B] lies on the CPU; `region` bool [B, h, w] is what was pasted in, None where nothing was.
    """
    error = log_ratio(depth, target, valid).abs()
    for i in affine.nonzero().flatten().tolist():
        one, other, has = depth[i : i + 1], target[i : i + 1], valid[i : i + 1]
        parts = [has] if region is None else [has & region[i : i + 1], has & ~region[i : i + 1]]
        error[i] = sum((normalised_disparity(one, p) - normalised_disparity(other, p)).abs()[0] for p in parts)
    return error


def best_part(error: Tensor, valid: Tensor, share: float) -> Tensor:
    """Bool [B, h, w]: of each picture's valid pixels the share with the smallest error."""
    flat = error.masked_fill(~valid, torch.inf).flatten(1)
    keep = (valid.flatten(1).sum(1) * share).ceil().long().clamp_min(1)
    limit = flat.sort(1).values.gather(1, keep[:, None] - 1)
    return ((flat <= limit).view_as(error)) & valid


def _share(area: Tensor, weight: Tensor) -> Tensor:
    """Factor [B, 1, 1] that makes `weight` sum up to `area` of the picture's pixels."""
    pixels = weight[0].numel()
    return (area * pixels / weight.sum((1, 2)).clamp_min(EPS))[:, None, None]
