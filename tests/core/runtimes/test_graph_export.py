# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The graph beside a weights file: the network's own depth at every size and batch, refused where it is not its own."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock, Timeout

from depthclip_ros.core import present
from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import ConfigError, DeviceError, WeightsError
from depthclip_ros.core.runtimes import compiled_runtime, onnx_runtime, runtime
from depthclip_ros.core.runtimes.network import Network
from depthclip_ros.core.runtimes.onnx_runtime import OnnxRuntime
from depthclip_ros.core.runtimes.openvino import imported, int8
from depthclip_ros.core.runtimes.openvino.calibration_images import CalibrationSet
from depthclip_ros.core.runtimes.openvino.openvino_runtime import OpenVinoRuntime
from depthclip_ros.core.runtimes.pixel_network import PixelNetwork, call
from depthclip_ros.core.runtimes.proof import RefusedRuntimeError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.core.weights.find import SHIPPED, read_info, resolve
from depthclip_ros.core.weights.graph import ABOUT, READ, SEE, beside, find_graph
from depthclip_ros.core.weights.load import load_weights
from depthclip_ros.core.weights.weights_file import save_weights

pytest.importorskip("onnx", reason="needs the extra `onnx`")
pytestmark = pytest.mark.skipif(not imported.is_installed(), reason="needs openvino")

SIZES = [(1, 48, 64), (2, 48, 64), (1, 64, 48), (3, 32, 96)]


@pytest.fixture(scope="module")
def made(small_model, tmp_path_factory) -> Path:
    """A folder with a small network's file and its graph."""
    from depthclip_ros.core.runtimes.graph_export import write_graph

    torch.manual_seed(0)
    model = small_model()
    with torch.no_grad():  # an untrained network gives the same depth everywhere
        for parameter in model.heads.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    path = tmp_path_factory.mktemp("made") / "small.safetensors"
    save_weights(path, model, training={}, metrics={})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        write_graph(path)
    return path.parent


