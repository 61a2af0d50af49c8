# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import MobileNetV2

from depthclip_ros.core.errors import WeightsError
from depthclip_ros.core.model.registry import build_model, preset
from depthclip_ros.core.model.towers.mobile_encoder import (
    ENCODERS,
    InvertedResidual,
    ScaledConv,
    encoder_blocks,
    load_encoder,
)

MOBILENET = ENCODERS["mobilenet-v2"]


@pytest.fixture(scope="module")
def reference():
    """torchvision's own blocks, with the biases of folded normalisations, and the file that says the same."""
    torch.manual_seed(0)
    blocks = MobileNetV2().features[: MOBILENET.levels[-1][2]].eval()
    tensors = {}
    convolutions = [m for m in blocks.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in blocks.modules() if isinstance(m, nn.BatchNorm2d)]
    for i, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
        norm.bias.data.normal_(0, 0.1)
        norm.eps = 0.0
        convolution.weight.data *= torch.rand(len(convolution.weight), 1, 1, 1) + 0.2
        tensors[f"{i}.weight"], tensors[f"{i}.bias"] = convolution.weight.data.clone(), norm.bias.data.clone()
    return blocks, tensors


def test_blocks_equal_torchvision_where_both_paddings_agree(reference, tmp_path):
    blocks, tensors = reference
    save_file(tensors, tmp_path / "encoder.safetensors")
    ours = encoder_blocks(MOBILENET)
    load_encoder(ours, tmp_path / "encoder.safetensors")
    image = torch.randn(1, 3, 65, 97)  # odd at every level: TensorFlow then pads both sides by one, as torch does
    with torch.no_grad():
        torch.testing.assert_close(ours(image), blocks(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "channels", "repeats"),
    [
        ("efficientnet-lite0", [16, 24, 40, 80, 112, 192, 320], [1, 2, 2, 3, 3, 4, 1]),
        ("efficientnet-lite1", [16, 24, 40, 80, 112, 192, 320], [1, 3, 3, 4, 4, 5, 1]),
        ("efficientnet-lite2", [16, 24, 48, 88, 120, 208, 352], [1, 3, 3, 4, 4, 5, 1]),
    ],
)
def test_efficientnets_have_the_rows_that_were_published(name, channels, repeats):
    """EfficientNet-B0's by 1, 1, 1.1 in width (in eights) and 1, 1.1, 1.2 in depth; the first and last are as deep."""
    rows = ENCODERS[name].rows
    assert [row[1] for row in rows] == channels
    assert [row[2] for row in rows] == repeats


@pytest.mark.parametrize("size", [4, 5])
def test_stride_two_pads_as_tensorflow_does(size):
    convolution = ScaledConv(1, 1, kernel=3, stride=2, groups=1)
    convolution.set_folded(torch.ones(1, 1, 3, 3), torch.zeros(1))
    x = torch.arange(size, dtype=torch.float32).expand(1, 1, size, size)
    columns = convolution(x)[0, 0, 1] / 3  # sums over three columns, times three rows that are inside
    expected = {4: [0 + 1 + 2, 2 + 3], 5: [0 + 1, 1 + 2 + 3, 3 + 4]}[size]
    rows_inside = {4: 2, 5: 3}[size]
    torch.testing.assert_close(columns * 3 / rows_inside, torch.tensor(expected, dtype=torch.float32))


