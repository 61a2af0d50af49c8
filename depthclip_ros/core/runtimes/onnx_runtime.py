# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The network in ONNX Runtime: its own CPU kernels, CUDA, or TensorRT."""

from __future__ import annotations

import copy
import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import ConfigError, DeviceError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.runtimes.artefact_cache import artefact
from depthclip_ros.core.runtimes.compiled_runtime import Compiled, CompiledRuntime
from depthclip_ros.core.runtimes.onnx_export import INSTALL, export_onnx
from depthclip_ros.core.runtimes.pixel_network import INPUT, PixelNetwork
from depthclip_ros.core.runtimes.torch_runtime import PRECISIONS

FILE = "network.onnx"
TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"


class OnnxRuntime(CompiledRuntime):
    """See `runtime.Runtime`. On a CUDA device TensorRT is taken where the installed ONNX Runtime has it, else CUDA.

    Only the small resized picture and the network's own grid of depth cross the bus; the rest is done on the CPU.
    """

    name = "onnxruntime"

    def __init__(self, model: DepthModel, device: str, precision: str, identity: str, threads: int = 0) -> None:
        """Choose device and precision; see `runtime.make_runtime` for arguments and errors."""
        available = onnxruntime().get_available_providers()
        kind, _, index = device.partition(":")
        on_gpu = kind == "cuda" or (kind == "auto" and CUDA in available)
        if kind not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"device '{device}' is none of onnxruntime's; allowed are auto, cpu, cuda, cuda:N")
        if on_gpu and CUDA not in available:
            raise DeviceError(
                f"the installed onnxruntime cannot use device '{device}'; it has {', '.join(available)}: install "
                "onnxruntime-gpu in its place"
            )
        possible = ("fp32", "fp16") if on_gpu else ("fp32",)
        chosen = possible[-1] if precision == "auto" else precision
        if chosen not in possible:
            raise ConfigError(
                f"precision '{precision}' is not what onnxruntime does on {kind}; allowed are auto, "
                f"{', '.join(possible)}"
            )
        super().__init__(model, chosen, threads)
        self._index = int(index or 0)
        self._providers = [name for name in (TENSORRT, CUDA) if on_gpu and name in available]
        self._identity = identity

    @property
    def device_name(self) -> str:
        """See `runtime.Runtime`."""
        return f"cuda:{self._index}" if self._providers else "cpu"

    def compile(self, network: PixelNetwork, batch: int, height: int, width: int) -> Compiled:
        """See `CompiledRuntime.compile`: one session serves every batch of a size, except in TensorRT."""
        folder = self._exported(network, height, width)
        library = onnxruntime()
        options = library.SessionOptions()
        options.intra_op_num_threads = self.threads  # 0: as many as there are cores
        options.log_severity_level = 3  # errors; its warnings are about which operation runs where
        session = library.InferenceSession(str(folder / FILE), options, providers=self._with_options(folder))
        names = list(network.output_names)

        def run(pixels: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
            outputs: list[NDArray[np.float32]] = session.run(names, {INPUT: np.ascontiguousarray(pixels)})
            return outputs

        return run

    def _with_options(self, folder: Path) -> list[Any]:
        options: dict[str, dict[str, Any]] = {
            TENSORRT: {
                "device_id": self._index,
                "trt_fp16_enable": self.precision == "fp16",
                "trt_engine_cache_enable": True,
                "trt_engine_cache_path": str(folder.with_suffix(".tensorrt")),  # beside: our folder stays as written
            },
            CUDA: {"device_id": self._index},
        }
        return [*((name, options[name]) for name in self._providers), CPU]

    def _exported(self, network: PixelNetwork, height: int, width: int) -> Path:
        import onnx
        import torch

        rests_on: dict[str, str | int] = {
            "weights": self._identity,
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime().__version__,
            "device": self.device_name,
            "precision": self.precision,
            "height": height,
            "width": width,
        }

        def build(folder: Path) -> None:
            dtype = PRECISIONS[self.precision]
            lowered = network if dtype == torch.float32 else PixelNetwork(copy.deepcopy(network.model).to(dtype), dtype)
            export_onnx(lowered, folder / FILE, height, width, {"weights_sha256": self._identity})

        return artefact(self.name, rests_on, build)


def is_installed() -> bool:
    """Whether onnxruntime and the exporter can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in ("onnxruntime", "onnx"))


@functools.lru_cache(maxsize=1)
def onnxruntime() -> Any:
    """The library.

    Raises:
        ConfigError: it or the exporter is not installed.
    """
    if not is_installed():
        raise ConfigError(f"runtime 'onnxruntime' is not installed; {INSTALL}, or take runtime auto or torch")
    import onnxruntime as library

    library.set_default_logger_severity(3)
    return library
