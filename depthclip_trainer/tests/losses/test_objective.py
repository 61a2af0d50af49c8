# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import dataclasses

import pytest
import torch
from depthclip_trainer.data.sample import Batch
from depthclip_trainer.losses.objective import batch_loss

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
