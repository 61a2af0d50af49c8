# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Published encoders as the safetensors files that a training starts from.

| given | encoder | file |
| --- | --- | --- |
| `.tflite`, 8 bit | MobileNetV2 | folded convolutions in order (`core/model/towers/mobile_encoder.py`) |
| `.pth` with EfficientNet-PyTorch's names, `timm:tf_efficientnet_lite0` … `2` | EfficientNet-Lite | the same |
| `.onnx`, transformers' safetensors, `timm:vit_small_patch14_dinov2.lvd142m` | DINOv2 ViT-S/14 | transformers' names |
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from depthclip_ros.core.errors import ConfigError, InputError, WeightsError
from depthclip_ros.core.files import replaced
from depthclip_ros.core.model.towers.dinov2_tower import BASE_BLOCKS, expected_tensors
from depthclip_ros.core.model.towers.mobile_encoder import ENCODERS
from depthclip_trainer.pickles import state_dict_of

Tensors = dict[str, Tensor]
BN_EPS = 1e-3
"""Of TensorFlow's EfficientNets, in timm's and EfficientNet-PyTorch's copies alike."""
TIMM = "timm:"


def convert_encoder(given: str | Path, out: Path) -> str:
    """Writes a published encoder as float32 safetensors, and returns which it is.

    Args:
        given: a file, or `timm:NAME` for weights that timm fetches.
        out: the file to write.

    Raises:
        InputError: no such file, or none of an encoder that is known here.
        ConfigError: a library that reads the format is not installed, or too old to be safe with it.
        WeightsError: `out` cannot be written; an older file of that name is as it was.
    """
    path = Path(given)
    if str(given).startswith(TIMM):
        name, tensors = _from_state(_timm_state(str(given).removeprefix(TIMM)), str(given))
    elif not path.is_file():
        raise InputError(f"{path} does not read: there is no such file; {_known()}")
    else:
        if path.suffix not in READERS:
            raise InputError(f"{path} is of no format that is read here; {_known()}")
        try:
            name, tensors = READERS[path.suffix](path)
        except OSError as error:
            raise InputError(f"{path} does not read: {error}") from error
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replaced(out) as file:  # what is given may be `out` itself
            file.write(save({key: tensor.float().contiguous() for key, tensor in tensors.items()}))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"could not write {out}: {error}") from error
    return name


def _known() -> str:
    return f"give {', '.join(READERS)} or {TIMM}NAME, of {', '.join(ENCODERS)} or DINOv2 ViT-S/14"


# ---- 8-bit TensorFlow Lite -------------------------------------------------------------------------------------------


