# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.level_scan import ScanLimits
from depthclip_ros.ros.anchors.sources import AnchorOptions
from depthclip_ros.ros.depth_node.parameters import values as parameters

CONFIG = Path(__file__).parents[4] / "config" / "depth.yaml"
INTERFACE = {
    "cameras", "model.weights", "model.runtime", "model.device", "model.precision", "model.calibration",
    "model.threads", "input.transport", "input.reliability", "input.rectify", "input.max_rate", "input.mask",
    "input.rotation",
    "output.encoding", "output.min_depth", "output.max_depth", "output.confidence_threshold",
    "cloud.stride", "cloud.max_range", "cloud.color", "filter.edge_threshold", "scale.factor", "scale.factors",
    "autostart",
}  # fmt: skip


def _flat(tree: dict, prefix: str = "") -> dict:
    flat = {}
    for name, value in tree.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return flat


def test_the_table_has_every_parameter_of_the_interface_with_a_description():
    assert set(parameters.BY_NAME) >= INTERFACE
    assert all(len(row.description) > 20 for row in parameters.TABLE)


def test_settings_have_one_field_per_parameter():
    names = [name.replace(".", "_") for name in parameters.BY_NAME]
    assert [field.name for field in fields(parameters.Settings)] == names


def test_the_config_file_states_every_parameter_at_its_default():
    assert _flat(yaml.safe_load(CONFIG.read_text())["/**"]["ros__parameters"]) == parameters.DEFAULTS


def test_the_config_file_explains_every_parameter():
    lines = CONFIG.read_text().splitlines()
    leaves = {name.rpartition(".")[2] for name in parameters.BY_NAME}
    for number, line in enumerate(lines):
        if line.strip().split(":")[0] in leaves and not line.rstrip().endswith(":"):
            assert lines[number - 1].strip().startswith("#"), line


def test_defaults_are_allowed():
    assert parameters.settings_from({}).output_encoding == "32FC1"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("output.encoding", "mono8", "32FC1, 16UC1"),
        ("input.rectify", "yes", "auto, never, require"),
        ("input.reliability", "", "auto, reliable, best_effort"),
        ("model.device", "gpu", "auto, cpu, cuda, xpu, cuda:N, xpu:N"),
        ("model.weights", "", "not empty"),
        ("output.max_depth", math.nan, "0.01 to 1000"),
        ("output.max_depth", math.inf, "0.01 to 1000"),
        ("output.confidence_threshold", 1.5, "0 to 1"),
        ("cloud.stride", 0, "1 to 64"),
        ("cloud.stride", 2.0, "1 to 64"),
        ("cloud.stride", True, "1 to 64"),
        ("cloud.color", 1, "true or false"),
        ("scale.factor", 0.0, "0.01 to 100"),
        ("scale.factor", "2", "0.01 to 100"),
        ("model.precision", "int4", "int8"),
        ("model.threads", -1, "0 to 256"),
        ("input.rotation", 45, "0, 90, 180, 270"),
        ("input.rotation", 360, "0, 90, 180, 270"),
        ("input.max_rate", -1.0, "0 to 1000"),
        ("input.mask", 3, "a text"),
        ("cameras", ["front", "1left"], "begin with a letter"),
        ("cameras", ["front", "front"], "different names"),
        ("cameras", ["front/left"], "letters, digits and _"),
        ("cameras", ["front", ""], "letters, digits and _"),
        ("cameras", [1, 2], "letters, digits and _"),
        ("cameras", "front", "a list of"),
        ("scale.factors", [1.0, 0.0], "a list of 0.01 to 100"),
        ("scale.factors", [True], "a list of 0.01 to 100"),
    ],
)
def test_a_bad_value_is_refused_with_the_allowed_ones(name, value, allowed):
    with pytest.raises(ConfigError) as error:
        parameters.settings_from({name: value})
    assert name in str(error.value)
    assert repr(value) in str(error.value)
    assert allowed in str(error.value)


def test_a_list_without_a_value_is_empty():
    # What ROS makes of `cameras: []` in YAML.
    settings = parameters.settings_from({"cameras": None, "scale.factors": None})
    assert (settings.cameras, settings.scale_factors) == ([], [])


def test_each_camera_has_its_own_scale():
    settings = parameters.settings_from({"cameras": ["front", "left"], "scale.factor": 2.0, "scale.factors": [1, 1.5]})
    assert settings.limits_of("front").scale_factor == 2.0
    assert settings.limits_of("left").scale_factor == 3.0
    without = parameters.settings_from({"cameras": ["front", "left"], "scale.factor": 2.0})
    assert without.limits_of("left").scale_factor == 2.0


