# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Compiling beside a camera: no image waits, each network is made once, and what goes wrong costs no image."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import DeviceError, OutOfDeviceMemoryError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.runtimes import runtime
from depthclip_ros.core.runtimes.background import Background
from depthclip_ros.core.runtimes.compiled_runtime import Compiled, CompiledRuntime
from depthclip_ros.core.runtimes.network import Network
from depthclip_ros.core.types import Intrinsics

Make = Callable[..., DepthModel]
UPRIGHT = Intrinsics(100.0, 100.0, 47.5, 63.5, 96, 128)
WAIT_S = 20.0


class GatedRuntime(CompiledRuntime):
    """Torch, compiled as long as the gate is shut.

    Attributes:
        compilations, runs: (batch, height, width) of each.
        fault: raised by compilations, after the gate.
    """

    name = "gated"

    def __init__(self, network: Network) -> None:
        super().__init__(network, "fp32")
        self.gate = threading.Event()
        self.gate.set()
        self.fault: Callable[[tuple[int, int, int]], Exception | None] = lambda _: None
        self.compilations: list[tuple[int, int, int]] = []
        self.runs: list[tuple[int, ...]] = []

    def compile(self, network: Network, batch: int, height: int, width: int) -> Compiled:
        key = (batch, height, width)
        self.compilations.append(key)
        assert self.gate.wait(WAIT_S)
        fault = self.fault(key)
        if fault is not None:
            raise fault
        outputs = [np.empty(0, np.float32)]

        def run(pixels: np.ndarray) -> Any:
            self.runs.append(pixels.shape[:3])
            with torch.inference_mode():
                found = [part.numpy() for part in network.in_torch()(torch.from_numpy(pixels))]
            if outputs[0].shape != found[0].shape:
                outputs[:] = found
            for kept, new in zip(outputs, found, strict=True):
                kept[...] = new  # as compiled networks do: the next call writes into the same memory
            return outputs

        return run


@pytest.fixture
def serving(reading_model: Make, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[DepthEngine, GatedRuntime]]:
    """An engine of a node: warmed up for one size, compiling in the background from there on."""
    made: list[GatedRuntime] = []

    def make(network: Network, *_: Any) -> GatedRuntime:
        made.append(GatedRuntime(network))
        return made[-1]

    monkeypatch.setitem(runtime.RUNTIMES, "openvino", make)
    engine = DepthEngine(reading_model(), runtime="openvino", device="cpu")
    engine.warm_up(128, 96)
    engine.prepare_in_background()
    yield engine, made[0]
    made[0].gate.set()
    _until(lambda: not made[0].preparing)


def _until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.002)


def _pictures(batch: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (batch, 16, 12, 3), np.uint8)
    return noise.repeat(8, 1).repeat(8, 2)


def _expected(reading_model: Make, pictures: np.ndarray) -> Any:
    engine = DepthEngine(reading_model(), device="cpu", precision="fp32")
    return engine.infer(pictures, [UPRIGHT] * len(pictures))


def test_an_image_of_a_new_size_does_not_wait_and_the_fast_network_takes_over(
    serving: tuple[DepthEngine, GatedRuntime], reading_model: Make
) -> None:
    engine, gated = serving
    expected = _expected(reading_model, _pictures(1))
    gated.gate.clear()
    for _ in range(3):
        depth = engine.infer(_pictures(1), [UPRIGHT])
        np.testing.assert_allclose(depth.depth_m, expected.depth_m, rtol=1e-5)
        np.testing.assert_allclose(depth.confidence, expected.confidence, atol=1e-6)
    assert engine.preparing == "96x128"
    assert (1, 64, 48) not in gated.runs
    gated.gate.set()
    _until(lambda: not engine.preparing)
    assert engine.proofs[(1, 64, 48)].median == 0
    gated.runs.clear()
    np.testing.assert_allclose(engine.infer(_pictures(1), [UPRIGHT]).depth_m, expected.depth_m, rtol=1e-5)
    assert gated.runs == [(1, 64, 48)]
    assert gated.compilations == [(1, 48, 64), (1, 64, 48)]  # each once
    assert (engine.runtime, engine.notices) == ("gated", [])


def test_a_new_batch_goes_image_by_image_meanwhile(
    serving: tuple[DepthEngine, GatedRuntime], reading_model: Make
) -> None:
    engine, gated = serving
    expected = _expected(reading_model, _pictures(3))
    engine.infer(_pictures(1), [UPRIGHT])
    _until(lambda: not engine.preparing)
    gated.runs.clear()
    gated.gate.clear()
    depth = engine.infer(_pictures(3), [UPRIGHT] * 3)
    np.testing.assert_allclose(depth.depth_m, expected.depth_m, rtol=1e-5)
    assert engine.preparing == "3 x 96x128"
    assert gated.runs == [(1, 64, 48)] * 3
    gated.gate.set()
    _until(lambda: not engine.preparing)
    gated.runs.clear()
    np.testing.assert_allclose(engine.infer(_pictures(3), [UPRIGHT] * 3).depth_m, expected.depth_m, rtol=1e-5)
    assert gated.runs == [(3, 64, 48)]


