from __future__ import annotations

from pathlib import Path

import pytest
from depthclip_trainer.config import as_mapping, config_from_mapping, read_config
from depthclip_trainer.config_keys import parse_overrides
from depthclip_trainer.losses.terms import TERMS

from depthclip_ros.core.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@pytest.mark.parametrize("name", sorted(p.name for p in CONFIGS.glob("*.yaml")))
def test_shipped_configs_read_and_survive_a_round_trip(name):
    config = read_config(CONFIGS / name)
    assert config_from_mapping(as_mapping(config)) == config
    assert set(config.loss) <= set(TERMS)


def test_overrides_reach_every_depth_and_are_typed():
    overrides = ["--loop.batch", "3", "--data.train.rooms.share=2.5", "--optim.rates.tower", "1e-4"]
    config = read_config(CONFIGS / "smoke.yaml", [*overrides, "--model.init", "a.safetensors"])
    assert config.loop.batch == 3
    assert config.data.train["rooms"].share == 2.5
    assert config.optim.rates["tower"] == pytest.approx(1e-4)
    assert config.model.init == "a.safetensors"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--loop.bach=4", r"loop\.bach.*did you mean batch"),
        ("--data.train.rooms.shar=4", r"data\.train\.rooms\.shar.*did you mean share"),
        ("--augmnt.flip=0", r"augmnt.*did you mean augment"),
        ("--loop.batch=many", r"loop\.batch"),
        ("--loop.precision=fp8", r"fp8.*allowed: bf16-mixed"),
        ("--data.train.rooms.kind=video", r"video.*allowed: rgbd_folder, nyu_mat"),
        ("--loop.max_minutes=0", "one of them must end the training"),
    ],
)
def test_wrong_settings_are_refused_with_the_nearest_or_the_allowed(override, message):
    with pytest.raises(ConfigError, match=message):
        read_config(CONFIGS / "smoke.yaml", [override])


def test_arguments_that_are_no_overrides_are_refused():
    with pytest.raises(ConfigError, match="not understood"):
        parse_overrides(["batch", "3"])
    with pytest.raises(ConfigError, match="no value"):
        parse_overrides(["--loop.batch"])


def test_files_that_do_not_read_are_refused(tmp_path):
    (tmp_path / "broken.yaml").write_text("data: [")
    for path in (tmp_path / "broken.yaml", tmp_path / "missing.yaml"):
        with pytest.raises(ConfigError, match="does not read"):
            read_config(path)
