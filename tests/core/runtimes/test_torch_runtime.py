# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Devices and precisions by name, and the errors that torch's own become."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from depthclip_ros.core.errors import ConfigError, DeviceError, OutOfDeviceMemoryError
from depthclip_ros.core.model.contract import DepthModel, Prediction
from depthclip_ros.core.runtimes import torch_runtime
from depthclip_ros.core.runtimes.devices import device_errors, find_device, torch_threads
from depthclip_ros.core.runtimes.network import Network
from depthclip_ros.core.runtimes.torch_runtime import TorchRuntime

CPU = torch.device("cpu")


def test_the_cpu_is_always_there() -> None:
    assert find_device("cpu") == CPU
    assert find_device("auto").type in ("cpu", "cuda")


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "", "cuda0"])
def test_an_unknown_device_names_the_allowed(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device '{name}' is not known; allowed are auto, cpu, cuda, cuda:N"):
        find_device(name)


def test_an_absent_device_names_those_present() -> None:
    with pytest.raises(DeviceError, match="device 'cuda:99' is not on this machine; present: cpu"):
        find_device("cuda:99")


PIXELS = np.random.default_rng(1).integers(0, 256, (2, 48, 64, 3), np.uint8)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_keeps_the_depth(small_model: Callable[[], DepthModel], precision: str) -> None:
    full = TorchRuntime(Network.of_model(small_model()), "cpu", "fp32").run(PIXELS)
    runtime = TorchRuntime(Network.of_model(small_model()), "cpu", precision)
    half = runtime.run(PIXELS)
    assert half.depth.dtype == np.float32
    assert np.abs(half.depth / full.depth - 1).max() < 0.05
    assert np.isfinite(half.confidence).all()


@pytest.mark.cuda
def test_the_gpu_agrees_with_the_cpu(small_model: Callable[[], DepthModel]) -> None:
    full = TorchRuntime(Network.of_model(small_model()), "cpu", "fp32").run(PIXELS)
    runtime = TorchRuntime(Network.of_model(small_model()), "cuda")
    on_gpu = runtime.run_on_device(torch.from_numpy(PIXELS).to(runtime.device))
    assert runtime.on_device
    assert runtime.precision == "fp16"
    assert np.abs(on_gpu.depth.cpu().numpy() / full.depth - 1).max() < 0.05


@pytest.mark.cuda
def test_graphs_of_many_sizes_keep_what_they_read(small_model: Callable[[], DepthModel]) -> None:
    runtime = TorchRuntime(Network.of_model(small_model()), "cuda", "fp32")
    cpu = TorchRuntime(Network.of_model(small_model()), "cpu", "fp32")
    random = np.random.default_rng(2)
    images = [random.integers(0, 256, (1, 32 + 16 * (i % 5), 32 + 16 * (i // 5), 3), np.uint8) for i in range(40)]
    for image in [*images, *images[::-1], *images[:20] * 2]:  # more sizes than graphs are kept, old ones among new ones
        again = runtime.run(image)
        assert np.abs(again.depth / cpu.run(image).depth - 1).max() < 0.02


def test_automatic_precision_refuses_what_ruins_the_depth(
    reading_model: Callable[..., DepthModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Brittle(type(reading_model())):  # type: ignore[misc]
        def read(self, *seen: torch.Tensor) -> Prediction:
            prediction: Prediction = super().read(*seen)
            if seen[0].dtype != torch.float32:
                prediction.depth = prediction.depth * 1.1
            return prediction

    monkeypatch.setattr(torch_runtime, "has_bf16_units", lambda: True)
    monkeypatch.setattr(torch_runtime, "MIN_SPEED_UP", 0.0)
    assert TorchRuntime(Network.of_model(reading_model()), "cpu").precision == "bf16"
    runtime = TorchRuntime(Network.of_model(Brittle(reading_model().config)), "cpu")
    assert runtime.precision == "fp32"
    (notice,) = runtime.notices
    assert "torch in bf16 is not this network: its depth is off by 10." in notice
    assert notice.endswith("it runs in fp32")


@pytest.mark.parametrize(("asked", "inside"), [(1, 1), (0, 3)])
def test_torch_works_in_the_threads_asked_for_and_gives_them_back(asked: int, inside: int) -> None:
    torch.set_num_threads(3)  # `one_thread` puts back what was there

    def fail() -> None:
        with torch_threads(asked):
            assert torch.get_num_threads() == inside
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.get_num_threads() == 3


def test_full_and_lost_devices_become_our_errors() -> None:
    with pytest.raises(OutOfDeviceMemoryError, match="cpu is out of memory"), device_errors(CPU):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
    with pytest.raises(OutOfDeviceMemoryError), device_errors(CPU):
        torch.empty(1 << 60, dtype=torch.uint8)
    with pytest.raises(DeviceError, match=r"cpu does not answer .CUDA error: device lost"), device_errors(CPU):
        raise RuntimeError("CUDA error: device lost\nCompile with TORCH_USE_CUDA_DSA")
    with pytest.raises(RuntimeError, match="shapes differ"), device_errors(CPU):
        raise RuntimeError("shapes differ")


def test_a_closed_runtime_says_so(small_model: Callable[[], DepthModel]) -> None:
    runtime = TorchRuntime(Network.of_model(small_model()), "cpu", "fp32")
    runtime.close()
    with pytest.raises(DeviceError, match="taken off cpu"):
        runtime.run(PIXELS)