def _read_tflite(path: Path) -> tuple[str, Tensors]:
    """MobileNetV2 de-quantised: weights are (q - zero point) * scale, biases have scale input * weights.

    https://www.tensorflow.org/lite/performance/quantization_spec
    """
    data, count = path.read_bytes(), ENCODERS["mobilenet-v2"].convolutions
    if data[4:8] != b"TFL3":
        raise InputError(f"{path} is no TensorFlow Lite model; take mobilenet_v2_1.0_224_quant.tflite")
    tensors: Tensors = {}
    try:
        for index, (weight, bias) in enumerate(itertools.islice(_convolutions(data), count)):
            tensors[f"{index}.weight"], tensors[f"{index}.bias"] = torch.from_numpy(weight), torch.from_numpy(bias)
    except (struct.error, ValueError, IndexError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is truncated or damaged ({error}); fetch it again") from error
    if len(tensors) != 2 * count or tensors["0.weight"].shape != (32, 3, 3, 3):
        raise InputError(f"{path} has {len(tensors) // 2} convolutions and is not MobileNetV2 1.0")
    return "mobilenet-v2", tensors


def _convolutions(data: bytes) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Kernels [outputs, inputs / groups, k, k] and biases [outputs] of every convolution, in order."""
    import tflite

    def values(index: int) -> NDArray[np.float32] | NDArray[np.int32] | None:
        tensor = graph.Tensors(index)
        stored = model.Buffers(tensor.Buffer()).DataAsNumpy()
        if isinstance(stored, int):  # the network's own activations have no data
            return None
        shape = tensor.ShapeAsNumpy()
        if tensor.Type() == tflite.TensorType.INT32:
            return stored.view(np.int32).reshape(shape)
        scale, zero = tensor.Quantization().ScaleAsNumpy(), tensor.Quantization().ZeroPointAsNumpy()
        return (stored.reshape(shape).astype(np.float32) - np.float32(zero[0])) * scale[0]

    model = tflite.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind not in (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D):
            continue
        inputs = operator.InputsAsNumpy()
        _, weight, bias = (values(j) for j in inputs)
        source_scale, weight_scale = (graph.Tensors(j).Quantization().ScaleAsNumpy()[0] for j in inputs[:2])
        if bias.dtype == np.int32:
            bias = bias * (source_scale * weight_scale)
        # [outputs, k, k, inputs], or [1, k, k, channels] for a depthwise one
        order = (0, 3, 1, 2) if kind == tflite.BuiltinOperator.CONV_2D else (3, 0, 1, 2)
        yield np.ascontiguousarray(weight.transpose(order), np.float32), np.ascontiguousarray(bias, np.float32)


# ---- state dicts: EfficientNet-Lite, DINOv2 -------------------------------------------------------------------------


def _read_state(path: Path) -> tuple[str, Tensors]:
    try:
        state = load_file(path) if path.suffix == ".safetensors" else state_dict_of(path)
    except SafetensorError as error:
        raise InputError(f"{path} is truncated or damaged ({error}); fetch it again") from error
    return _from_state(state, str(path))


def _timm_state(name: str) -> Mapping[str, Tensor]:
    import timm

    try:
        state: Mapping[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # timm and its hub client raise a dozen kinds
        raise InputError(
            f"timm does not provide {name!r} ({error}); with network there are tf_efficientnet_lite0, "
            "vit_small_patch14_dinov2.lvd142m, …"
        ) from error
    return state


def _from_state(state: Mapping[str, Tensor], given: str) -> tuple[str, Tensors]:
    """Which encoder a state dict is: by its names, then by its shapes."""
    state = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    if "embeddings.cls_token" in state:
        return "dinov2-vits14", _dinov2(state, given)
    if "blocks.0.ls1.gamma" in state:
        return "dinov2-vits14", _dinov2(_as_transformers(state), given)
    kernels = [t for t in state.values() if t.ndim == 4]
    vectors = [t for name, t in state.items() if t.ndim == 1 and not name.split(".")[0].endswith(("fc", "classifier"))]
    folded = _folded(kernels, vectors)
    for name, encoder in ENCODERS.items():
        # The last 1x1 convolution and the classifier behind it are left out.
        part = {key: tensor for key, tensor in folded.items() if int(key.split(".")[0]) < encoder.convolutions}
        shapes = [tuple(part[f"{i}.weight"].shape) for i in range(len(part) // 2)]
        if name != "mobilenet-v2" and shapes == _shapes(name):
            return name, part
    raise InputError(f"{given} is no encoder that is known here ({len(kernels)} convolutions); {_known()}")


def _folded(kernels: list[Tensor], vectors: list[Tensor]) -> Tensors:
    """Batch normalisations, four vectors each, folded into the convolutions before them; both are in network order."""
    tensors: Tensors = {}
    for index, kernel in enumerate(kernels):
        norm = vectors[4 * index : 4 * index + 4]
        if len(norm) < 4 or any(len(vector) != len(kernel) for vector in norm):
            break
        weight, bias, mean, variance = (vector.double() for vector in norm)
        gain = weight / (variance + BN_EPS).sqrt()
        tensors[f"{index}.weight"] = (kernel.double() * gain[:, None, None, None]).float()
        tensors[f"{index}.bias"] = (bias - mean * gain).float()
    return tensors


def _shapes(name: str) -> list[tuple[int, ...]]:
    from depthclip_ros.core.model.towers.mobile_encoder import ScaledConv, encoder_blocks

    with torch.device("meta"):
        blocks = encoder_blocks(ENCODERS[name])
    return [tuple(m.weight.shape) for m in blocks.modules() if isinstance(m, ScaledConv)]


def _read_onnx(path: Path) -> tuple[str, Tensors]:
    """An export of torch's: named parameters as they are, matrices of products named after the bias added to them."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
        from onnx.numpy_helper import to_array
    except ImportError as error:
        raise ConfigError(f"{path} needs the package onnx: pip install onnx") from error
    try:
        graph = onnx.load(str(path)).graph
    except DecodeError as error:
        raise InputError(f"{path} is truncated or no ONNX file ({error}); fetch it again") from error
    values = {item.name: torch.from_numpy(to_array(item).copy()) for item in graph.initializer}
    biases = {given: name for node in graph.node if node.op_type == "Add" for given, name in _pairs(node.input)}
    state = dict(values)
    for node in graph.node:
        bias = biases.get(node.output[0], "")
        if node.op_type == "MatMul" and node.input[1] in values and bias.endswith(".bias"):
            state[f"{bias.removesuffix('bias')}weight"] = values[node.input[1]].T  # stored as x @ W
    positions = [t for t in values.values() if t.ndim == 3 and t.shape[1] == GRID_TOKENS]
    first = [t for name, t in values.items() if name.startswith("onnx::") and t.shape == (1, 1, 384)]
    if len(positions) == len(first) == 1:
        state["backbone.embeddings.position_embeddings"] = torch.cat([first[0], positions[0]], dim=1)
    return _from_state(state, str(path))


GRID_TOKENS = 37 * 37


def _pairs(inputs: list[str]) -> Iterator[tuple[str, str]]:
    if len(inputs) == 2:
        yield inputs[0], inputs[1]
        yield inputs[1], inputs[0]


def _dinov2(state: Mapping[str, Tensor], given: str) -> Tensors:
    """The tensors of the tower; a mask token, decoders and heads are left out.

    Raises:
        InputError: a tensor that is missing or has another shape, which it names.
    """
    tensors = {}
    for name, wanted in expected_tensors().items():
        found = state.get(name)
        if found is None or found.shape != wanted.shape:
            shape = "missing" if found is None else f"{list(found.shape)} in place of {list(wanted.shape)}"
            raise InputError(f"{given} is no DINOv2 ViT-S/14: {name} is {shape}")
        tensors[name] = found
    return tensors


def _as_transformers(state: Mapping[str, Tensor]) -> Tensors:
    """Timm's names of a DINOv2 as transformers has them."""
    renamed = {
        "embeddings.cls_token": state["cls_token"],
        "embeddings.position_embeddings": state["pos_embed"],
        "embeddings.patch_embeddings.projection.weight": state["patch_embed.proj.weight"],
        "embeddings.patch_embeddings.projection.bias": state["patch_embed.proj.bias"],
        "layernorm.weight": state["norm.weight"],
        "layernorm.bias": state["norm.bias"],
    }
    for index in range(BASE_BLOCKS):
        layer = f"encoder.layer.{index}"
        for name, tensor in state.items():
            if not name.startswith(f"blocks.{index}."):
                continue
            part = re.sub(r"^ls(\d)\.gamma$", r"layer_scale\1.lambda1", name.removeprefix(f"blocks.{index}."))
            if part.startswith("attn.qkv."):
                for own, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                    renamed[f"{layer}.attention.attention.{own}.{part.removeprefix('attn.qkv.')}"] = third
                continue
            renamed[f"{layer}.{part.replace('attn.proj', 'attention.output.dense')}"] = tensor
    return renamed


READERS: dict[str, Callable[[Path], tuple[str, Tensors]]] = {
    ".tflite": _read_tflite,
    ".pth": _read_state,
    ".pt": _read_state,
    ".safetensors": _read_state,
    ".onnx": _read_onnx,
}
