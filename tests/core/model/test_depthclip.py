# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import copy
import json
import math

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.registry import build_model, preset
from depthclip_ros.core.weights.find import read_info
from depthclip_ros.core.weights.load import load_weights
from depthclip_ros.core.weights.weights_file import save_weights

TINY_RESNET = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
CLASSES = ("giant", "extremely close", "close", "not in distance", "a little remote", "far", "unseen")
BINS_M = (1.0, 1.5, 2.0, 2.25, 2.5, 2.75, 3.0)


def stir(clip):
    """Statistics and weights of a network that has learned something: random ones leave whole branches at zero."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in clip.visual.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                for tensor, low in ((module.weight, 0.5), (module.running_var, 0.5), (module.bias, -0.5)):
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) + low)
    return clip


@pytest.fixture(scope="session")
def tiny_resnet(tmp_path_factory):
    """Name of a small CLIP on a ResNet, a checkpoint of it, and that CLIP itself."""
    folder = tmp_path_factory.mktemp("open_clip")
    settings = folder / "depthclip-tiny-resnet.json"
    settings.write_text(json.dumps(TINY_RESNET))
    open_clip.add_model_config(settings)
    torch.manual_seed(3)
    clip = stir(open_clip.CLIP(**open_clip.get_model_config(settings.stem))).eval()
    checkpoint = folder / "clip.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in clip.state_dict().items()}, checkpoint)
    return settings.stem, str(checkpoint), clip


@pytest.fixture
def make(tiny_resnet):
    def build(name="depthclip-rn50", **overrides):
        tower, checkpoint, _ = tiny_resnet
        small = {"tower": tower, "base_weights": checkpoint, "input_pixels": 64 * 96, "temperature": 0.5}
        return build_model(preset(name, **{**small, **overrides})).eval()

    return build


def last_map(visual, images):
    x = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(images)))))
    return x.permute(0, 2, 3, 1)  # [B, h, w, C]


def by_definition(clip, name, images, *, projected, temperature=0.1, template="This object is {}"):
    """Depth [B, h, w] from the definitions, place by place."""
    sentences = [template.replace("{}", one) for one in CLASSES]
    texts = clip.encode_text(open_clip.get_tokenizer(name)(sentences))
    texts = texts / texts.norm(dim=1, keepdim=True)
    places = last_map(clip.visual, images)
    depth = torch.zeros(places.shape[:3])
    for b in range(len(places)):
        for row in range(places.shape[1]):
            for column in range(places.shape[2]):
                x = places[b, row, column]
                if projected:
                    pool = clip.visual.attnpool
                    x = pool.c_proj.weight @ (pool.v_proj.weight @ x + pool.v_proj.bias) + pool.c_proj.bias
                    x = x / x.square().sum().sqrt()
                else:
                    x = x / x.square().sum().sqrt()
                    x = x[:: len(x) // texts.shape[1]]
                scores = [100 * sum(x * text).item() / temperature for text in texts]
                largest = max(scores)
                weights = [math.exp(score - largest) for score in scores]
                depth[b, row, column] = sum(w * d for w, d in zip(weights, BINS_M, strict=True)) / sum(weights)
    return depth


@pytest.fixture(scope="session")
def rn50(tmp_path_factory):
    """CLIP's whole RN50 image tower on a narrow text tower, which takes a tenth of the time to make."""
    settings = open_clip.get_model_config("RN50-quickgelu")
    settings["text_cfg"].update(width=64, heads=1, layers=2)
    path = tmp_path_factory.mktemp("open_clip") / "depthclip-rn50-narrow-text.json"
    path.write_text(json.dumps(settings))
    open_clip.add_model_config(path)
    torch.manual_seed(11)
    return path.stem, open_clip.CLIP(**open_clip.get_model_config(path.stem)).eval()


@torch.no_grad()
def test_default_preset_is_what_the_definitions_say(rn50):
    tower, clip = rn50
    default = preset("depthclip-rn50")
    assert (default.tower, default.base_weights) == ("RN50-quickgelu", "openai")
    assert (default.classes, default.bins_m, default.ready_made) == (CLASSES, BINS_M, True)
    torch.manual_seed(11)  # the same random numbers
    model = build_model(preset("depthclip-rn50", tower=tower, base_weights=None)).eval()
    images = torch.randn(1, 3, 64, 96)
    expected = by_definition(clip, tower, images, projected=False)
    depth = model(images).depth
    assert depth.shape == (1, 2, 3)
    torch.testing.assert_close(depth, expected, rtol=1e-4, atol=0)
    assert model.network_size(640, 480) == (544, 416)  # the published grid of 17 x 13
    assert model.image_mean == (0.485, 0.456, 0.406)


@torch.no_grad()
@pytest.mark.parametrize(("projected", "temperature"), [(False, 0.5), (True, 5.0)])
def test_arithmetic_is_that_of_the_definitions(make, tiny_resnet, projected, temperature):
    tower, _, clip = tiny_resnet
    name = "depthclip-rn50-projected" if projected else "depthclip-rn50"
    model = make(name, template="how {} it is", temperature=temperature)
    images = torch.nn.functional.interpolate(5 * torch.randn(2, 3, 4, 6), scale_factor=16) + torch.randn(2, 3, 64, 96)
    prediction = model(images)
    expected = by_definition(clip, tower, images, projected=projected, temperature=temperature, template="how {} it is")
    torch.testing.assert_close(prediction.depth, expected, rtol=1e-4, atol=0)
    assert expected.std() > 1e-3  # the places differ
    probability = prediction.bin_logits.softmax(1)
    ln = torch.tensor(BINS_M).log()[:, None, None] - expected[:, None].log()
    spread = (probability * ln**2).sum(1)
    torch.testing.assert_close(prediction.confidence, 1 / (1 + spread / 0.25**2))


