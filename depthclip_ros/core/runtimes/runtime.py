# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What the engine asks of a runtime, and the table of runtimes: a new one is a new file and a row in `RUNTIMES`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from depthclip_ros.core.errors import ConfigError, DeviceError
from depthclip_ros.core.model.contract import DepthModel, Prediction
from depthclip_ros.core.runtimes import onnx_runtime
from depthclip_ros.core.runtimes.devices import has_bf16_units
from depthclip_ros.core.runtimes.openvino import int8, openvino_runtime
from depthclip_ros.core.runtimes.openvino.calibration_images import CalibrationSet
from depthclip_ros.core.runtimes.proof import Proof, RefusedRuntimeError
from depthclip_ros.core.runtimes.torch_runtime import USUAL_IMAGE, TorchRuntime

PRECISIONS = ("fp32", "bf16", "fp16", "int8")


class Runtime(Protocol):
    """A model on a device.

    Attributes:
        name: as in `RUNTIMES`.
        device: where pixels are expected and predictions come out; a compiled network brings them elsewhere itself.
        precision: of `PRECISIONS`.
        notices: what the user should know of how it was set up, one sentence each.
        proofs: by (batch, height, width), what it was off by from torch in float32 on the CPU.
        own_threads: it brings its own threads to the CPU: torch's should then be quiet.
    """

    name: str
    device: torch.device
    precision: str
    notices: list[str]
    proofs: dict[tuple[int, int, int], Proof]
    own_threads: bool

    @property
    def device_name(self) -> str:
        """Where the network runs, e.g. cpu, cuda:0, xpu."""

    def prepare(self, network_size: tuple[int, int], batch: int = 1) -> None:
        """Do now what the first run of this input size (width, height) and batch would have to.

        Raises:
            as `run`.
        """

    def prepare_in_background(self) -> None:
        """From now on `run` waits for no compilation: a thread makes what is missing, and `run` is slower until then.

        The depth meanwhile is the network's too. What goes wrong in the thread is raised by a later `run` of the same
        size and batch.
        """

    @property
    def preparing(self) -> tuple[tuple[int, int, int], ...]:
        """What that thread makes, and what waits for it: (batch, height, width) each."""

    def run(self, pixels: Tensor) -> Prediction:
        """Predict for resized pictures, uint8 [B, h, w, 3] on `device`. The next run may overwrite the prediction.

        Raises:
            OutOfDeviceMemoryError: the batch does not fit; a smaller one may.
            RefusedRuntimeError: the network for this size or batch cannot be compiled, or did not prove itself.
            DeviceError: the device does not answer.
        """

    def synchronize(self) -> None:
        """Wait until the device has done what was asked of it, so that time can be taken."""

    def to_torch_cpu(self, precision: str) -> Runtime:
        """The same model in torch on the CPU; this one can no longer be used."""

    def close(self) -> None:
        """Let go of the model and the device's memory."""


Make = Callable[[DepthModel, str, str, Callable[[], str], CalibrationSet, int], Runtime]
"""Model, device, precision, identity of the weights, calibration pictures, threads."""

RUNTIMES: dict[str, Make] = {
    "torch": lambda model, device, precision, _identity, _calibration, _threads: TorchRuntime(model, device, precision),
    "openvino": lambda model, device, precision, identity, calibration, threads: openvino_runtime.OpenVinoRuntime(
        model, device, precision, identity(), calibration, threads
    ),
    "onnxruntime": lambda model, device, precision, identity, _calibration, threads: onnx_runtime.OnnxRuntime(
        model, device, precision, identity(), threads
    ),
}


def make_runtime(
    model: DepthModel,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    *,
    identity: Callable[[], str],
    calibration: CalibrationSet | None = None,
    threads: int = 0,
) -> Runtime:
    """Put a model on a device; the model belongs to the runtime from here on.

    A runtime that cannot run the network or whose depth is not torch's is refused: torch does the work, and a notice
    says the figures.

    Args:
        model: as `load_weights` gives it.
        runtime: "auto" (see `fastest_runtime`) or a row of RUNTIMES.
        device: "auto", "cpu", "cuda", "cuda:N", "xpu", "xpu:N".
        precision: "auto" or one of PRECISIONS.
        identity: of the model's weights, asked for where a compiled network is kept on the disk.
        calibration: for int8; rendered rooms if None.
        threads: of the CPU, for runtimes that bring their own; torch's are its caller's. 0: as the library likes.

    Raises:
        ConfigError: an unknown or absent runtime, an unknown device or precision, with those allowed.
        DeviceError: the device is not there, with those that are, or the model does not fit into its memory.
    """
    if runtime not in ("auto", *RUNTIMES):
        raise ConfigError(f"runtime '{runtime}' is not known; allowed are auto, {', '.join(RUNTIMES)}")
    if precision not in ("auto", *PRECISIONS):
        raise ConfigError(f"precision '{precision}' is not known; allowed are auto, {', '.join(PRECISIONS)}")
    name = fastest_runtime(device, precision) if runtime == "auto" else runtime
    notices: list[str] = []
    attempts = [(name, device, precision)]
    if precision == "int8":
        attempts.append((name, device, "auto"))
    attempts.append(("torch", device if device.startswith("cuda") else "auto", "auto"))
    model = model.prepare_inference()
    for attempt in attempts:
        try:
            made = RUNTIMES[attempt[0]](model, *attempt[1:], identity, calibration or CalibrationSet(), threads)
            made.prepare(model.network_size(*USUAL_IMAGE))
        except RefusedRuntimeError as error:
            notices.append(str(error))
            continue
        if notices:
            made.notices.insert(0, f"{'; '.join(notices)}: {made.name} in {made.precision} runs in its place")
        return made
    raise DeviceError("; ".join(notices))


def fastest_runtime(device: str, precision: str = "auto") -> str:
    """The runtime that "auto" stands for: torch on a CUDA device, else OpenVINO where it is installed, else torch."""
    if precision == "int8" or device.startswith("xpu"):
        return "openvino"
    on_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    return "openvino" if on_cpu and precision != "fp16" and openvino_runtime.is_installed() else "torch"


def runtime_options(device: str = "auto") -> list[tuple[str, str]]:
    """Every runtime and precision that is present for a device, e.g. ("openvino", "bf16"); what to compare."""
    on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    options = [("torch", "fp32")]
    if on_gpu:
        options += [("torch", "bf16"), ("torch", "fp16")]
        if onnx_runtime.is_installed() and onnx_runtime.CUDA in onnx_runtime.onnxruntime().get_available_providers():
            options += [("onnxruntime", "fp32"), ("onnxruntime", "fp16")]
        return options
    if has_bf16_units():
        options.append(("torch", "bf16"))
    if openvino_runtime.is_installed():
        core = openvino_runtime.openvino().Core()
        present = openvino_runtime.precisions_of(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        options += [("openvino", precision) for precision in present]
        options += [("openvino", "int8")] if int8.is_installed() else []
    if onnx_runtime.is_installed():
        options.append(("onnxruntime", "fp32"))
    return options
