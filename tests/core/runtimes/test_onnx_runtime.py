# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The exported ONNX file and ONNX Runtime: the same depth, any batch, metadata that says of what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import ConfigError, DeviceError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.model.model_config import ModelConfig
from depthclip_ros.core.model.registry import build_model
from depthclip_ros.core.runtimes.network import Network
from depthclip_ros.core.runtimes.onnx_export import export_onnx
from depthclip_ros.core.runtimes.onnx_runtime import OnnxRuntime
from depthclip_ros.core.runtimes.pixel_network import PixelNetwork
from depthclip_ros.core.types import Intrinsics

onnx = pytest.importorskip("onnx", reason="needs the extra `onnx`")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")

Make = Callable[..., DepthModel]


def test_the_file_takes_pictures_of_any_batch(small_model: Make, tmp_path: Path) -> None:
    network = PixelNetwork(small_model().prepare_inference())
    export_onnx(network, tmp_path / "small.onnx", 48, 64, {"weights_sha256": "abc", "canonical_focal_px": "300.0"})
    onnx.checker.check_model(str(tmp_path / "small.onnx"), full_check=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "small.onnx"), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    assert (entry.name, entry.type, entry.shape) == ("pixels", "tensor(uint8)", ["batch", 48, 64, 3])
    assert [output.name for output in session.get_outputs()] == ["depth", "confidence"]
    assert session.get_modelmeta().custom_metadata_map["weights_sha256"] == "abc"
    for batch in (1, 3):
        pixels = torch.randint(0, 256, (batch, 48, 64, 3), dtype=torch.uint8)
        with torch.inference_mode():
            wanted = network(pixels)
        for ours, expected in zip(session.run(None, {"pixels": pixels.numpy()}), wanted, strict=True):
            np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-3, atol=1e-4)


def test_an_export_that_breaks_off_leaves_the_older_file(
    small_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = PixelNetwork(small_model().prepare_inference())
    path = tmp_path / "small.onnx"
    path.write_bytes(b"older")
    export = torch.onnx.export

    def interrupted(*arguments: Any, **named: Any) -> None:
        export(*arguments, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.onnx, "export", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_onnx(network, path, 48, 64, {})
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("small.onnx", b"older")]


def test_the_runtime_gives_torchs_depth(small_model: Make, compiled_cache: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 96, 128, 3), np.uint8)
    cameras = [Intrinsics.from_hfov(60, 128, 96)] * 3
    engine = DepthEngine(small_model(), runtime="onnxruntime", device="cpu")
    assert (engine.runtime, engine.device, engine.precision, engine.notices) == ("onnxruntime", "cpu", "fp32", [])
    expected = DepthEngine(small_model(), device="cpu", precision="fp32").infer(images, cameras)
    np.testing.assert_allclose(engine.infer(images, cameras).depth_m, expected.depth_m, rtol=1e-3)
    assert len([path for path in compiled_cache.iterdir() if path.is_dir()]) == 1


def test_clips_towers_can_be_exported(clip_config: Callable[..., ModelConfig], compiled_cache: Path) -> None:
    torch.manual_seed(0)
    model = build_model(clip_config("dense-vitb16", input_pixels=96 * 64), load_base=False).eval()
    engine = DepthEngine(model, runtime="onnxruntime", device="cpu")
    assert (engine.runtime, engine.notices) == ("onnxruntime", [])


def test_devices_and_precisions_that_are_not_there_name_those_that_are(small_model: Make) -> None:
    with pytest.raises(ConfigError, match="device 'xpu' is none of onnxruntime's; allowed are auto, cpu, cuda, cuda:N"):
        OnnxRuntime(Network.of_model(small_model()), "xpu", "auto")
    with pytest.raises(
        ConfigError, match="precision 'bf16' is not what onnxruntime does on cpu; allowed are auto, fp32"
    ):
        OnnxRuntime(Network.of_model(small_model()), "cpu", "bf16")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(DeviceError, match=r"cannot use device 'cuda'; it has .*: install onnxruntime-gpu"):
            OnnxRuntime(Network.of_model(small_model()), "cuda", "auto")


@pytest.mark.parametrize("threads", [1, 2])
def test_it_works_in_the_threads_asked_for(
    small_model: Make, compiled_cache: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    made, session = [], onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda *args, **kw: made.append(session(*args, **kw)) or made[-1]
    )
    DepthEngine(small_model(), runtime="onnxruntime", device="cpu", threads=threads)
    assert {one.get_session_options().intra_op_num_threads for one in made} == {threads}