@pytest.mark.parametrize("cameras", [[], ["front"], ["front", "left", "right"]])
def test_factors_of_another_number_than_cameras_are_refused(cameras):
    with pytest.raises(ConfigError, match=r"scale\.factors is \[1\.0, 1\.5\].*one factor for each camera"):
        parameters.settings_from({"cameras": cameras, "scale.factors": [1.0, 1.5]})


def test_factors_of_other_cameras_wait_for_these():
    running = parameters.settings_from({"cameras": ["front"], "scale.factors": [1.5]})
    asked = parameters.settings_from(
        {"cameras": ["left", "right"], "scale.factors": [2.0, 3.0], "scale.factor": 4.0, "model.device": "cpu"}
    )
    taken_up = parameters.live_settings(running, asked)
    assert taken_up.limits_of("front").scale_factor == 6.0
    assert taken_up.model_device == "auto"
    asked = parameters.settings_from({"cameras": ["front"], "scale.factors": [2.0]})
    assert parameters.live_settings(running, asked).limits_of("front").scale_factor == 2.0


def test_a_device_by_number_is_allowed():
    assert parameters.settings_from({"model.device": "cuda:1"}).model_device == "cuda:1"


def test_a_whole_number_is_a_length_in_metres():
    max_depth = parameters.settings_from({"output.max_depth": 5}).output_max_depth
    assert max_depth == 5.0
    assert isinstance(max_depth, float)


def test_an_empty_depth_range_is_refused():
    with pytest.raises(ConfigError, match=r"min_depth is 3\.0 and output\.max_depth 2\.0"):
        parameters.settings_from({"output.min_depth": 3.0, "output.max_depth": 2.0})


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"output\.max_depht.*did you mean output\.max_depth"):
        parameters.settings_from({"output.max_depht": 2.0})


def test_limits_and_cloud_range():
    settings = parameters.settings_from(
        {
            "output.min_depth": 0.3,
            "output.max_depth": 7.0,
            "output.confidence_threshold": 0.4,
            "filter.edge_threshold": 0.05,
            "scale.factor": 1.1,
        }
    )
    limits = settings.limits
    assert (limits.min_depth_m, limits.max_depth_m, limits.confidence_threshold) == (0.3, 7.0, 0.4)
    assert (limits.edge_threshold, limits.scale_factor) == (0.05, 1.1)
    assert settings.cloud_max_range_m == math.inf
    assert parameters.settings_from({"cloud.max_range": 4.0}).cloud_max_range_m == 4.0


def test_everything_from_output_on_is_live_and_the_rest_is_not():
    for row in parameters.TABLE:
        assert row.live == row.name.startswith(("output.", "cloud.", "scan.", "uncertainty.", "filter.", "scale.")), (
            row.name
        )


def test_effect_names_what_waits_for_a_configure_and_only_that():
    effect = parameters.effect_of(["model.device", "scale.factor", "use_sim_time"], configured=True)
    assert "model.device takes effect at the next configure" in effect
    assert "scale" not in effect
    assert parameters.effect_of(["model.device"], configured=False) == ""
    assert parameters.effect_of(["scale.factor"], configured=True) == ""


PAGE = Path(__file__).parents[4] / "docs" / "depth_node.md"
EFFECTS = {
    "with the next frame": "next frame",
    "at the next configure": "next configure",
    "at the next start of the node": "at start; read-only",
}


def test_the_page_has_the_table_as_it_is_and_nothing_else():
    """`name` | `default` | allowed | description | when a change takes effect."""
    rows = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    told = {row[0].strip("| `"): row for row in rows if len(row) == 5}
    assert set(told) == set(parameters.BY_NAME)
    for name, row in parameters.BY_NAME.items():
        default = str(row.default).lower() if isinstance(row.default, bool) else str(row.default)
        _, stated, allowed, description, effect = told[name]
        assert stated.strip("`") == default, name
        short = "OpenCV's names, e.g. DICT_4X4_50"  # there are 27
        assert allowed == (short if name == "anchor.tag.dictionary" else row.allowed), name
        assert " ".join(description.split()) == " ".join(row.description.split()), name
        assert effect.rstrip(" |") == EFFECTS[row.effect], name


@pytest.mark.parametrize("name", [row.name for row in parameters.TABLE if row.minimum is not None and not row.element])
def test_both_ends_of_a_range_are_taken_and_what_lies_beyond_is_refused(name):
    row = parameters.BY_NAME[name]
    beyond = row.step if isinstance(row.default, int) else 1e-6
    for value in (row.minimum, row.maximum):
        value = type(row.default)(value)  # noqa: PLW2901
        assert row.check(value) == value
        assert type(row.check(value)) is type(row.default)
    for value in (row.minimum - beyond, row.maximum + beyond):
        with pytest.raises(ConfigError, match=rf"{name} is .*; allowed: {row.allowed}"):
            row.check(type(row.default)(value))


