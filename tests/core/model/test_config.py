# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a configuration may say: the last value that is taken, and the first that is refused by name."""

from __future__ import annotations

import dataclasses
import math
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.config import DENSE_VITB16, LITE, NANO, PRESETS
from depthclip_ros.core.model.registry import SYSTEMS, config_from_dict, preset
from depthclip_ros.core.weights.find import read_info

SMALL = dataclasses.replace(NANO, tap_layers=(1, 3), adapter_layers=(1, 3))

TAKEN = [
    {"bins": 2}, {"bins": 1024}, {"bin_low": 1e-6}, {"bin_low": 0.0, "bin_spacing": "uniform"}, {"prior_depth": 0.0701},
    {"prior_depth": 44.9}, {"adapter_experts": 1}, {"adapter_width": 1}, {"gate_width": 1}, {"gate_temperature": 1e-3},
    {"last_blocks": 0}, {"scenes": ("one",)}, {"tap_layers": (0,)}, {"adapter_layers": (0,)}, {"adapter_layers": ()},
    {"decoder_channels": (4, 4)}, {"decoder_channels": (4, 5, 6, 7, 8)}, {"tower_blocks": 1}, {"tower_heads": 1},
    {"tower_heads": 224}, {"stem_channels": (8, 8), "stem_blocks": (0, 0)},
    {"stem_channels": (8, 8, 8, 8), "stem_blocks": (1, 0, 1, 0)}, {"min_depth_m": 1e-9}, {"max_depth_m": 0.11},
    {"canonical_focal_px": None}, {"canonical_focal_px": 1e-3}, {"canonical_pixels": 1024}, {"canonical_pixels": None},
    {"input_pixels": 1024}, {"input_pixels": 4_194_304}, {"fusion": "scalar"}, {"bin_spacing": "uniform"},
]  # fmt: skip
REFUSED = [
    {"bins": 1}, {"bins": 1025}, {"bin_low": 0.0}, {"bin_low": -1.0}, {"bin_low": -1.0, "bin_spacing": "uniform"},
    {"bin_low": 45.0}, {"prior_depth": 0.07}, {"prior_depth": 45.0}, {"adapter_experts": 0}, {"adapter_width": 0},
    {"gate_width": 0}, {"gate_temperature": 0.0}, {"last_blocks": -1}, {"scenes": ()}, {"scenes": ("one", "one")},
    {"tap_layers": ()}, {"tap_layers": (3, 1)}, {"tap_layers": (1, 1)}, {"tap_layers": (-1, 3)},
    {"adapter_layers": (-1,)}, {"decoder_channels": (4,)}, {"decoder_channels": (4,) * 6},
    {"decoder_channels": (8, 3)}, {"tower_blocks": 0},
    {"tower_heads": 0}, {"tower_heads": 3}, {"stem_channels": (8,), "stem_blocks": (0,)},
    {"stem_channels": (8,) * 5, "stem_blocks": (0,) * 5}, {"stem_blocks": (0, 1, 1)}, {"stem_blocks": (0, 1, 1, -1)},
    {"position_grid": (6,)}, {"position_grid": (6, 8, 1)}, {"detail_stem": True}, {"base_weights": "file"},
    {"context": "prompts"}, {"context": "none"}, {"bin_spacing": "even"}, {"fusion": "mean"}, {"stem": "resnet"},
    {"stem": "mobilenet-v2"}, {"system": "depthclip"}, {"min_depth_m": 0.0}, {"min_depth_m": math.inf},
    {"max_depth_m": 0.1}, {"max_depth_m": math.inf}, {"canonical_focal_px": 0.0}, {"canonical_focal_px": math.inf},
    {"canonical_pixels": 1023}, {"input_pixels": 1023}, {"input_pixels": 4_194_305},
]  # fmt: skip


@pytest.mark.parametrize("changes", TAKEN, ids=str)
def test_the_last_value_of_a_range_is_taken(changes):
    found = dataclasses.replace(SMALL, **changes)
    assert all(getattr(found, name) == value for name, value in changes.items())


