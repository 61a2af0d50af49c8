# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import pytest
import torch
from depthclip_trainer.data.cutmix import ASPECT, MIX_DRAWS, cutmix, draw_boxes
from depthclip_trainer.data.sample import AFFINE, CANONICAL, METRIC, TARGETS, Batch


def labelled_batch(kinds, height_px=24, width_px=32):
    """Picture i is i everywhere, 1 + i metres away, confidence i / 10, focal length 10 * (1 + i) pixels."""
    n = len(kinds)
    number = torch.arange(n, dtype=torch.float32)[:, None, None].expand(n, height_px, width_px).contiguous()
    focal_px = 10 * (1 + torch.arange(n, dtype=torch.float32))
    return Batch(
        images=number[:, None].repeat(1, 3, 1, 1),
        depth_m=1 + number,
        valid=torch.ones(n, height_px, width_px, dtype=torch.bool),
        intrinsics=torch.stack([focal_px, focal_px, focal_px, focal_px], -1),
        paths=[str(i) for i in range(n)],
        confidence=number / 10,
        targets=torch.tensor([TARGETS.index(kind) for kind in kinds]),
    )


def test_boxes_lie_inside_and_cover_what_was_drawn():
    draws = torch.rand(200, MIX_DRAWS, generator=torch.Generator().manual_seed(0))
    boxes = draw_boxes(draws, 160, 128)
    shares = boxes.float().mean((1, 2))
    expected = 0.02 + 0.38 * draws[:, 0]
    assert (shares <= expected * 1.1).all()  # a side that reaches the picture's edge is cut there
    assert ((shares - expected).abs() < 0.1 * expected).float().mean() > 0.8
    for box in boxes[:20]:
        rows, columns = box.any(1), box.any(0)
        assert box.sum() == rows.sum() * columns.sum()  # one rectangle
        assert ASPECT[0] * 0.8 < columns.sum() / rows.sum() < ASPECT[1] * 1.2


def test_a_pasted_region_carries_picture_confidence_and_canonical_depth_of_its_partner():
    batch = labelled_batch([CANONICAL, CANONICAL, CANONICAL])
    mixed = cutmix(batch, torch.rand(3, MIX_DRAWS, generator=torch.Generator().manual_seed(1)), 1.0)
    before, after = batch.canonical_depth(300.0), mixed.canonical_depth(300.0)
    for i in range(3):
        region = mixed.region[i]
        assert 0 < region.sum() < region.numel()
        (partner,) = mixed.images[i, 0][region].unique().int().tolist()
        assert partner != i
        assert (mixed.images[i, :, ~region] == i).all()
        assert torch.allclose(after[i][region], before[partner][region])
        assert torch.equal(after[i][~region], before[i][~region])
        assert (mixed.confidence[i][region] == batch.confidence[partner, 0, 0]).all()


def test_only_labelled_pictures_are_mixed_and_with_their_own_kind():
    kinds = [METRIC, CANONICAL, AFFINE, CANONICAL, AFFINE, METRIC] * 4
    mixed = cutmix(labelled_batch(kinds), torch.rand(24, MIX_DRAWS, generator=torch.Generator().manual_seed(2)), 1.0)
    for i, kind in enumerate(kinds):
        inside = mixed.images[i, 0][mixed.region[i]].unique().int().tolist()
        assert bool(inside) == (kind != METRIC)
        assert all(kinds[j] == kind for j in inside)


def test_the_probability_is_that_of_a_picture():
    draws = torch.rand(400, MIX_DRAWS, generator=torch.Generator().manual_seed(3))
    batch = labelled_batch([CANONICAL] * 400, 8, 8)
    share = cutmix(batch, draws, 0.5).region.any(2).any(1).float().mean()
    assert float(share) == pytest.approx(0.5, abs=0.08)
    assert cutmix(batch, draws, 0.0).region is None


def test_a_lone_picture_stays_whole():
    mixed = cutmix(labelled_batch([METRIC, CANONICAL]), torch.zeros(2, MIX_DRAWS), 1.0)
    assert mixed.region is None