@pytest.fixture
def weights(made, tmp_path) -> Path:
    """The file, with its graph, for a test of its own."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "small.safetensors"


def _runtime(name: str, network: Network):
    if name == "openvino":
        return OpenVinoRuntime(network, "cpu", "fp32", CalibrationSet())
    pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
    return OnnxRuntime(network, "cpu", "fp32")


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_the_graph_is_the_network_at_every_size_and_batch(name, weights, shared_cache) -> None:
    expected = PixelNetwork(load_weights(weights).model.prepare_inference())
    network = Network.of_weights(read_info(weights))
    runtime = _runtime(name, network)
    for batch, height, width in SIZES:
        pixels = np.random.default_rng(batch).integers(0, 256, (batch, height, width, 3), np.uint8)
        found, wanted = runtime.run(pixels), call(expected, pixels)
        assert np.ptp(wanted.depth) > 0.05
        np.testing.assert_allclose(found.depth, wanted.depth, rtol=2e-3)
        np.testing.assert_allclose(found.confidence, wanted.confidence, atol=2e-3)
    assert list(runtime.proofs) == SIZES
    assert network._in_torch is None  # torch was not asked, not even for the proofs


def test_the_shipped_graphs_are_of_the_shipped_weights_as_the_command_makes_them(tmp_path, compiled_cache) -> None:
    from depthclip_ros.core.runtimes.graph_export import write_graph

    for name in SHIPPED:
        graph = find_graph(read_info(name))
        assert graph is not None, f"depthclip export graph {resolve(name)}"
        copy = tmp_path / resolve(name).name
        shutil.copy(resolve(name), copy)
        see, _, _ = write_graph(copy)
        again = find_graph(read_info(copy))
        assert again is not None
        assert (again.stride, again.sizes, again.outputs) == (graph.stride, graph.sizes, graph.outputs)
        assert abs(see.stat().st_size - graph.see.stat().st_size) < 0.02 * see.stat().st_size
        for size in graph.sizes:
            for ours, theirs in zip(graph.answers(size), again.answers(size), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=5e-3, atol=5e-3)


def test_a_graph_of_other_weights_is_not_used_and_a_warning_says_how_to_make_it_again(weights, caplog) -> None:
    before = read_info(weights)
    loaded = load_weights(weights)
    save_weights(weights, loaded.model, training={"note": "trained on"}, metrics={})
    assert find_graph(before) is not None
    with caplog.at_level(logging.WARNING):
        assert find_graph(read_info(weights)) is None
    assert f"made of other weights, and is not used; make it again: depthclip export graph {weights}" in caplog.text


@pytest.mark.parametrize("suffix", [SEE, READ, ABOUT])
@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_a_damaged_graph_is_named(weights, suffix, harm) -> None:
    part = beside(weights, suffix)
    if harm == "cut":
        part.write_bytes(part.read_bytes()[:100])
    else:
        part.unlink()
    if (suffix, harm) == (ABOUT, "gone"):
        assert find_graph(read_info(weights)) is None  # a weights file without a graph, as any other
        return
    with pytest.raises(WeightsError, match=r"damaged.*make it again: depthclip export graph"):
        find_graph(read_info(weights))


def test_without_a_graph_torch_makes_the_network(weights) -> None:
    for suffix in (SEE, READ, ABOUT):
        beside(weights, suffix).unlink()
    network = Network.of_weights(read_info(weights))
    assert network.graph is None
    assert DepthEngine.load(weights, device="cpu", precision="fp32").runtime == "torch"


def test_a_graph_of_which_one_number_differs_is_refused(weights, shared_cache) -> None:
    import onnx

    part = beside(weights, READ)
    model = onnx.load(str(part), load_external_data=False)
    scale = next(one for one in model.graph.initializer if "confidence_scale" in one.name)
    scale.raw_data = np.float32(2.0).tobytes()
    part.write_bytes(model.SerializeToString())
    network = Network.of_weights(read_info(weights)) if find_graph_is_fooled(weights, part) else None
    assert network is not None
    runtime = OpenVinoRuntime(network, "cpu", "fp32", CalibrationSet())
    with pytest.raises(RefusedRuntimeError, match="openvino in fp32 is not this network"):
        runtime.prepare((64, 48))


def find_graph_is_fooled(weights: Path, part: Path) -> bool:
    """Write the changed part's hash into the description, as somebody would who means harm or does not know."""
    import safetensors
    from safetensors.numpy import save

    from depthclip_ros.core.files import hash_file

    about = beside(weights, ABOUT)
    with safetensors.safe_open(about, framework="np") as file:
        said = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    about.write_bytes(save(tensors, {**said, READ: hash_file(part)}))
    return find_graph(read_info(weights)) is not None


def test_a_precision_that_is_off_at_one_size_gives_way_to_float32_at_that_size(
    weights, compiled_cache, monkeypatch
) -> None:
    engine = DepthEngine.load(weights, runtime="openvino", device="cpu", precision="fp32")
    prove, calls = compiled_runtime.prove, []

    def off_once(*args):  # as compiled; nothing was kept on the disk that could be damaged
        calls.append(args)
        if len(calls) == 1:
            raise RefusedRuntimeError("openvino in fp32 is off")
        return prove(*args)

    monkeypatch.setattr(compiled_runtime, "prove", off_once)
    image = np.random.default_rng(0).integers(0, 256, (1, 40, 120, 3), np.uint8)
    depth = engine.infer(image, [Intrinsics.from_hfov(60, 120, 40)])
    assert np.isfinite(depth.depth_m).all()
    assert engine.runtime == "openvino"
    assert [notice for notice in engine.notices if notice.endswith("run in fp32")]


