# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.depth_anything_config import PRESETS, DepthAnythingConfig, config_of_folder
from depthclip_ros.core.model.transformers_network import (
    build_network,
    family_of,
    farthest_m,
    output_of,
    shape_text,
    stride_of,
    takes_squares_only,
)

TINY = PRESETS["depth-anything-tiny"]


@pytest.mark.parametrize(("size", "millions"), [("small", 24.8), ("base", 97.5), ("large", 335.3)])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_presets_have_the_published_number_of_parameters(size, millions, version):
    """As the authors' tables state them; the network is built without memory for its tensors."""
    pytest.importorskip("transformers", reason="needs the extra `transformers`")
    with torch.device("meta"):
        network = build_network(PRESETS[f"depth-anything-{version}-{size}"].network)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_v1_reads_the_last_four_blocks_and_v2_blocks_of_every_depth():
    """Depth Anything V2 (arXiv 2406.09414), appendix: the intermediate features, which V1 took from the last four."""
    for size, blocks in (("small", 12), ("base", 12), ("large", 24)):
        taps = {
            version: json.loads(PRESETS[f"depth-anything-{version}-{size}"].network)["backbone_config"]["out_indices"]
            for version in ("v1", "v2")
        }
        assert taps["v1"] == list(range(blocks - 3, blocks + 1))
        assert taps["v2"] == ([5, 12, 18, 24] if size == "large" else [3, 6, 9, 12])
    for place in ("indoor", "outdoor"):
        network = json.loads(PRESETS[f"depth-anything-v2-{place}-small"].network)
        assert network["backbone_config"]["out_indices"] == [3, 6, 9, 12]


def test_decoders_have_the_published_channels():
    """As config.json of the published files has them (depth-anything/Depth-Anything-V2-Large-hf and its sisters)."""
    published = {
        "small": ([48, 96, 192, 384], 64),
        "base": ([96, 192, 384, 768], 128),
        "large": ([256, 512, 1024, 1024], 256),
    }
    for size, (neck, fusion) in published.items():
        network = json.loads(PRESETS[f"depth-anything-v2-{size}"].network)
        assert (network["neck_hidden_sizes"], network["fusion_hidden_size"]) == (neck, fusion)


def test_the_tiny_network_has_the_documented_number_of_parameters():
    pytest.importorskip("transformers", reason="needs the extra `transformers`")
    with torch.device("meta"):
        network = build_network(TINY.network)
    assert sum(p.numel() for p in network.parameters()) == 4_786_945  # "4.8 M" in its recipe


@pytest.mark.parametrize(("name", "most_m"), [("indoor", 20.0), ("outdoor", 80.0)])
def test_metric_presets_end_where_their_networks_do(name, most_m):
    config = PRESETS[f"depth-anything-v2-{name}-small"]
    assert (config.metric, config.max_depth_m, config.canonical_focal_px) == (True, most_m, None)
    assert farthest_m(json.loads(config.network)) == most_m
    assert config.network_size(640, 480, 14) == (686, 518)
    assert config.ready_made
    assert not TINY.ready_made


@pytest.mark.parametrize(
    "changes",
    [
        {"system": "depthclip"}, {"network": "{"}, {"network": "[]"}, {"image_mean": (0.5, 0.5)},
        {"image_mean": (0.5, 0.5, math.nan)}, {"image_std": (0.5, 0.5, 0.0)}, {"disparity_scale": 0.0, "metric": True},
        {"disparity_scale": math.inf, "metric": True}, {"disparity_shift": math.inf}, {"metric": True},
        {"last_blocks": -1}, {"prior": 0.0}, {"prior": math.inf},
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_together_is_refused_by_name(changes):
    with pytest.raises(ConfigError, match=rf"^({'|'.join(changes)}) is .*; allowed: "):
        dataclasses.replace(TINY, **changes)


@pytest.mark.parametrize(("keeps", "pixels"), [(True, 357765), (False, 518 * 518)])  # 518 by 518 times 4 / 3
def test_a_folders_images_are_as_large_as_its_processor_makes_those_of_4_to_3(make_transformers_folder, keeps, pixels):
    folder = make_transformers_folder({"size": {"height": 518, "width": 518}, "keep_aspect_ratio": keeps})
    assert config_of_folder(folder, "mine").input_pixels == pixels


def test_without_a_processor_images_are_normalised_as_imagenets_are(make_transformers_folder):
    presets = pytest.importorskip("torchvision.transforms._presets", reason="needs torchvision")
    published = presets.ImageClassification(crop_size=1)
    config = config_of_folder(make_transformers_folder(), "mine")
    assert (list(config.image_mean), list(config.image_std)) == (published.mean, published.std)


def test_a_scale_without_metres_is_refused():
    with pytest.raises(ConfigError, match="metric is False; allowed: True, as its network with disparity_scale gives"):
        dataclasses.replace(TINY, disparity_scale=1.0)


def test_a_fitted_network_is_metric_and_the_last_values_are_taken():
    fitted = dataclasses.replace(
        TINY, disparity_scale=1e-3, metric=True, disparity_shift=-5.0, last_blocks=0, prior=1e-3
    )
    assert fitted.metric
    assert isinstance(fitted, DepthAnythingConfig)


DPT, HYBRID = {"model_type": "dpt"}, {"model_type": "dpt", "is_hybrid": True, "backbone_config": {"patch_size": 16}}
SWIN = {"model_type": "dpt", "backbone_config": {"model_type": "swin", "patch_size": 4}}
ANY = {"model_type": "depth_anything", "patch_size": 14}
ZOE = {"model_type": "zoedepth", "backbone_config": {"patch_size": [16, 16]}}


@pytest.mark.parametrize(
    ("network", "stride", "square", "output"),
    [
        (DPT, 32, True, "disparity"),
        ({**DPT, "patch_size": 8}, 16, True, "disparity"),
        (HYBRID, 32, True, "disparity"),
        (SWIN, 8, False, "disparity"),
        (ANY, 14, False, "disparity"),
        ({**ANY, "depth_estimation_type": "metric"}, 14, False, "depth"),
        ({"model_type": "depth_anything", "backbone_config": None}, 16, False, "disparity"),
        (ZOE, 32, False, "depth"),
    ],
    ids=str,
)
def test_stride_shape_and_output_are_read_off_the_configuration(network, stride, square, output):
    assert stride_of(network) == stride
    assert takes_squares_only(network) is square
    assert output_of(network) == output


def test_a_dpt_that_does_not_say_whether_it_gives_metres_is_not_taken_for_disparity():
    with pytest.raises(ConfigError, match="DPT on DINOv2 does not say whether it gives metres or disparity"):
        family_of({"model_type": "dpt", "backbone_config": {"model_type": "dinov2", "patch_size": 14}})


def test_the_farthest_depth_is_the_heads_or_what_is_said_otherwise():
    assert farthest_m({**ANY, "max_depth": 80}) == 80.0
    assert farthest_m(ANY, 33.0) == 33.0
    assert farthest_m({**ZOE, "bin_configurations": [{"max_depth": 10.0}, {"max_depth": 80.0}]}) == 80.0
    assert farthest_m(ZOE) == 10.0


def test_the_text_of_a_shape_leaves_out_what_is_none_of_it():
    values = {"b": 1, "a": {"dtype": "float16", "depth": 2, "nothing": None}, "architectures": ["X"], "list": [1, 2]}
    assert json.loads(shape_text(values)) == {"a": {"depth": 2}, "b": 1, "list": [1, 2]}
    assert shape_text(values).index('"a"') < shape_text(values).index('"b"')