@pytest.mark.parametrize("changes", REFUSED, ids=str)
def test_the_first_value_outside_is_refused_with_its_name_and_what_is_allowed(changes):
    names = "|".join(
        {"gate_width": "adapter_width", "adapter_layers": "tap_layers"}.get(name, name) for name in changes
    )
    if "stem" in changes:
        names += "|stem_channels"
    with pytest.raises(ConfigError, match=rf"^({names}) is .*; allowed: "):
        dataclasses.replace(SMALL, **changes)


def test_a_pretrained_stem_brings_its_own_levels():
    with pytest.raises(ConfigError, match=r"stem_channels is .* allowed: none, with the stem efficientnet-lite0"):
        dataclasses.replace(LITE, stem_channels=(8, 8), stem_blocks=(0, 0))
    assert dataclasses.replace(LITE, base_weights="file").base_weights == "file"
    assert dataclasses.replace(LITE, stem="plain").stem == "mobilenet-v2", "as files older than `stem` say it"
    with pytest.raises(ConfigError, match="prototypes, with a tower without text"):
        dataclasses.replace(PRESETS["dino-small"], context="average")
    assert dataclasses.replace(DENSE_VITB16, context="average").context == "average"


def seen_m(depth_m: float, hfov_deg: float, width: int, height: int, canonical_px: float = 300.0) -> float:
    """A depth in canonical units: what a lens shows at this size of the network's input is scaled to 300 pixels."""
    return depth_m * canonical_px / (width / 2 / math.tan(math.radians(hfov_deg) / 2))


@pytest.mark.parametrize("name", ["dense-vitb16", "nano", "teacher-mobilenet"])
def test_bins_cover_what_lenses_of_40_to_110_degrees_see_in_steps_of_a_twentieth(name):
    config = PRESETS[name]
    units = []
    for columns, rows in ((16, 9), (3, 4)):
        width, height = config.network_size(100 * columns, 100 * rows, 16 if name == "dense-vitb16" else 32)
        units += [seen_m(depth_m, hfov, width, height) for depth_m, hfov in ((0.1, 40.0), (10.0, 110.0))]
    assert config.bin_low <= min(units) * 1.06
    assert max(units) <= config.bin_high * 1.06
    step = (config.bin_high / config.bin_low) ** (1 / config.bins) - 1
    assert 0.045 < step < 0.055


@pytest.mark.parametrize(
    ("image", "expected"),
    [((640, 480), (256, 192)), ((1280, 720), (288, 160)), ((480, 640), (192, 256)), ((30, 9000), (32, 3840))],
    ids=str,
)
def test_an_image_is_read_at_about_as_many_pixels_in_its_own_proportions(image, expected):
    assert dataclasses.replace(NANO, input_pixels=256 * 192).network_size(*image, 32) == expected


