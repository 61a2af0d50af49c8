# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""From what the network said of a batch to each view's depth in memory of the caller's own, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depthclip_ros.core.engine.postprocess import flying_pixels, metric_depth, stretched
from depthclip_ros.core.runtimes.network_output import NetworkOutput
from depthclip_ros.core.types import Depth, View, ViewDepth
from depthclip_ros.core.uncertainty import Uncertainty


def view_depths(
    views: Sequence[View],
    output: NetworkOutput,
    scales: Sequence[float],
    max_depth_m: float,
    scene_labels: tuple[str, ...],
    uncertainty: Uncertainty | None = None,
) -> list[ViewDepth]:
    """Metric depth of each view at its image's size.

    Args:
        views: of the batch.
        output: of the batch.
        scales: metres per unit of the network's output, of each view.
        max_depth_m: what the model was made for.
        scene_labels: of the model.
        uncertainty: of the weights.
    """
    found = []
    for index, (view, scale) in enumerate(zip(views, scales, strict=True)):
        depth = output.depth[index]
        size = (view.intrinsics.width_px, view.intrinsics.height_px)
        metres, certainty, wide = metric_depth(
            depth, output.confidence[index], scale, size, view.limits, max_depth_m, uncertainty
        )
        weights = output.scene_weights
        threshold = edge_threshold(view)
        found.append(
            ViewDepth(
                depth_m=metres,
                confidence=certainty,
                half_width=wide,
                scale=scale,
                scene_labels=() if weights is None else scene_labels,
                scene_weights=None if weights is None else weights[index].copy(),
                cloud=None,
                flying=flying_pixels(stretched(depth, scale, view.limits), size, threshold) if threshold else None,
                batch_size=len(views),
            )
        )
    return found


def edge_threshold(view: View) -> float:
    """At which pixels on a depth step are looked for, for rays and for the cloud; 0: they are not."""
    return view.flying or (view.cloud.edge_threshold if view.cloud is not None else 0.0)


def joined(views: list[ViewDepth]) -> Depth:
    """Depth of views of one size and system as one batch; a single one is not copied."""
    alone = views[0] if len(views) == 1 else None
    widths = [view.half_width for view in views if view.half_width is not None]
    weights = [view.scene_weights for view in views if view.scene_weights is not None]
    return Depth(
        depth_m=alone.depth_m[None] if alone else np.stack([view.depth_m for view in views]),
        confidence=alone.confidence[None] if alone else np.stack([view.confidence for view in views]),
        half_width=np.stack(widths) if widths else None,
        scale=[view.scale for view in views],
        scene_labels=views[0].scene_labels,
        scene_weights=np.stack(weights) if weights else None,
        timings_ms=_total(views),
    )


def _total(views: list[ViewDepth]) -> dict[str, float]:
    """Time by stage over all batches that the views went through."""
    total = dict.fromkeys(views[0].timings_ms, 0.0)
    done = 0
    while done < len(views):
        for stage, time_ms in views[done].timings_ms.items():
            total[stage] += time_ms
        done += views[done].batch_size
    return total
