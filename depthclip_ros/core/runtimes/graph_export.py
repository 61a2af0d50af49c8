# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""From a weights file to the graph beside it (`weights.graph`): made by torch and onnx, run without either."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save

from depthclip_ros.core import tensor_file
from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.files import hash_file
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.present import is_installed
from depthclip_ros.core.runtimes.network import Network
from depthclip_ros.core.runtimes.network_output import INPUT
from depthclip_ros.core.runtimes.onnx_export import INSTALL, traced
from depthclip_ros.core.runtimes.openvino.calibration_images import CalibrationSet
from depthclip_ros.core.runtimes.openvino.openvino_runtime import OpenVinoRuntime
from depthclip_ros.core.runtimes.pixel_network import Part, PixelNetwork, call, plain_attention
from depthclip_ros.core.runtimes.proof import Reference, RefusedRuntimeError
from depthclip_ros.core.weights.find import SHIPPED, resolve
from depthclip_ros.core.weights.graph import ABOUT, CONFIDENCE_STEPS, READ, SEE, answer_keys, beside
from depthclip_ros.core.weights.info import read_file_info
from depthclip_ros.core.weights.load import load_weights
from depthclip_ros.core.weights.weights_file import save_weights

IMAGES = ((640, 480), (480, 640), (1280, 720), (720, 1280), (640, 400), (720, 480), (1280, 1024), (640, 640))
"""Usual cameras' sizes, for whose network input torch's answers are kept."""
SMALLEST_OUTSIDE = 16  # values; a smaller tensor stays in the graph
PREFIX = "network.model."  # of a model's tensors in `Part`


