# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import dataclasses
import json

import pytest

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.model.model_config import ModelConfig
from depthclip_ros.core.model.registry import PRESETS, SYSTEMS, build_model, config_from_dict, preset


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_configuration_survives_json(name):
    config = PRESETS[name]
    assert config_from_dict(json.loads(json.dumps(dataclasses.asdict(config)))) == config
    assert preset(name) == config


def test_every_system_builds_on_the_contract():
    for system, (config_class, model_class) in SYSTEMS.items():
        assert issubclass(config_class, ModelConfig)
        assert issubclass(model_class, DepthModel)
        defaults = {field.name: field.default for field in dataclasses.fields(config_class)}
        assert defaults["system"] == system


def test_unknown_key_names_the_nearest():
    with pytest.raises(ConfigError, match="'adapter_experts'"):
        preset("nano", adapter_expert=3)


def test_unknown_preset_and_system_name_the_nearest():
    with pytest.raises(ConfigError, match="nearest is 'dense-vitb16'"):
        preset("dense-vitb-16")
    with pytest.raises(ConfigError, match="nearest is 'moa_depthclip'"):
        config_from_dict({"system": "moa-depthclip"})
    with pytest.raises(ConfigError, match="names no system"):
        config_from_dict({"bins": 3})


@pytest.mark.parametrize(
    ("name", "value"),
    [("bins", 12.5), ("bins", True), ("bins", "128"), ("adapter_layers", "1"), ("adapter_layers", ["a"]), ("tower", 3)],
)
def test_wrong_types_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        preset("nano", **{name: value})


def test_whole_numbers_are_fine_where_a_real_one_is_meant():
    assert preset("nano", max_depth_m=8).max_depth_m == 8.0


def test_build_model_takes_the_configuration(nano_config):
    assert build_model(nano_config(bins=40)).bin_centres.shape == (40,)
