# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`engine/view_depths.py` on a device: clouds too are made there, and all that a frame needs comes in one copy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from depthclip_ros.core.engine.on_device.cloud import as_structured, device_cloud
from depthclip_ros.core.engine.on_device.download import download
from depthclip_ros.core.engine.on_device.postprocess import flying_pixels, metric_depth, stretched
from depthclip_ros.core.engine.view_depths import edge_threshold
from depthclip_ros.core.model.contract import Prediction
from depthclip_ros.core.types import View, ViewDepth
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
    has_scenes = prediction.scene_weights is not None
    parts: list[Tensor] = []
    for index, (view, image, scale) in enumerate(zip(views, images, scales, strict=True)):
        one = slice(index, index + 1)
        size = (view.intrinsics.width_px, view.intrinsics.height_px)
        scale_m = torch.tensor([scale], dtype=torch.float32, device=image.device)
        metres, certainty, wide = metric_depth(
            prediction.depth[one],
            prediction.confidence[one],
            scale_m,
            size,
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
        if threshold := edge_threshold(view):
            depth = stretched(prediction.depth[one].float(), scale_m, view.limits)
            flying = flying_pixels(depth, size, threshold)[0]
        if view.cloud is not None:
            within = None if wide is None else wide[0]
            parts.append(device_cloud(metres[0], image, view.intrinsics, view.cloud, within, flying))
        if flying is not None and view.flying > 0:  # for rays; the cloud has used them already
            parts.append(flying.float())
    arrays = iter(download(parts))
    return [
        ViewDepth(
            depth_m=next(arrays),
            confidence=next(arrays),
            half_width=None if uncertainty is None else next(arrays),
            scale=scale,
            scene_labels=scene_labels if has_scenes else (),
            scene_weights=next(arrays) if has_scenes else None,
            cloud=None if view.cloud is None else as_structured(next(arrays), view.cloud),
            flying=next(arrays).astype(bool) if view.flying > 0 else None,
            batch_size=len(views),
        )
        for view, scale in zip(views, scales, strict=True)
    ]
