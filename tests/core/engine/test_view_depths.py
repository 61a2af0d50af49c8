# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Views of several sizes and limits through one engine, and what a device hands back in one copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.engine.on_device.cloud import as_structured, device_cloud
from depthclip_ros.core.engine.on_device.download import download, split
from depthclip_ros.core.engine.view_depths import joined
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import organised_cloud
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.runtimes.torch_runtime import TorchRuntime
from depthclip_ros.core.types import CloudRequest, DepthLimits, Intrinsics, View, ViewDepth

Make = Callable[..., DepthModel]


def _view(red: int, size: tuple[int, int] = (128, 96), **limits: float) -> View:
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1] = red, 255
    camera = Intrinsics(150.0 * width / 128, 150.0 * width / 128, 63.5, 47.5, width, height)  # 75 px at 64x48
    return View(image, camera, DepthLimits(**limits))


def test_each_view_has_its_own_size_scale_and_limits(reading_model: Make) -> None:
    model = reading_model()
    views = [
        _view(51),
        _view(102, scale_factor=2.0),
        _view(204, max_depth_m=1.5),
        _view(51, (256, 192)),
        _view(51, (96, 128)),
    ]
    depths = DepthEngine(model, device="cpu", precision="fp32").infer_views(views)
    assert [depth.depth_m.shape for depth in depths] == [view.rgb.shape[:2] for view in views]
    metres = [float(depth.depth_m[0, 0]) for depth in depths]
    upright = 10 * 51 / 255 * depths[4].scale
    np.testing.assert_allclose(metres, [0.5, 2.0, np.inf, 0.5, upright], rtol=1e-5)
    assert model.batches == [4, 1]  # one batch for each size of the network's input
    assert [depth.batch_size for depth in depths] == [4, 4, 4, 4, 1]
    assert set(depths[0].timings_ms) == {"preprocess", "network", "postprocess"}


def test_one_bad_view_is_named_before_anything_is_done(reading_model: Make) -> None:
    model = reading_model()
    bad = View(np.zeros((8, 8, 3), np.uint8), Intrinsics.from_hfov(60, 8, 8))
    with pytest.raises(InputError, match="8x8"):
        DepthEngine(model, device="cpu", precision="fp32").infer_views([_view(51), bad])
    assert model.batches == []


@pytest.mark.parametrize("request_", [CloudRequest(), CloudRequest(2, 2.0), CloudRequest(3, 1.0, color=False)])
def test_a_devices_cloud_is_the_cpus_to_the_byte(request_: CloudRequest) -> None:
    generator = np.random.default_rng(0)
    depth_m = generator.uniform(0.1, 4, (49, 65)).astype(np.float32)
    depth_m[::5, ::7], depth_m[1::5, ::7], depth_m[2::5, ::7] = np.nan, np.inf, -np.inf
    image = generator.integers(0, 256, (49, 65, 3), np.uint8)
    camera = Intrinsics(60.0, 61.0, 31.0, 25.0, 65, 49)
    ours = as_structured(
        device_cloud(torch.from_numpy(depth_m), torch.from_numpy(image), camera, request_).numpy(), request_
    )
    expected = organised_cloud(
        depth_m, image if request_.color else None, camera, stride=request_.stride, max_range_m=request_.max_range_m
    )
    assert ours.dtype == expected.dtype
    assert ours.shape == expected.shape
    for name in expected.dtype.names or ():
        np.testing.assert_array_equal(ours[name], expected[name])
    flying = generator.random((49, 65)) < 0.3
    torn = device_cloud(
        torch.from_numpy(depth_m), torch.from_numpy(image), camera, request_, flying=torch.from_numpy(flying)
    )
    known = np.isfinite(expected["z"])
    left_out = flying[:: request_.stride, :: request_.stride]
    np.testing.assert_array_equal(np.isfinite(as_structured(torn.numpy(), request_)["z"]), known & ~left_out)


def test_a_download_gives_each_its_shape_and_bits() -> None:
    tensors = [torch.rand(3, 4), torch.rand(2), torch.rand(2, 3, 4)]
    colours = torch.tensor([0x7FC00001, 0x00FF8040], dtype=torch.int32).view(torch.float32)  # the bits of a NaN
    packed = torch.cat([*(tensor.reshape(-1) for tensor in tensors), colours]).numpy()
    parts = split(packed, [(3, 4), (2,), (2, 3, 4), (2,)])
    for part, tensor in zip(parts, tensors, strict=False):
        np.testing.assert_array_equal(part, tensor.numpy())
    np.testing.assert_array_equal(parts[3].view(np.int32), [0x7FC00001, 0x00FF8040])
    assert np.shares_memory(download([tensors[0]])[0], tensors[0].numpy())


