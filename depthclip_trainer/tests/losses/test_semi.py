# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math

import pytest
import torch
from depthclip_trainer.data.sample import AFFINE, CANONICAL, METRIC, TARGETS, Batch
from depthclip_trainer.losses.semi import SemiConfig, best_part, mixed_loss, region_terms
from depthclip_trainer.losses.terms import TERMS, composite, image_terms

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.contract import Prediction

PLAIN = {"drop_worst": 0.0, "confidence": False}


def make_batch(depth_m, kinds, region=None, confidence=None):
    n, height_px, width_px = depth_m.shape
    return Batch(
        images=torch.zeros(n, 3, height_px, width_px),
        depth_m=depth_m,
        valid=depth_m > 0,
        intrinsics=torch.full((n, 4), 300.0),
        paths=[str(i) for i in range(n)],
        confidence=torch.ones_like(depth_m) if confidence is None else confidence,
        targets=torch.tensor([TARGETS.index(kind) for kind in kinds]),
        region=region,
        mixed=None if region is None else region.any(2).any(1).nonzero().flatten(),
    )


def predicting(depth):
    return Prediction(depth=depth, confidence=torch.ones_like(depth))


def random_depth(seed, n=3, size=16):
    return torch.rand(n, size, size, generator=torch.Generator().manual_seed(seed)) * 3 + 0.5


def test_each_picture_counts_once_and_terms_are_means_of_their_kind():
    batch = make_batch(torch.ones(3, 2, 2), [METRIC, CANONICAL, CANONICAL])
    depth = torch.tensor([2.0, 4.0, 8.0])[:, None, None].expand(3, 2, 2)
    semi = SemiConfig(loss={"log_l1": 1.0}, weight=0.5, **PLAIN)
    total, terms = mixed_loss(predicting(depth), batch, 300.0, None, {"l1": 3.0}, semi)
    assert float(terms["l1"]) == pytest.approx(1.0)
    assert float(terms["teacher/log_l1"]) == pytest.approx((math.log(4) + math.log(8)) / 2)
    assert float(total) == pytest.approx((3 * 1.0 + 0.5 * (math.log(4) + math.log(8))) / 3)


def test_measured_pictures_alone_lose_what_they_lose_without_a_teacher():
    depth, target = random_depth(0), random_depth(1)
    target[:, :3] = 0
    weights = {"log_l1": 1.0, "silog": 0.1, "gradient_matching": 0.3}
    batch = make_batch(target, [METRIC] * 3)
    total, _ = mixed_loss(predicting(depth), batch, 300.0, None, weights, SemiConfig(loss={"l1": 5.0}))
    assert float(total) == pytest.approx(float(composite(predicting(depth), target, target > 0, None, weights)[0]))


def test_a_mixed_picture_loses_by_area_in_each_region():
    # Left half: label 1, student 2. Right half, pasted: label 1, student 4, three of four rows without a label.
    depth = torch.cat([torch.full((1, 4, 2), 2.0), torch.full((1, 4, 2), 4.0)], 2)
    target = torch.ones(1, 4, 4)
    target[:, 1:, 2:] = 0
    region = torch.zeros(1, 4, 4, dtype=torch.bool)
    region[:, :, 2:] = True
    batch = make_batch(target, [CANONICAL], region)
    _, terms = mixed_loss(predicting(depth), batch, 300.0, None, {}, SemiConfig(loss={"log_l1": 1.0}, **PLAIN))
    assert float(terms["teacher/log_l1"]) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(4))
    _, whole = mixed_loss(
        predicting(depth), make_batch(target, [CANONICAL]), 300.0, None, {}, SemiConfig(loss={"log_l1": 1.0}, **PLAIN)
    )
    assert float(whole["teacher/log_l1"]) == pytest.approx((8 * math.log(2) + 2 * math.log(4)) / 10)


@pytest.mark.parametrize("size", [16, 8])
def test_every_term_of_a_mixed_picture_is_that_of_two_passes(size):
    target, weight = random_depth(2), (random_depth(3) > 1).float() * random_depth(4)
    region = torch.zeros(3, 16, 16, dtype=torch.bool)
    region[0, 2:10, 4:12] = region[2, 8:, :4] = True
    centres = torch.linspace(0.4, 4, 8)
    logits = torch.randn(3, 8, size, size, generator=torch.Generator().manual_seed(5))
    prediction = Prediction(random_depth(6, size=size), torch.ones(3, size, size), logits, random_depth(7, size=size))
    batch = make_batch(target, [CANONICAL] * 3, region)
    found = region_terms(prediction, target, weight, batch, centres, TERMS)
    area = region.float().mean((1, 2))
    inside = image_terms(prediction, target, weight * region, centres, TERMS)
    outside = image_terms(prediction, target, weight * ~region, centres, TERMS)
    assert set(found) == set(TERMS)
    for name in TERMS:
        expected = (1 - area) * outside[name] + area * inside[name]
        assert torch.allclose(found[name], expected, rtol=1e-4), name


