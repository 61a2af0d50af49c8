# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Devices of torch by name, what they can do, and what their failures mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from depthclip_ros.core.errors import ConfigError, DeviceError, OutOfDeviceMemoryError


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
        raise ConfigError(f"device '{name}' is not known; allowed are auto, cpu, cuda, cuda:N (xpu: runtime openvino)")
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
def torch_threads(count: int) -> Iterator[None]:
    """Let torch work in so many threads when it is called from this one; 0: as many as it likes."""
    before = torch.get_num_threads()
    changes = count not in (0, before)
    if changes:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if changes:
            torch.set_num_threads(before)


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
