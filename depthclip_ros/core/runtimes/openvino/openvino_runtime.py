# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The network in OpenVINO: on a CPU in float32, bfloat16 or int8, on an Intel GPU in float32, float16 or int8."""

from __future__ import annotations

import contextlib
import importlib.metadata
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import ConfigError, DeviceError
from depthclip_ros.core.runtimes.artefact_cache import artefact, cache_for
from depthclip_ros.core.runtimes.compiled_runtime import Compiled, CompiledRuntime, Key
from depthclip_ros.core.runtimes.network import Network
from depthclip_ros.core.runtimes.openvino import int8
from depthclip_ros.core.runtimes.openvino.calibration_images import CalibrationSet
from depthclip_ros.core.runtimes.openvino.first_part import split
from depthclip_ros.core.runtimes.openvino.imported import openvino

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": None}  # None: what is not int8 runs as the device likes
DEVICES = {"cpu": "CPU", "xpu": "GPU"}
SEE, READ = "see.xml", "read.xml"


class OpenVinoRuntime(CompiledRuntime):
    """See `runtime.Runtime`. What was converted is kept on the disk; compiling it takes half a second."""

    name = "openvino"

    def __init__(
        self,
        network: Network,
        device: str,
        precision: str,
        calibration: CalibrationSet,
        threads: int = 0,
    ) -> None:
        """Choose device and precision; see `runtime.make_runtime` for arguments and errors."""
        kind, _, index = ("cpu" if device == "auto" else device).partition(":")
        if kind not in DEVICES:
            raise ConfigError(f"device '{device}' is none of openvino's; allowed are auto, {', '.join(DEVICES)}, xpu:N")
        self._core = openvino().Core()
        self._device = DEVICES[kind] + (f".{index}" if index else "")
        # Asked for only where it matters: to list the devices, OpenVINO loads what it has for each kind.
        if self._device != DEVICES["cpu"]:
            present = [_name_of(found) for found in self._core.available_devices]
            if _name_of(self._device) not in present:
                have = ", ".join(present)
                raise DeviceError(f"openvino finds no device '{device}' on this machine; present: {have}")
        possible = precisions_of(self._core.get_property(self._device, "OPTIMIZATION_CAPABILITIES"))
        chosen = possible[-1] if precision == "auto" else precision
        if chosen not in (*possible, "int8"):
            raise ConfigError(
                f"precision '{precision}' is not what openvino does fast on {self._device}; allowed are auto, "
                f"{', '.join(possible)}, int8"
            )
        super().__init__(network, chosen, threads)
        self._hint = HINTS[chosen] or HINTS[possible[-1]]
        self._calibration = calibration
        self._began_s = time.time()

    @property
    def device_name(self) -> str:
        """See `runtime.Runtime`."""
        return _name_of(self._device)

    def compile(self, network: Network, batch: int, height: int, width: int) -> Compiled:
        """See `CompiledRuntime.compile`."""
        return self._compile(network, (batch, height, width), self._hint, quantised=self.precision == "int8")

    def compile_exactly(self, network: Network, batch: int, height: int, width: int) -> Compiled | None:
        """See `CompiledRuntime.compile_exactly`."""
        if network.graph is None:
            return None
        return self._compile(network, (batch, height, width), HINTS["fp32"], quantised=False)

    def _compile(self, network: Network, key: Key, hint: str | None, *, quantised: bool) -> Compiled:
        batch, height, width = key
        see_file, read_file = self._files(network, height, width, quantised)
        see_model = self._core.read_model(see_file)
        see_model.reshape({see_model.inputs[0]: [batch, height, width, 3]})
        halves = split(see_model) if hint == HINTS["bf16"] else None
        chain = [(see_model, hint)] if halves is None else [(halves[0], HINTS["fp32"]), (halves[1], hint)]
        read_model = self._core.read_model(read_file)
        shapes = [list(output.shape) for output in chain[-1][0].outputs]
        read_model.reshape(dict(zip(read_model.inputs, shapes, strict=True)))
        chain.append((read_model, HINTS["fp32"]))
        requests = []
        for index, (model, own_hint) in enumerate(chain):
            sides = ("input",) * (index > 0) + ("output",) * (index < len(chain) - 1)
            requests.append(self._request(network, self._channels_last(model, *sides), own_hint))
        for before, after in pairwise(requests):  # handed over without a copy
            for index in range(len(before.model_outputs)):
                after.set_input_tensor(index, before.get_output_tensor(index))
        outputs = [requests[-1].get_output_tensor(index) for index in range(len(requests[-1].model_outputs))]

        def run(pixels: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
            requests[0].infer([np.ascontiguousarray(pixels)], share_inputs=True)
            for request in requests[1:]:
                request.infer()
            return [output.data for output in outputs]

        return run

    def forget_kept(self, network: Network) -> bool:
        """See `CompiledRuntime.forget_kept`: OpenVINO notices a blob that was cut short, not other bytes in it.

        What this runtime made itself is no older than it, and stays.
        """
        forgotten = False
        with self._kept(network) as kept:
            for blob in () if kept is None else kept.glob("*.blob"):
                if blob.stat().st_mtime < self._began_s:
                    forgotten = True
                    blob.unlink()
        return forgotten

    def _channels_last(self, model: Any, *sides: str) -> Any:
        """The model with pictures of features handed over as the CPU computes them, [B, h, w, C]: none is turned."""
        if self._device != DEVICES["cpu"]:
            return model
        library = openvino()
        around = library.preprocess.PrePostProcessor(model)
        for side in sides:
            for index, port in enumerate(getattr(model, f"{side}s")):
                if len(port.shape) == 4:
                    step = getattr(around, side)(index)
                    step.model().set_layout(library.Layout("NCHW"))
                    step.tensor().set_layout(library.Layout("NHWC"))
        return around.build()

    def _request(self, network: Network, model: Any, hint: str | None) -> Any:
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
        if self._device == DEVICES["cpu"]:
            settings["ENABLE_CPU_PINNING"] = False  # cameras and planners need the cores as well
            settings["INFERENCE_NUM_THREADS"] = self.threads  # 0: as many as there are cores
        with self._kept(network) as kept:
            if kept is not None:
                settings["CACHE_DIR"] = str(kept)  # what was compiled; OpenVINO tells by the model and the settings
            return self._core.compile_model(model, self._device, settings).create_infer_request()

    def _kept(self, network: Network) -> AbstractContextManager[Path | None]:
        """Where OpenVINO keeps what it compiled: by precision, so that one that is refused takes no other's away."""
        if network.graph is None:
            return contextlib.nullcontext()
        return cache_for(self.name, self._rests_on(network) | {"precision": self.precision})

    def _rests_on(self, network: Network) -> dict[str, str | int]:
        return {
            "weights": network.identity(),
            "openvino": importlib.metadata.version("openvino"),
            "device": self._core.get_property(self._device, "FULL_DEVICE_NAME"),
        }

    def _files(self, network: Network, height: int, width: int, quantised: bool) -> tuple[Path, Path]:
        """The two parts, of any batch: the graph's own, or made here of torch's or for int8."""
        if network.graph is not None and not quantised:
            return network.graph.see, network.graph.read
        precision = "int8" if quantised else "float"
        rests_on = self._rests_on(network) | {"precision": precision, "height": height, "width": width}
        if quantised:
            rests_on |= {"nncf": int8.nncf_version(), "calibration": self._calibration.identity}
        if network.graph is None:
            rests_on["torch"] = importlib.metadata.version("torch")

        def build(folder: Path) -> None:
            if network.graph is None:
                from depthclip_ros.core.runtimes.openvino.from_torch import convert

                see, read = convert(network.in_torch(), height, width)
            else:
                see, read = (self._core.read_model(part) for part in (network.graph.see, network.graph.read))
                see.reshape({see.inputs[0]: [-1, height, width, 3]})
            if quantised:
                see = int8.quantise(see, self._calibration.pixels(width, height))
            for file, model in ((SEE, see), (READ, read)):
                openvino().save_model(model, folder / file, compress_to_fp16=False)

        folder = artefact(self.name, rests_on, build)
        return folder / SEE, folder / READ


def _name_of(device: str) -> str:
    """A device of OpenVINO's as users name it. Its "GPU" is the first: so a single one is listed, not GPU.0."""
    kind, _, index = device.partition(".")
    name = {known: ours for ours, known in DEVICES.items()}.get(kind, kind)
    return f"{name}:{index or 0}" if name == "xpu" else name


def precisions_of(capabilities: Sequence[str]) -> tuple[str, ...]:
    """The floating-point precisions that a device does in hardware, the preferred one last."""
    half = {"BF16": "bf16", "FP16": "fp16"}
    return ("fp32", *(precision for capability, precision in half.items() if capability in capabilities))