def test_the_worst_pixels_are_left_out():
    error = torch.tensor([[[0.1, 9.0, 0.2, 0.3, 0.4]], [[0.5, 0.6, 8.0, 9.0, 0.7]]])
    valid = torch.ones(2, 1, 5, dtype=torch.bool)
    valid[1, 0, 3] = False
    kept = best_part(error, valid, 0.75)
    assert kept[0, 0].tolist() == [True, False, True, True, True]
    assert kept[1, 0].tolist() == [True, True, False, False, True]
    target, depth = torch.ones(1, 1, 10), torch.ones(1, 1, 10)
    depth[0, 0, 3], depth[0, 0, 4] = 50.0, 2.0
    batch = make_batch(target, [CANONICAL])
    semi = SemiConfig(loss={"log_l1": 1.0}, drop_worst=0.1, confidence=False)
    total, _ = mixed_loss(predicting(depth), batch, 300.0, None, {}, semi)
    assert float(total) == pytest.approx(math.log(2) / 9)


def test_measured_depth_keeps_its_worst_pixels_and_its_weight():
    depth = torch.ones(1, 1, 10)
    depth[0, 0, 3] = 50.0
    batch = make_batch(torch.ones(1, 1, 10), [METRIC], confidence=torch.zeros(1, 1, 10))
    total, _ = mixed_loss(predicting(depth), batch, 300.0, None, {"log_l1": 1.0}, SemiConfig(loss={"log_l1": 1.0}))
    assert float(total) == pytest.approx(math.log(50) / 10)


def test_an_unsure_teacher_counts_less():
    depth = torch.tensor([[[2.0, 4.0]]])
    batch = make_batch(torch.ones(1, 1, 2), [CANONICAL], confidence=torch.tensor([[[0.75, 0.25]]]))
    semi = SemiConfig(loss={"log_l1": 1.0}, drop_worst=0.0)
    total, _ = mixed_loss(predicting(depth), batch, 300.0, None, {}, semi)
    assert float(total) == pytest.approx(0.75 * math.log(2) + 0.25 * math.log(4))


def test_affine_labels_know_neither_scale_nor_shift_and_take_no_metric_term():
    label = random_depth(8, n=2)
    same = 1 / (0.3 / label + 0.1)
    batch = make_batch(label, [AFFINE, METRIC])
    semi = SemiConfig(loss={"affine_invariant": 1.0, "affine_gradient_matching": 2.0, "log_l1": 1.0})
    _, terms = mixed_loss(predicting(same), batch, 300.0, None, {}, semi)
    assert set(terms) == {"teacher/affine_invariant", "teacher/affine_gradient_matching"}
    assert float(terms["teacher/affine_invariant"]) == pytest.approx(0.0, abs=1e-4)
    _, terms = mixed_loss(predicting(same.flip(1)), batch, 300.0, None, {}, semi)
    assert float(terms["teacher/affine_invariant"]) > 0.2


def test_only_the_student_gets_a_gradient_and_it_is_finite():
    depth = random_depth(9).requires_grad_()
    target = random_depth(10)
    target[1] = 0
    region = torch.zeros(3, 16, 16, dtype=torch.bool)
    region[:, 4:8, 4:8] = True
    batch = make_batch(target, [CANONICAL, CANONICAL, AFFINE], region)
    semi = SemiConfig(loss=dict.fromkeys(("log_l1", "silog", "gradient_matching", "affine_invariant"), 1.0))
    total, _ = mixed_loss(predicting(depth), batch, 300.0, None, {}, semi)
    (gradient,) = torch.autograd.grad(total, depth)
    assert torch.isfinite(gradient).all()
    assert gradient[0].abs().sum() > 0
    assert gradient[1].abs().sum() == 0


def test_settings_that_cannot_be():
    batch = make_batch(random_depth(11), [AFFINE] * 3)
    with pytest.raises(ConfigError, match="affine_invariant"):
        mixed_loss(predicting(random_depth(12)), batch, 300.0, None, {}, SemiConfig(loss={"log_l1": 1.0}))
    with pytest.raises(ConfigError, match="log_l2"):
        mixed_loss(predicting(random_depth(12)), batch, 300.0, None, {}, SemiConfig(loss={"log_l2": 1.0}))
    with pytest.raises(ConfigError, match=r"drop_worst is 1\.5"):
        SemiConfig(loss={}, drop_worst=1.5)
