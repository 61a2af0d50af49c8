# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Devices by name, on machines with any number of GPUs; and what torch raises, as this package's errors."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from depthclip_ros.core.errors import ConfigError, DeviceError, OutOfDeviceMemoryError
from depthclip_ros.core.runtimes.devices import device_errors, find_device, has_bf16_units, torch_threads


@pytest.fixture
def gpus(monkeypatch):
    def present(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU of number {index}")

    return present


@pytest.mark.parametrize(
    ("count", "name", "found"),
    [
        (0, "auto", "cpu"), (1, "auto", "cuda:0"), (2, "cpu", "cpu"), (1, "cuda", "cuda:0"), (2, "cuda:1", "cuda:1"),
        (2, "auto", "cuda:0"),
    ],
)  # fmt: skip
def test_a_device_is_found_by_its_name(gpus, count, name, found):
    gpus(count)
    assert find_device(name) == torch.device(found)


@pytest.mark.parametrize(
    ("count", "name", "present"),
    [
        (0, "cuda", "cpu"), (0, "cuda:0", "cpu"), (1, "cuda:1", "cpu, cuda:0 (GPU of number 0)"),
        (2, "cuda:2", r"cpu, cuda:0 (GPU of number 0), cuda:1 (GPU of number 1)"),
    ],
)  # fmt: skip
def test_a_device_that_is_not_there_is_named_with_those_that_are(gpus, count, name, present):
    gpus(count)
    with pytest.raises(DeviceError) as error:
        find_device(name)
    assert str(error.value) == f"device '{name}' is not on this machine; present: {present}"


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "xpu", "", "CPU"])
def test_a_name_that_is_none_lists_the_allowed(name):
    with pytest.raises(ConfigError, match="is not known; allowed are auto, cpu, cuda, cuda:N"):
        find_device(name)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.cuda.OutOfMemoryError("full"), OutOfDeviceMemoryError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), OutOfDeviceMemoryError),
        (RuntimeError("not enough memory: you tried to allocate"), OutOfDeviceMemoryError),
        (RuntimeError("CUDA error: unspecified launch failure\nmore of it"), DeviceError),
        (RuntimeError("cuDNN error"), DeviceError),
        (RuntimeError("CUBLAS_STATUS"), DeviceError),
        (RuntimeError("shapes differ\nCUDA"), RuntimeError),
        (ValueError("CUDA"), ValueError),
    ],
)
def test_what_torch_raises_is_told_as_what_it_means(raised, expected):
    with pytest.raises(expected) as error, device_errors(torch.device("cuda", 1)):
        raise raised
    assert type(error.value) is expected
    if expected is DeviceError:
        assert str(error.value).startswith("cuda:1 does not answer (")
        assert "more of it" not in str(error.value)


@pytest.mark.parametrize(("amx", "avx512", "units"), [(0, 0, False), (1, 0, True), (0, 1, True)])
def test_bfloat16_pays_where_the_cpu_has_units_for_it(monkeypatch, amx, avx512, units):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: bool(amx), raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bool(avx512), raising=False)
    assert has_bf16_units() is units


@pytest.mark.parametrize("asked", [0, 2, 3])
@pytest.mark.parametrize("fails", [False, True])
def test_threads_are_those_asked_for_and_then_those_of_before(monkeypatch, asked, fails):
    now, changes = [3], []
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: (changes.append(count), now.__setitem__(0, count)))
    with pytest.raises(KeyError) if fails else nullcontext(), torch_threads(asked):
        assert now == [asked or 3]
        if fails:
            raise KeyError
    assert changes == ([2, 3] if asked == 2 else [])
