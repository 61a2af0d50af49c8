# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import copy

import pytest
import torch

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.registry import build_model, preset


@pytest.fixture(params=["paper-vitb32", "dense-vitb16", "nano"])
def model(request, clip_config, nano_config):
    config = nano_config() if request.param == "nano" else clip_config(request.param)
    return build_model(config)


def wake(model):
    """Give a value to what starts at zero, as a few training steps do."""
    for parameter in model.parameters():
        if parameter.abs().max() == 0:
            torch.nn.init.normal_(parameter, std=0.1)


def test_predicts_at_any_size(model):
    model.eval()
    finest = model.stride >> (len(model.config.decoder_channels) - 1)
    for height, width in ((64, 64), (48, 80)):
        prediction = model(torch.randn(2, 3, height, width))
        assert prediction.depth.shape == prediction.confidence.shape == (2, height // finest, width // finest)
        assert prediction.bin_logits.shape == (2, 128, height // 4, width // 4)
        assert prediction.depth.dtype == prediction.confidence.dtype == torch.float32
        assert (prediction.depth > 0).all()


def test_entering_gives_all_that_transformer_and_decoder_see_of_the_stem(nano_config):
    model, images, seen = build_model(nano_config()).eval(), torch.randn(1, 3, 64, 96), []
    for joint in model.joints():
        joint.register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.no_grad():
        model(images)
        of_the_whole = [*seen]
        entered = model.enter(images)
    assert len(entered) == len(model.joints()) > 2
    for one, other in zip(entered, of_the_whole, strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_reach_exactly_what_is_trained(model):
    wake(model)
    model.train()
    prediction = model(torch.randn(2, 3, 64, 64))
    loss = prediction.depth.log().square().mean() + prediction.bin_logits.square().mean() + prediction.regression.mean()
    loss.backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    # adding one vector to all keys changes no attention, so a key's bias has no gradient of its own; the whole bias has
    assert reached == trained
    if model.config.tower != "hybrid":
        assert any("resblocks.3" in name for name in trained)
        assert not any("resblocks.2" in name or "conv1" in name for name in trained)


def test_image_changes_the_context_of_the_dense_preset_only(clip_config):
    dense = build_model(clip_config("dense-vitb16", scenes=("kitchen", "street", "office"))).eval()
    assert dense.scene_labels == ("kitchen", "street", "office")
    weights = dense(torch.randn(4, 3, 64, 64) * 3).scene_weights
    torch.testing.assert_close(weights.sum(1), torch.ones(4))
    assert (weights[0] - weights[1]).abs().max() > 0
    paper = build_model(clip_config("paper-vitb32")).eval()
    assert paper.scene_labels == ()
    assert paper(torch.randn(1, 3, 64, 64)).scene_weights is None


def test_nano_has_no_scene_names(nano_config):
    model = build_model(nano_config()).eval()
    assert model.scene_labels == ()
    assert model(torch.randn(1, 3, 48, 64)).scene_weights is None


def test_units(clip_config, nano_config):
    assert clip_config("paper-vitb32").canonical_focal_px is None
    assert clip_config("dense-vitb16").canonical_focal_px == nano_config().canonical_focal_px == 300.0


def test_prepared_for_inference_it_predicts_the_same(model):
    wake(model)
    model.train()
    for _ in range(3):  # statistics that differ from the start
        model(torch.randn(4, 3, 64, 64))
    model.eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(images)
        prepared = copy.deepcopy(model).prepare_inference()
        found = prepared(images)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in prepared.modules())
    torch.testing.assert_close(found.depth, expected.depth, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.confidence, expected.confidence, rtol=1e-2, atol=1e-3)


def test_runs_in_bfloat16(model):
    model.eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(images).depth
        with torch.autocast("cpu", torch.bfloat16):
            autocast = model(images).depth
        cast = model.to(torch.bfloat16)(images.bfloat16()).depth
    torch.testing.assert_close(autocast, expected, rtol=0.05, atol=0.02)
    torch.testing.assert_close(cast, expected, rtol=0.05, atol=0.02)


def test_without_its_base_it_has_the_same_tensors(clip_config):
    config = clip_config("dense-vitb16")
    full, empty = build_model(config), build_model(config, load_base=False)
    empty.load_state_dict(full.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(empty.eval()(images).depth, full.eval()(images).depth)


def test_learns_eight_images(nano_config):
    model = build_model(nano_config()).train()
    ln_depth = 1.2 + torch.nn.functional.interpolate(torch.randn(8, 1, 3, 4) / 2, size=(48, 64), mode="bicubic")
    images = torch.cat([ln_depth - 1.2, torch.sin(4 * ln_depth), torch.randn_like(ln_depth)], 1)
    target = torch.nn.functional.interpolate(ln_depth, size=(24, 32), mode="area")[:, 0]
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        with torch.autocast("cpu", torch.bfloat16):
            prediction = model(images)
        loss = (prediction.depth.log() - target).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) / 3 < 0.5 * losses[0]


def test_nano_is_small():
    model = build_model(preset("nano"))
    assert 5.5e6 < sum(parameter.numel() for parameter in model.parameters()) < 6.5e6


def test_mixtures_of_adapters_have_the_published_size():
    with torch.device("meta"):  # shapes only
        model = build_model(preset("dense-vitb16", base_weights=None), load_base=False)
    assert sum(p.numel() for p in model.adapters.parameters()) == 4 * 495_492


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"tap_layers": (0, 1)}, "ends with the tower's last block, 2"),
        ({"adapter_layers": (9,)}, "adapter_layers"),
        ({"decoder_channels": (16, 16)}, "as many stages as lead from stride 16 to 4 or 2"),
    ],
)
def test_what_does_not_fit_the_tower_is_refused(nano_config, overrides, message):
    with pytest.raises(ConfigError, match=message):
        build_model(nano_config(**overrides))


@pytest.mark.parametrize("name", ["paper-vitb32", "dense-vitb16"])
def test_adapters_of_a_clip_base_tower_fit_ten_megabytes(name):
    with torch.device("meta"):  # shapes only
        model = build_model(preset(name, base_weights=None), load_base=False)
    model.select_trained(["adapters"])
    names = model.trainable_names()
    # As `weights.save_weights` stores them: matrices and kernels in float16, vectors in float32.
    size = sum(t.numel() * (2 if t.ndim > 1 else 4) for n, t in model.state_dict().items() if n in names)
    assert 2_000_000 < size < 10_000_000
