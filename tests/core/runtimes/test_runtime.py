# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Which runtime does the work: the names, what is absent, and what happens to one that is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.runtimes import onnx_runtime, runtime
from depthclip_ros.core.runtimes.compiled_runtime import Compiled, CompiledRuntime
from depthclip_ros.core.runtimes.network import Network
from depthclip_ros.core.runtimes.openvino import imported, int8
from depthclip_ros.core.runtimes.pixel_network import PixelNetwork
from depthclip_ros.core.runtimes.runtime import fastest_runtime, make_runtime, runtime_options
from depthclip_ros.core.types import Intrinsics

Make = Callable[..., DepthModel]
CAMERA = Intrinsics(100.0, 100.0, 63.5, 47.5, 128, 96)


class TorchInDisguise(CompiledRuntime):
    """A compiled runtime whose arithmetic is torch's, spoilt as a test wants."""

    name = "disguise"

    def __init__(self, network: Network, spoil: Callable[[list[np.ndarray], tuple[int, int, int]], Any]) -> None:
        super().__init__(network, "fp32")
        self.spoil = spoil
        self.compilations: list[tuple[int, int, int]] = []

    def compile(self, network: Network, batch: int, height: int, width: int) -> Compiled:
        self.compilations.append((batch, height, width))

        def run(pixels: np.ndarray) -> Any:
            with torch.inference_mode():
                return self.spoil(
                    [part.numpy() for part in network.in_torch()(torch.from_numpy(pixels))], pixels.shape[:3]
                )

        return run


@pytest.fixture
def disguise(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[TorchInDisguise]]:
    """Make "openvino" a runtime that is spoilt: `made = disguise(spoil)`."""

    def install(spoil: Callable[..., Any]) -> list[TorchInDisguise]:
        made: list[TorchInDisguise] = []

        def make(network: Network, *_: Any) -> TorchInDisguise:
            made.append(TorchInDisguise(network, spoil))
            return made[-1]

        monkeypatch.setitem(runtime.RUNTIMES, "openvino", make)
        return made

    return install


def _engine(model: DepthModel, name: str = "openvino") -> DepthEngine:
    return DepthEngine(model, runtime=name, device="cpu")


def _pictures(batch: int, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (batch, *size, 3), np.uint8)


def test_a_runtime_that_is_right_does_the_work(disguise: Any, reading_model: Make) -> None:
    made = disguise(lambda outputs, _: outputs)
    engine = _engine(reading_model())
    assert (engine.runtime, engine.notices) == ("disguise", [])
    assert engine.proofs[(1, 48, 64)].median == 0
    expected = DepthEngine(reading_model(), device="cpu", precision="fp32").infer(_pictures(3), [CAMERA] * 3)
    depth = engine.infer(_pictures(3), [CAMERA] * 3)
    np.testing.assert_allclose(depth.depth_m, expected.depth_m, rtol=1e-5)
    np.testing.assert_allclose(depth.confidence, expected.confidence, atol=1e-5)
    assert made[0].compilations == [(1, 48, 64), (3, 48, 64)]
    engine.infer(_pictures(3), [CAMERA] * 3)
    assert len(made[0].compilations) == 2


@pytest.mark.parametrize(
    ("spoil", "figure"),
    [
        (lambda outputs, _: [outputs[0] * 1.1, outputs[1]], r"off by 10\.0% \(median\) and 10\.0%"),
        (lambda outputs, _: [outputs[0].transpose(0, 2, 1), outputs[1]], r"shape \[1, 64, 48\] where .* \[1, 48, 64\]"),
        (lambda outputs, _: [outputs[0][:, ::-1].copy(), outputs[1]], r"off by \d+\.\d% \(median\)"),
        (lambda outputs, _: [outputs[0] * np.nan, outputs[1]], r"off by nan% \(median\)"),
        (lambda outputs, _: 1 / 0, r"cannot run this network \(ZeroDivisionError: division by zero\)"),
    ],
    ids=["scaled", "transposed", "upside down", "nan", "raises"],
)
def test_a_runtime_that_is_wrong_is_refused_at_load(
    disguise: Any, reading_model: Make, spoil: Any, figure: str
) -> None:
    disguise(spoil)
    engine = _engine(reading_model())
    assert engine.runtime == "torch"
    (notice,) = engine.notices
    assert notice.startswith("disguise in fp32 ")
    assert notice.count("disguise in fp32 ") == 1  # not tried again as its own substitute
    assert notice.endswith(f": torch in {engine.precision} runs in its place")
    assert re.search(figure, notice), notice
    assert np.isfinite(engine.infer(_pictures(1), [CAMERA]).confidence).all()