def write_graph(path: Path) -> list[Path]:
    """Write the graph of a weights file beside it; the files.

    A file of adapters alone is first written in full as `NAME-full.safetensors`: a graph needs all tensors in one file.

    Raises:
        ConfigError: onnx is not installed; or the network's graph would not be the network at every size.
        WeightsError: weights that cannot be loaded, or files that cannot be written.
    """
    if not is_installed("onnx"):
        raise ConfigError(f"making a graph needs onnx; {INSTALL}")
    if str(path) in SHIPPED:
        raise ConfigError(f"'{path}' has its graph in the package; name a .safetensors file of your own")
    path = resolve(path)
    loaded = load_weights(path)
    if loaded.info.adapter_only:
        full, info = path.with_name(f"{path.stem}-full.safetensors"), loaded.info
        save_weights(full, loaded.model, training=info.training, metrics=info.metrics, uncertainty=info.uncertainty)
        return [full, *write_graph(full)]
    _require_usual_sizes(loaded.model)
    network = PixelNetwork(loaded.model)  # as it is saved: what is folded for inference is no tensor of the file
    network.requires_grad_(False)
    offsets = tensor_offsets(path)
    parts = {SEE: beside(path, SEE), READ: beside(path, READ)}
    width, height = loaded.model.network_size(*IMAGES[0])
    with torch.no_grad(), plain_attention(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python values that are kept: were sizes among them, `_prove` would say so
        pixels = torch.zeros(2, height, width, 3, dtype=torch.uint8)
        seen = network.see(pixels)
        names = tuple(f"seen_{index}" for index in range(len(seen)))
        for suffix, method, inputs, given, found in (
            (SEE, "see", (pixels,), (INPUT,), names),
            (READ, "read", seen, names, network.output_names),
        ):
            model = _traced(Part(network, method), inputs, given, found, parts[suffix])
            _refer(model, offsets, path.name)
            tensor_file.write_whole(parts[suffix], model.SerializeToString())
    sizes, answers = _answers(loaded.model)
    said = {
        "weights_sha256": loaded.info.sha256,
        "stride": str(loaded.model.stride),
        "scene_labels": json.dumps(loaded.model.scene_labels),
        "outputs": json.dumps(network.output_names),
        "sizes": json.dumps(sizes),
        **{suffix: hash_file(part) for suffix, part in parts.items()},
    }
    about = beside(path, ABOUT)
    tensor_file.write_whole(about, save(answers, said))
    files = [*parts.values(), about]
    try:
        _prove(path, sizes)
    except BaseException as error:  # Ctrl-C too: what is not proved must not be used
        for file in files:
            file.unlink()
        if not isinstance(error, RefusedRuntimeError):
            raise
        raise ConfigError(f"{path} cannot have a graph, and runs by torch alone: {error}") from error
    return files


def tensor_offsets(path: Path) -> dict[str, tuple[str, int, int]]:
    """Type, first byte in the file and number of bytes of every tensor of a safetensors file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return {
        name: (one["dtype"], 8 + length + one["data_offsets"][0], one["data_offsets"][1] - one["data_offsets"][0])
        for name, one in header.items()
        if name != "__metadata__"
    }


def _require_usual_sizes(model: DepthModel) -> None:
    for image in IMAGES:
        size, usual = model.network_size(*image), model.config.network_size(*image, model.stride)
        if size != usual:
            raise ConfigError(
                f"system {model.config.system} with these weights takes {size[0]}x{size[1]} for an image of "
                f"{image[0]}x{image[1]}, and a graph {usual[0]}x{usual[1]}: they run by torch alone"
            )


def _prove(path: Path, sizes: list[tuple[int, int]]) -> None:
    """Hold the graph to torch's answers, as a node that uses it does: at every usual size."""
    runtime = OpenVinoRuntime(Network.of_weights(read_file_info(path)), "cpu", "fp32", CalibrationSet())
    try:
        for size in sizes:
            runtime.prepare(size)
    finally:
        runtime.close()


def _traced(part: Part, inputs: tuple[Any, ...], given: tuple[str, ...], found: tuple[str, ...], path: Path) -> Any:
    """A part as an ONNX model of any batch and size, its tensors under their own names."""
    with torch.no_grad():
        outputs = part(*inputs)
    tensors = dict(zip((*given, *found), (*inputs, *outputs), strict=True))
    free = {name: {axis: f"{name}_{axis}" for axis in _free_axes(name, tensor)} for name, tensor in tensors.items()}
    return traced(
        part,
        inputs,
        path,
        input_names=list(given),
        output_names=list(found),
        dynamic_axes=free,
        do_constant_folding=False,
    )


def _free_axes(name: str, tensor: torch.Tensor) -> tuple[int, ...]:
    """The batch, and the two sides of a picture, which stand behind the channels where there are any but in pixels."""
    if tensor.ndim == 4 and name != INPUT:
        return 0, 2, 3
    return (0,) if tensor.ndim == 2 else (0, 1, 2)


def _refer(model: Any, offsets: dict[str, tuple[str, int, int]], weights: str) -> None:
    """Have a model's tensors read from the weights file, those in float16 through a cast."""
    from onnx import TensorProto, helper

    types = {"F16": TensorProto.FLOAT16, "F32": TensorProto.FLOAT}
    casts = []
    for tensor in model.graph.initializer:
        kept = offsets.get(tensor.name.removeprefix(PREFIX))
        if kept is None or kept[0] not in types or np.prod(tensor.dims) < SMALLEST_OUTSIDE:
            continue
        dtype, first, count = kept
        if dtype == "F16":
            half = f"{tensor.name}.half"
            casts.append(helper.make_node("Cast", [half], [tensor.name], to=TensorProto.FLOAT))
            tensor.name = half
        tensor.ClearField("raw_data")
        tensor.data_type, tensor.data_location = types[dtype], TensorProto.EXTERNAL
        for key, value in (("location", weights), ("offset", first), ("length", count)):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])


def _answers(model: DepthModel) -> tuple[list[tuple[int, int]], dict[str, Any]]:
    """What torch says in float32 of the proof's pictures at the usual sizes; depth to 0.05 %, confidence to 0.002."""
    network = PixelNetwork(model.prepare_inference())
    sizes = list(dict.fromkeys(model.network_size(*image) for image in IMAGES))
    answers: dict[str, Any] = {}
    for size in sizes:
        reference = Reference.of(lambda pixels: call(network, pixels), size)
        depth, confidence = answer_keys(size)
        answers[depth] = reference.depth.astype(np.float16)
        answers[confidence] = np.rint(reference.confidence * CONFIDENCE_STEPS).astype(np.uint8)
    return sizes, answers
