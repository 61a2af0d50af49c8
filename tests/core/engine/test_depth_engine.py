# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The engine from images to metres: scale by focal length, batches, limits, memory, threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import ConfigError, DeviceError, InputError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.types import DepthLimits, Intrinsics
from depthclip_ros.core.weights.weights_file import save_weights

Make = Callable[..., DepthModel]
CAMERA = Intrinsics(100.0, 100.0, 63.5, 47.5, 128, 96)  # 50 px at the network's 64x48


def _grey(red: int, green: int = 255, batch: int = 1) -> np.ndarray:
    images = np.zeros((batch, 96, 128, 3), np.uint8)
    images[..., 0], images[..., 1] = red, green
    return images


@pytest.fixture
def pictures() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (3, 12, 16, 3), np.uint8)
    return noise.repeat(8, 1).repeat(8, 2)


def test_depth_is_the_networks_times_the_focal_ratio(reading_model: Make) -> None:
    engine = DepthEngine(reading_model(), device="cpu", precision="fp32")
    assert engine.network_size(128, 96) == (64, 48)
    depth = engine.infer(_grey(51), [CAMERA])  # a fifth of red: 2 units
    assert depth.scale == [pytest.approx(50 / 300)]
    assert depth.depth_m.shape == depth.confidence.shape == (1, 96, 128)
    assert depth.depth_m.dtype == depth.confidence.dtype == np.float32
    np.testing.assert_allclose(depth.depth_m, 2 * 50 / 300, rtol=1e-5)
    np.testing.assert_allclose(depth.confidence, 1, rtol=1e-5)


def test_pixels_that_are_not_square_count_by_their_geometric_mean(reading_model: Make) -> None:
    engine = DepthEngine(reading_model(), device="cpu", precision="fp32")
    camera = Intrinsics(50.0, 200.0, 63.5, 47.5, 128, 96)
    assert engine.infer(_grey(51), [camera]).scale == engine.infer(_grey(51), [CAMERA]).scale


def test_twice_the_focal_length_is_twice_the_depth(small_model: Make, pictures: np.ndarray) -> None:
    engine = DepthEngine(small_model(), device="cpu", precision="fp32")
    far = Intrinsics(200.0, 200.0, 63.5, 47.5, 128, 96)
    once, twice = (engine.infer(pictures[:1], [camera]).depth_m for camera in (CAMERA, far))
    finite = np.isfinite(twice)
    assert finite.any()
    np.testing.assert_allclose(twice[finite], 2 * once[finite], rtol=1e-5)


def test_a_system_in_metres_does_not_ask_for_the_lens(reading_model: Make) -> None:
    engine = DepthEngine(reading_model(canonical_focal_px=None), device="cpu", precision="fp32")
    depth = engine.infer(_grey(51), [CAMERA], DepthLimits(scale_factor=1.5))
    assert depth.scale == [1.5]
    np.testing.assert_allclose(depth.depth_m, 3, rtol=1e-5)


def test_the_same_scene_at_another_resolution_has_the_same_depth(reading_model: Make) -> None:
    engine = DepthEngine(reading_model(), device="cpu", precision="fp32")
    double = Intrinsics(200.0, 200.0, 127.5, 95.5, 256, 192)
    small = engine.infer(_grey(51), [CAMERA]).depth_m
    large = engine.infer(_grey(51).repeat(2, 1).repeat(2, 2), [double]).depth_m
    np.testing.assert_allclose(large.mean(), small.mean(), rtol=1e-5)


def test_a_batch_is_its_images_one_by_one(small_model: Make, pictures: np.ndarray) -> None:
    engine = DepthEngine(small_model(), device="cpu", precision="fp32")
    cameras = [Intrinsics(f, f, 63.5, 47.5, 128, 96) for f in (80.0, 120.0, 240.0)]
    batch = engine.infer(pictures, cameras)
    assert len(batch.scale) == 3
    for index, camera in enumerate(cameras):
        single = engine.infer(pictures[index : index + 1], [camera])
        np.testing.assert_allclose(batch.depth_m[index], single.depth_m[0], rtol=1e-4)
        np.testing.assert_allclose(batch.confidence[index], single.confidence[0], atol=1e-4)