@torch.no_grad()
def test_projection_is_what_the_attention_pool_gives_for_one_position(tiny_resnet):
    from depthclip_ros.core.model.towers.clip_features import spatial_features

    visual = copy.deepcopy(tiny_resnet[2].visual)
    pool = visual.attnpool
    place = torch.randn(1, 256, 1, 1).expand(1, 256, 2, 2)  # the same everywhere: the pool sees one position only
    pool.positional_embedding.zero_()
    expected = torch.nn.functional.normalize(pool(place), dim=1)
    features = spatial_features(visual, projected=True)
    features.visual = torch.nn.Identity()
    torch.testing.assert_close(features(place)[:, :, 0, 0], expected)


@torch.no_grad()
def test_a_vision_transformer_lets_each_patch_look_at_itself(tiny_clip):
    torch.manual_seed(2)
    model = build_model(preset("depthclip-rn50-projected", tower=tiny_clip, base_weights=None)).eval()
    visual, images = model.features.tower.visual, torch.randn(1, 3, 64, 64)
    seen = []
    hook = visual.transformer.resblocks[2].register_forward_hook(lambda *args: seen.append(args[2]))
    visual(images)
    hook.remove()
    alone = torch.full((17, 17), -math.inf).fill_diagonal_(0.0)
    tokens = visual.ln_post(visual.transformer.resblocks[3](seen[0], attn_mask=alone))[:, 1:] @ visual.proj
    expected = torch.nn.functional.normalize(tokens, dim=-1).transpose(1, 2).unflatten(-1, (4, 4))
    torch.testing.assert_close(model.features(images), expected)
    assert model.stride == 16
    with pytest.raises(ConfigError, match="projected, with a vision transformer"):
        build_model(preset("depthclip-rn50", tower=tiny_clip, base_weights=None))


@torch.no_grad()
def test_shapes_ranges_batch_and_precision(make):
    model = make()
    images = torch.randn(3, 3, 96, 64)
    together = model(images)
    assert together.depth.shape == together.confidence.shape == (3, 3, 2)
    assert together.bin_logits.shape == (3, 7, 3, 2)
    assert ((together.depth > 1) & (together.depth < 3)).all()
    assert ((together.confidence > 0) & (together.confidence <= 1)).all()
    for index in range(3):
        torch.testing.assert_close(model(images[index : index + 1]).depth[0], together.depth[index])
    prepared = copy.deepcopy(model).prepare_inference()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in prepared.modules())
    torch.testing.assert_close(prepared(images).depth, together.depth, rtol=1e-4, atol=0)
    torch.testing.assert_close(prepared.prepare_inference()(images).depth, together.depth, rtol=1e-4, atol=0)
    half = copy.deepcopy(model).to(torch.bfloat16)
    assert half.classes.prompts.dtype == half.classes.log_steps.dtype == torch.float32
    torch.testing.assert_close(half(images.bfloat16()).depth, together.depth, rtol=0.05, atol=0)


def test_only_the_depths_of_the_classes_learn_and_they_stay_in_order(make):
    model = make().train()
    torch.testing.assert_close(model.bin_centres, torch.tensor(BINS_M))
    assert [p.numel() for p in model.parameter_groups()["adapters"]] == [7]
    optimiser = torch.optim.SGD(model.parameter_groups()["adapters"], lr=0.5)
    images = torch.randn(2, 3, 64, 96)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    losses = []
    for _ in range(15):
        loss = (model(images).depth.log() - math.log(5.0)).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"classes.log_steps"}
    assert losses[-1] < 0.5 * losses[0]
    assert (model.bin_centres.diff() > 0).all()
    with pytest.raises(ConfigError, match="ascending"):
        model.classes.set_centres(torch.tensor([1.0, 3.0, 2.0, 4.0, 5.0, 6.0, 7.0]))


@pytest.mark.parametrize("adapter_only", [False, True])
def test_a_weights_file_rebuilds_it(make, tmp_path, adapter_only):
    model = make()
    model.classes.set_centres(torch.tensor([0.5, 0.7, 1.0, 1.5, 2.5, 4.0, 9.0]))
    path = tmp_path / "rooms.safetensors"
    save_weights(path, model, training={}, metrics={}, adapter_only=adapter_only, dtype="float32")
    assert read_info(path).adapter_only == adapter_only
    assert not adapter_only or path.stat().st_size < 5000
    again = load_weights(path).model
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(again(images).depth, model(images).depth)
    assert again.bin_centres[-1] == pytest.approx(9.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("features", "pooled"),
        ("template", "a room"),
        ("classes", ("near", "far")),
        ("classes", ("near",) * 7),
        ("bins_m", (1.0, 2.0)),
        ("bins_m", (3.0, 1.5, 2.0, 2.25, 2.5, 2.75, 4.0)),
        ("bins_m", (1.0, 1.5, 2.0, 2.25, 2.5, 2.75, 80.0)),
        ("temperature", 0.0),
        ("logit_scale", math.nan),
    ],
)
def test_configuration_repeats_the_bad_value(name, value):
    with pytest.raises(ConfigError, match="bins_m" if name == "classes" and len(value) == 2 else name):
        preset("depthclip-rn50", **{name: value})