@pytest.mark.parametrize(
    ("name", "value"),
    [("input.rotation", 45), ("model.threads", 1.0), ("cloud.color", 1), ("cloud.stride", True), ("model.weights", ""),
     ("model.weights", 3), ("scale.factors", [0.5, "a"]), ("scale.factors", "12"), ("scale.factors", [True]),
     ("scale.factors", [0.001]), ("scale.factors", [101]), ("cameras", ["a", "a"]), ("cameras", [""]),
     ("cameras", ["1a"]), ("cameras", "ab"), ("output.max_depth", True), ("output.max_depth", "9"),
     ("output.max_depth", math.nan)],
)  # fmt: skip
def test_what_is_of_another_kind_is_refused(name, value):
    with pytest.raises(ConfigError, match=f"^{name} is "):
        parameters.BY_NAME[name].check(value)


def test_lists_and_whole_numbers_become_what_is_asked_for():
    assert parameters.BY_NAME["scale.factors"].check((1, 0.01, 100)) == [1.0, 0.01, 100.0]
    assert all(type(value) is float for value in parameters.BY_NAME["scale.factors"].check([1, 2]))
    assert parameters.BY_NAME["input.mask"].check("") == ""
    assert parameters.BY_NAME["cloud.fields"].check(["uncertainty"]) == ["uncertainty"]


@pytest.mark.parametrize("hfov", [5.0, 0.0, 170.0])
def test_a_field_of_view_is_given_or_unknown(hfov):
    assert parameters.settings_from({"input.assumed_hfov": hfov}).input_assumed_hfov == hfov


@pytest.mark.parametrize("hfov", [4.9, -1.0, 170.1, 300.0, math.nan])
def test_a_field_of_view_that_no_lens_has_is_refused(hfov):
    with pytest.raises(ConfigError, match=rf"input\.assumed_hfov is {hfov}; allowed: 5 to 170, 0: unknown$"):
        parameters.settings_from({"input.assumed_hfov": hfov})


def test_each_part_of_the_node_is_told_its_own_parameters():
    given = {
        "model.runtime": "openvino", "model.device": "cpu", "model.precision": "int8", "model.calibration": "/pictures",
        "model.threads": 3, "anchors": ["range", "ground"], "anchor.base_frame": "base", "anchor.odom_frame": "map",
        "anchor.ground.height_m": 0.4, "anchor.tag.side_m": 0.2, "anchor.tag.dictionary": "DICT_4X4_50",
        "scan.min_height": 0.1, "scan.max_height": 1.0, "scan.max_range": 6.0, "output.min_depth": 0.3,
        "output.max_depth": 9.0, "uncertainty.level": 0.8,
    }  # fmt: skip
    settings = parameters.settings_from(given)
    assert settings.engine_options == {
        "runtime": "openvino", "device": "cpu", "precision": "int8", "calibration": "/pictures", "threads": 3,
        "allow_cpu_fallback": False,
    }  # fmt: skip
    assert parameters.settings_from({}).engine_options["allow_cpu_fallback"] is True, "auto may turn to the CPU"
    assert settings.anchor_options == AnchorOptions(("range", "ground"), "base", "map", 0.4, 0.2, "DICT_4X4_50")
    assert settings.scan_limits == ScanLimits(0.1, 1.0, 0.3, 6.0)
    assert settings.limits.level == 0.8
    assert (settings.assumed_hfov_deg, parameters.settings_from({"input.assumed_hfov": 90}).assumed_hfov_deg) == (
        60,
        90,
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"output.min_depth": 2.0, "output.max_depth": 2.0}, r"output\.min_depth is 2\.0 and output\.max_depth 2\.0"),
        ({"scan.min_height": 1.0, "scan.max_height": 1.0}, r"scan\.min_height is 1\.0 and scan\.max_height 1\.0"),
        ({"anchors": ["tag"]}, r"anchors has tag and anchor\.tag\.side_m is 0"),
    ],
)
def test_two_values_that_contradict_each_other_are_refused(given, reason):
    with pytest.raises(ConfigError, match=reason):
        parameters.settings_from(given)
    parameters.settings_from({"anchors": ["tag"], "anchor.tag.side_m": 0.1})


def test_what_takes_effect_later_is_said_in_one_sentence():
    two = parameters.effect_of(["model.device", "model.threads"], configured=True)
    assert two.startswith("model.device, model.threads take effect at the next configure: deactivate, cleanup")
    assert parameters.effect_of([], configured=True) == ""
