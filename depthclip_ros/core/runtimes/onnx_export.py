# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The network as an ONNX file: for ONNX Runtime here, for TensorRT and others elsewhere."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch

from depthclip_ros.core import present
from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.files import replaced
from depthclip_ros.core.runtimes.network_output import INPUT
from depthclip_ros.core.runtimes.pixel_network import PixelNetwork, plain_attention

OPSET = 17  # the oldest with LayerNormalization; ONNX Runtime from 1.12 and TensorRT from 8.6 read it
INSTALL = present.install("onnx", "onnxruntime")


def is_installed() -> bool:
    """Whether the exporter can work."""
    return present.is_installed("onnx")


def export_onnx(network: PixelNetwork, path: Path, height: int, width: int, about: dict[str, str]) -> None:
    """Write a network for one input size and any batch; until it is whole, `path` is what it was.

    Input `pixels`: uint8 [batch, height, width, 3] RGB, the resized picture. Outputs `depth` (canonical units: multiply
    by focal length at this size / canonical focal length), `confidence` and, where the system has scene labels,
    `scene_weights`.

    Args:
        network: on the CPU.
        path: of the file.
        height: of the input.
        width: of the input.
        about: goes into the file's metadata.

    Raises:
        ConfigError: onnx is not installed.
        OSError: it could not be written.
    """
    if not is_installed():
        raise ConfigError(f"the ONNX exporter needs onnx; {INSTALL}")
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)  # a batch of 1 would be taken for a constant
    with torch.no_grad(), plain_attention(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python values that are kept: the size is meant to be
        model = traced(
            network,
            (example,),
            path,
            input_names=[INPUT],
            output_names=list(network.output_names),
            dynamic_axes={name: {0: "batch"} for name in (INPUT, *network.output_names)},
        )
    for key, value in about.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)
    with replaced(path) as file:
        file.write(model.SerializeToString())


def traced(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], path: Path, **options: Any) -> Any:
    """A module as an ONNX model, by way of a file beside `path` that is gone afterwards.

    Args:
        module: what is traced.
        inputs: examples.
        path: where the model is to be written.
        options: of `torch.onnx.export`: names, and axes of any length.
    """
    import onnx

    temporary = path.with_name(f".{path.name[:99]}.tmp")
    try:
        torch.onnx.export(module, inputs, str(temporary), opset_version=OPSET, dynamo=False, **options)
        return onnx.load(str(temporary))
    finally:
        temporary.unlink(missing_ok=True)
