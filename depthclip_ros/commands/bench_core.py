"""The parts of the bench that need no ROS: the engine and the point cloud."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.geometry import pixel_rays
from depthclip_ros.core.types import Intrinsics

HFOV_DEG = 70.0
STAGES = ("preprocess", "network", "postprocess")


def random_weights(preset_name: str, folder: Path) -> Path:
    """A weights file of a preset with random numbers in it: the same work as a trained one."""
    import torch

    from depthclip_ros.core.model.registry import build_model, preset
    from depthclip_ros.core.weights import save_weights

    torch.manual_seed(0)
    path = folder / f"{preset_name}.safetensors"
    save_weights(path, build_model(preset(preset_name), load_base=False), training={}, metrics={})
    return path


def sample_image(size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]: smooth shades and noise."""
    width, height = size_px
    y, x = np.mgrid[0:height, 0:width]
    shades = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], axis=2)
    noise = np.random.default_rng(0).normal(0, 12, (height, width, 3))
    return np.clip(shades + noise, 0, 255).astype(np.uint8)


def median_ms(function: Callable[[], Any], repeats: int) -> float:
    """Median wall time of a call, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start_s = time.perf_counter()
        function()
        times.append((time.perf_counter() - start_s) * 1e3)
    return float(np.median(times))


def measure_engine(
    label: str, weights: str | Path, size_px: tuple[int, int], device: str, precisions: Sequence[str], repeats: int
) -> list[dict[str, Any]]:
    """Times of the engine by stage and precision; the first row is the same network in plain torch, eager, fp32.

    The baseline does what a script would: resize and normalise with torch, the model, resize back; the ratio says how
    many times faster than it a row is.
    """
    import torch

    from depthclip_ros.core.engine import DepthEngine
    from depthclip_ros.core.weights import load_weights

    image = sample_image(size_px)
    intrinsics = Intrinsics.from_hfov(HFOV_DEG, *size_px)
    first = DepthEngine.load(weights, device=device, precision="fp32")
    where = first.device
    first.close()

    model = load_weights(weights).model.to(where)
    network_size = model.network_size(*size_px)
    mean, std = (torch.tensor(one, device=where).view(1, 3, 1, 1) for one in (model.image_mean, model.image_std))

    def eager() -> None:
        with torch.inference_mode():
            batch = torch.from_numpy(image).to(where).permute(2, 0, 1)[None].float() / 255
            batch = torch.nn.functional.interpolate(batch, network_size[::-1], mode="bilinear", antialias=True)
            depth = model((batch - mean) / std).depth[:, None]
            torch.nn.functional.interpolate(depth, size_px[::-1], mode="bilinear", align_corners=True).cpu()

    inputs = torch.zeros(1, 3, *network_size[::-1], device=where)

    def network_alone() -> None:
        with torch.inference_mode():
            model(inputs).depth.cpu()

    baseline_ms, network_ms = median_ms(eager, repeats), median_ms(network_alone, repeats)
    rows: list[dict[str, Any]] = [
        {
            "name": f"{label}: torch eager fp32 (baseline)",
            "device": where,
            "preprocess_ms": None,
            "network_ms": network_ms,
            "postprocess_ms": None,
            "total_ms": baseline_ms,
            "speed_ratio": 1.0,
        }
    ]
    for precision in precisions:
        engine = DepthEngine.load(weights, device=device, precision=precision)
        engine.warm_up(*size_px)
        stages: dict[str, list[float]] = {name: [] for name in STAGES}
        totals = []
        for _ in range(repeats):
            start_s = time.perf_counter()
            timings = engine.infer(image[None], [intrinsics]).timings_ms
            totals.append((time.perf_counter() - start_s) * 1e3)
            for name in STAGES:
                stages[name].append(timings[name])
        total_ms = float(np.median(totals))
        rows.append(
            {
                "name": f"{label}: {engine.runtime} {engine.precision} on {engine.device}",
                "device": engine.device,
                **{f"{name}_ms": float(np.median(values)) for name, values in stages.items()},
                "total_ms": total_ms,
                "speed_ratio": baseline_ms / total_ms,
            }
        )
        engine.close()
    return rows


def engine_time_ms(weights: str | Path, size_px: tuple[int, int], device: str) -> float:
    """Median time of the engine on one image, as the node would run it."""
    from depthclip_ros.core.engine import DepthEngine

    engine = DepthEngine.load(weights, device=device)
    image, intrinsics = sample_image(size_px), Intrinsics.from_hfov(HFOV_DEG, *size_px)
    try:
        return median_ms(lambda: engine.infer(image[None], [intrinsics]), 5)
    finally:
        engine.close()


def measure_cloud(size_px: tuple[int, int], repeats: int) -> dict[str, float]:
    """Building an organised XYZRGB cloud as the node does, against filling each field of a structured array in turn."""
    from depthclip_ros.core.geometry import CLOUD_XYZRGB, organised_cloud

    width, height = size_px
    rgb = sample_image(size_px)
    depth_m = np.random.default_rng(1).uniform(0.5, 6, (height, width)).astype(np.float32)
    depth_m[::17, ::13] = np.nan
    intrinsics = Intrinsics.from_hfov(HFOV_DEG, width, height)
    out = np.empty((height, width), CLOUD_XYZRGB)

    def per_field() -> NDArray[Any]:
        rays = pixel_rays(intrinsics)
        points = np.zeros((height, width), CLOUD_XYZRGB)
        points["x"] = rays[..., 0] * depth_m
        points["y"] = rays[..., 1] * depth_m
        points["z"] = depth_m
        r, g, b = (rgb[..., channel].astype(np.uint32) for channel in range(3))
        points["rgb"] = (r << 16 | g << 8 | b).view(np.float32)
        return points

    ours_ms = median_ms(lambda: organised_cloud(depth_m, rgb, intrinsics, out=out), repeats)
    loop_ms = median_ms(per_field, repeats)
    return {"ours_ms": ours_ms, "per_field_numpy_ms": loop_ms, "speed_ratio": loop_ms / ours_ms}
