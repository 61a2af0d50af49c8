# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math

import pytest
import torch
from depthclip_trainer.losses import terms as losses

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.contract import Prediction

ALL = torch.ones(1, 2, 2, dtype=torch.bool)


def test_silog_with_a_constant_factor_keeps_only_the_part_that_lambda_leaves():
    target = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    expected = 10 * math.sqrt((1 - 0.85) * math.log(1.5) ** 2)
    assert float(losses.silog(target * 1.5, target, ALL)) == pytest.approx(expected, rel=1e-3)


def test_losses_ignore_invalid_pixels_whatever_they_hold():
    target = torch.tensor([[[1.0, 2.0], [3.0, 0.0]]])
    valid = target > 0
    depth = torch.tensor([[[1.1, 2.2], [2.7, 55.0]]], requires_grad=True)
    for name, loss in losses.DEPTH_TERMS.items():
        value = loss(depth, target, valid).sum()
        (gradient,) = torch.autograd.grad(value, depth)
        assert math.isfinite(float(value.detach())), name
        assert float(gradient[0, 1, 1]) == 0.0, name
        other = depth.detach().clone()
        other[0, 1, 1] = 0.3
        assert float(loss(other, target, valid)) == pytest.approx(float(value.detach()), abs=1e-6), name


def test_l1_and_log_l1_by_hand():
    target, depth = torch.tensor([[[1.0, 2.0], [4.0, 1.0]]]), torch.tensor([[[2.0, 2.0], [2.0, 1.0]]])
    assert float(losses.l1(depth, target, ALL)) == pytest.approx(0.75)
    assert float(losses.log_l1(depth, target, ALL)) == pytest.approx(2 * math.log(2) / 4)


def test_an_image_without_valid_pixels_adds_nothing():
    depth, target = torch.rand(2, 4, 4) + 1, torch.rand(2, 4, 4) + 1
    valid = torch.zeros(2, 4, 4, dtype=torch.bool)
    valid[0] = True
    alone = losses.l1(depth[:1], target[:1], valid[:1])
    assert losses.l1(depth, target, valid).tolist() == pytest.approx([float(alone), 0.0])


def test_gradient_matching_is_blind_to_scale_and_sees_a_missing_edge():
    target = torch.ones(1, 8, 8)
    target[:, :, 4:] = 2.0
    valid = torch.ones(1, 8, 8, dtype=torch.bool)
    assert float(losses.gradient_matching(target * 3, target, valid)) == pytest.approx(0.0, abs=1e-5)
    # At full resolution one of seven steps across is missed, on every row.
    assert float(losses.gradient_matching(torch.ones(1, 8, 8), target, valid, scales=1)) == pytest.approx(
        math.log(2) / 7, rel=1e-4
    )


def test_gradient_matching_takes_no_difference_across_the_edge_of_a_hole():
    depth, target = torch.full((1, 4, 8), 2.0), torch.ones(1, 4, 8)
    target[:, :, 3] = 0  # the error is ln 2 everywhere but in the hole
    assert float(losses.gradient_matching(depth, target, target > 0, scales=1)) == 0.0
    assert float(losses.gradient_matching(depth, target, (target > 0).float(), scales=1)) == 0.0


def test_affine_invariant_is_blind_to_scale_and_shift_of_disparity():
    target = torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(0)) + 0.5
    valid = torch.ones(2, 6, 6, dtype=torch.bool)
    same = 1 / (0.5 / target + 0.2)
    assert losses.affine_invariant(same, target, valid).tolist() == pytest.approx([0.0, 0.0], abs=1e-4)
    assert losses.affine_invariant(target.flip(2), target, valid).min() > 0.3
    assert losses.affine_gradient_matching(same, target, valid).tolist() == pytest.approx([0.0, 0.0], abs=1e-3)
    assert losses.affine_gradient_matching(target.flip(2), target, valid).min() > 0.3


def test_a_weight_counts_as_so_many_pixels():
    target, depth = torch.ones(1, 2, 2), torch.tensor([[[2.0, 1.0], [5.0, 9.0]]])
    weight = torch.tensor([[[0.5, 1.0], [0.5, 0.0]]])
    assert float(losses.l1(depth, target, weight)) == pytest.approx((0.5 * 1 + 0.5 * 4) / 2)
    assert float(losses.log_l1(depth, target, weight)) == pytest.approx((math.log(2) + math.log(5)) / 2 / 2)