def test_of_a_new_size_and_batch_one_image_comes_first(serving: tuple[DepthEngine, GatedRuntime]) -> None:
    engine, gated = serving
    gated.gate.clear()
    engine.infer(_pictures(2), [UPRIGHT] * 2)
    assert gated.preparing[-1] == (2, 64, 48)
    gated.gate.set()
    _until(lambda: not engine.preparing)
    assert gated.compilations[1:] == [(1, 64, 48), (2, 64, 48)]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (RuntimeError("no kernel"), "gated in fp32 cannot run this network (RuntimeError: no kernel)"),
        (DeviceError("the device is gone"), "the device is gone"),
    ],
    ids=["broken", "gone"],
)
def test_what_cannot_be_compiled_is_torchs_and_no_image_is_lost(
    serving: tuple[DepthEngine, GatedRuntime], reading_model: Make, fault: Exception, said: str
) -> None:
    engine, gated = serving
    gated.fault = lambda _: fault
    expected = _expected(reading_model, _pictures(1))
    for _ in range(2):
        depth = engine.infer(_pictures(1), [UPRIGHT])
        np.testing.assert_allclose(depth.depth_m, expected.depth_m, rtol=0.02)
        _until(lambda: not engine.preparing)
    assert engine.notices == [f"{said}: torch on the CPU runs in its place"]
    assert engine.runtime == "torch"


def test_a_batch_that_does_not_fit_is_halved(serving: tuple[DepthEngine, GatedRuntime]) -> None:
    engine, gated = serving
    gated.fault = lambda key: OutOfDeviceMemoryError("full") if key[0] > 2 else None
    for _ in range(3):
        assert len(engine.infer(_pictures(4), [UPRIGHT] * 4).scale) == 4
        _until(lambda: not engine.preparing)
    assert engine.notices == ["cpu is out of memory at 4 images; from now on 2 at a time"]
    assert gated.runs[-2:] == [(2, 64, 48)] * 2


def test_an_engine_closes_at_once_while_something_compiles(serving: tuple[DepthEngine, GatedRuntime]) -> None:
    engine, gated = serving
    gated.gate.clear()
    engine.infer(_pictures(2), [UPRIGHT] * 2)
    start_s = time.monotonic()
    engine.close()
    assert time.monotonic() - start_s < 1
    with pytest.raises(DeviceError, match="engine is closed"):
        engine.infer(_pictures(1), [UPRIGHT])
    gated.gate.set()
    _until(lambda: not gated.preparing)
    assert gated.compilations[1:] == [(1, 64, 48)]  # the second was not begun
    assert not gated._compiled


def test_without_the_background_an_image_waits_for_its_network(
    reading_model: Make, serving: tuple[DepthEngine, GatedRuntime]
) -> None:
    engine = DepthEngine(reading_model(), runtime="openvino", device="cpu")
    engine.infer(_pictures(2), [UPRIGHT] * 2)
    assert (2, 64, 48) in engine.proofs
    assert engine.preparing == ""


def test_work_is_done_once_in_order_and_its_error_is_told_once() -> None:
    gate, done = threading.Event(), []

    def work(key: str) -> None:
        assert gate.wait(WAIT_S)
        done.append(key)
        if key == "bad":
            raise ValueError("a bad key")

    background = Background(work, "test")
    for key in ("a", "bad", "a", "b", "bad"):
        background.ask(key)
    assert background.asked == ("a", "bad", "b")
    gate.set()
    _until(lambda: not background.asked)
    assert done == ["a", "bad", "b"]
    with pytest.raises(ValueError, match="a bad key"):
        background.ask("bad")
    background.ask("bad")  # tried anew
    _until(lambda: not background.asked)
    assert done[3:] == ["bad"]
    background.close()
    background.ask("c")
    assert background.asked == ()


def test_a_runtime_whose_network_torch_takes_over_holds_it_no_longer(
    serving: tuple[DepthEngine, GatedRuntime], reading_model: Make
) -> None:
    _, gated = serving
    pixels = np.zeros((1, 48, 64, 3), np.uint8)
    before = gated.run(pixels)
    torch_has_it = gated.to_torch_cpu("fp32")
    np.testing.assert_allclose(torch_has_it.run(pixels).depth, before.depth, rtol=1e-5)
    with pytest.raises(DeviceError, match="the model was taken off gated; load it again"):
        gated.run(pixels)
