# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import pytest
import torch

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.registry import build_model, config_from_dict, preset


@pytest.fixture
def model(nano_config):
    return build_model(nano_config())


@pytest.mark.parametrize(
    ("image", "network"),
    [
        ((640, 480), (256, 192)),
        ((480, 640), (192, 256)),
        ((1920, 1080), (288, 160)),
        ((1, 1), (224, 224)),
        ((8000, 6000), (256, 192)),
    ],
)
def test_network_size_keeps_pixels_and_aspect(nano_config, image, network):
    assert build_model(nano_config(input_pixels=49152)).network_size(*image) == network


def test_network_size_of_a_line_is_still_a_size(model):
    width, height = model.network_size(5000, 1)
    assert height == model.stride
    assert width % model.stride == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_depth_m", 0.0),
        ("max_depth_m", 0.05),
        ("canonical_focal_px", -1.0),
        ("canonical_focal_px", float("nan")),
        ("input_pixels", 10),
        ("bins", 1),
        ("bin_low", -1.0),
        ("bin_spacing", "cubic"),
        ("prior_depth", 100.0),
        ("fusion", "none"),
        ("context", "prompts"),
        ("tap_layers", (7, 5)),
        ("tap_layers", ()),
        ("base_weights", "openai"),
        ("scenes", ("a", "a")),
        ("tower_heads", 5),
        ("tower_heads", 0),
        ("tower_heads", -2),
        ("gate_temperature", 0.0),
    ],
)
def test_configuration_repeats_the_bad_value(name, value):
    with pytest.raises(ConfigError, match=name):
        preset("nano", **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("stem_channels", 8), ("tower_width", [48]), ("scenes", "kitchen"), ("bins", True), ("tower_width", 48.0)],
)
def test_a_value_of_another_type_is_named_with_the_right_one(name, value):
    with pytest.raises(ConfigError, match=rf"{name} is .*; it must be (tuple|int)"):
        config_from_dict({"system": "moa_depthclip", name: value})


def test_only_selected_groups_are_trained(model):
    model.select_trained(["adapters"])
    groups = model.parameter_groups()
    assert list(groups) == ["adapters"]
    chosen = {id(parameter) for parameter in groups["adapters"]}
    assert all(parameter.requires_grad == (id(parameter) in chosen) for parameter in model.parameters())
    assert not any(name.startswith("tower.") for name in model.trainable_names())
    assert {"heads.confidence_scale", "context.scenes"} < model.trainable_names()
    with pytest.raises(ConfigError, match="'heads'; allowed: adapters, last_blocks, tower"):
        model.select_trained(["heads"])


def test_every_parameter_is_in_one_group(model):
    grouped = [id(parameter) for group in model.all_groups().values() for parameter in group]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    model.select_trained(list(model.all_groups()))
    assert model.trainable_names() == set(model.state_dict())


def test_training_changes_exactly_the_trainable_names(model):
    model.select_trained(["adapters"])
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimiser = torch.optim.SGD(model.parameter_groups()["adapters"], lr=1.0)
    for _ in range(3):  # what starts at zero lets gradients through from the second step on
        prediction = model(torch.randn(2, 3, 48, 64))
        loss = prediction.depth.log().std() + prediction.bin_logits.square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed <= model.trainable_names()
    assert {name for name in model.trainable_names() if "running_mean" in name} <= changed


def test_what_is_frozen_while_a_model_trains_keeps_its_statistics(model):
    model.select_trained(list(model.all_groups()))
    model.train()
    assert not list(model.frozen_norms())
    model.select_trained(["tower"])
    frozen = list(model.frozen_norms())
    assert frozen
    assert not any(norm.training for norm in frozen)
    assert model.training
    model.select_trained(list(model.all_groups()))
    assert all(norm.training for norm in frozen)
