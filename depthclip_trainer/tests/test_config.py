# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import dataclasses

import pytest
from depthclip_trainer.cli import train_main
from depthclip_trainer.config import SourceConfig
from depthclip_trainer.losses.terms import TERMS
from depthclip_trainer.recipe import SHIPPED, as_mapping, compose, config_from_mapping, parse_overrides, read_config

from depthclip_ros.core.errors import ConfigError


@pytest.mark.parametrize("name", sorted(p.stem for p in SHIPPED.glob("*.yaml") if "loop" in compose(p)))
def test_shipped_configs_read_and_survive_a_round_trip(name):
    config = read_config(name)
    assert config_from_mapping(as_mapping(config)) == config
    assert set(config.loss) <= set(TERMS)


def write(folder, **recipes):
    for name, text in recipes.items():
        (folder / f"{name}.yaml").write_text(text)


def test_a_recipe_is_its_base_and_its_differences(tmp_path):
    write(
        tmp_path,
        mine="base: smoke\nloop: {batch: 3}\ndata: {train: {more: {kind: rooms, count: 2}}}\n",
        further="base: [mine.yaml, other.yaml]\nloop: {seed: 5}\ndata: {train: {rooms: null}}\n",
        other="loop: {batch: 4, seed: 1}\n",
    )
    smoke, mine, further = (
        read_config("smoke"),
        read_config(tmp_path / "mine.yaml"),
        read_config(tmp_path / "further.yaml"),
    )
    assert mine.loop == dataclasses.replace(smoke.loop, batch=3)
    assert mine.data.train == {**smoke.data.train, "more": SourceConfig(kind="rooms", count=2)}
    assert (mine.loss, mine.optim, mine.model) == (smoke.loss, smoke.optim, smoke.model)
    assert further.loop == dataclasses.replace(smoke.loop, batch=4, seed=5)  # the later base, then its own
    assert set(further.data.train) == {"more"}


def test_recipes_that_are_not_there_or_go_in_circles_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no recipe is called 'nanos'; did you mean nano"):
        read_config("nanos")
    write(tmp_path, one="base: two.yaml\n", two="base: one.yaml\n", three="base: smok\n")
    with pytest.raises(ConfigError, match=r"one\.yaml is its own base, through one\.yaml and two\.yaml"):
        read_config(tmp_path / "one.yaml")
    with pytest.raises(ConfigError, match="did you mean smoke"):
        read_config(tmp_path / "three.yaml")


@pytest.mark.parametrize("spelling", ["--print-config", "--print_config"])
def test_print_config_shows_what_would_run_and_runs_nothing(spelling, tmp_path, capsys):
    assert train_main(["--config", "smoke", "--loop.batch", "3", f"--loop.out={tmp_path / 'run'}", spelling]) == 0
    (tmp_path / "shown.yaml").write_text(capsys.readouterr().out)
    expected = read_config("smoke", ["--loop.batch", "3", f"--loop.out={tmp_path / 'run'}"])
    assert read_config(tmp_path / "shown.yaml") == expected
    assert not (tmp_path / "run").exists()


def test_labels_are_weighed_as_measured_depth_where_nothing_else_is_said():
    assert read_config("nano").semi.loss == read_config("nano").loss
    assert set(read_config("distill-dense").semi.loss) == {"affine_invariant", "affine_gradient_matching"}


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ({"kind": "rooms", "part": "train"}, "part"),
        ({"kind": "rooms", "split": "time"}, "split"),
        ({"kind": "rooms", "crop": [0, 0, 9, 9]}, "crop"),
        ({"kind": "rooms", "keep": "disk"}, "keep"),
        ({"kind": "rooms", "path": "runs/rooms", "seed": 3}, "seed"),
        ({"kind": "rooms", "path": "runs/rooms", "stream": 1.0}, "stream"),
        ({"kind": "pseudo", "part": "validation"}, "part"),
        ({"kind": "pseudo", "split": "time"}, "split"),
        ({"kind": "pseudo", "crop": [0, 0, 9, 9]}, "crop"),
        ({"kind": "pseudo", "max_depth_m": 80.0}, "max_depth_m"),
        ({"kind": "rgbd_folder", "hfov_deg": 90.0}, "hfov_deg"),
        ({"kind": "kitti", "depth_topic": "/depth"}, "depth_topic"),
        ({"kind": "tum", "file_list": "x.txt"}, "file_list"),
    ],
)
def test_keys_that_a_source_would_not_read_are_refused(source, key):
    kind = source["kind"]
    with pytest.raises(ConfigError, match=f"{key} does not apply to {kind}"):
        SourceConfig(**source)
    assert SourceConfig(kind=kind).kind == kind


def test_a_crop_of_a_source_is_a_share_of_its_frames():
    assert SourceConfig(min_scale=0.4).min_scale == 0.4
    with pytest.raises(ConfigError, match=r"min_scale is 1\.5; allowed: 0"):
        SourceConfig(min_scale=1.5)


def test_overrides_reach_every_depth_and_are_typed():
    overrides = ["--loop.batch", "3", "--data.train.rooms.share=2.5", "--optim.rates.tower", "1e-4"]
    config = read_config("smoke", [*overrides, "--model.init", "a.safetensors"])
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
        ("--loop.precision=fp8", r"fp8.*allowed: auto, bf16-mixed"),
        ("--data.train.rooms.kind=video", r"video.*allowed: rgbd_folder, nyu_mat"),
        ("--loop.max_minutes=0", "one of them must end the training"),
    ],
)
def test_wrong_settings_are_refused_with_the_nearest_or_the_allowed(override, message):
    with pytest.raises(ConfigError, match=message):
        read_config("smoke", [override])


def test_arguments_that_are_no_overrides_are_refused():
    with pytest.raises(ConfigError, match="not understood"):
        parse_overrides(["batch", "3"])
    with pytest.raises(ConfigError, match=r"--model.train: '\[adapters,' is no YAML; put the whole value in quotes"):
        parse_overrides(["--model.train", "[adapters,", "last_blocks]"])
    with pytest.raises(ConfigError, match="no value"):
        parse_overrides(["--loop.batch"])


def test_files_that_do_not_read_are_refused(tmp_path):
    (tmp_path / "broken.yaml").write_text("data: [")
    for path in (tmp_path / "broken.yaml", tmp_path / "missing.yaml"):
        with pytest.raises(ConfigError, match="does not read"):
            read_config(path)