def test_limits_reach_the_depth_and_may_change_with_every_call(reading_model: Make) -> None:
    engine = DepthEngine(reading_model(max_depth_m=8.0, canonical_focal_px=None), device="cpu", precision="fp32")
    images = _grey(0)
    images[:, :, :32, 0], images[:, :, 32:64, 0], images[:, :, 64:96, 0], images[:, :, 96:, 0] = 10, 51, 140, 250
    bands = [(0, slice(40, 50), column) for column in (10, 48, 80, 118)]
    plain = engine.infer(images, [CAMERA]).depth_m
    np.testing.assert_allclose([plain[band].mean() for band in bands], [10 / 25.5, 2, 140 / 25.5, np.inf], rtol=1e-4)
    limited = engine.infer(images, [CAMERA], DepthLimits(min_depth_m=1, max_depth_m=5)).depth_m
    np.testing.assert_allclose([limited[band].mean() for band in bands], [-np.inf, 2, np.inf, np.inf], rtol=1e-4)
    doubtful = engine.infer(_grey(51, green=100), [CAMERA], DepthLimits(confidence_threshold=0.5)).depth_m
    assert np.isnan(doubtful).all()
    edges = engine.infer(images, [CAMERA], DepthLimits(edge_threshold=0.05)).depth_m
    assert np.isnan(edges[0, :, 64]).all()
    assert np.isfinite(edges[0, :, 48]).all()
    with pytest.raises(ConfigError, match="scale_factor is -1"):
        engine.infer(images, [CAMERA], DepthLimits(scale_factor=-1))


def test_results_belong_to_the_caller(reading_model: Make) -> None:
    engine = DepthEngine(reading_model(), device="cpu", precision="fp32")
    first = engine.infer(_grey(51), [CAMERA])
    kept = first.depth_m.copy()
    engine.infer(_grey(200), [CAMERA])
    np.testing.assert_array_equal(first.depth_m, kept)
    first.depth_m[:] = np.nan  # writable
    first.confidence[:] = 0


def test_timings_cover_the_three_stages(small_model: Make, pictures: np.ndarray) -> None:
    engine = DepthEngine(small_model(), device="cpu", precision="fp32")
    timings_ms = engine.infer(pictures, [CAMERA] * 3).timings_ms
    assert list(timings_ms) == ["preprocess", "network", "postprocess"]
    assert all(time_ms > 0 for time_ms in timings_ms.values())


@pytest.mark.parametrize("size", [(16, 16), (17, 301), (4000, 16), (8000, 6000)])
def test_odd_sizes_work(reading_model: Make, size: tuple[int, int]) -> None:
    width, height = size
    engine = DepthEngine(reading_model(), device="cpu", precision="fp32")
    images = np.full((1, height, width, 3), 128, np.uint8)
    depth = engine.infer(images, [Intrinsics.from_hfov(70, width, height)])
    assert depth.depth_m.shape == (1, height, width)
    assert np.isfinite(depth.depth_m).all()


def test_one_pixel_is_refused_and_the_next_image_still_works(reading_model: Make) -> None:
    engine = DepthEngine(reading_model(), device="cpu", precision="fp32")
    with pytest.raises(InputError, match="1x1"):
        engine.infer(np.zeros((1, 1, 1, 3), np.uint8), [Intrinsics(1, 1, 0, 0, 1, 1)])
    engine.warm_up(128, 96, batch=2)


