# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Picture sheets: image, truth, prediction and error side by side, one row a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray


@dataclass(frozen=True)
class PictureRow:
    """One frame: image uint8 [H, W, 3], truth and prediction float [H, W] in metres (truth 0 or NaN: no reading)."""

    image: NDArray[np.uint8]
    truth_m: NDArray[Any]
    predicted_m: NDArray[Any]
    caption: str


def write_sheet(path: Path, rows: Sequence[PictureRow], width_px: int = 240) -> None:
    """Writes a PNG with one row per frame. Truth and prediction share their colours; the error's end at 50 %."""
    lines = []
    for row in rows:
        height_px = round(width_px * row.image.shape[0] / row.image.shape[1])
        truth, predicted = (_resized(m, width_px, height_px) for m in (row.truth_m, row.predicted_m))
        valid = np.isfinite(truth) & (truth > 0)
        near, far = np.percentile(truth[valid], (2, 98)) if valid.any() else (0.3, 10.0)
        error = np.where(valid, np.abs(predicted - truth) / np.where(valid, truth, 1), 0)
        panels = [
            cv2.resize(row.image, (width_px, height_px), interpolation=cv2.INTER_AREA),
            _coloured(truth, near, far, "turbo_r") * valid[..., None].astype(np.uint8),
            _coloured(predicted, near, far, "turbo_r"),
            _coloured(error, 0.0, 0.5, "magma") * valid[..., None].astype(np.uint8),
        ]
        line = np.ascontiguousarray(np.concatenate(panels, 1))
        cv2.putText(line, row.caption, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 255, 255), 1, cv2.LINE_AA)
        lines.append(line)
    if not lines:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(np.concatenate(lines), cv2.COLOR_RGB2BGR))


def _resized(depth_m: NDArray[Any], width_px: int, height_px: int) -> NDArray[np.float32]:
    return cv2.resize(depth_m.astype(np.float32), (width_px, height_px), interpolation=cv2.INTER_NEAREST_EXACT)


def _coloured(values: NDArray[Any], low: float, high: float, name: str) -> NDArray[np.uint8]:
    share = np.clip((np.nan_to_num(values, nan=low, posinf=high) - low) / max(high - low, 1e-6), 0, 1)
    coloured: NDArray[np.uint8] = (colormaps[name](share)[..., :3] * 255).astype(np.uint8)
    return coloured
