# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A network in torch as OpenVINO models."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from depthclip_ros.core.runtimes.openvino.imported import openvino
from depthclip_ros.core.runtimes.pixel_network import Part, PixelNetwork


def convert(network: PixelNetwork, height: int, width: int) -> tuple[Any, Any]:
    """OpenVINO models of a network's two parts for one input size and any batch.

    Two, because OpenVINO lowers the precision of a model as a whole, and `PixelNetwork.read` needs float32.
    """
    library = openvino()
    pixels = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every Python value that it keeps: the size is meant to be
        seen = network.see(pixels)
        parts = []
        for method, inputs in (("see", (pixels,)), ("read", seen)):
            shapes = [library.PartialShape([-1, *each.shape[1:]]) for each in inputs]
            parts.append(library.convert_model(Part(network, method), example_input=inputs, input=shapes))
    return parts[0], parts[1]