def test_stride_two_pads_each_side_by_its_own_length():
    convolution = ScaledConv(1, 1, kernel=3, stride=2, groups=1)
    convolution.set_folded(torch.ones(1, 1, 3, 3), torch.zeros(1))
    ones = convolution(torch.ones(1, 1, 4, 5))[0, 0]  # how many pixels each place sees: rows 3, 2; columns 2, 3, 2
    torch.testing.assert_close(ones, torch.tensor([[6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]))


def test_gain_keeps_direction_and_size_apart():
    convolution = ScaledConv(8, 4, kernel=1, stride=1, groups=1)
    weight = torch.randn(4, 8, 1, 1) * torch.tensor([0.01, 1.0, 10.0, 100.0])[:, None, None, None]
    convolution.set_folded(weight, torch.zeros(4))
    torch.testing.assert_close(convolution.weight.flatten(1).norm(dim=1), torch.full((4,), 2**0.5))
    torch.testing.assert_close(convolution.weight * convolution.gain[:, None, None, None], weight)


def test_another_file_is_refused(reference, tmp_path):
    _, tensors = reference
    with pytest.raises(WeightsError, match="convert-encoder"):
        load_encoder(encoder_blocks(MOBILENET), tmp_path / "none.safetensors")
    save_file({**tensors, "0.weight": torch.zeros(8, 3, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"'0\.weight' has shape"):
        load_encoder(encoder_blocks(MOBILENET), tmp_path / "other.safetensors")


def test_teacher_starts_from_the_encoder_and_leaves_its_first_levels_alone(reference, tmp_path):
    _, tensors = reference
    path = tmp_path / "encoder.safetensors"
    save_file(tensors, path)
    model = build_model(preset("teacher-mobilenet", base_weights=str(path)))
    first = next(m for m in model.tower.stem.modules() if isinstance(m, ScaledConv))
    torch.testing.assert_close(first.weight * first.gain[:, None, None, None], tensors["0.weight"])
    prediction = model(torch.randn(2, 3, 64, 96))
    assert prediction.depth.shape == (2, 32, 48)
    prediction.depth.log().mean().backward()
    trained = [p.grad is not None for p in model.tower.stem.parameters()]
    frozen = sum(1 for level in model.tower.stem[:2] for _ in level.parameters())
    assert not any(trained[:frozen])
    assert all(trained[frozen:])


# Of the whole networks with their head of 1280 channels and 1000 classes, as torchvision and TensorFlow publish them.
PARAMETERS = {
    "mobilenet-v2": 3_504_872,
    "efficientnet-lite0": 4_652_008,
    "efficientnet-lite1": 5_416_680,
    "efficientnet-lite2": 6_092_072,
}


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_have_the_parameters_of_the_published_networks(name):
    """A folded normalisation has a gain and a bias for each channel, as it had before."""
    encoder = ENCODERS[name]
    blocks = encoder_blocks(encoder)
    last = encoder.levels[-1][0]
    head = last * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert sum(p.numel() for p in blocks.parameters()) + head == PARAMETERS[name]
    assert sum(isinstance(m, ScaledConv) for m in blocks.modules()) == encoder.convolutions


@pytest.mark.parametrize("name", ENCODERS)
def test_each_level_has_half_the_size_of_the_one_before(name):
    encoder = ENCODERS[name]
    x = torch.rand(1, 3, 64, 96)
    blocks = encoder_blocks(encoder).eval()
    assert encoder.levels[0][1] == 0
    assert encoder.levels[-1][2] == len(blocks)
    with torch.no_grad():
        for level, (channels, start, end) in enumerate(encoder.levels, 1):
            x = blocks[start:end](x)
            assert x.shape == (1, channels, 64 >> level, 96 >> level)
    assert len(encoder.levels) == 5


def test_a_block_adds_its_input_where_it_keeps_size_and_channels():
    same, wider, smaller = (InvertedResidual(8, outputs, 6, stride, 3) for outputs, stride in ((8, 1), (12, 1), (8, 2)))
    x = torch.rand(1, 8, 6, 6)
    for block in (same, wider, smaller):
        for parameter in block.parameters():
            nn.init.zeros_(parameter)
    torch.testing.assert_close(same(x), x)
    assert not wider(x).any()
    assert not smaller(x).any()


def test_pictures_are_normalised_as_the_published_networks_take_them():
    """TensorFlow: (x - 127) / 128 of bytes for EfficientNet-Lite, -1 to 1 for MobileNetV2."""
    for name, encoder in ENCODERS.items():
        mean, std = (127 / 255, 128 / 255) if name.startswith("efficientnet") else (0.5, 0.5)
        assert (encoder.image_mean, encoder.image_std) == (mean, std)
