# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""From what the network said of a batch to each view's depth in memory of the caller's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from depthclip_ros.core.engine.device_cloud import as_structured, device_cloud
from depthclip_ros.core.engine.download import download
from depthclip_ros.core.engine.postprocess import flying_pixels, metric_depth
from depthclip_ros.core.model.contract import Prediction
from depthclip_ros.core.types import Depth, View, ViewDepth
from depthclip_ros.core.uncertainty import Uncertainty


def view_depths(
    views: Sequence[View],
    images: Sequence[Tensor],
    prediction: Prediction,
    scales: Sequence[float],
    max_depth_m: float,
    scene_labels: tuple[str, ...],
    uncertainty: Uncertainty | None = None,
) -> list[ViewDepth]:
    """Metric depth of each view at its image's size; clouds too where the device makes them.

    Args:
        views: of the batch.
        images: uint8 [H, W, 3] of each view, on the device of the prediction.
        prediction: of the batch.
        scales: metres per unit of the network's output, of each view.
        max_depth_m: what the model was made for.
        scene_labels: of the model.
        uncertainty: of the weights.
    """
    on_cpu = prediction.depth.device.type == "cpu"
    has_scenes = prediction.scene_weights is not None
    parts: list[Tensor] = []
    for index, (view, image, scale) in enumerate(zip(views, images, scales, strict=True)):
        one = slice(index, index + 1)
        metres, certainty, wide = metric_depth(
            prediction.depth[one],
            prediction.confidence[one],
            torch.tensor([scale], dtype=torch.float32, device=image.device),
            (view.intrinsics.width_px, view.intrinsics.height_px),
            view.limits,
            max_depth_m,
            uncertainty,
        )
        parts += [metres[0], certainty[0]]
        if wide is not None:
            parts.append(wide[0])
        if prediction.scene_weights is not None:
            parts.append(prediction.scene_weights[index].float().clone())
        flying = None
        if threshold := _edge_threshold(view):
            flying = flying_pixels(prediction.depth[one].float(), metres, threshold)[0]
        if view.cloud is not None and not on_cpu:
            within = None if wide is None else wide[0]
            parts.append(device_cloud(metres[0], image, view.intrinsics, view.cloud, within, flying))
        if flying is not None and _keeps_flying(view, on_cpu):
            parts.append(flying if on_cpu else flying.float())
    arrays = iter(download(parts))
    return [
        ViewDepth(
            depth_m=next(arrays),
            confidence=next(arrays),
            half_width=None if uncertainty is None else next(arrays),
            scale=scale,
            scene_labels=scene_labels if has_scenes else (),
            scene_weights=next(arrays) if has_scenes else None,
            cloud=None if view.cloud is None or on_cpu else as_structured(next(arrays), view.cloud),
            flying=next(arrays).astype(bool, copy=False) if _keeps_flying(view, on_cpu) else None,
            batch_size=len(views),
        )
        for view, scale in zip(views, scales, strict=True)
    ]


def _edge_threshold(view: View) -> float:
    """At which pixels on a depth step are looked for; 0: they are not."""
    return view.flying or (view.cloud.edge_threshold if view.cloud is not None else 0.0)


def _keeps_flying(view: View, on_cpu: bool) -> bool:
    """Whether the view's depth has them: for rays, and for a cloud that is made on the CPU."""
    return view.flying > 0 or (on_cpu and _edge_threshold(view) > 0)


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
