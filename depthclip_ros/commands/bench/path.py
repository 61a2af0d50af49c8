# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Images in, depth, uncertainty and cloud out in the CPU's memory, for one to four cameras; no node."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

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
from depthclip_ros.core.geometry import organised_cloud
from depthclip_ros.core.types import CloudRequest, View
from depthclip_ros.core.uncertainty import uncertainty_m

CAMERAS = (1, 2, 4)
PERIOD_MS = 1000 / 30  # of a camera


def units(settings: Settings) -> list[Unit]:
    """What the node does of a frame but for ROS."""
    return [Unit("path", "host to host", functools.partial(_measure, settings))]


def _measure(settings: Settings) -> list[Row]:
    from depthclip_ros.core.engine import DepthEngine

    engine = DepthEngine.load(settings.weights, runtime="auto", device=settings.device)
    rows = []
    try:
        for size_px in settings.sizes_px:
            view = View(sample_image(size_px), sample_camera(size_px), cloud=CloudRequest(uncertainty=True))
            counts = CAMERAS[:2] if settings.quick else CAMERAS
            calls = {str(count): timed(functools.partial(_everything_of, engine, [view] * count)) for count in counts}
            times = interleaved(calls, budget_s=2.0 if settings.quick else 10.0)
            alone_ms = times["1"]["total_ms"]
            for count in counts:
                total_ms = times[str(count)]["total_ms"]
                rows.append(
                    {
                        "ran": f"{engine.runtime} {engine.precision}",
                        "image": size_name(size_px),
                        "cameras": count,
                        "total_ms": total_ms,
                        "share_of_period": total_ms / PERIOD_MS,
                        "of_alone": ratio(total_ms, count * alone_ms),
                    }
                )
    finally:
        engine.close()
    return rows


def _everything_of(engine: Any, views: Sequence[View]) -> None:
    """All of a round of cameras that a node would publish; on a device the engine has made the clouds."""
    for view, found in zip(views, engine.infer_views(views), strict=True):
        off_m = None if found.half_width is None else uncertainty_m(found.depth_m, found.half_width)
        if found.cloud is None:
            organised_cloud(found.depth_m, view.rgb, view.intrinsics, uncertainty_m=off_m)
