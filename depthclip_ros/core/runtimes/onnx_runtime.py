# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The network in ONNX Runtime: its own CPU kernels, CUDA, or TensorRT."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core import present
from depthclip_ros.core.errors import ConfigError, DeviceError
from depthclip_ros.core.runtimes.artefact_cache import artefact, cache_for
from depthclip_ros.core.runtimes.compiled_runtime import Compiled, CompiledRuntime
from depthclip_ros.core.runtimes.network import Network
from depthclip_ros.core.runtimes.network_output import INPUT, OUTPUTS

INSTALL = present.install("onnxruntime", "onnx")

FILE = "network.onnx"
TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"


class OnnxRuntime(CompiledRuntime):
    """See `runtime.Runtime`. On a CUDA device TensorRT is taken where the installed ONNX Runtime has it, else CUDA.

    Only the small resized picture and the network's own grid of depth cross the bus; the rest is done on the CPU.
    """

    name = "onnxruntime"

    def __init__(self, network: Network, device: str, precision: str, threads: int = 0) -> None:
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
        # The graph is of float32: other precisions are exported anew.
        lowers = network.graph is None or all(map(present.is_installed, ("torch", "onnx")))
        chosen = (possible[-1] if lowers else "fp32") if precision == "auto" else precision
        if chosen not in possible:
            raise ConfigError(
                f"precision '{precision}' is not what onnxruntime does on {kind}; allowed are auto, "
                f"{', '.join(possible)}"
            )
        super().__init__(network, chosen, threads)
        self._index = int(index or 0)
        self._providers = [name for name in (TENSORRT, CUDA) if on_gpu and name in available]

    @property
    def device_name(self) -> str:
        """See `runtime.Runtime`."""
        return f"cuda:{self._index}" if self._providers else "cpu"

    def compile(self, network: Network, batch: int, height: int, width: int) -> Compiled:
        """See `CompiledRuntime.compile`: one session serves every batch of a size, except in TensorRT."""
        if network.graph is None or self.precision != "fp32":
            session = self._session(network, self._exported(network, height, width) / FILE)
            names = [name for name in OUTPUTS if name in {output.name for output in session.get_outputs()}]
            return lambda pixels: _run(session, names, {INPUT: np.ascontiguousarray(pixels)})
        see, read = (self._session(network, part) for part in (network.graph.see, network.graph.read))
        seen, outputs = [each.name for each in see.get_outputs()], list(network.graph.outputs)

        def run(pixels: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
            found = _run(see, seen, {INPUT: np.ascontiguousarray(pixels)})
            return _run(read, outputs, dict(zip(seen, found, strict=True)))

        return run

    def compile_exactly(self, network: Network, batch: int, height: int, width: int) -> Compiled | None:
        """See `CompiledRuntime.compile_exactly`."""
        return self.compile(network, batch, height, width) if network.graph and self.precision == "fp32" else None

    def _session(self, network: Network, file: Path) -> Any:
        library = onnxruntime()
        options = library.SessionOptions()
        options.intra_op_num_threads = self.threads  # 0: as many as there are cores
        options.log_severity_level = 3  # errors; its warnings are about which operation runs where
        kept = cache_for("tensorrt", self._rests_on(network)) if TENSORRT in self._providers else nullcontext()
        with kept as folder:
            return library.InferenceSession(str(file), options, providers=self._with_options(folder))

    def _with_options(self, kept: Path | None) -> list[Any]:
        options: dict[str, dict[str, Any]] = {name: {"device_id": self._index} for name in self._providers}
        if TENSORRT in options:
            options[TENSORRT]["trt_fp16_enable"] = self.precision == "fp16"
            if kept is not None:
                options[TENSORRT] |= {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(kept)}
        return [*options.items(), CPU]

    def _rests_on(self, network: Network) -> dict[str, str | int]:
        return {
            "weights": network.identity(),
            "onnxruntime": onnxruntime().__version__,
            "device": self.device_name,
            "precision": self.precision,
        }

    def _exported(self, network: Network, height: int, width: int) -> Path:
        why = "weights without a graph" if network.graph is None else f"{self.precision}: the graph is of float32"
        present.require_torch(f"runtime 'onnxruntime' makes its network of torch's for {why}")
        if not present.is_installed("onnx"):
            raise ConfigError(f"runtime 'onnxruntime' needs onnx for {why}; {INSTALL}")
        import onnx
        import torch

        from depthclip_ros.core.runtimes.onnx_export import export_onnx
        from depthclip_ros.core.runtimes.pixel_network import PixelNetwork
        from depthclip_ros.core.runtimes.torch_runtime import PRECISIONS

        rests_on = self._rests_on(network) | {
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "height": height,
            "width": width,
        }

        def build(folder: Path) -> None:
            dtype = PRECISIONS[self.precision]
            full = network.in_torch()
            lowered = full if dtype == torch.float32 else PixelNetwork(copy.deepcopy(full.model).to(dtype), dtype)
            export_onnx(lowered, folder / FILE, height, width, {"weights_sha256": network.identity()})

        return artefact(self.name, rests_on, build)


def _run(session: Any, names: Sequence[str], inputs: dict[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
    outputs: list[NDArray[np.float32]] = session.run(names, inputs)
    return outputs


def is_installed() -> bool:
    """Whether onnxruntime can be imported."""
    return present.is_installed("onnxruntime")


@functools.lru_cache(maxsize=1)
def onnxruntime() -> Any:
    """The library.

    Raises:
        ConfigError: it is not installed.
    """
    if not is_installed():
        raise ConfigError(f"runtime 'onnxruntime' is not installed; {INSTALL}, or take runtime auto or torch")
    import onnxruntime as library

    library.set_default_logger_severity(3)
    return library