def test_bin_cross_entropy_splits_the_label_between_neighbours_in_log_depth():
    centres = torch.tensor([1.0, 2.0, 4.0])
    probability = torch.tensor([0.2, 0.5, 0.3])
    logits = probability.log()[None, :, None, None]
    one = torch.ones(1, 1, 1, dtype=torch.bool)

    def loss(depth: float) -> float:
        return float(losses.bin_cross_entropy(logits, torch.full((1, 1, 1), depth), one, centres))

    assert loss(2.0) == pytest.approx(-math.log(0.5), abs=1e-5)
    assert loss(math.sqrt(2.0)) == pytest.approx(-0.5 * math.log(0.2) - 0.5 * math.log(0.5), abs=1e-5)
    assert loss(0.1) == pytest.approx(-math.log(0.2), abs=1e-5)
    assert loss(9.0) == pytest.approx(-math.log(0.3), abs=1e-5)


def test_every_reading_is_compared_with_the_cell_of_bins_that_it_lies_in():
    """Two cells of bins, each sure of another depth; one reading in a corner of each, where no grid's middle is."""
    centres = torch.tensor([1.0, 2.0])
    logits = torch.tensor([[9.0, 0.0], [0.0, 9.0]]).T.reshape(1, 2, 1, 2)  # left cell: 1 m, right cell: 2 m
    target = torch.zeros(1, 4, 8)
    target[0, 3, 3], target[0, 0, 4] = 1.0, 2.0
    right = losses.bin_cross_entropy(logits, target, target > 0, centres)
    assert float(right) == pytest.approx(math.log1p(math.exp(-9)), abs=1e-4)
    swapped = torch.where(target > 0, 3 - target, 0.0)
    assert float(losses.bin_cross_entropy(logits, swapped, target > 0, centres)) == pytest.approx(9.0, abs=0.01)


@pytest.mark.parametrize("head", ["depth", "regression"])
def test_heads_are_compared_where_each_reading_is(head):
    """A ramp, right in the middle of every coarse pixel: enlarged as the engine does it, it is right everywhere."""
    target = (torch.arange(32) + 0.5).expand(1, 16, 32) / 32 + 1
    coarse = target.unflatten(2, (8, 4)).mean(-1)[:, ::4]
    other = torch.ones(1, 4, 8)
    heads = {"depth": other, "regression": other, head: coarse}
    prediction = Prediction(confidence=other, **heads)
    name = "l1" if head == "depth" else "regression_l1"
    inside = torch.zeros(1, 16, 32, dtype=torch.bool)
    inside[:, :, 2:-2] = True
    for mask in (inside, inside & (torch.arange(32) % 4 == 3)):  # also the readings at one side of their pixels alone
        assert float(losses.image_terms(prediction, target, mask, None, [name])[name]) == pytest.approx(0, abs=1e-6)


def test_composite_weighs_named_terms_and_brings_the_target_to_each_grid():
    target = torch.full((1, 8, 8), 2.0)
    target[:, :, :4] = 0
    prediction = Prediction(depth=torch.full((1, 4, 4), 3.0), confidence=torch.ones(1, 4, 4))
    weights = {"l1": 2.0, "log_l1": 0.5, "bin_cross_entropy": 1.0, "silog": 0.0}
    total, terms = losses.composite(prediction, target, target > 0, None, weights)
    assert set(terms) == {"l1", "log_l1"}
    assert float(total) == pytest.approx(2.0 * 1.0 + 0.5 * math.log(1.5), rel=1e-5)


def test_composite_refuses_unknown_terms_and_no_terms():
    prediction = Prediction(depth=torch.ones(1, 2, 2), confidence=torch.ones(1, 2, 2))
    with pytest.raises(ConfigError, match="sillog"):
        losses.composite(prediction, torch.ones(1, 2, 2), ALL, None, {"sillog": 1.0})
    with pytest.raises(ConfigError, match="none of the loss terms"):
        losses.composite(prediction, torch.ones(1, 2, 2), ALL, None, {"bin_cross_entropy": 1.0})


