"""From the published 8-bit MobileNetV2 to the float convolutions that a teacher starts from."""

from __future__ import annotations

import argparse
import itertools
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tflite
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from depthclip_ros.core.errors import InputError, WeightsError

CONVOLUTIONS = 51
"""Of MobileNetV2 up to 320 channels at 1/32; the last 1x1 convolution and the classifier behind it are left out."""


def convert_encoder(path: Path, out: Path) -> Path:
    """Writes `0.weight`, `0.bias`, … of a quantised MobileNetV2 as float32 safetensors, in the network's order.

    Weights are (q - zero point) * scale; biases are stored with scale input * weights (TensorFlow Lite's quantisation
    specification, https://www.tensorflow.org/lite/performance/quantization_spec).

    Raises:
        InputError: no such file, or one that is not a quantised MobileNetV2.
        WeightsError: `out` cannot be written.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} does not read: {error}") from error
    if data[4:8] != b"TFL3":
        raise InputError(f"{path} is no TensorFlow Lite model; take mobilenet_v2_1.0_224_quant.tflite")
    tensors = {}
    try:
        for index, (weight, bias) in enumerate(itertools.islice(_convolutions(data), CONVOLUTIONS)):
            tensors[f"{index}.weight"], tensors[f"{index}.bias"] = torch.from_numpy(weight), torch.from_numpy(bias)
    except (struct.error, ValueError, IndexError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is truncated or damaged ({error}); fetch it again") from error
    if len(tensors) != 2 * CONVOLUTIONS or tensors["0.weight"].shape != (32, 3, 3, 3):
        raise InputError(f"{path} has {len(tensors) // 2} convolutions and is not MobileNetV2 1.0")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, out)
    except OSError as error:
        raise WeightsError(f"could not write {out}: {error}") from error
    return out


def _convolutions(data: bytes) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Kernels [outputs, inputs / groups, k, k] and biases [outputs] of every convolution, in order."""
    model = tflite.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind not in (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D):
            continue
        _, weight, bias = (_values(model, graph.Tensors(j)) for j in operator.InputsAsNumpy())
        source_scale = graph.Tensors(operator.InputsAsNumpy()[0]).Quantization().ScaleAsNumpy()[0]
        weight_scale = graph.Tensors(operator.InputsAsNumpy()[1]).Quantization().ScaleAsNumpy()[0]
        if bias.dtype == np.int32:
            bias = bias * (source_scale * weight_scale)
        # [outputs, k, k, inputs], or [1, k, k, channels] for a depthwise one
        order = (0, 3, 1, 2) if kind == tflite.BuiltinOperator.CONV_2D else (3, 0, 1, 2)
        yield np.ascontiguousarray(weight.transpose(order), np.float32), np.ascontiguousarray(bias, np.float32)


def _values(model: tflite.Model, tensor: tflite.Tensor) -> NDArray[np.float32] | NDArray[np.int32] | None:
    stored = model.Buffers(tensor.Buffer()).DataAsNumpy()
    if isinstance(stored, int):  # the network's own activations have no data
        return None
    shape = tensor.ShapeAsNumpy()
    if tensor.Type() == tflite.TensorType.INT32:
        return stored.view(np.int32).reshape(shape)
    quantisation = tensor.Quantization()
    scale, zero = quantisation.ScaleAsNumpy(), quantisation.ZeroPointAsNumpy()
    return (stored.reshape(shape).astype(np.float32) - np.float32(zero[0])) * scale[0]


def convert_encoder_command(arguments: Sequence[str]) -> None:
    """`depthclip-train convert-encoder MODEL.tflite OUT.safetensors`."""
    parser = argparse.ArgumentParser(
        prog="depthclip-train convert-encoder", description="De-quantise MobileNetV2, for a teacher to start from."
    )
    parser.add_argument("model", type=Path, help="mobilenet_v2_1.0_224_quant.tflite")
    parser.add_argument("out", type=Path, help="the .safetensors to write: base_weights of preset teacher-mobilenet")
    options = parser.parse_args(arguments)
    print(f"{convert_encoder(options.model, options.out)}: {CONVOLUTIONS} convolutions")
