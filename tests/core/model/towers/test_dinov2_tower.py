# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import copy

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from depthclip_ros.core.errors import WeightsError
from depthclip_ros.core.model.contract import ADAPTERS, LAST_BLOCKS, TOWER
from depthclip_ros.core.model.registry import build_model, preset
from depthclip_ros.core.model.towers.dinov2_tower import Dinov2Tower, expected_tensors, load_dinov2, resized_patches


@pytest.fixture(scope="module")
def tensors():
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(t.shape, generator=generator) * 0.05 for name, t in expected_tensors().items()}


def test_resized_patches_see_in_an_enlarged_image_what_the_first_saw():
    kernels = torch.randn(5, 3, 14, 14)
    patch = torch.randn(2, 3, 14, 14)
    enlarged = F.interpolate(patch, size=(16, 16), mode="bilinear")
    wanted = F.conv2d(patch, kernels)
    torch.testing.assert_close(F.conv2d(enlarged, resized_patches(kernels, 16)), wanted, rtol=1e-3, atol=1e-3)


def test_tower_takes_every_tensor_of_its_file(tensors, tmp_path):
    save_file(tensors, tmp_path / "dino.safetensors")
    tower = Dinov2Tower()
    load_dinov2(tower, tmp_path / "dino.safetensors")
    block, layer = tower.transformer[7], "encoder.layer.7"
    assert torch.equal(block.qkv.weight[384:768], tensors[f"{layer}.attention.attention.key.weight"])
    assert torch.equal(block.out.bias, tensors[f"{layer}.attention.output.dense.bias"])
    assert torch.equal(block.perceptron[2].weight, tensors[f"{layer}.mlp.fc2.weight"])
    assert torch.equal(block.scale_perceptron, tensors[f"{layer}.layer_scale2.lambda1"])
    positions = tensors["embeddings.position_embeddings"]
    assert torch.equal(tower.positions[0, :, 2, 5], positions[0, 1 + 2 * 37 + 5])
    assert torch.equal(tower.class_position, positions[:, :1])


def test_files_that_do_not_fit_are_refused(tensors, tmp_path):
    with pytest.raises(WeightsError, match="convert-encoder"):
        load_dinov2(Dinov2Tower(), tmp_path / "none.safetensors")
    save_file({**tensors, "layernorm.bias": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"'layernorm\.bias' has shape"):
        load_dinov2(Dinov2Tower(), tmp_path / "other.safetensors")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(preset("dino-small")).eval()


def test_any_size_in_half_the_size_out_and_gains_fold_away(model):
    for scale in (model.tower.transformer[3].scale_attention, model.tower.transformer[9].scale_perceptron):
        scale.data.uniform_(0.1, 2.0)
    images = torch.randn(2, 3, 48, 80)
    with torch.no_grad():
        before = model(images)
        assert before.depth.shape == (2, 24, 40)
        ready = copy.deepcopy(model).prepare_inference()
        assert not [name for name, _ in ready.named_parameters() if "scale_attention" in name]
        torch.testing.assert_close(ready(images).depth, before.depth, rtol=1e-3, atol=1e-4)


def test_patches_and_positions_are_never_trained(model):
    groups = model.all_groups()
    counted = sum(p.numel() for group in (ADAPTERS, LAST_BLOCKS, TOWER) for p in groups[group])
    frozen = sum(p.numel() for p in model.tower.frozen_parameters())
    assert counted + frozen == sum(p.numel() for p in model.parameters())
    assert not any(p.requires_grad for p in model.tower.frozen_parameters())
    assert 20e6 < sum(p.numel() for p in model.tower.parameters()) < 21e6
