"""What the engine asks of a runtime, and the table of runtimes: a new one is a new file and a row in `RUNTIMES`."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from depthclip_ros.core.engine.torch_runtime import TorchRuntime
from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.contract import DepthModel, Prediction


class Runtime(Protocol):
    """A model on a device.

    Attributes:
        name: as in `RUNTIMES`.
        device: where the network's input is expected and its prediction comes out.
        precision: "fp32", "bf16" or "fp16".
        dtype: of the network's input.
        notices: what the user should know of how it was set up, one sentence each.
    """

    name: str
    device: torch.device
    precision: str
    dtype: torch.dtype
    notices: list[str]

    def run(self, images: Tensor) -> Prediction:
        """Predict for normalised images [B, 3, h, w] on `device`.

        Raises:
            OutOfDeviceMemoryError: the batch does not fit; a smaller one may.
            DeviceError: the device does not answer.
        """

    def synchronize(self) -> None:
        """Wait until the device has done what was asked of it, so that time can be taken."""

    def to_cpu(self) -> Runtime:
        """The same model on the CPU, in float32; this one can no longer be used."""

    def close(self) -> None:
        """Let go of the model and the device's memory."""


RUNTIMES = {"torch": TorchRuntime}


def make_runtime(model: DepthModel, runtime: str = "auto", device: str = "auto", precision: str = "auto") -> Runtime:
    """Put a model on a device; the model belongs to the runtime from here on.

    Args:
        model: as `load_weights` gives it.
        runtime: "auto" or a row of RUNTIMES.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "auto", "fp32", "bf16" or "fp16".

    Raises:
        ConfigError: an unknown runtime, device or precision, with those allowed.
        DeviceError: the device is not there, with those that are, or the model does not fit into its memory.
    """
    name = "torch" if runtime == "auto" else runtime
    if name not in RUNTIMES:
        raise ConfigError(f"runtime '{runtime}' is not known; allowed are auto, {', '.join(RUNTIMES)}")
    return RUNTIMES[name](model, device, precision)
