# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import dataclasses
import json
import sys

import pytest
import torch

from depthclip_ros.core.errors import ConfigError, WeightsError
from depthclip_ros.core.model.contract import ADAPTERS, LAST_BLOCKS, TOWER
from depthclip_ros.core.model.depth_anything import UNUSED
from depthclip_ros.core.model.depth_anything_config import config_of_folder
from depthclip_ros.core.model.registry import PRESETS, build_model, preset
from depthclip_ros.core.weights.load import load_weights
from depthclip_ros.core.weights.weights_file import save_weights

transformers = pytest.importorskip("transformers", reason="needs the extra `transformers`")

IMAGES = (2, 3, 42, 56)
RELATIVE = {"depth_estimation_type": "relative"}
METRIC = {"depth_estimation_type": "metric", "max_depth": 20}
V1 = {"backbone_config": {"model_type": "dinov2", "hidden_size": 32, "num_hidden_layers": 6, "num_attention_heads": 2}}
V1["backbone_config"].update(image_size=70, patch_size=14, reshape_hidden_states=False, out_indices=[3, 4, 5, 6])
DPT = {"model_type": "dpt", "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}
DPT.update(intermediate_size=64, image_size=96, patch_size=16, backbone_out_indices=[0, 1, 2, 3])
DPT.update(neck_hidden_sizes=[8, 12, 16, 24], fusion_hidden_size=16)
ZOE = {"model_type": "zoedepth", "neck_hidden_sizes": [8, 12, 16, 24], "fusion_hidden_size": 16}
ZOE.update(bottleneck_features=16, num_relative_features=8, bin_embedding_dim=8, num_attractors=[4, 2, 2, 1])
ZOE["bin_configurations"] = [{"n_bins": 8, "min_depth": 0.001, "max_depth": 8.0, "name": "nyu"}]
ZOE["backbone_config"] = {"model_type": "beit", "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}
ZOE["backbone_config"].update(intermediate_size=64, image_size=96, patch_size=16, out_indices=[1, 2, 3, 4])
ZOE["backbone_config"].update(use_relative_position_bias=True, reshape_hidden_states=False)


@pytest.fixture
def model_of(make_transformers_folder):
    """A model from a folder, in evaluation mode, and the library's own on the same folder."""

    def make(**settings):
        folder = make_transformers_folder(**settings)
        theirs = transformers.AutoModelForDepthEstimation.from_pretrained(folder, dtype=torch.float32)
        return build_model(config_of_folder(folder, str(folder))).eval(), theirs.eval()

    return make


@pytest.mark.parametrize("settings", [RELATIVE, METRIC, {**RELATIVE, **V1}, {**METRIC, **V1}, DPT, ZOE])
@torch.no_grad()
def test_depth_is_what_the_library_says(model_of, settings):
    ours, theirs = model_of(**settings)
    images = torch.randn(2, 3, 64, 64) if "model_type" in settings else torch.randn(IMAGES)
    output = theirs(pixel_values=images).predicted_depth
    metric = settings is ZOE or settings.get("depth_estimation_type") == "metric"
    assert ours.config.metric is metric
    expected = output if metric else 1 / output.clamp_min(1e-3)
    prediction = ours(images)
    assert prediction.depth.shape == images.shape[:1] + images.shape[2:]
    torch.testing.assert_close(prediction.depth, expected.clamp_min(1e-3))
    assert prediction.depth.std() > 1e-4 * prediction.depth.mean()
    assert 0 < prediction.confidence.min() <= prediction.confidence.max() <= 1


def test_a_folder_says_the_range_the_size_and_the_normalisation(make_transformers_folder):
    processor = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "size": {"height": 84, "width": 84}}
    config = config_of_folder(make_transformers_folder(processor, **METRIC), "here")
    assert (config.max_depth_m, config.metric, config.canonical_focal_px) == (20.0, True, None)
    assert (config.image_mean, config.image_std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    model = build_model(dataclasses.replace(config, base_weights=None))
    assert model.image_mean == (0.1, 0.2, 0.3)
    assert model.network_size(640, 480) == (112, 84)  # the shorter side has 84 pixels, both are multiples of 14
    assert model.network_size(848, 480)[0] % 14 == 0
    without = config_of_folder(make_transformers_folder(), "here")
    assert without.image_mean == pytest.approx((0.485, 0.456, 0.406))
    assert config_of_folder(make_transformers_folder(**ZOE), "here").max_depth_m == 8.0


def test_dpt_sees_squares_in_multiples_of_two_patches(make_transformers_folder):
    config = config_of_folder(make_transformers_folder({"size": 96}, **DPT), "here")
    width, height = build_model(dataclasses.replace(config, base_weights=None)).network_size(640, 480)
    assert width == height
    assert width % 32 == 0


@torch.no_grad()
def test_a_batch_equals_its_images(model_of):
    model, _ = model_of(**RELATIVE)
    images = torch.randn(3, *IMAGES[1:])
    together = model(images)
    for i, image in enumerate(images):
        alone = model(image[None])
        torch.testing.assert_close(1 / together.depth[i], 1 / alone.depth[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.confidence[i], alone.confidence[0], rtol=0, atol=0.01)


@torch.no_grad()
def test_fitted_disparity_becomes_depth(model_of):
    model, theirs = model_of(**RELATIVE)
    values = {"metric": True, "canonical_focal_px": 300.0, "disparity_scale": 0.5, "disparity_shift": 0.05}
    fitted = build_model(dataclasses.replace(model.config, base_weights=None, **values), load_base=False)
    fitted.load_state_dict(model.state_dict())
    images = torch.randn(IMAGES)
    disparity = theirs(pixel_values=images).predicted_depth
    torch.testing.assert_close(fitted.eval()(images).depth, 1 / (0.5 * disparity + 0.05))
    farther = dataclasses.replace(fitted.config, disparity_shift=-100.0)
    fitted.config = farther
    assert (fitted(images).depth == 40.0).all()  # disparity below zero: beyond max_depth_m, and finite


def test_confidence_is_low_on_steps(model_of):
    model, _ = model_of(**RELATIVE)
    depth = torch.full((1, 20, 30), 2.0)
    depth[:, :, 15:] = 4.0

    class Step(torch.nn.Module):
        def forward(self, pixel_values):
            return transformers.modeling_outputs.DepthEstimatorOutput(predicted_depth=1 / depth)

    model.network = Step()
    confidence = model(torch.zeros(1, 3, 20, 30)).confidence[0]
    step = 1 / (1 + (torch.tensor(2.0).log() / 2 / 0.25) ** 2)
    torch.testing.assert_close(confidence[:, 14:16], step.expand(20, 2))
    assert (confidence[:, :14] == 1).all()
    assert (confidence[:, 16:] == 1).all()


@pytest.mark.parametrize(
    ("changed", "trained"),
    [({}, {ADAPTERS, LAST_BLOCKS, TOWER}), ({"train_tower": False, "last_blocks": 1}, {ADAPTERS, LAST_BLOCKS})],
)
def test_gradients_only_where_training_is_meant(make_transformers_folder, changed, trained):
    config = config_of_folder(make_transformers_folder(), "here")
    model = build_model(dataclasses.replace(config, base_weights=None, **changed)).train()
    groups = model.all_groups()
    assert sum(len(group) for group in groups.values()) == len(list(model.parameters()))
    assert set(model.parameter_groups()) == trained
    model(torch.randn(IMAGES)).depth.sum().backward()
    for name, group in groups.items():
        for parameter in group:
            assert (parameter.grad is not None) == (name in trained)
    blocks = [name for name, p in model.named_parameters() if "layer.3." in name and p.requires_grad]
    assert blocks
    assert bool([n for n, p in model.named_parameters() if "layer.0." in n and p.requires_grad]) == (TOWER in trained)
    assert not any(parameter.requires_grad for parameter in groups[UNUSED])


@torch.no_grad()
def test_half_precision(model_of):
    model, _ = model_of(**RELATIVE)
    images = torch.randn(IMAGES)
    full = model(images).depth
    half = model.to(torch.bfloat16)(images.to(torch.bfloat16))
    assert half.depth.dtype == half.confidence.dtype == torch.float32
    assert ((half.depth - full).abs() / full).median() < 0.02


def test_weights_survive_a_file(model_of, tmp_path):
    model, _ = model_of(**METRIC)
    path = tmp_path / "metric.safetensors"
    save_weights(path, model, training={}, metrics={}, dtype="float32")
    loaded = load_weights(path)
    assert loaded.info.system == "depth_anything"
    assert loaded.model.config == model.config
    images = torch.randn(IMAGES)
    assert torch.equal(loaded.model(images).depth, model(images).depth)


def test_adapters_alone_go_back_on_their_folder(model_of, tmp_path):
    model, _ = model_of(**RELATIVE)
    model.select_trained([ADAPTERS])
    with torch.no_grad():
        model.network.head.conv3.bias.add_(1.0)
    path = tmp_path / "adapters.safetensors"
    save_weights(path, model, training={}, metrics={}, adapter_only=True, dtype="float32")
    loaded = load_weights(path)
    assert loaded.info.adapter_only
    images = torch.randn(IMAGES)
    assert torch.equal(loaded.model(images).depth, model(images).depth)


@pytest.mark.parametrize("name", ["depth-anything-tiny", "depth-anything-tiny-metric"])
def test_the_tiny_presets_start_alive(name):
    config = preset(name, input_pixels=56 * 70)
    model = build_model(config)
    assert 4e6 < sum(p.numel() for p in model.parameters()) < 6e6
    start = 3.5 if config.metric else 1.0
    depth = model(torch.randn(1, 3, 56, 70)).depth.detach()
    assert depth.median().item() == pytest.approx(start, rel=0.5)
    assert 1e-3 < depth.std().item() / start < 0.5  # the picture shows at the output


def test_the_published_shapes_have_the_published_sizes():
    """24.8, 97.5 and 335.3 million: the sizes that arXiv 2406.09414 and its repository print."""
    for size, millions in (("small", 24.8), ("base", 97.5), ("large", 335.3)):
        with torch.device("meta"):
            network = transformers.AutoModelForDepthEstimation.from_config(
                transformers.AutoConfig.for_model(**json.loads(PRESETS[f"depth-anything-v2-{size}"].network))
            )
        assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"network": "{"}, "as JSON"),
        ({"network": '{"model_type": "bert"}'}, "no network of depth"),
        ({"metric": True}, "metric is True; allowed: False"),
        ({"disparity_scale": 2.0}, "metric is False; allowed: True"),
        ({"disparity_scale": -1.0, "metric": True}, "disparity_scale"),
        ({"image_std": (0.0, 1.0, 1.0)}, "image_std"),
        ({"last_blocks": -1}, "last_blocks"),
    ],
)
def test_what_cannot_be_is_refused(changed, words):
    with pytest.raises(ConfigError, match=words):
        preset("depth-anything-tiny", **changed)


def test_a_network_may_be_written_as_a_mapping():
    config = PRESETS["depth-anything-tiny"]
    assert preset("depth-anything-tiny", network=json.loads(config.network)) == config


def test_a_base_of_another_shape_is_refused(make_transformers_folder):
    folder = make_transformers_folder()
    with pytest.raises(ConfigError, match="a network of this shape"):
        build_model(preset("depth-anything-tiny", base_weights=str(folder)))


def test_missing_tensors_are_named(make_transformers_folder):
    import safetensors.torch

    folder = make_transformers_folder()
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    del tensors["head.conv1.weight"]
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"head\.conv1\.weight"):
        build_model(config_of_folder(folder, str(folder)))


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install torch transformers "):
        build_model(preset("depth-anything-tiny"))
