import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from depthclip_ros.core.model.mobilenet import load_encoder, mobilenet_blocks
from depthclip_trainer.commands import convert_encoder as encoder
from safetensors.torch import load_file

from depthclip_ros.core.errors import InputError

SHOWER_CURTAIN = 794  # of ImageNet's 1000 classes


@pytest.fixture
def quantised(shared_data):
    return shared_data / "encoders" / "mobilenet_v2_1.0_224_quant.tflite"


def test_dequantised_encoder_still_classifies(quantised, shared_data, tmp_path):
    blocks = mobilenet_blocks()
    load_encoder(blocks, encoder.convert_encoder(quantised, tmp_path / "encoder.safetensors"))
    layers = [[torch.from_numpy(part) for part in pair] for pair in encoder._convolutions(quantised.read_bytes())]
    photograph = shared_data / "train/unlabelled/places_rooms/rgb/bathroom_00000009.jpg"
    image = cv2.resize(cv2.cvtColor(cv2.imread(str(photograph)), cv2.COLOR_BGR2RGB), (224, 224))
    x = torch.from_numpy(image.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.no_grad():
        features = F.relu6(F.conv2d(blocks(x), *layers[-2])).mean(dim=(2, 3), keepdim=True)
        scores = F.conv2d(features, *layers[-1]).flatten()
    assert int(scores.argmax()) - 1 == SHOWER_CURTAIN  # class 0 of the published network is "background"


def test_file_holds_every_convolution_in_order(quantised, tmp_path):
    tensors = load_file(encoder.convert_encoder(quantised, tmp_path / "deep" / "encoder.safetensors"))
    assert len(tensors) == 2 * encoder.CONVOLUTIONS
    assert tensors["1.weight"].shape == (32, 1, 3, 3)
    assert tensors[f"{encoder.CONVOLUTIONS - 1}.weight"].shape == (320, 960, 1, 1)


def test_what_is_no_encoder_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not read"):
        encoder.convert_encoder(tmp_path / "none.tflite", tmp_path / "out")
    (tmp_path / "other.tflite").write_bytes(b"not a model at all")
    with pytest.raises(InputError, match="no TensorFlow Lite model"):
        encoder.convert_encoder(tmp_path / "other.tflite", tmp_path / "out")


def test_truncated_encoder_is_refused(quantised, tmp_path):
    (tmp_path / "half.tflite").write_bytes(quantised.read_bytes()[:100_000])
    with pytest.raises(InputError, match="truncated"):
        encoder.convert_encoder(tmp_path / "half.tflite", tmp_path / "out")
    assert not (tmp_path / "out").exists()