def test_confidence_is_a_probability_that_depth_is_within_a_quarter_of_the_truth():
    target = torch.full((1, 2, 2), 2.0)
    depth = torch.tensor([[[2.49, 2.51], [1.61, 1.59]]], requires_grad=True)  # 2 * 1.25 and 2 / 1.25 are the ends
    confidence = torch.tensor([[[0.9, 0.8], [0.6, 0.3]]], requires_grad=True)
    loss = losses.confidence_likelihood(confidence, depth, target, ALL)
    expected = -(math.log(0.9) + math.log(1 - 0.8) + math.log(0.6) + math.log(1 - 0.3)) / 4
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss.sum(), confidence)
    assert (gradient.sign() == torch.tensor([[[-1, 1], [-1, 1]]])).all()
    sure = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])  # wrong about each: large, and finite
    assert 5 < float(losses.confidence_likelihood(sure, depth.detach(), target, ALL)) < 40
    prediction = Prediction(depth=depth.detach(), confidence=confidence.detach())
    named = losses.image_terms(prediction, target, ALL, None, ["confidence"])
    assert float(named["confidence"]) == pytest.approx(expected, rel=1e-5)


def test_gradients_are_summed_over_halvings_until_a_side_is_gone():
    """A ramp of ln depth: neighbours differ by 0.1, 0.2, 0.4 across, and not at all down."""
    ramp = torch.exp(0.1 * torch.arange(8.0)).expand(1, 8, 8)
    target, valid = torch.ones(1, 8, 8), torch.ones(1, 8, 8, dtype=torch.bool)
    found = [float(losses.gradient_matching(ramp, target, valid, scales=scales)) for scales in (1, 2, 3, 4)]
    assert found == pytest.approx([0.1, 0.3, 0.7, 0.7], rel=1e-4)
    turned = losses.gradient_matching(ramp.transpose(1, 2), target, valid, scales=2)
    assert float(turned) == pytest.approx(0.3, rel=1e-4)
    assert float(losses.gradient_matching(ramp[:, :1], target[:, :1], valid[:, :1])) == 0.0, "one row has no square"


def test_silog_by_hand():
    """ln ratios 0 and 0.2: ten times the root of their mean square less 0.85 of their squared mean."""
    target = torch.ones(1, 1, 2)
    depth = torch.exp(torch.tensor([[[0.0, 0.2]]]))
    valid = torch.ones(1, 1, 2, dtype=torch.bool)
    assert float(losses.silog(depth, target, valid)) == pytest.approx(10 * math.sqrt(0.02 - 0.85 * 0.01), rel=1e-3)


def test_disparities_are_normalised_by_median_and_mean_deviation():
    depth = 1 / torch.tensor([[[1.0, 2.0, 4.0, 9.0]]])
    valid = torch.tensor([[[True, True, True, False]]])
    found = losses.normalised_disparity(depth, valid)
    assert found.flatten().tolist() == pytest.approx([-1.0, 0.0, 2.0, 0.0])  # median 2, deviations 1, 0 and 2: mean 1
    nothing = losses.normalised_disparity(depth, torch.zeros_like(valid))
    assert nothing.abs().sum() == 0


def test_which_term_compares_pixels_with_each_other_is_known():
    target = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0)) + 1
    depth = target * (1 + 0.1 * torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(1)))
    valid = torch.ones(1, 8, 8, dtype=torch.bool)
    shuffled = torch.randperm(64, generator=torch.Generator().manual_seed(2))
    for name, loss in losses.DEPTH_TERMS.items():
        same, other = (float(loss(d, t, valid)) for d, t in (
            (depth, target), (depth.flatten()[shuffled].view(1, 8, 8), target.flatten()[shuffled].view(1, 8, 8)),
        ))  # fmt: skip
        compares_neighbours = "gradient" in name
        assert (same == pytest.approx(other, rel=1e-4)) is not compares_neighbours, name
        assert (name in losses.POINTWISE_TERMS) is (name in ("l1", "log_l1"))
    with pytest.raises(ConfigError, match=r"loss term 'a' does not exist; there are l1, .*confidence"):
        losses.check_terms(["l1", "b", "a"])
