"""The quick validation, at network resolution, that picks the best checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthclip_ros.core.alignment import SCALE_SHIFT, align
from depthclip_ros.core.model.contract import DepthModel, Prediction
from depthclip_trainer.data.sample import MAX_VALID_DEPTH_M, Batch
from depthclip_trainer.evaluation.metrics import DEPTH_METRICS, depth_metrics
from depthclip_trainer.evaluation.pictures import PictureRow
from depthclip_trainer.losses.objective import normalise


@torch.no_grad()
def predict_metres(network: nn.Module, model: DepthModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Depth in metres and confidence, float32 [B, h, w] each, at the batch's size.

    Relative depth is aligned, each image with its own truth, by scale and shift in disparity.
    """
    prediction: Prediction = network(normalise(batch.images, model))
    both = torch.stack([prediction.depth.float(), prediction.confidence.float()], 1)
    both = F.interpolate(both, size=batch.depth_m.shape[-2:], mode="bilinear", align_corners=False)
    scale = torch.ones(len(both), device=both.device)
    if model.config.canonical_focal_px is not None:
        scale = (batch.intrinsics[:, 0] * batch.intrinsics[:, 1]).sqrt() / model.config.canonical_focal_px
    depth = both[:, 0] * scale[:, None, None]
    return depth if model.config.metric else _aligned(depth, batch), both[:, 1]


def _aligned(depth: Tensor, batch: Batch) -> Tensor:
    """Relative depth [B, h, w] in the units of each image's truth; as it is where there are fewer than two pixels."""
    aligned = []
    for values, truth, valid in zip(*(t.cpu().numpy() for t in (depth, batch.depth_m, batch.valid)), strict=True):
        known = valid > 0
        enough = np.count_nonzero(known) >= 2
        metres = align(values[known], truth[known], SCALE_SHIFT).apply(values) if enough else values
        aligned.append(torch.from_numpy(metres.clip(max=MAX_VALID_DEPTH_M)))
    return torch.stack(aligned).to(depth.device)


def quick_validation(
    network: nn.Module, model: DepthModel, sets: Mapping[str, Sequence[Batch]], pictures: int = 6
) -> tuple[dict[str, dict[str, float]], list[PictureRow]]:
    """Metrics of each validation set at network resolution (mean over images), and a few rows for a picture sheet."""
    was_training = model.training
    model.eval()
    table, rows = {}, []
    highest_m = max(MAX_VALID_DEPTH_M, model.config.max_depth_m)
    for name, batches in sets.items():
        per_image = []
        every = max(1, sum(len(b.paths) for b in batches) // max(1, pictures // len(sets)))
        for batch in batches:
            predicted = predict_metres(network, model, batch)[0].clamp(1e-3, highest_m).cpu().numpy()
            truth, valid = batch.depth_m.cpu().numpy(), batch.valid.cpu().numpy()
            for i, path in enumerate(batch.paths):
                if not valid[i].any():
                    continue
                per_image.append(depth_metrics(truth[i][valid[i]], predicted[i][valid[i]]))
                if (len(per_image) - 1) % every == 0:
                    image = (batch.images[i] * 255).byte().permute(1, 2, 0).cpu().numpy()
                    caption = f"{path}  AbsRel {per_image[-1]['abs_rel']:.3f}"
                    rows.append(PictureRow(image, truth[i], predicted[i], caption))
        table[name] = {key: float(np.mean([m[key] for m in per_image])) for key in DEPTH_METRICS}
    model.train(was_training)
    return table, rows
