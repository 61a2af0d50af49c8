# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""CutMix (arXiv 1905.04899) on teacher-labelled pictures: a rectangle of another picture, with its labels."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from depthclip_trainer.data.sample import METRIC, TARGETS, Batch

MIX_DRAWS = 6
AREA = (0.02, 0.4)
"""Share of the picture that a rectangle covers, drawn uniformly."""
ASPECT = (0.3, 1 / 0.3)


def draw_boxes(draws: Tensor, width_px: int, height_px: int) -> Tensor:
    """Rectangles bool [N, h, w] inside the picture, from uniform draws [N, MIX_DRAWS] (the last two are not used)."""
    area = (AREA[0] + (AREA[1] - AREA[0]) * draws[:, 0]) * width_px * height_px
    aspect = torch.exp(math.log(ASPECT[0]) + (math.log(ASPECT[1]) - math.log(ASPECT[0])) * draws[:, 1])
    w = (area * aspect).sqrt().clamp(1, width_px).round()
    h = (area / aspect).sqrt().clamp(1, height_px).round()
    left = (draws[:, 2] * (width_px - w + 1)).floor()
    top = (draws[:, 3] * (height_px - h + 1)).floor()
    u, v = (torch.arange(n, device=draws.device) for n in (width_px, height_px))
    across = (u >= left[:, None]) & (u < (left + w)[:, None])  # [N, w]
    down = (v >= top[:, None]) & (v < (top + h)[:, None])
    return down[:, :, None] & across[:, None, :]


def cutmix(batch: Batch, draws: Tensor, probability: float) -> Batch:
    """Pastes into a share of the teacher-labelled pictures a rectangle of another with labels of the same kind.

    `region` of the result says which pixels are pasted. Pasted depth is brought to the camera of the picture that it
    is pasted into, so that its canonical depth stays what it was.

    Args:
        batch: with `targets`; one without is returned as it is.
        draws: uniform [B, MIX_DRAWS].
        probability: of each picture.
    """
    if batch.targets is None or probability <= 0:
        return batch
    count, height_px, width_px = batch.depth_m.shape
    partner = torch.arange(count)
    mixed = (draws[:, 5] < probability) & (batch.targets != TARGETS.index(METRIC))
    for kind in batch.targets[mixed].unique().tolist():
        alike = (batch.targets == kind).nonzero().flatten()
        if len(alike) < 2:
            continue
        step = 1 + (draws[alike, 4] * (len(alike) - 1)).long().clamp_max(len(alike) - 2)  # never oneself
        partner[alike] = alike[(torch.arange(len(alike)) + step) % len(alike)]
    rows = (mixed & (partner != torch.arange(count))).nonzero().flatten()
    if not len(rows):
        return batch
    device = batch.images.device
    region = torch.zeros(count, height_px, width_px, dtype=torch.bool)
    region[rows] = draw_boxes(draws[rows], width_px, height_px)
    region, partner = region.to(device, non_blocking=True), partner.to(device, non_blocking=True)
    focal_px = (batch.intrinsics[:, 0] * batch.intrinsics[:, 1]).sqrt()
    pasted_m = batch.depth_m[partner] * (focal_px / focal_px[partner])[:, None, None]
    confidence = batch.confidence
    return dataclasses.replace(
        batch,
        images=torch.where(region[:, None], batch.images[partner], batch.images),
        depth_m=torch.where(region, pasted_m, batch.depth_m),
        valid=torch.where(region, batch.valid[partner], batch.valid),
        confidence=None if confidence is None else torch.where(region, confidence[partner], confidence),
        region=region,
        mixed=rows,
    )