def test_the_devices_path_gives_the_hosts_depth_and_the_cloud(
    reading_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole path of a device, with the CPU in its place: where there is no GPU, its code runs all the same."""
    asked = [
        replace(_view(120, edge_threshold=0.05), cloud=CloudRequest(), flying=0.05),
        replace(_view(51, scale_factor=2.0, max_depth_m=0.9), cloud=CloudRequest(2, uncertainty=True)),
    ]
    for view in asked:
        view.rgb[:, 64:, 0] = 204
    host = DepthEngine(reading_model(), device="cpu", precision="fp32").infer_views(asked)
    engine = DepthEngine(reading_model(), device="cpu", precision="fp32")
    runtime = engine._runtime
    assert isinstance(runtime, TorchRuntime)
    runtime.on_device = True
    monkeypatch.setattr(runtime, "_graph", lambda network, _: network)  # which only CUDA can record
    device = engine.infer_views(asked)
    for view, expected, found in zip(asked, host, device, strict=True):
        np.testing.assert_allclose(found.depth_m, expected.depth_m, rtol=1e-4)
        np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-5)
        assert (found.scale, found.batch_size) == (expected.scale, 2)
        assert view.cloud is not None
        assert found.cloud is not None
        assert expected.cloud is None
        np.testing.assert_array_equal(found.cloud["z"].shape, [-(-side // view.cloud.stride) for side in (96, 128)])
    assert device[0].flying is not None
    np.testing.assert_array_equal(device[0].flying, host[0].flying)
    assert device[1].flying is None
    assert set(device[0].timings_ms) == {"preprocess", "network", "postprocess"}


def test_the_time_of_several_batches_is_that_of_each_once() -> None:
    depth_m = np.ones((2, 3), np.float32)
    views = [
        ViewDepth(depth_m, depth_m, 1.0, batch_size=size, timings_ms={"preprocess": time_ms, "network": 10 * time_ms})
        for size, time_ms in ((2, 1.0), (2, 1.0), (1, 4.0))
    ]
    assert joined(views).timings_ms == {"preprocess": 5.0, "network": 50.0}


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("limits", [{"confidence_threshold": 0.5}, {"max_depth_m": 1.2}, {"min_depth_m": 0.6}])
def test_depth_steps_at_the_networks_own_size_are_those_of_depth_before_its_limits(
    reading_model: Make, monkeypatch: pytest.MonkeyPatch, limits: dict[str, float], on_device: bool
) -> None:
    """A limit is no step, and an unknown pixel beside a step hides none."""
    engine = DepthEngine(reading_model(), device="cpu", precision="fp32")
    if on_device:
        monkeypatch.setattr(engine._runtime, "on_device", True)
        monkeypatch.setattr(engine._runtime, "_graph", lambda network, _: network)
    view = replace(_view(51, (64, 48)), flying=0.1)
    view.rgb[:24, :, 0] = np.linspace(100, 200, 64)  # a slope, which passes the limits
    view.rgb[24:, 32:, 0] = 204
    view.rgb[26:46:3, 31:33, 1] = 20  # doubtful pixels on the step
    plain, limited = engine.infer_views([view, replace(view, limits=DepthLimits(**limits))])
    assert not np.array_equal(limited.depth_m, plain.depth_m)
    assert plain.flying is not None
    assert plain.flying[26:, 31:33].all()
    assert not plain.flying[:22].any()
    np.testing.assert_array_equal(limited.flying, plain.flying)


@pytest.mark.cuda
def test_the_gpu_gives_the_cloud_and_the_cpus_depth(small_model: Make) -> None:
    view = _view(120)
    asked = View(view.rgb, view.intrinsics, view.limits, CloudRequest())
    on_gpu = DepthEngine(small_model(), device="cuda", precision="fp32").infer_views([asked, asked])
    on_cpu = DepthEngine(small_model(), device="cpu", precision="fp32").infer_views([asked])[0]
    assert on_cpu.cloud is None
    for found in on_gpu:
        np.testing.assert_allclose(found.depth_m, on_cpu.depth_m, rtol=0.01)
        expected = organised_cloud(found.depth_m, view.rgb, view.intrinsics)
        assert found.cloud is not None
        np.testing.assert_array_equal(found.cloud["z"], expected["z"])
        np.testing.assert_array_equal(found.cloud["rgb"], expected["rgb"])


def test_rays_get_the_pixels_on_a_depth_step_without_a_cloud(reading_model: Make) -> None:
    engine = DepthEngine(reading_model(), device="cpu", precision="fp32")
    view = _view(51)
    view.rgb[:, 64:, 0] = 204  # four times as far
    for_rays, for_both, neither = engine.infer_views(
        [replace(view, flying=0.05), replace(view, flying=0.05, cloud=CloudRequest(edge_threshold=0.05)), view]
    )
    assert for_rays.flying is not None
    assert for_both.flying is not None
    assert for_rays.flying.dtype == bool
    assert for_rays.flying[:, 60:68].any()
    assert not for_rays.flying[:, :50].any()
    np.testing.assert_array_equal(for_rays.flying, for_both.flying)
    assert neither.flying is None