def test_a_runtime_that_is_wrong_for_a_later_size_is_refused_then(disguise: Any, reading_model: Make) -> None:
    disguise(lambda outputs, shape: [outputs[0] * (1.1 if shape[1] > shape[2] else 1.0), outputs[1]])
    engine = _engine(reading_model())
    assert engine.runtime == "disguise"
    upright = Intrinsics(100.0, 100.0, 47.5, 63.5, 96, 128)
    depth = engine.infer(_pictures(1, (128, 96)), [upright])
    assert engine.runtime == "torch"
    assert "off by 10.0% (median)" in engine.notices[0]
    expected = DepthEngine(reading_model(), device="cpu").infer(_pictures(1, (128, 96)), [upright])
    np.testing.assert_allclose(depth.depth_m, expected.depth_m, rtol=0.02)


def test_torch_works_on_after_the_fallback_as_if_it_had_been_asked_for(disguise: Any, small_model: Make) -> None:
    disguise(lambda outputs, _: [outputs[0] * 2, outputs[1]])
    refused, plain = _engine(small_model()), _engine(small_model(), "torch")
    depths = [engine.infer(_pictures(1), [CAMERA]).depth_m for engine in (refused, plain)]
    np.testing.assert_allclose(*depths, rtol=0.02)


def test_unknown_names_list_the_allowed(small_model: Make) -> None:
    def make(**asked: str) -> None:
        make_runtime(Network.of_model(small_model()), **asked)

    with pytest.raises(ConfigError, match="runtime 'tensorrt' is not known; allowed are auto, torch, openvino, onnxru"):
        make(runtime="tensorrt")
    with pytest.raises(ConfigError, match="precision 'int4' is not known; allowed are auto, fp32, bf16, fp16, int8"):
        make(precision="int4")
    with pytest.raises(ConfigError, match="precision 'int8' is not torch's"):
        make(runtime="torch", device="cpu", precision="int8")


@pytest.mark.parametrize(
    ("module", "name"), [(imported, "openvino"), (onnx_runtime, "onnxruntime")], ids=["openvino", "onnx"]
)
def test_an_absent_runtime_says_how_to_install_it(
    module: Any, name: str, small_model: Make, monkeypatch: pytest.MonkeyPatch, shared_cache: None
) -> None:
    monkeypatch.setattr(module, "is_installed", lambda: False)
    getattr(module, name).cache_clear()
    try:
        with pytest.raises(ConfigError, match=rf"runtime '{name}' is not installed; pip install .*(openvino|onnx)"):
            _engine(small_model(), name)
        assert all(option[0] != name for option in runtime_options("cpu"))
        assert _engine(small_model(), "auto").runtime in {"torch", "openvino"} - {name}
    finally:
        getattr(module, name).cache_clear()


@pytest.mark.skipif(not imported.is_installed(), reason="needs the extra `openvino`")
def test_int8_without_nncf_says_how_to_install_it(
    small_model: Make, monkeypatch: pytest.MonkeyPatch, shared_cache: None
) -> None:
    monkeypatch.setattr(int8, "is_installed", lambda: False)
    with pytest.raises(ConfigError, match="precision int8 needs nncf; pip install"):
        DepthEngine(small_model(), runtime="openvino", device="cpu", precision="int8")


