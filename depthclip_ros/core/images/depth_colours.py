# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Depth as a picture for people: near is red, far is blue, unknown is dark grey."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError

UNKNOWN_RGB = (40, 40, 40)

_FALLBACK_RANGE_M = (0.0, 10.0)  # of an image without any depth
_SAMPLES = 40_000  # enough for percentiles; more cost time at every frame
_LEGEND_MIN_SIDE_PX = 120


def colorize(
    depth_m: NDArray[np.float32], near_m: float | None = None, far_m: float | None = None
) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of depth [H, W].

    +Inf has the colour of `far_m`, -Inf that of `near_m`, NaN is UNKNOWN_RGB. For video give both ends of the range
    (fixed, or from `SteadyRange`): a range taken from each image makes colours flicker.

    Args:
        depth_m: metres.
        near_m: depth of the near end of the colours; None: from this image.
        far_m: depth of the far end; None: from this image.

    Raises:
        InputError: a range that is empty or not finite.
    """
    if near_m is None or far_m is None:
        image_near_m, image_far_m = depth_range(depth_m)
        near_m = image_near_m if near_m is None else near_m
        far_m = max(image_far_m, near_m + 1e-3) if far_m is None else far_m
    if not (math.isfinite(near_m) and math.isfinite(far_m) and near_m < far_m):
        raise InputError(f"colour range is {near_m}..{far_m} m; it must be finite and ascending")
    index = np.clip((depth_m - np.float32(near_m)) * np.float32(254 / (far_m - near_m)), 0, 254)
    np.copyto(index, 255, where=np.isnan(index))  # the table's last entry
    return np.asarray(cv2.applyColorMap(index.astype(np.uint8), _colours()), np.uint8)


def depth_range(depth_m: NDArray[np.float32]) -> tuple[float, float]:
    """(near, far) in metres between which 96 % of the finite depths lie; 0..10 where there are none."""
    step = max(1, math.isqrt(depth_m.size // _SAMPLES))
    sample = depth_m[::step, ::step]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return _FALLBACK_RANGE_M
    near_m, far_m = np.percentile(sample, (2, 98))
    return float(near_m), float(max(far_m, near_m + 0.1))


class SteadyRange:
    """The range of a video's depth, following its images slowly so that colours do not flicker.

    Args:
        share: how far each image moves the range towards its own, 0..1.
    """

    def __init__(self, share: float = 0.1) -> None:
        self._share = share
        self._range_m: tuple[float, float] | None = None

    def update(self, depth_m: NDArray[np.float32]) -> tuple[float, float]:
        """(near, far) in metres for this image, for `colorize`; an image without depth changes nothing."""
        if not np.isfinite(depth_m).any():
            return self._range_m or _FALLBACK_RANGE_M
        new = depth_range(depth_m)
        if self._range_m is None:
            self._range_m = new
        else:
            near_m, far_m = (old + self._share * (now - old) for old, now in zip(self._range_m, new, strict=True))
            self._range_m = (near_m, far_m)
        return self._range_m


def draw_legend(picture: NDArray[np.uint8], near_m: float, far_m: float) -> NDArray[np.uint8]:
    """A copy of the picture with a colour bar and its ends in metres at the bottom right; too small ones stay bare.

    Args:
        picture: uint8 [H, W, 3], from `colorize` with the same range.
        near_m: depth of the bar's left end.
        far_m: depth of its right end.
    """
    result: NDArray[np.uint8] = picture.copy()
    height, width = picture.shape[:2]
    if min(height, width) < _LEGEND_MIN_SIDE_PX:
        return result
    unit = max(1, min(height, width) // 40)
    bar_width, bar_height, margin = 16 * unit, unit, unit
    left, top = width - bar_width - 2 * margin, height - bar_height - 4 * margin
    box = result[top - margin : height - margin // 2, left - margin : width - margin // 2]
    box //= 4  # darkened, so that the figures can be read on any colour
    ramp = np.linspace(near_m, far_m, bar_width, dtype=np.float32)
    result[top : top + bar_height, left : left + bar_width] = colorize(ramp[None], near_m, far_m)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, unit / 20
    baseline = top + bar_height + 2 * unit
    right_text = f"{far_m:.1f} m"
    text_width = cv2.getTextSize(right_text, font, scale, 1)[0][0]
    for text, x in ((f"{near_m:.1f} m", left), (right_text, left + bar_width - text_width)):
        cv2.putText(result, text, (x, baseline), font, scale, (255, 255, 255), max(1, unit // 10), cv2.LINE_AA)
    return result


@functools.lru_cache(maxsize=1)
def _colours() -> NDArray[np.uint8]:
    """uint8 [256, 1, 3] RGB: 255 colours from near to far, then the one of the unknown."""
    positions = np.linspace(255, 0, 255).round().astype(np.uint8)[:, None]
    turbo = cv2.applyColorMap(positions, cv2.COLORMAP_TURBO)[..., ::-1]  # OpenCV's tables are BGR
    return np.asarray(np.concatenate([turbo, np.array(UNKNOWN_RGB, np.uint8).reshape(1, 1, 3)]), np.uint8)
