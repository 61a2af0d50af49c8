"""One training step's arithmetic, and the quick validation that picks the best checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthclip_ros.core.model.contract import DepthModel, Prediction
from depthclip_trainer.data.sample import MAX_VALID_DEPTH_M, Batch
from depthclip_trainer.losses import composite
from depthclip_trainer.metrics import DEPTH_METRICS, depth_metrics
from depthclip_trainer.pictures import PictureRow
from depthclip_trainer.semi import SemiConfig, mixed_loss


def normalise(images: Tensor, model: DepthModel) -> Tensor:
    """RGB 0..1 [B, 3, h, w] as the network takes it; channels last, which convolutions on a CPU like best."""
    mean = torch.tensor(model.image_mean, device=images.device)[:, None, None]
    std = torch.tensor(model.image_std, device=images.device)[:, None, None]
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def batch_loss(
    network: nn.Module, model: DepthModel, batch: Batch, weights: Mapping[str, float], semi: SemiConfig | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Total loss and its terms of one batch; `network` is `model`, as Fabric wrapped it."""
    prediction: Prediction = network(normalise(batch.images, model))
    if semi is not None and batch.targets is not None:
        return mixed_loss(prediction, batch, model.config.canonical_focal_px, model.bin_centres, weights, semi)
    target = batch.canonical_depth(model.config.canonical_focal_px)
    return composite(prediction, target, batch.valid, model.bin_centres, weights)


@torch.no_grad()
def predict_metres(network: nn.Module, model: DepthModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Depth in metres and confidence, float32 [B, h, w] each, at the batch's size."""
    prediction: Prediction = network(normalise(batch.images, model))
    both = torch.stack([prediction.depth.float(), prediction.confidence.float()], 1)
    both = F.interpolate(both, size=batch.depth_m.shape[-2:], mode="bilinear", align_corners=False)
    scale = torch.ones(len(both), device=both.device)
    if model.config.canonical_focal_px is not None:
        scale = (batch.intrinsics[:, 0] * batch.intrinsics[:, 1]).sqrt() / model.config.canonical_focal_px
    return both[:, 0] * scale[:, None, None], both[:, 1]


def quick_validation(
    network: nn.Module, model: DepthModel, sets: Mapping[str, Sequence[Batch]], pictures: int = 6
) -> tuple[dict[str, dict[str, float]], list[PictureRow]]:
    """Metrics of each validation set at network resolution (mean over images), and a few rows for a picture sheet."""
    was_training = model.training
    model.eval()
    table, rows = {}, []
    for name, batches in sets.items():
        per_image = []
        every = max(1, sum(len(b.paths) for b in batches) // max(1, pictures // len(sets)))
        for batch in batches:
            predicted = predict_metres(network, model, batch)[0].clamp(1e-3, MAX_VALID_DEPTH_M).cpu().numpy()
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