def test_auto_takes_the_fastest_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imported, "is_installed", lambda: True)
    assert fastest_runtime("cpu") == "openvino"
    assert fastest_runtime("cuda") == "torch"
    assert fastest_runtime("xpu") == "openvino"
    assert fastest_runtime("cpu", "int8") == "openvino"
    monkeypatch.setattr(imported, "is_installed", lambda: False)
    assert fastest_runtime("cpu") == "torch"


def test_every_option_that_is_named_can_be_made(small_model: Make, shared_cache: None) -> None:
    for name, precision in runtime_options("cpu"):
        if precision == "int8":
            continue  # a test of its own: it takes long
        engine = DepthEngine(small_model(), runtime=name, device="cpu", precision=precision)
        assert (engine.runtime, engine.precision, engine.notices) == (name, precision, [])


@pytest.mark.parametrize(("asked", "inside"), [(0, 3), (2, 2)])
def test_torch_works_in_the_threads_asked_for(
    reading_model: Make, monkeypatch: pytest.MonkeyPatch, asked: int, inside: int
) -> None:
    torch.set_num_threads(3)  # `one_thread` puts back what was there
    engine = DepthEngine(reading_model(), device="cpu", precision="fp32", threads=asked)
    seen: list[int] = []
    run = PixelNetwork.forward
    monkeypatch.setattr(PixelNetwork, "forward", lambda *args: seen.append(torch.get_num_threads()) or run(*args))
    engine.infer(_pictures(1), [CAMERA])
    assert seen == [inside]
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("has_provider", [True, False])
def test_on_a_gpu_the_options_are_torchs_and_onnx_runtimes_where_it_has_cuda(
    monkeypatch: pytest.MonkeyPatch, has_provider: bool
) -> None:
    library = SimpleNamespace(get_available_providers=lambda: [onnx_runtime.CUDA] if has_provider else [])
    monkeypatch.setattr(onnx_runtime, "is_installed", lambda: True)
    monkeypatch.setattr(onnx_runtime, "onnxruntime", lambda: library)
    monkeypatch.setattr(runtime, "has_cuda", lambda: True)
    expected = [("torch", "fp32"), ("torch", "bf16"), ("torch", "fp16")]
    if has_provider:
        expected += [("onnxruntime", "fp32"), ("onnxruntime", "fp16")]
    for device in ("auto", "cuda", "cuda:1"):
        assert runtime_options(device) == expected
    on_cpu = runtime_options("cpu")
    assert ("torch", "fp16") not in on_cpu
    monkeypatch.setattr(runtime, "has_cuda", lambda: False)
    assert runtime_options("auto") == on_cpu


@pytest.mark.parametrize(
    ("device", "precision", "there", "taken"),
    [
        ("auto", "auto", {"cuda", "openvino", "torch"}, "torch"),
        ("auto", "auto", {"openvino", "torch"}, "openvino"),
        ("cpu", "auto", {"cuda", "openvino", "torch"}, "openvino"),
        ("cpu", "fp16", {"openvino", "torch"}, "torch"),
        ("cuda:0", "auto", {"openvino", "torch"}, "torch"),
        ("cpu", "auto", {"torch", "onnxruntime"}, "torch"),
        ("cpu", "auto", {"onnxruntime"}, "onnxruntime"),
        ("cpu", "auto", set(), "torch"),
        ("xpu:1", "auto", {"torch"}, "openvino"),
    ],
)
def test_auto_goes_by_the_device_the_precision_and_what_is_installed(
    monkeypatch: pytest.MonkeyPatch, device: str, precision: str, there: set[str], taken: str
) -> None:
    monkeypatch.setattr(runtime, "has_cuda", lambda: "cuda" in there)
    monkeypatch.setattr(runtime, "is_installed", lambda name: name in there)
    monkeypatch.setattr(imported, "is_installed", lambda: "openvino" in there)
    monkeypatch.setattr(onnx_runtime, "is_installed", lambda: "onnxruntime" in there)
    assert fastest_runtime(device, precision) == taken
