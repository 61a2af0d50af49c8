# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""One batch of views of one network size on the CPU: resized, through the network, metres; timed by stage."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from depthclip_ros.core.engine.preprocess import network_pixels
from depthclip_ros.core.engine.view_depths import view_depths
from depthclip_ros.core.runtimes.runtime import Runtime
from depthclip_ros.core.types import View, ViewDepth
from depthclip_ros.core.uncertainty import Uncertainty


def run(
    runtime: Runtime,
    views: Sequence[View],
    network_size: tuple[int, int],
    scales: Sequence[float],
    max_depth_m: float,
    scene_labels: tuple[str, ...],
    uncertainty: Uncertainty | None,
) -> tuple[list[ViewDepth], list[float]]:
    """Depth of each view, and the times in seconds at which the stages began and the last one ended.

    Args:
        runtime: that the network runs in.
        views: checked.
        network_size: (width, height) of the input, of all of them.
        scales: see `view_depths`.
        max_depth_m: likewise.
        scene_labels: likewise.
        uncertainty: likewise.
    """
    times_s = [time.perf_counter()]
    pixels = [network_pixels(view.rgb, network_size) for view in views]
    batch = pixels[0][None] if len(pixels) == 1 else np.stack(pixels)
    times_s.append(time.perf_counter())
    output = runtime.run(batch)
    times_s.append(time.perf_counter())
    depths = view_depths(views, output, scales, max_depth_m, scene_labels, uncertainty)
    times_s.append(time.perf_counter())
    return depths, times_s
