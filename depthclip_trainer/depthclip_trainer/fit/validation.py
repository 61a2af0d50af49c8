# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The quick validation, through the engine that ships, that picks the best checkpoint."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping

import numpy as np
import torch

from depthclip_ros.core.alignment import SCALE_SHIFT, align
from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.model.contract import DepthModel
from depthclip_trainer.data.sample import MAX_VALID_DEPTH_M, FramePool, samples_of
from depthclip_trainer.evaluation.evaluate import clip_prediction, predict
from depthclip_trainer.evaluation.metrics import DEPTH_METRICS, depth_metrics
from depthclip_trainer.evaluation.pictures import PictureRow

log = logging.getLogger(__name__)


def quick_validation(
    model: DepthModel, sets: Mapping[str, FramePool], device: torch.device, pictures: int = 6
) -> tuple[dict[str, dict[str, float]], list[PictureRow]]:
    """Metrics of each validation set at the frames' own size (mean over images), and a few rows for a picture sheet.

    The weights are scored as a robot would run them: by the engine, in float32. Relative depth is aligned, each image
    with its own truth, by scale and shift in disparity. A set without a reading is named in a warning and left out.
    """
    table: dict[str, dict[str, float]] = {}
    rows: list[PictureRow] = []
    if not sets:
        return table, rows
    highest_m = max(MAX_VALID_DEPTH_M, model.config.max_depth_m)
    engine = DepthEngine(copy.deepcopy(model).cpu(), device=str(device), precision="fp32")
    try:
        for name, pool in sets.items():
            every = max(1, len(pool) // max(1, pictures // len(sets)))
            per_image = []
            for index, sample in enumerate(samples_of(pool)):
                truth_m, valid = sample.depth_m, sample.valid
                if not valid.any():
                    continue
                predicted_m = predict(engine, sample, truth_m.shape, flip=False)[0]
                if not model.config.metric:
                    enough = np.count_nonzero(valid) >= 2
                    fitted = align(predicted_m[valid], truth_m[valid], SCALE_SHIFT) if enough else None
                    predicted_m = predicted_m if fitted is None else fitted.apply(predicted_m)
                predicted_m = clip_prediction(predicted_m, highest_m)
                per_image.append(depth_metrics(truth_m[valid], predicted_m[valid]))
                if index % every == 0:
                    caption = f"{sample.path}  AbsRel {per_image[-1]['abs_rel']:.3f}"
                    rows.append(PictureRow(sample.image, truth_m, predicted_m, caption))
            if not per_image:
                log.warning("validation %s has no reading in its range of depth; it does not count", name)
                continue
            table[name] = {key: float(np.mean([m[key] for m in per_image])) for key in DEPTH_METRICS}
    finally:
        engine.close()
    return table, rows
