# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The network in OpenVINO: the same depth for every system, size and batch, kept on the disk, nothing sent anywhere."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import ConfigError, DeviceError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.model.model_config import ModelConfig
from depthclip_ros.core.model.registry import build_model, preset
from depthclip_ros.core.runtimes.network import Network
from depthclip_ros.core.runtimes.openvino import from_torch, imported, int8, openvino_runtime
from depthclip_ros.core.runtimes.openvino.calibration_images import ROOMS, CalibrationSet
from depthclip_ros.core.runtimes.openvino.openvino_runtime import OpenVinoRuntime, precisions_of
from depthclip_ros.core.runtimes.pixel_network import PixelNetwork, call
from depthclip_ros.core.types import Intrinsics, View

# Asked of the package, which imports the library without its telemetry.
pytestmark = pytest.mark.skipif(not imported.is_installed(), reason="needs the extra `openvino`")

Make = Callable[..., DepthModel]


def _runtime(model: DepthModel, precision: str = "fp32", calibration: CalibrationSet | None = None) -> OpenVinoRuntime:
    return OpenVinoRuntime(Network.of_model(model), "cpu", precision, calibration or CalibrationSet())


def _pixels(batch: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(batch).integers(0, 256, (batch, height, width, 3), np.uint8)


@pytest.fixture
def system(
    small_model: Make, clip_config: Callable[..., ModelConfig], tiny_clip: str, tiny_resnet_clip: str
) -> Callable[[str], DepthModel]:
    """A small model of each system: `system("nano")`."""
    clip2depth: dict[str, Any] = {"decoder_width": 16, "decoder_heads": 2, "deconvolutions": (16, 12, 8)}
    clip2depth |= {"mirror_tokens": 6, "tap_layers": (0, 1, 2, 3), "tower": tiny_clip, "input_pixels": 80 * 64}
    resnet: dict[str, Any] = {"tower": tiny_resnet_clip, "input_pixels": 96 * 96}
    configs = {
        "paper-vitb32": lambda name: clip_config(name, input_pixels=96 * 96),
        "dense-vitb16": lambda name: clip_config(name, input_pixels=48 * 64),
        "clip2depth-vitb16": lambda name: preset(name, base_weights=None, **clip2depth),
        "depthclip-rn50": lambda name: preset(name, base_weights=None, **resnet),
    }

    def make(name: str) -> DepthModel:
        if name not in configs:
            return small_model().eval()
        torch.manual_seed(0)
        return build_model(configs[name](name), load_base=False).eval()

    return make


@pytest.mark.parametrize("name", ["nano", "paper-vitb32", "dense-vitb16", "clip2depth-vitb16", "depthclip-rn50"])
def test_every_system_gives_its_own_depth_at_any_batch(
    name: str, system: Callable[[str], DepthModel], shared_cache: None
) -> None:
    model = system(name)
    width, height = model.network_size(640, 480)
    runtime = _runtime(model)
    expected = PixelNetwork(model.prepare_inference())
    for batch in (1, 3):
        pixels = _pixels(batch, height, width)
        found = runtime.run(pixels)
        wanted = call(expected, pixels)
        np.testing.assert_allclose(found.depth, wanted.depth, rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(found.confidence, wanted.confidence, rtol=2e-3, atol=2e-3)
        assert (found.scene_weights is None) == (wanted.scene_weights is None)
        if wanted.scene_weights is not None and found.scene_weights is not None:
            np.testing.assert_allclose(found.scene_weights, wanted.scene_weights, rtol=1e-2, atol=1e-4)


def test_depth_anything_gives_its_own_depth(make_transformers_folder: Callable[..., Path], shared_cache: None) -> None:
    folder = make_transformers_folder(depth_estimation_type="metric", max_depth=20)
    camera = Intrinsics.from_hfov(60, 160, 120)
    image = np.random.default_rng(0).integers(0, 256, (2, 120, 160, 3), np.uint8)
    depths = [
        DepthEngine.load(folder, runtime=name, device="cpu", precision="fp32").infer(image, [camera] * 2).depth_m
        for name in ("openvino", "torch")
    ]
    np.testing.assert_allclose(*depths, rtol=2e-3)


def test_half_precision_leaves_confidence_alone(small_model: Make, shared_cache: None) -> None:
    possible = precisions_of(imported.openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    if "bf16" not in possible:
        pytest.skip("this CPU has no bfloat16")
    runtime = _runtime(small_model(), "bf16")
    runtime.prepare((64, 48))
    assert runtime.proofs[(1, 48, 64)].confidence < 0.01  # 0.08 where the moments of the bins are taken in bfloat16


def test_what_was_converted_is_kept(small_model: Make, compiled_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conversions = []
    convert = from_torch.convert
    monkeypatch.setattr(from_torch, "convert", lambda *args: conversions.append(args[1:]) or convert(*args))
    for _ in range(2):
        DepthEngine(small_model(), runtime="openvino", device="cpu", precision="fp32").warm_up(640, 480, batch=2)
    assert conversions == [(48, 64)]  # of any batch, and for both engines
    other = small_model()
    with torch.no_grad():
        next(other.parameters()).mul_(1.5)
    DepthEngine(other, runtime="openvino", device="cpu", precision="fp32")
    assert len(conversions) == 2  # other weights


def test_cameras_of_two_sizes_go_through_one_engine(small_model: Make, shared_cache: None) -> None:
    sizes = [(128, 96), (96, 128), (160, 120)]
    views = [
        View(np.random.default_rng(0).integers(0, 256, (h, w, 3), np.uint8), Intrinsics.from_hfov(60, w, h))
        for w, h in sizes
    ]
    depths = {}
    for name in ("openvino", "torch"):
        depths[name] = DepthEngine(small_model(), runtime=name, device="cpu", precision="fp32").infer_views(views)
    for ours, expected, (width, height) in zip(depths["openvino"], depths["torch"], sizes, strict=True):
        assert ours.depth_m.shape == (height, width)
        np.testing.assert_allclose(ours.depth_m, expected.depth_m, rtol=1e-3)
    assert [depth.batch_size for depth in depths["openvino"]] == [2, 1, 2]


def test_the_result_of_a_frame_outlives_the_next(small_model: Make, shared_cache: None) -> None:
    engine = DepthEngine(small_model(), runtime="openvino", device="cpu", precision="fp32")
    camera = Intrinsics.from_hfov(60, 64, 48)  # the network's own size: nothing is resized on the way out
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 48, 64, 3), np.uint8)
    first = engine.infer(images[0], [camera])
    kept = first.depth_m.copy()
    engine.infer(images[1], [camera])
    np.testing.assert_array_equal(first.depth_m, kept)


def test_devices_and_precisions_that_are_not_there_name_those_that_are(
    small_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="device 'cuda' is none of openvino's; allowed are auto, cpu, xpu, xpu:N"):
        OpenVinoRuntime(Network.of_model(small_model()), "cuda", "auto", CalibrationSet())
    with pytest.raises(DeviceError, match="openvino finds no device 'xpu:7' on this machine; present: cpu"):
        OpenVinoRuntime(Network.of_model(small_model()), "xpu:7", "auto", CalibrationSet())
    # Whatever this CPU offers: with AMX-FP16 it would have fp16.
    monkeypatch.setattr(openvino_runtime, "precisions_of", lambda capabilities: ("fp32", "bf16"))
    with pytest.raises(ConfigError, match="precision 'fp16' is not what openvino does fast on CPU; allowed"):
        OpenVinoRuntime(Network.of_model(small_model()), "cpu", "fp16", CalibrationSet())
    assert precisions_of(["BF16", "FP32", "INT8"]) == ("fp32", "bf16")
    assert precisions_of(["FP32", "FP16"]) == ("fp32", "fp16")


@pytest.mark.parametrize(
    ("found", "asked", "device", "name"),
    [
        (["CPU", "GPU"], "xpu", "GPU", "xpu:0"),
        (["CPU", "GPU"], "xpu:0", "GPU.0", "xpu:0"),
        (["CPU", "GPU.0", "GPU.1"], "xpu", "GPU", "xpu:0"),
        (["CPU", "GPU.0", "GPU.1"], "xpu:1", "GPU.1", "xpu:1"),
        (["CPU", "GPU.0", "GPU.1"], "xpu:2", "", "present: cpu, xpu:0, xpu:1"),
    ],
)
def test_intels_gpus_have_one_name_each_whether_there_is_one_or_two(
    small_model: Make, monkeypatch: pytest.MonkeyPatch, found: list[str], asked: str, device: str, name: str
) -> None:
    class Core:  # no Intel GPU is at hand: what OpenVINO lists of one, and of two
        available_devices = found

        def get_property(self, of: str, key: str) -> list[str]:
            assert (of, key) == (device, "OPTIMIZATION_CAPABILITIES")
            return ["FP32", "FP16"]

    monkeypatch.setattr(openvino_runtime, "openvino", lambda: types.SimpleNamespace(Core=Core))
    if not device:
        with pytest.raises(DeviceError, match=name):
            OpenVinoRuntime(Network.of_model(small_model()), asked, "auto", CalibrationSet())
        return
    runtime = OpenVinoRuntime(Network.of_model(small_model()), asked, "auto", CalibrationSet())
    assert (runtime.device_name, runtime.precision) == (name, "fp16")


def test_a_closed_runtime_says_so(small_model: Make, shared_cache: None) -> None:
    runtime = _runtime(small_model())
    runtime.close()
    with pytest.raises(DeviceError, match="the model was taken off openvino"):
        runtime.run(_pixels(1, 48, 64))


def test_nothing_is_sent_to_anyone() -> None:
    # Both libraries count their users over the network unless told not to, from the moment of their import.
    code = (
        "import sys\n"
        "from depthclip_ros.core.runtimes.openvino import imported, int8\n"
        "imported.openvino()\n"
        "if int8.is_installed(): int8._nncf()\n"
        "names = [name for name in sys.modules if name.partition('.')[0] == 'openvino_telemetry']\n"
        "assert not names, names\n"
        "assert 'openvino.tools.ovc.telemetry_stub' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not int8.is_installed(), reason="needs the extra `openvino`")
def test_int8_of_pictures_of_ones_own(small_model: Make, compiled_cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(6):
        picture = np.random.default_rng(index).integers(0, 256, (12, 16, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        cv2.imwrite(str(folder / f"{index}.png"), picture)
    runtime = _runtime(small_model(), "int8", CalibrationSet(str(folder)))
    runtime.prepare((64, 48))
    assert runtime.precision == "int8"
    see = (next(compiled_cache.glob("openvino-*/see.xml"))).read_text()
    assert see.count('type="FakeQuantize"') >= 4
    heads = [line for line in see.splitlines() if "FakeQuantize" in line and "heads" in line]
    assert heads == []  # what depth is read from stays in float
    assert int8.KEPT_IN_FLOAT


def test_calibration_sets(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="calibration is '/nowhere'; allowed: rooms, or a folder with pictures"):
        CalibrationSet("/nowhere")
    with pytest.raises(ConfigError, match="or a folder with pictures"):
        CalibrationSet(str(tmp_path))
    for index in range(100):
        cv2.imwrite(str(tmp_path / f"{index:03}.jpg"), np.full((24, 32, 3), index, np.uint8))
    own = CalibrationSet(str(tmp_path))
    pixels = own.pixels(16, 12)
    assert pixels.shape == (48, 12, 16, 3)
    assert (pixels[0].mean() < 2, pixels[-1].mean() > 97) == (True, True)  # evenly, first and last among them
    before = own.identity
    cv2.imwrite(str(tmp_path / "000.jpg"), np.full((24, 32, 3), 200, np.uint8))
    assert CalibrationSet(str(tmp_path)).identity != before
    (tmp_path / "000.jpg").write_bytes(b"broken")
    with pytest.raises(ConfigError, match=r"000\.jpg cannot be read \(picture of 6 bytes is broken"):
        CalibrationSet(str(tmp_path)).pixels(16, 12)
    assert CalibrationSet(ROOMS).pixels(32, 24).shape == (48, 24, 32, 3)


@pytest.mark.parametrize("threads", [1, 2])
def test_it_works_in_the_threads_asked_for(
    small_model: Make, shared_cache: None, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    library, made = imported.openvino(), []
    compile_model = library.Core.compile_model
    monkeypatch.setattr(library.Core, "compile_model", lambda *args: made.append(compile_model(*args)) or made[-1])
    DepthEngine(small_model(), runtime="openvino", device="cpu", precision="fp32", threads=threads)
    assert [model.get_property("INFERENCE_NUM_THREADS") for model in made] == [threads] * 2
