# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import errno
import os

import cv2
import numpy as np
import onnx
import pytest
import timm
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save_file

from depthclip_ros.core.errors import InputError, WeightsError
from depthclip_ros.core.model.towers.dinov2_tower import Dinov2Tower, expected_tensors, load_dinov2
from depthclip_ros.core.model.towers.mobile_encoder import ENCODERS, encoder_blocks, load_encoder
from depthclip_trainer import encoders

SHOWER_CURTAIN = 794  # of ImageNet's 1000 classes
CONVOLUTIONS = ENCODERS["mobilenet-v2"].convolutions


@pytest.fixture
def quantised(shared_data):
    return shared_data / "encoders" / "mobilenet_v2_1.0_224_quant.tflite"


@pytest.fixture(scope="module")
def dinov2_state():
    """Random tensors under transformers' names."""
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(t.shape, generator=generator) * 0.05 for name, t in expected_tensors().items()}


def test_dequantised_encoder_still_classifies(quantised, shared_data, tmp_path):
    blocks, file = encoder_blocks(ENCODERS["mobilenet-v2"]), tmp_path / "encoder.safetensors"
    assert encoders.convert_encoder(quantised, file) == "mobilenet-v2"
    load_encoder(blocks, file)
    layers = [[torch.from_numpy(part) for part in pair] for pair in encoders._convolutions(quantised.read_bytes())]
    photograph = shared_data / "train/unlabelled/places_rooms/rgb/bathroom_00000009.jpg"
    image = cv2.resize(cv2.cvtColor(cv2.imread(str(photograph)), cv2.COLOR_BGR2RGB), (224, 224))
    x = torch.from_numpy(image.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.no_grad():
        features = F.relu6(F.conv2d(blocks(x), *layers[-2])).mean(dim=(2, 3), keepdim=True)
        scores = F.conv2d(features, *layers[-1]).flatten()
    assert int(scores.argmax()) - 1 == SHOWER_CURTAIN  # class 0 of the published network is "background"


def test_file_holds_every_convolution_in_order(quantised, tmp_path):
    encoders.convert_encoder(quantised, tmp_path / "deep" / "encoder.safetensors")
    tensors = load_file(tmp_path / "deep" / "encoder.safetensors")
    assert len(tensors) == 2 * CONVOLUTIONS
    assert tensors["1.weight"].shape == (32, 1, 3, 3)
    assert tensors[f"{CONVOLUTIONS - 1}.weight"].shape == (320, 960, 1, 1)


@pytest.mark.parametrize("lite", [0, 1, 2])
def test_efficientnet_lite_gives_timms_features(lite, tmp_path):
    torch.manual_seed(lite)
    network = timm.create_model(f"tf_efficientnet_lite{lite}").eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.bias.data.normal_(0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    torch.save(network.state_dict(), tmp_path / "lite.pth")
    name = encoders.convert_encoder(tmp_path / "lite.pth", tmp_path / "lite.safetensors")
    assert name == f"efficientnet-lite{lite}"
    ours = encoder_blocks(ENCODERS[name])
    load_encoder(ours, tmp_path / "lite.safetensors")
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        wanted = network.blocks(network.bn1(network.conv_stem(image)))
        torch.testing.assert_close(ours(image), wanted, rtol=1e-3, atol=1e-4)


def test_dinov2_of_timm_and_of_transformers_are_the_same_tower(dinov2_state, tmp_path):
    """timm's own network, filled through our renaming backwards, gives what the tower gives with patches of 14."""
    theirs = timm.create_model("vit_small_patch14_dinov2", img_size=518, dynamic_img_size=True).eval()
    torch.save(theirs.state_dict(), tmp_path / "timm.pth")
    assert encoders.convert_encoder(tmp_path / "timm.pth", tmp_path / "timm.safetensors") == "dinov2-vits14"
    tower = Dinov2Tower().eval()
    load_dinov2(tower, tmp_path / "timm.safetensors")
    smooth = F.interpolate(torch.randn(1, 3, 8, 8), size=(112, 112), mode="bilinear")
    with torch.no_grad():
        wanted = theirs.get_intermediate_layers(smooth, n=[8], reshape=True, norm=False)[0]
        enlarged = F.interpolate(smooth, size=(128, 128), mode="bilinear")
        found = tower(enlarged, {}, (8,)).taps[0]
    assert F.cosine_similarity(found, wanted, dim=1).min() > 0.98
    save_file(dinov2_state, tmp_path / "transformers.safetensors")
    again = encoders.convert_encoder(tmp_path / "transformers.safetensors", tmp_path / "again.safetensors")
    assert again == "dinov2-vits14"
    assert load_file(tmp_path / "again.safetensors").keys() == dinov2_state.keys()


def test_a_file_is_converted_in_its_own_place_in_one_step(dinov2_state, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "no space left")

    file = tmp_path / "encoder.safetensors"
    save_file({name: tensor.half() for name, tensor in dinov2_state.items()}, file)
    old = file.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(WeightsError, match=r"could not write .*no space left"):
            encoders.convert_encoder(file, file)
    assert (file.read_bytes(), list(tmp_path.iterdir())) == (old, [file])
    save_file(dinov2_state, file)
    assert encoders.convert_encoder(file, file) == "dinov2-vits14"
    found = load_file(file)
    assert all(torch.equal(found[name], tensor) for name, tensor in dinov2_state.items())
    assert list(tmp_path.iterdir()) == [file]


def test_an_onnx_export_gives_its_tensors_back(dinov2_state, tmp_path):
    """Laid out as torch exports it: matrices transposed and nameless, positions cut in two."""
    constants, nodes = {}, []
    for name, tensor in dinov2_state.items():
        if name == "embeddings.position_embeddings":
            constants["onnx::Concat_1"], constants["onnx::Reshape_2"] = tensor[:, :1], tensor[:, 1:]
        elif name.endswith(".weight") and tensor.ndim == 2:
            matrix = f"onnx::MatMul_{len(nodes)}"
            constants[matrix] = tensor.T
            bias = f"backbone.{name.removesuffix('weight')}bias"
            nodes.append(helper.make_node("MatMul", ["x", matrix], [f"product_{matrix}"]))
            nodes.append(helper.make_node("Add", [bias, f"product_{matrix}"], [f"sum_{matrix}"]))
        else:
            constants[f"backbone.{name}"] = tensor
    initializers = [numpy_helper.from_array(t.contiguous().numpy(), name) for name, t in constants.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 384])
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [], initializers)), tmp_path / "network.onnx")
    assert encoders.convert_encoder(tmp_path / "network.onnx", tmp_path / "out.safetensors") == "dinov2-vits14"
    found = load_file(tmp_path / "out.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in dinov2_state.items())


def test_what_is_no_encoder_is_refused(dinov2_state, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match="no such file"):
        encoders.convert_encoder(tmp_path / "none.tflite", out)
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(InputError, match="no format that is read here"):
        encoders.convert_encoder(tmp_path / "weights.bin", out)
    for suffix, message in (
        (".tflite", "no TensorFlow Lite model"),
        (".onnx", "truncated"),
        (".pth", "no plain state"),
    ):
        (tmp_path / f"other{suffix}").write_bytes(b"not a model at all")
        with pytest.raises(InputError, match=message):
            encoders.convert_encoder(tmp_path / f"other{suffix}", out)
    save_file({"a.weight": torch.zeros(8, 3, 3, 3), "b.weight": torch.ones(8)}, tmp_path / "toy.safetensors")
    with pytest.raises(InputError, match="no encoder that is known here"):
        encoders.convert_encoder(tmp_path / "toy.safetensors", out)
    save_file({**dinov2_state, "layernorm.bias": torch.zeros(768)}, tmp_path / "base.safetensors")
    with pytest.raises(InputError, match=r"no DINOv2 ViT-S/14: layernorm.bias is \[768\] in place of \[384\]"):
        encoders.convert_encoder(tmp_path / "base.safetensors", out)
    with pytest.raises(InputError, match="timm does not provide 'no_such_network'"):
        encoders.convert_encoder("timm:no_such_network", out)
    assert not out.exists()


def test_a_pickle_of_code_is_refused(tmp_path):
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "module.pth")
    with pytest.raises(InputError, match="no plain state dict"):
        encoders.convert_encoder(tmp_path / "module.pth", tmp_path / "out")


def test_truncated_encoder_is_refused(quantised, tmp_path):
    (tmp_path / "half.tflite").write_bytes(quantised.read_bytes()[:100_000])
    with pytest.raises(InputError, match="truncated"):
        encoders.convert_encoder(tmp_path / "half.tflite", tmp_path / "out")
    assert not (tmp_path / "out").exists()
