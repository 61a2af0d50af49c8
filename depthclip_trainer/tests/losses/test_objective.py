# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import dataclasses

import pytest
import torch
from depthclip_trainer.data.sample import CANONICAL, METRIC, TARGETS, Batch
from depthclip_trainer.losses.objective import batch_loss, left_out, normalise
from depthclip_trainer.losses.semi import SemiConfig

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.contract import Prediction
from depthclip_ros.core.model.registry import build_model, preset


@pytest.mark.parametrize(("width_px", "focal_px"), [(64, 60.0), (128, 120.0)])
def test_batches_of_another_size_show_the_same_view_and_ask_for_the_same_depth(width_px, focal_px):
    """With `canonical_pixels` what a network should say of a view does not depend on how large it is shown."""
    model = build_model(preset("nano", input_pixels=64 * 32, tower_blocks=2, tap_layers=[1], adapter_layers=[1]))
    model.config = dataclasses.replace(model.config, canonical_pixels=64 * 32)
    height_px = width_px // 2
    depth_m = torch.full((1, height_px, width_px), 2.0)
    intrinsics = torch.tensor([[focal_px, focal_px, width_px / 2, height_px / 2]])
    batch = Batch(torch.rand(1, 3, height_px, width_px), depth_m, depth_m > 0, intrinsics, ["x"])

    def says(canonical):
        depth = torch.full((1, height_px // 2, width_px // 2), canonical)
        loss, _ = batch_loss(lambda images: Prediction(depth, depth), model, batch, {"log_l1": 1.0})
        return float(loss)

    assert says(2.0 * 300 / 60) == pytest.approx(0.0, abs=1e-6)
    assert says(2.0 * 300 / 120) > 0.5


def small_model(**changed):
    return build_model(
        preset("nano", input_pixels=64 * 32, tower_blocks=2, tap_layers=[1], adapter_layers=[1], **changed)
    )


def test_images_are_normalised_as_the_network_takes_them():
    model = small_model()
    mean, std = torch.tensor(model.image_mean), torch.tensor(model.image_std)
    image = (mean + 2 * std)[None, :, None, None].expand(2, 3, 4, 6)
    found = normalise(image, model)
    torch.testing.assert_close(found, torch.full((2, 3, 4, 6), 2.0))
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_relative_depth_is_compared_by_terms_without_metres_alone():
    model = small_model()
    model.config = dataclasses.replace(model.config, metric=False)
    with pytest.raises(
        ConfigError, match=r"'l1' compares metres, but moa_depthclip gives relative depth here; allowed: aff"
    ):
        batch_loss(model, model, None, {"affine_invariant": 1.0, "silog": 0.0, "l1": 1.0})


def test_terms_without_a_head_are_named_and_the_model_stays_as_it_was():
    model = small_model().train()
    weights = {"l1": 1.0, "bin_cross_entropy": 0.5, "regression_l1": 1.0, "confidence": 0.0}
    assert left_out(model, weights) == []
    assert model.training
    model.eval()
    model.forward = lambda images: Prediction(torch.ones(1, 4, 4), torch.ones(1, 4, 4))
    assert left_out(model, weights) == ["bin_cross_entropy", "regression_l1"]
    assert not model.training


def test_labels_of_a_teacher_count_as_the_recipe_says_where_a_batch_has_any():
    model = small_model()
    depth = torch.rand(2, 16, 24) + 1
    batch = Batch(
        torch.rand(2, 3, 32, 48), torch.rand(2, 32, 48) + 1, torch.ones(2, 32, 48, dtype=torch.bool),
        torch.full((2, 4), 300.0), ["a", "b"], confidence=torch.ones(2, 32, 48),
        targets=torch.tensor([TARGETS.index(METRIC), TARGETS.index(CANONICAL)]),
    )  # fmt: skip
    semi = SemiConfig(loss={"log_l1": 1.0}, weight=0.5, drop_worst=0.0, confidence=False)

    def loss(batch, semi):
        return batch_loss(lambda images: Prediction(depth, torch.ones_like(depth)), model, batch, {"l1": 1.0}, semi)

    _, terms = loss(batch, semi)
    assert set(terms) == {"l1", "teacher/log_l1"}
    _, terms = loss(batch, None)
    assert set(terms) == {"l1"}
    measured = dataclasses.replace(batch, targets=None)
    torch.testing.assert_close(loss(measured, semi), loss(measured, None))