@pytest.mark.parametrize("torch_is_there", [True, False])
def test_a_precision_that_does_not_run_gives_way_to_float32(torch_is_there, weights, shared_cache, monkeypatch) -> None:
    real = runtime.RUNTIMES["openvino"]

    def openvino(network, device, precision, *rest):
        if precision != "fp32":
            raise RefusedRuntimeError("openvino in bf16 cannot run this network")
        return real(network, device, precision, *rest)

    monkeypatch.setitem(runtime.RUNTIMES, "openvino", openvino)
    if not torch_is_there:
        monkeypatch.setattr(runtime, "is_installed", lambda name: name != "torch")
    engine = DepthEngine.load(weights, device="cpu")
    assert (engine.runtime, engine.precision) == ("openvino", "fp32")
    assert engine.notices == ["openvino in bf16 cannot run this network: openvino in fp32 runs in its place"]


def test_what_was_compiled_and_then_damaged_on_the_disk_is_made_again(weights, compiled_cache) -> None:
    def load():
        return DepthEngine.load(weights, runtime="openvino", device="cpu", precision="fp32")

    load()
    blobs = [path for path in compiled_cache.glob("openvino-cache-*/*.blob") if path.stat().st_size > 100_000]
    assert blobs
    for blob in blobs:
        data = np.frombuffer(blob.read_bytes(), np.uint8).copy()
        rng = np.random.default_rng(0)
        data[rng.integers(len(data) // 4, len(data), 2000)] ^= 0xFF  # what is not looked at when it is read: weights
        blob.chmod(0o644)
        blob.write_bytes(data.tobytes())
    again = load()
    assert (again.runtime, again.notices) == ("openvino", [])
    assert again.proofs[(1, 48, 64)].p99 < 0.01


def test_while_a_network_compiles_no_other_process_reads_what_is_half_written(
    weights, compiled_cache, monkeypatch
) -> None:
    core, folders = imported.openvino().Core, set()
    compile_now = core.compile_model

    def compile_alone(self, model, device, settings):
        folders.add(Path(settings["CACHE_DIR"]))
        with pytest.raises(Timeout):
            FileLock(Path(settings["CACHE_DIR"]) / "lock", timeout=0).acquire()
        return compile_now(self, model, device, settings)

    monkeypatch.setattr(core, "compile_model", compile_alone)
    OpenVinoRuntime(Network.of_weights(read_info(weights)), "cpu", "fp32", CalibrationSet()).prepare((64, 48))
    (folder,) = folders
    assert folder.parent == compiled_cache
    assert list(folder.glob("*.blob"))


def test_a_precision_that_is_refused_takes_nothing_away_that_another_keeps(
    weights, compiled_cache, monkeypatch
) -> None:
    if not int8.is_installed():
        pytest.skip("needs the extra `int8`")
    network = Network.of_weights(read_info(weights))
    OpenVinoRuntime(network, "cpu", "fp32", CalibrationSet()).prepare((64, 48))
    kept = set(compiled_cache.glob("openvino-cache-*/*.blob"))
    assert kept
    tried = []

    def refuse(*args):
        tried.append(args)
        raise RefusedRuntimeError("openvino in int8 is off")

    monkeypatch.setattr(compiled_runtime, "prove", refuse)
    with pytest.raises(RefusedRuntimeError, match="int8 is off"):
        OpenVinoRuntime(network, "cpu", "int8", CalibrationSet()).prepare((64, 48))
    assert kept <= set(compiled_cache.glob("openvino-cache-*/*.blob"))
    assert len(tried) == 1  # what was just compiled is not damaged: it is not compiled again


@pytest.mark.parametrize("name", ["default", "fast"])
def test_the_shipped_graphs_are_not_written_over(name) -> None:
    from depthclip_ros.core.runtimes.graph_export import write_graph

    with pytest.raises(ConfigError, match=f"'{name}' has its graph in the package"):
        write_graph(Path(name))


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            {"depth_estimation_type": "metric", "max_depth": 20},
            "cannot have a graph, and runs by torch alone: openvino",
        ),
        (
            {"model_type": "dpt", "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2},
            r"448x448 for an image of 640x480, and a graph 512x384: they run by torch alone",
        ),
    ],
)
def test_a_network_that_no_graph_can_hold_is_refused_and_nothing_is_left(
    make_transformers_folder, shared_cache, tmp_path, settings, why
) -> None:
    """Depth Anything's head has its output's size as a number; DPT takes squares."""
    from depthclip_ros.core.runtimes.graph_export import write_graph

    if "model_type" in settings:
        settings = {**settings, "image_size": 384, "patch_size": 16, "backbone_out_indices": [0, 1, 2, 3]}
        settings |= {"neck_hidden_sizes": [8, 12, 16, 24], "fusion_hidden_size": 16, "is_hybrid": False}
    path = tmp_path / "other.safetensors"
    save_weights(path, load_weights(make_transformers_folder(**settings)).model, training={}, metrics={})
    with pytest.raises(ConfigError, match=why):
        write_graph(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_that_is_lost_while_it_runs_is_a_device_error(weights, shared_cache, monkeypatch) -> None:
    runtime = OpenVinoRuntime(Network.of_weights(read_info(weights)), "cpu", "fp32", CalibrationSet())
    runtime.prepare((64, 48))

    def lost(pixels):
        raise RuntimeError("[GPU] device lost\nand more")

    monkeypatch.setitem(runtime._compiled, (1, 48, 64), lost)
    with pytest.raises(DeviceError, match=r"openvino on cpu does not answer any more \(\[GPU\] device lost\)"):
        runtime.run(np.zeros((1, 48, 64, 3), np.uint8))


@pytest.mark.parametrize("absent", ["torch", "onnx"])
def test_onnx_runtime_on_cuda_takes_the_graph_in_float32_where_it_cannot_be_made_anew(
    weights, monkeypatch, absent
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [onnx_runtime.CUDA, onnx_runtime.CPU])
    network = Network.of_weights(read_info(weights))
    assert OnnxRuntime(network, "cuda", "auto").precision == "fp16"
    monkeypatch.setattr(present, "is_installed", lambda name: name != absent)
    assert OnnxRuntime(network, "cuda", "auto").precision == "fp32"
    with pytest.raises(ConfigError, match=rf"for fp16: the graph is of float32.*{absent}|{absent} for fp16: the graph"):
        OnnxRuntime(network, "cuda", "fp16").prepare((64, 48))


def test_tensorrts_engines_are_kept_in_the_cache_and_not_beside_the_weights(
    weights, compiled_cache, monkeypatch
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
    available = [onnx_runtime.TENSORRT, onnx_runtime.CUDA, onnx_runtime.CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    network = Network.of_weights(read_info(weights))
    given = []
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda file, options, providers: given.extend(providers))
    OnnxRuntime(network, "cuda:1", "fp32")._session(network, weights)
    (_, tensorrt), (_, cuda), cpu = given
    assert Path(tensorrt["trt_engine_cache_path"]).parent == compiled_cache
    assert (tensorrt["device_id"], cuda["device_id"], cpu) == (1, 1, onnx_runtime.CPU)


def test_adapters_alone_are_written_in_full_first(weights, shared_cache, tmp_path) -> None:
    from depthclip_ros.core.runtimes.graph_export import write_graph

    model = load_weights(weights).model
    model.base_name = "small"
    model.sources = ((str(weights), frozenset(model.state_dict())),)
    model.select_trained(["adapters"])
    only = tmp_path / "only.safetensors"
    save_weights(only, model, training={"data": "mine"}, metrics={}, adapter_only=True)
    assert read_info(only).adapter_only
    full, *_ = write_graph(only)
    assert (full.name, read_info(full).training, read_info(full).adapter_only) == (
        "only-full.safetensors",
        {"data": "mine"},
        False,
    )
    engine = DepthEngine.load(full, device="cpu", precision="fp32")
    assert (engine.runtime, engine.notices) == ("openvino", [])