def test_the_canonical_focal_length_grows_with_the_input_where_it_is_meant_for_one_size():
    assert NANO.focal_px_at(512, 384) == 300.0
    sized = dataclasses.replace(NANO, canonical_pixels=256 * 192)
    assert sized.focal_px_at(256, 192) == pytest.approx(300.0)
    assert sized.focal_px_at(512, 384) == pytest.approx(600.0)
    assert dataclasses.replace(NANO, canonical_focal_px=None, canonical_pixels=1024).focal_px_at(64, 64) is None


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({"mirror_tokens": 1}, True), ({"mirror_tokens": 0}, False), ({"tap_layers": (0,)}, True),
        ({"tap_layers": ()}, False), ({"tap_layers": (2, 1)}, False), ({"tap_layers": (-1,)}, False),
        ({"decoder_heads": 1}, True), ({"decoder_heads": 0}, False), ({"decoder_heads": 7}, False),
        ({"deconvolutions": (4,)}, True), ({"deconvolutions": ()}, False), ({"deconvolutions": (3,)}, False),
        ({"depth_low": 0.0}, False), ({"depth_low": 1e-3}, True), ({"depth_high": math.inf}, False),
        ({"prior_depth": 0.0}, False), ({"prior_depth": 1e9}, False), ({"system": "depthclip"}, False),
    ],
    ids=str,
)  # fmt: skip
def test_clip2depth_takes_and_refuses_likewise(changes, good):
    refusal = rf"^({'|'.join(changes)}|depth_low|prior_depth) is .*; allowed: "
    with nullcontext() if good else pytest.raises(ConfigError, match=refusal):
        dataclasses.replace(preset("clip2depth-vitb16"), **changes)


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({"classes": ("near", "far"), "bins_m": (1.0, 2.0)}, True), ({"classes": ("near",), "bins_m": (1.0,)}, False),
        ({"classes": ("near", "near"), "bins_m": (1.0, 2.0)}, False), ({"bins_m": (1.0, 2.0)}, False),
        ({"template": "no place"}, False), ({"template": "{} and {}"}, False), ({"features": "other"}, False),
        ({"temperature": 0.0}, False), ({"temperature": 1e-3}, True), ({"logit_scale": 0.0}, False),
        ({"classes": ("near", "far"), "bins_m": (2.0, 1.0)}, False),
        ({"classes": ("near", "far"), "bins_m": (0.0, 1.0)}, False),
    ],
    ids=str,
)  # fmt: skip
def test_depthclip_takes_and_refuses_likewise(changes, good):
    with nullcontext() if good else pytest.raises(ConfigError, match="allowed: "):
        dataclasses.replace(preset("depthclip-rn50"), **changes)


@pytest.mark.parametrize(
    ("weights", "name", "own"), [("default", "dino-small", {}), ("fast", "lite", {"last_blocks": 4})]
)
def test_the_shipped_weights_are_of_the_presets_that_made_them(weights, name, own):
    shipped = config_from_dict(read_info(weights).config)
    assert dataclasses.replace(shipped, base_weights=None) == dataclasses.replace(PRESETS[name], **own)


def test_the_papers_preset_is_what_was_published():
    paper = PRESETS["paper-vitb32"]
    assert paper.network_size(640, 480, 32) == (640, 480)
    assert (paper.bins, paper.bin_spacing, paper.bin_low, paper.bin_high) == (128, "uniform", 0.001, 10.0)
    assert (paper.adapter_layers, paper.last_blocks, paper.tap_layers) == ((2, 5, 8, 11), 4, (11,))
    assert (paper.min_depth_m, paper.max_depth_m, paper.canonical_focal_px) == (0.001, 10.0, None)
    assert paper.decoder_channels == (256, 128, 96, 64)
    assert DENSE_VITB16.adapter_layers == DENSE_VITB16.tap_layers == (2, 5, 8, 11)
    assert DENSE_VITB16.decoder_channels == (192, 128, 96, 48)


PAGE = Path(__file__).parents[3] / "docs" / "weights.md"


@pytest.mark.parametrize("name", ["nano", "lite", "dino-small", "teacher-mobilenet"])
def test_the_page_has_the_parameters_and_the_input_of_each_preset(name):
    """`name` | what it is | columns x rows | millions of parameters | start."""
    (row,) = (line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` | "))
    width, height = map(int, row[2].split()[0].split("x"))
    assert PRESETS[name].input_pixels == width * height
    with torch.device("meta"):
        model = SYSTEMS["moa_depthclip"][1](PRESETS[name])
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(float(row[3].split()[0]), abs=0.05)


@pytest.mark.parametrize(("name", "parameters"), [("lite", 6_386_787), ("teacher-mobilenet", 6_538_043)])
def test_files_of_the_presets_fit_them_still(name, parameters):
    """Another number of parameters, and no file that was trained before would load."""
    with torch.device("meta"):
        model = SYSTEMS["moa_depthclip"][1](PRESETS[name])
    assert sum(p.numel() for p in model.parameters()) == parameters
