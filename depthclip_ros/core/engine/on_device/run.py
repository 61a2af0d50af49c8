# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""One batch of views on a device, timed with the device at rest."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from depthclip_ros.core.engine.on_device.preprocess import network_pixels, on_device
from depthclip_ros.core.engine.on_device.view_depths import view_depths
from depthclip_ros.core.runtimes.devices import device_errors
from depthclip_ros.core.runtimes.runtime import DeviceRuntime
from depthclip_ros.core.types import View, ViewDepth
from depthclip_ros.core.uncertainty import Uncertainty


def run(
    runtime: DeviceRuntime,
    views: Sequence[View],
    network_size: tuple[int, int],
    scales: Sequence[float],
    max_depth_m: float,
    scene_labels: tuple[str, ...],
    uncertainty: Uncertainty | None,
) -> tuple[list[ViewDepth], list[float]]:
    """See `engine/run.py`."""
    times_s = [time.perf_counter()]
    with device_errors(runtime.device), torch.inference_mode():
        images = [on_device(view.rgb, runtime.device) for view in views]
        pixels = [network_pixels(image, network_size) for image in images]
        batch = pixels[0] if len(pixels) == 1 else torch.cat(pixels)
        runtime.synchronize()
        times_s.append(time.perf_counter())
        prediction = runtime.run_on_device(batch)
        runtime.synchronize()
        times_s.append(time.perf_counter())
        depths = view_depths(views, images, prediction, scales, max_depth_m, scene_labels, uncertainty)
    times_s.append(time.perf_counter())
    return depths, times_s
