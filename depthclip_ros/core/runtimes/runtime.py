# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What the engine asks of a runtime, and the table of runtimes: a new one is a new file and a row in `RUNTIMES`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import ConfigError, DeviceError
from depthclip_ros.core.present import INSTALL_TORCH, has_cuda, is_installed, require_torch
from depthclip_ros.core.runtimes import onnx_runtime
from depthclip_ros.core.runtimes.network import USUAL_IMAGE, Network
from depthclip_ros.core.runtimes.network_output import NetworkOutput
from depthclip_ros.core.runtimes.openvino import imported, int8, openvino_runtime
from depthclip_ros.core.runtimes.openvino.calibration_images import CalibrationSet
from depthclip_ros.core.runtimes.proof import Proof, RefusedRuntimeError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from depthclip_ros.core.model.contract import Prediction
    from depthclip_ros.core.runtimes.torch_runtime import TorchRuntime

PRECISIONS = ("fp32", "bf16", "fp16", "int8")


class Runtime(Protocol):
    """A network on a device.

    Attributes:
        name: as in `RUNTIMES`.
        precision: of `PRECISIONS`.
        notices: what the user should know of how it was set up, one sentence each.
        proofs: by (batch, height, width), what it was off by from torch in float32 on the CPU.
        on_device: it is a `DeviceRuntime`: pixels and predictions are best left there.
    """

    name: str
    precision: str
    notices: list[str]
    proofs: dict[tuple[int, int, int], Proof]
    on_device: bool

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

        The depth meanwhile is the network's too; where there is nothing to make it, `run` raises `NotReadyError`. What
        goes wrong in the thread is raised by a later `run` of the same size and batch.
        """

    @property
    def preparing(self) -> tuple[tuple[int, int, int], ...]:
        """What that thread makes, and what waits for it: (batch, height, width) each."""

    def run(self, pixels: NDArray[np.uint8]) -> NetworkOutput:
        """Predict for resized pictures, uint8 [B, h, w, 3]. The next run may overwrite the output.

        Raises:
            OutOfDeviceMemoryError: the batch does not fit; a smaller one may.
            RefusedRuntimeError: the network for this size or batch cannot be compiled, or did not prove itself.
            NotReadyError: it is being compiled, see `prepare_in_background`.
            DeviceError: the device does not answer.
        """

    def to_torch_cpu(self, precision: str) -> Runtime:
        """The same network in torch on the CPU; this one can no longer be used.

        Raises:
            ConfigError: torch is not installed.
        """

    def close(self) -> None:
        """Let go of the model and the device's memory."""


class DeviceRuntime(Runtime, Protocol):
    """A runtime whose device also resizes and makes metres: nothing but the result crosses the bus.

    Attributes:
        device: where pixels are expected and predictions come out.
    """

    device: torch.device

    def run_on_device(self, pixels: Tensor) -> Prediction:
        """Predict for resized pictures, uint8 [B, h, w, 3] on `device`. The next run may overwrite the prediction.

        Raises:
            as `run`.
        """

    def synchronize(self) -> None:
        """Wait until the device has done what was asked of it, so that time can be taken."""


def _torch(network: Network, device: str, precision: str, _calibration: CalibrationSet, threads: int) -> TorchRuntime:
    require_torch("runtime 'torch'")
    from depthclip_ros.core.runtimes.torch_runtime import TorchRuntime

    return TorchRuntime(network, device, precision, threads)


Make = Callable[[Network, str, str, CalibrationSet, int], Runtime]
"""Network, device, precision, calibration pictures, threads."""

RUNTIMES: dict[str, Make] = {
    "torch": _torch,
    "openvino": openvino_runtime.OpenVinoRuntime,
    "onnxruntime": lambda network, device, precision, _calibration, threads: onnx_runtime.OnnxRuntime(
        network, device, precision, threads
    ),
}


def make_runtime(
    network: Network,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    *,
    calibration: CalibrationSet | None = None,
    threads: int = 0,
) -> Runtime:
    """Put a network on a device; it belongs to the runtime from here on.

    A runtime that cannot run the network or whose depth is not torch's is refused: the same runtime does the work in
    fp32, or torch where it is installed, and a notice says the figures.

    Args:
        network: of weights or of a model.
        runtime: "auto" (see `fastest_runtime`) or a row of RUNTIMES.
        device: "auto", "cpu", "cuda", "cuda:N", "xpu", "xpu:N".
        precision: "auto" or one of PRECISIONS.
        calibration: for int8; rendered rooms if None.
        threads: of the CPU that the network works in; 0: as the library likes.

    Raises:
        ConfigError: an unknown or absent runtime, an unknown device or precision, with those allowed.
        DeviceError: the device is not there, with those that are, the model does not fit into its memory, or every
            runtime that is installed was refused.
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
    if precision != "fp32" and name != "torch":
        attempts.append((name, device, "fp32"))
    if is_installed("torch"):
        attempts.append(("torch", device if device.startswith("cuda") else "auto", "auto"))
    tried: set[tuple[str, str]] = set()
    for name, where, asked in attempts:
        try:
            made = RUNTIMES[name](network, where, asked, calibration or CalibrationSet(), threads)
            if (name, made.precision) in tried:
                continue
            tried.add((name, made.precision))
            made.prepare(network.network_size(*USUAL_IMAGE))
        except RefusedRuntimeError as error:
            notices.append(str(error))
            continue
        if notices:
            made.notices.insert(0, f"{'; '.join(notices)}: {made.name} in {made.precision} runs in its place")
        return made
    raise DeviceError(f"{'; '.join(notices)}; no other runtime is installed: {INSTALL_TORCH}")


def fastest_runtime(device: str, precision: str = "auto") -> str:
    """The runtime that "auto" stands for: torch on a CUDA device, else OpenVINO, torch, ONNX Runtime: what is there."""
    if precision == "int8" or device.startswith("xpu"):
        return "openvino"
    on_cpu = device == "cpu" or (device == "auto" and not has_cuda())
    if on_cpu and precision != "fp16" and imported.is_installed():
        return "openvino"
    without_torch = not is_installed("torch") and onnx_runtime.is_installed()
    return "onnxruntime" if without_torch else "torch"


def runtime_options(device: str = "auto") -> list[tuple[str, str]]:
    """Every runtime and precision that is present for a device, e.g. ("openvino", "bf16"); what to compare."""
    on_gpu = device.startswith("cuda") or (device == "auto" and has_cuda())
    options = [("torch", "fp32")] if is_installed("torch") else []
    if on_gpu:
        options += [("torch", "bf16"), ("torch", "fp16")]
        if onnx_runtime.is_installed() and onnx_runtime.CUDA in onnx_runtime.onnxruntime().get_available_providers():
            options += [("onnxruntime", "fp32"), ("onnxruntime", "fp16")]
        return options
    if options:
        from depthclip_ros.core.runtimes.devices import has_bf16_units

        options += [("torch", "bf16")] if has_bf16_units() else []
    if imported.is_installed():
        core = imported.openvino().Core()
        present = openvino_runtime.precisions_of(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        options += [("openvino", precision) for precision in present]
        options += [("openvino", "int8")] if int8.is_installed() else []
    if onnx_runtime.is_installed():
        options.append(("onnxruntime", "fp32"))
    return options
