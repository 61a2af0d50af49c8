"""The network in torch, on the CPU or a CUDA device, in float32 or half precision."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from depthclip_ros.core.errors import ConfigError, DeviceError
from depthclip_ros.core.model.contract import DepthModel, Prediction

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Half precision is taken by itself only where it moves depth by less than this, and on a CPU only where it pays.
MAX_RELATIVE_ERROR = 0.02
MIN_SPEED_UP = 1.1


class OutOfDeviceMemoryError(DeviceError):
    """The batch does not fit into the device's memory; a smaller one may."""


class TorchRuntime:
    """See `runtime.Runtime`."""

    name = "torch"

    def __init__(self, model: DepthModel, device: str = "auto", precision: str = "auto") -> None:
        """Move the model; see `runtime.make_runtime` for arguments and errors."""
        if precision not in ("auto", *PRECISIONS):
            raise ConfigError(f"precision '{precision}' is not known; allowed are auto, {', '.join(PRECISIONS)}")
        self.device = find_device(device)
        self.notices: list[str] = []
        with device_errors(self.device):
            model = model.prepare_inference().to(self.device).to(memory_format=torch.channels_last)
            if precision == "auto":
                model, precision = self._choose(model)
            else:
                model = model.to(PRECISIONS[precision])
        self.precision = precision
        self.dtype = PRECISIONS[precision]
        self._model: DepthModel | None = model

    def run(self, images: Tensor) -> Prediction:
        """See `runtime.Runtime.run`."""
        if self._model is None:
            raise DeviceError(f"the model was taken off {self.device}; load it again")
        with device_errors(self.device), torch.inference_mode():
            prediction: Prediction = self._model(images)
            return prediction

    def synchronize(self) -> None:
        """See `runtime.Runtime.synchronize`."""
        if self.device.type == "cuda":
            with device_errors(self.device):
                torch.cuda.synchronize(self.device)

    def to_cpu(self) -> TorchRuntime:
        """See `runtime.Runtime.to_cpu`."""
        if self._model is None:
            raise DeviceError(f"the model was taken off {self.device}; load it again")
        model = self._model.to("cpu").to(torch.float32)
        self.close()
        return TorchRuntime(model, "cpu", "fp32")

    def close(self) -> None:
        """See `runtime.Runtime.close`."""
        self._model = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _choose(self, model: DepthModel) -> tuple[DepthModel, str]:
        """Half precision where the device is made for it and the model's depth survives it, else float32."""
        if self.device.type == "cuda":
            precision = "fp16"
        elif has_bf16_units():
            precision = "bf16"
        else:
            return model, "fp32"
        halved = copy.deepcopy(model).to(PRECISIONS[precision])
        images = _test_images(model).to(self.device, memory_format=torch.channels_last)
        full, full_s = _timed(model, images)
        half, half_s = _timed(halved, images.to(PRECISIONS[precision]))
        error = ((half.depth.float() - full.depth).abs() / full.depth.abs().clamp_min(1e-6)).flatten()
        # A NaN makes the comparison false, as it should.
        if not bool(error.quantile(0.95) <= MAX_RELATIVE_ERROR):
            self.notices.append(f"{precision} changes this model's depth too much; it runs in fp32")
            return model, "fp32"
        if self.device.type == "cpu" and full_s < half_s * MIN_SPEED_UP:
            return model, "fp32"
        return halved, precision


def find_device(name: str) -> torch.device:
    """The device of that name; "auto" is the first CUDA device, else the CPU.

    Raises:
        ConfigError: a name that is no device's, with those allowed.
        DeviceError: a device that this machine lacks, with those that it has.
    """
    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if present else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise ConfigError(f"device '{name}' is not known; allowed are auto, cpu, cuda, cuda:N")
    index = int(match[1] or 0)
    if index >= present:
        have = ", ".join(["cpu", *(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(present))])
        raise DeviceError(f"device '{name}' is not on this machine; present: {have}")
    return torch.device("cuda", index)


def has_bf16_units() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AMX, AVX-512 BF16); without, torch emulates it slowly."""
    checks = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(check() for check in checks if check is not None)


@contextmanager
def device_errors(device: torch.device) -> Iterator[None]:
    """Turn what torch raises for a full or lost device into this package's errors.

    Raises:
        OutOfDeviceMemoryError: the device's memory is full.
        DeviceError: the device does not answer.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfDeviceMemoryError(f"{device} is out of memory; use a smaller image, batch or model") from error
    except RuntimeError as error:
        first_line = str(error).partition("\n")[0]
        if "can't allocate memory" in first_line or "not enough memory" in first_line:
            raise OutOfDeviceMemoryError(f"{device} is out of memory; use a smaller image, batch or model") from error
        if "CUDA" in first_line or "cuDNN" in first_line or "CUBLAS" in first_line:
            raise DeviceError(f"{device} does not answer ({first_line}); load the model again") from error
        raise


def _test_images(model: DepthModel) -> Tensor:
    """Smooth random picture [1, 3, h, w] of a 4:3 camera, normalised; the same at every call."""
    width, height = model.network_size(640, 480)
    coarse = torch.randn(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")


def _timed(model: DepthModel, images: Tensor) -> tuple[Prediction, float]:
    """A prediction and the shortest of two times, after a first run that is not counted."""
    seconds = []
    with torch.inference_mode():
        model(images)
        for _ in range(2):
            start_s = time.perf_counter()
            prediction: Prediction = model(images)
            seconds.append(time.perf_counter() - start_s)
    return prediction, min(seconds)
