# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import copy
import math

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from depthclip_ros.core.errors import ConfigError, WeightsError
from depthclip_ros.core.model.registry import build_model, preset
from depthclip_ros.core.weights.find import read_info
from depthclip_ros.core.weights.load import load_weights
from depthclip_ros.core.weights.weights_file import save_weights

SMALL = {
    "tap_layers": (0, 1, 2, 3),
    "decoder_width": 16,
    "decoder_heads": 2,
    "deconvolutions": (16, 12, 8),
    "input_pixels": 64 * 64,
    "mirror_tokens": 6,
}


@pytest.fixture(scope="session")
def checkpoint(tiny_clip, tmp_path_factory):
    """A checkpoint of the small CLIP, as open_clip saves one."""
    torch.manual_seed(4)
    clip = open_clip.CLIP(**open_clip.get_model_config(tiny_clip))
    path = tmp_path_factory.mktemp("clip") / "open_clip_model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in clip.state_dict().items()}, path)
    return path


@pytest.fixture
def make(tiny_clip, checkpoint):
    def build(**overrides):
        fields = {**SMALL, "tower": tiny_clip, "base_weights": str(checkpoint), **overrides}
        return build_model(preset("clip2depth-vitb16", **fields))

    return build


def test_shapes_ranges_and_where_it_starts(make):
    model = make().eval()
    assert model.bin_centres is None
    assert model.config.canonical_focal_px == 300.0
    with torch.no_grad():
        for height, width in ((64, 64), (48, 80)):
            prediction = model(torch.randn(2, 3, height, width) * 3)
            assert prediction.depth.shape == prediction.confidence.shape == (2, height // 2, width // 2)
            assert prediction.bin_logits is None
            assert ((prediction.depth > 0.045) & (prediction.depth < 30)).all()
            assert ((prediction.confidence > 0) & (prediction.confidence < 1)).all()
            assert prediction.depth.median() == pytest.approx(3.5, rel=0.1)
            assert prediction.confidence.median() == pytest.approx(0.5, abs=0.1)


def test_confidence_is_a_spread_against_the_calibrated_scale(make):
    model = make().eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        spread = (1 / model(images).confidence - 1).sqrt() * 0.25
        model.confidence_scale.fill_(0.1)
        torch.testing.assert_close(model(images).confidence, 1 / (1 + (spread / 0.1) ** 2))


def test_the_mirrors_gradient_reaches_the_mirror_and_nothing_else_of_clip(make):
    model = make().train()
    prediction = model(torch.randn(2, 3, 64, 64))
    (prediction.depth.log().mean() + prediction.confidence.mean()).backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert "mirror" in reached
    assert (model.mirror.grad.abs().amax(1) > 0).all()  # every one of its vectors
    assert not any(name.startswith(("tower.", "text.")) for name, p in model.named_parameters() if p.grad is not None)
    assert reached == {name for name, p in model.named_parameters() if p.requires_grad}
    assert model.trainable_names() == reached | {"confidence_scale"}


@torch.no_grad()
def test_real_words_in_the_mirror_give_the_embedding_of_their_text(make, tiny_clip, checkpoint):
    clip = open_clip.create_model(tiny_clip, pretrained=str(checkpoint)).eval()
    tokens = open_clip.get_tokenizer(tiny_clip)(["a photo of a long hallway"])
    end = int(tokens.argmax())
    model = make(mirror_tokens=end - 1).eval()
    model.mirror.copy_(clip.token_embedding(tokens)[0, 1:end])
    expected = torch.nn.functional.normalize(clip.encode_text(tokens), dim=-1)[0] * math.sqrt(32)
    torch.testing.assert_close(model.read_text(), expected)


@torch.no_grad()
def test_the_cached_text_vector_is_the_uncached_one_and_read_once(make):
    model = make().eval()
    images = torch.randn(2, 3, 64, 64)
    expected, vector = model(images), model.read_text()
    other = copy.deepcopy(model)
    other.mirror.mul_(-3)
    assert not torch.allclose(other(images).depth, expected.depth)  # the vector matters

    reads = []
    model.text.register_forward_hook(lambda *_: reads.append(1))
    model.prepare_inference()
    assert torch.equal(model.text_vector, vector)
    assert model.text is None
    for _ in range(3):
        assert torch.equal(model(images).depth, expected.depth)
    assert len(reads) == 1
    assert torch.equal(model.prepare_inference()(images).depth, expected.depth)
    half = model.to(torch.bfloat16)
    torch.testing.assert_close(half(images.bfloat16()).depth, expected.depth, rtol=0.05, atol=0.02)


@torch.no_grad()
def test_batch_equals_single(make):
    model = make().eval()
    images = torch.randn(3, 3, 64, 48)
    together = model(images)
    for index in range(3):
        alone = model(images[index : index + 1])
        torch.testing.assert_close(alone.depth[0], together.depth[index])
        torch.testing.assert_close(alone.confidence[0], together.confidence[index])


@pytest.mark.parametrize("adapter_only", [False, True])
def test_a_weights_file_rebuilds_it(make, tmp_path, adapter_only):
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameter_groups()["adapters"]:
            parameter.add_(0.05 * torch.randn_like(parameter))
    path = tmp_path / "rooms.safetensors"
    save_weights(path, model, training={}, metrics={}, adapter_only=adapter_only, dtype="float32")
    again = load_weights(path).model
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(images).depth, model(images).depth)
    assert again.trained_groups == ("adapters",)
    assert read_info(path).parameters_trained < 0.1 * read_info(path).parameters_total


def test_adapters_refuse_another_base(make, tiny_clip, tmp_path):
    path, other = tmp_path / "rooms.safetensors", tmp_path / "other.safetensors"
    save_weights(path, make(), training={}, metrics={}, adapter_only=True)
    clip = open_clip.CLIP(**open_clip.get_model_config(tiny_clip))
    save_file({name: tensor.contiguous() for name, tensor in clip.state_dict().items()}, other)
    with pytest.raises(WeightsError, match="load it with its own base"):
        load_weights(path, base=other)


def test_on_vit_b16_what_is_trained_is_small():
    with torch.device("meta"):  # shapes only
        model = build_model(preset("clip2depth-vitb16"), load_base=False)
    assert model.mirror.shape == (64, 512)
    assert sum(p.numel() for group in model.parameter_groups().values() for p in group) < 1e6
    assert not preset("clip2depth-vitb16").ready_made


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mirror_tokens", 0),
        ("tap_layers", (3, 1)),
        ("decoder_heads", 3),
        ("deconvolutions", ()),
        ("depth_low", 40.0),
        ("prior_depth", 40.0),
    ],
)
def test_configuration_repeats_the_bad_value(name, value):
    with pytest.raises(ConfigError, match=name):
        preset("clip2depth-vitb16", **{name: value})


def test_what_clip_does_not_have_is_refused(make):
    with pytest.raises(ConfigError, match="mirror_tokens is 76; allowed: at most 75"):
        make(mirror_tokens=76)
    with pytest.raises(ConfigError, match="tap_layers"):
        make(tap_layers=(1, 9))