def test_what_is_being_compiled_is_named_by_the_latest_images_of_its_size(
    reading_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = DepthEngine(reading_model(), device="cpu", precision="fp32")
    engine.warm_up(640, 480)
    engine.warm_up(128, 96)  # the same network size
    engine.warm_up(96, 128)
    keys = ((1, 48, 64), (3, 64, 48))  # batch, height, width of the network's input
    monkeypatch.setattr(type(engine._runtime), "preparing", property(lambda _: keys), raising=False)
    assert engine.preparing == "128x96, 3 x 96x128"


def test_out_of_memory_halves_the_batch_and_says_so(reading_model: Make, pictures: np.ndarray) -> None:
    images = np.concatenate([pictures] * 2)[:5]
    roomy = DepthEngine(reading_model(), device="cpu", precision="fp32").infer(images, [CAMERA] * 5)
    model = reading_model(memory=1)
    engine = DepthEngine(model, device="cpu", precision="fp32")
    depth = engine.infer(images, [CAMERA] * 5)
    np.testing.assert_allclose(depth.depth_m, roomy.depth_m, rtol=1e-6)
    assert len(depth.scale) == 5
    assert model.batches == [5, 2, 1, 1, 1, 1, 1]
    assert len(engine.notices) == 2
    assert engine.notices[-1] == "cpu is out of memory at 2 images; from now on 1 at a time"
    engine.infer(images[:2], [CAMERA] * 2)  # remembered: no third attempt at two
    assert model.batches[7:] == [1, 1]


def test_a_full_gpu_hands_over_to_the_cpu_only_where_allowed(reading_model: Make) -> None:
    # There may be no GPU here: what comes after one image did not fit into it is asked for directly.
    for allowed in (False, True):
        engine = DepthEngine(reading_model(), device="cpu", precision="bf16", allow_cpu_fallback=allowed)
        assert engine._runtime is not None
        engine._runtime.device, engine.device = torch.device("cuda:0"), "cuda:0"
        engine._runtime.on_device = True
        if not allowed:
            with pytest.raises(DeviceError, match="cuda:0 is out of memory for a single image"):
                engine._shrink(1)
            continue
        engine._shrink(1)
        assert (engine.device, engine.precision) == ("cpu", "fp32")
        assert engine.notices == ["cuda:0 is out of memory for a single image; from now on the CPU is used"]
        np.testing.assert_allclose(engine.infer(_grey(51), [CAMERA]).depth_m, 2 * 50 / 300, rtol=1e-5)


def test_a_full_cpu_is_a_device_error(reading_model: Make) -> None:
    engine = DepthEngine(reading_model(memory=0), device="cpu", precision="fp32")
    with pytest.raises(DeviceError, match="cpu is out of memory for a single image"):
        engine.infer(_grey(51), [CAMERA])


def test_a_closed_engine_says_so(reading_model: Make) -> None:
    engine = DepthEngine(reading_model(), device="cpu", precision="fp32")
    engine.close()
    engine.close()
    with pytest.raises(DeviceError, match="engine is closed"):
        engine.infer(_grey(51), [CAMERA])


def test_threads_take_turns(small_model: Make, pictures: np.ndarray) -> None:
    engine = DepthEngine(small_model(), device="cpu", precision="fp32")
    wanted = [engine.infer(pictures[index : index + 1], [CAMERA]).depth_m for index in range(3)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [(index % 3, pool.submit(engine.infer, pictures[index % 3][None], [CAMERA])) for index in range(24)]
        for index, job in jobs:
            np.testing.assert_allclose(job.result().depth_m, wanted[index], rtol=1e-4)


def test_loaded_weights_give_the_models_depth(small_model: Make, pictures: np.ndarray, tmp_path: Path) -> None:
    save_weights(tmp_path / "small.safetensors", small_model(), training={}, metrics={}, dtype="float32")
    engine = DepthEngine.load(tmp_path / "small.safetensors", device="cpu", precision="fp32")
    assert engine.info is not None
    assert engine.info.system == "moa_depthclip"
    assert (engine.device, engine.precision, engine.runtime) == ("cpu", "fp32", "torch")
    direct = DepthEngine(small_model(), device="cpu", precision="fp32")
    cameras = [CAMERA] * 3
    np.testing.assert_allclose(
        engine.infer(pictures, cameras).depth_m, direct.infer(pictures, cameras).depth_m, rtol=1e-4
    )
