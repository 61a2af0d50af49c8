# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The network in OpenVINO: on a CPU in float32, bfloat16 or int8, on an Intel GPU in float32, float16 or int8."""

from __future__ import annotations

import functools
import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from depthclip_ros.core.errors import ConfigError, DeviceError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.runtimes.artefact_cache import artefact
from depthclip_ros.core.runtimes.compiled_runtime import Compiled, CompiledRuntime
from depthclip_ros.core.runtimes.openvino import int8
from depthclip_ros.core.runtimes.openvino.calibration_images import CalibrationSet
from depthclip_ros.core.runtimes.openvino.imported import INSTALL, without_telemetry
from depthclip_ros.core.runtimes.pixel_network import PixelNetwork

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": None}  # None: what is not int8 runs as the device likes
DEVICES = {"cpu": "CPU", "xpu": "GPU"}
SEE, READ = "see.xml", "read.xml"


class OpenVinoRuntime(CompiledRuntime):
    """See `runtime.Runtime`. What was converted is kept on the disk; compiling it takes half a second."""

    name = "openvino"

    def __init__(
        self,
        model: DepthModel,
        device: str,
        precision: str,
        identity: str,
        calibration: CalibrationSet,
        threads: int = 0,
    ) -> None:
        """Choose device and precision; see `runtime.make_runtime` for arguments and errors."""
        kind, _, index = ("cpu" if device == "auto" else device).partition(":")
        if kind not in DEVICES:
            raise ConfigError(f"device '{device}' is none of openvino's; allowed are auto, {', '.join(DEVICES)}, xpu:N")
        self._core = openvino().Core()
        self._device = DEVICES[kind] + (f".{index}" if index else "")
        if self._device not in self._core.available_devices and self._device != DEVICES["cpu"]:
            present = ", ".join(self._core.available_devices)
            raise DeviceError(f"openvino finds no device '{device}' on this machine; present: {present}")
        possible = precisions_of(self._core.get_property(self._device, "OPTIMIZATION_CAPABILITIES"))
        chosen = possible[-1] if precision == "auto" else precision
        if chosen not in (*possible, "int8"):
            raise ConfigError(
                f"precision '{precision}' is not what openvino does fast on {self._device}; allowed are auto, "
                f"{', '.join(possible)}, int8"
            )
        super().__init__(model, chosen, threads)
        self._hint = HINTS[chosen] or HINTS[possible[-1]]
        self._identity = identity
        self._calibration = calibration

    @property
    def device_name(self) -> str:
        """See `runtime.Runtime`."""
        return {name: kind for kind, name in DEVICES.items()}.get(self._device.partition(".")[0], self._device)

    def compile(self, network: PixelNetwork, batch: int, height: int, width: int) -> Compiled:
        """See `CompiledRuntime.compile`."""
        folder = self._converted(network, height, width)
        see = self._request(folder / SEE, batch, self._hint)
        read = self._request(folder / READ, batch, "f32")
        for index in range(len(read.model_inputs)):  # handed over without a copy
            read.set_input_tensor(index, see.get_output_tensor(index))
        outputs = [read.get_output_tensor(index) for index in range(len(network.output_names))]

        def run(pixels: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
            see.infer([np.ascontiguousarray(pixels)], share_inputs=True)
            read.infer()
            return [output.data for output in outputs]

        return run

    def _request(self, file: Path, batch: int, hint: str | None) -> Any:
        model = self._core.read_model(file)
        model.reshape({each: [batch, *list(each.partial_shape)[1:]] for each in model.inputs})
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
        if self._device == DEVICES["cpu"]:
            settings["ENABLE_CPU_PINNING"] = False  # cameras and planners need the cores as well
            settings["INFERENCE_NUM_THREADS"] = self.threads  # 0: as many as there are cores
        return self._core.compile_model(model, self._device, settings).create_infer_request()

    def _converted(self, network: PixelNetwork, height: int, width: int) -> Path:
        """Folder with the network in OpenVINO's own format, of any batch."""
        quantised = self.precision == "int8"
        rests_on: dict[str, str | int] = {
            "weights": self._identity,
            "openvino": openvino().__version__,
            "torch": torch.__version__,
            "device": self._core.get_property(self._device, "FULL_DEVICE_NAME"),
            "precision": "int8" if quantised else "float",
            "height": height,
            "width": width,
        }
        if quantised:
            rests_on |= {"nncf": int8.nncf_version(), "calibration": self._calibration.identity}

        def build(folder: Path) -> None:
            see, read = convert(network, height, width)
            if quantised:
                see = int8.quantise(see, self._calibration.pixels(width, height))
            for file, model in ((SEE, see), (READ, read)):
                openvino().save_model(model, folder / file, compress_to_fp16=False)

        return artefact(self.name, rests_on, build)


class _Part(nn.Module):
    """One method of a network as a module of its own."""

    def __init__(self, network: PixelNetwork, method: str) -> None:
        super().__init__()
        self.network = network
        self.method = method

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs: tuple[Tensor, ...] = getattr(self.network, self.method)(*inputs)
        return outputs


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
            parts.append(library.convert_model(_Part(network, method), example_input=inputs, input=shapes))
    return parts[0], parts[1]


def is_installed() -> bool:
    """Whether openvino can be imported."""
    return importlib.util.find_spec("openvino") is not None


def precisions_of(capabilities: Sequence[str]) -> tuple[str, ...]:
    """The floating-point precisions that a device does in hardware, the preferred one last."""
    half = {"BF16": "bf16", "FP16": "fp16"}
    return ("fp32", *(precision for capability, precision in half.items() if capability in capabilities))


@functools.lru_cache(maxsize=1)
def openvino() -> Any:
    """The library.

    Raises:
        ConfigError: it is not installed.
    """
    if not is_installed():
        raise ConfigError(f"runtime 'openvino' is not installed; {INSTALL}, or take runtime auto or torch")
    with without_telemetry():
        import openvino as library

        return library
