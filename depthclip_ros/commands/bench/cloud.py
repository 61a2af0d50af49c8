# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The point cloud of a depth image as the node makes it, beside the plain way to make one in NumPy."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.commands.bench.settings import (
    Row,
    Settings,
    Unit,
    interleaved,
    ratio,
    sample_camera,
    sample_image,
    size_name,
    timed,
)
from depthclip_ros.core.geometry import CLOUD_XYZRGB, organised_cloud, pixel_rays
from depthclip_ros.core.types import Intrinsics


def units(settings: Settings) -> list[Unit]:
    """The point cloud, which needs no network."""
    return [Unit("cloud", "point cloud", functools.partial(_measure, settings))]


def _measure(settings: Settings) -> list[Row]:
    rows = []
    for size_px in settings.sizes_px:
        width, height = size_px
        rgb, camera = sample_image(size_px), sample_camera(size_px)
        depth_m = np.random.default_rng(1).uniform(0.5, 6, (height, width)).astype(np.float32)
        depth_m[::17, ::13] = np.nan
        out = np.empty((height, width), CLOUD_XYZRGB)
        calls = {
            "ours": timed(functools.partial(organised_cloud, depth_m, rgb, camera, out=out)),
            "per field": timed(functools.partial(_per_field, depth_m, rgb, camera)),
        }
        times = interleaved(calls, budget_s=1.0 if settings.quick else 3.0, most=60)
        ours_ms, per_field_ms = times["ours"]["total_ms"], times["per field"]["total_ms"]
        rows.append(
            {
                "image": size_name(size_px),
                "total_ms": ours_ms,
                "per_field_ms": per_field_ms,
                "times_per_field": ratio(per_field_ms, ours_ms),
            }
        )
    return rows


def _per_field(depth_m: NDArray[np.float32], rgb: NDArray[np.uint8], camera: Intrinsics) -> NDArray[Any]:
    """The baseline: an organised XYZRGB cloud, each field of a structured array filled in turn."""
    rays = pixel_rays(camera)
    points = np.zeros(depth_m.shape, CLOUD_XYZRGB)
    points["x"] = rays[..., 0] * depth_m
    points["y"] = rays[..., 1] * depth_m
    points["z"] = depth_m
    r, g, b = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    points["rgb"] = (r << 16 | g << 8 | b).view(np.float32)
    return points
