# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The graph beside a weights file: what OpenVINO and ONNX Runtime run as it is, without torch.

`NAME.see.onnx` and `NAME.read.onnx` are `DepthModel.see` and `.read` for every input size and batch. They hold
operations only: their tensors are those of `NAME.safetensors` itself, by offset (ONNX's external data).
`NAME.graph.safetensors` says what they belong to, and what torch in float32 answers to the pictures of
`runtimes.proof`.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
from numpy.typing import NDArray

from depthclip_ros.core.errors import WeightsError
from depthclip_ros.core.files import hash_file
from depthclip_ros.core.weights.info import WeightsInfo

SEE, READ, ABOUT = ".see.onnx", ".read.onnx", ".graph.safetensors"
CONFIDENCE_STEPS = 255  # of confidence in the answers, kept as bytes

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Graph:
    """What lies beside a weights file.

    Attributes:
        see, read: ONNX files.
        about: the file with the answers.
        stride: sides of the network's input are multiples of it.
        scene_labels: of the network; empty where it has none.
        outputs: names of what `read` gives.
        sizes: (width, height) of the input for which there are answers.
    """

    see: Path
    read: Path
    about: Path
    stride: int
    scene_labels: tuple[str, ...]
    outputs: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]

    def answers(self, size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Depth and confidence, float32 [N, h', w'], of torch in float32 for the N pictures at one of `sizes`."""
        with safetensors.safe_open(self.about, framework="np") as file:
            depth, confidence = (file.get_tensor(key) for key in answer_keys(size))
        return depth.astype(np.float32), confidence.astype(np.float32) / np.float32(CONFIDENCE_STEPS)


def answer_keys(size: tuple[int, int]) -> tuple[str, str]:
    """Names of the tensors with the answers for an input of (width, height)."""
    return f"depth {size[0]}x{size[1]}", f"confidence {size[0]}x{size[1]}"


def beside(weights: Path, suffix: str) -> Path:
    """The file of that kind beside a weights file."""
    return weights.with_name(weights.stem + suffix)


def find_graph(info: WeightsInfo) -> Graph | None:
    """The graph of a weights file; None where there is none, or one of other weights (which a warning says).

    Raises:
        WeightsError: a graph that is damaged or not whole.
    """
    about = beside(info.path, ABOUT)
    if not about.is_file():
        return None
    parts = {suffix: beside(info.path, suffix) for suffix in (SEE, READ)}
    again = f"make it again: depthclip export graph {info.path}"
    try:
        with safetensors.safe_open(about, framework="np") as file:
            said = file.metadata() or {}
        if said["weights_sha256"] != info.sha256:
            _log.warning("%s was made of other weights, and is not used; %s", about, again)
            return None
        for suffix, path in parts.items():
            if hash_file(path) != said[suffix]:
                raise WeightsError(f"{path} is damaged; {again}, or reinstall the package")
        return Graph(
            parts[SEE],
            parts[READ],
            about,
            int(said["stride"]),
            tuple(json.loads(said["scene_labels"])),
            tuple(json.loads(said["outputs"])),
            tuple((int(width), int(height)) for width, height in json.loads(said["sizes"])),
        )
    except (safetensors.SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{about} is damaged or not whole ({error}); {again}, or reinstall the package") from error
