# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Do the intervals hold here? Counted while the robot drives, where an anchor measures many points of the image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.anchors.measurement import Prediction
from depthclip_ros.core.anchors.points import SeenPoints

WINDOW_S = 10.0  # readings of so long ago count 1/e


class RunningCoverage:
    """Share of measured points that lie within the interval that was published for their pixel."""

    def __init__(self) -> None:
        self._share = math.nan
        self._time_s = -math.inf

    @property
    def share(self) -> float:
        """0..1 over the last `WINDOW_S` or so; NaN where nothing was measured."""
        return self._share

    def add(self, time_s: float, share: float) -> None:
        """The share of one reading, NaN for none; `time_s` of its stamp. A jump back begins anew."""
        if math.isnan(share):
            return
        if math.isnan(self._share) or time_s < self._time_s:
            self._share = share
        else:
            kept = math.exp((self._time_s - time_s) / WINDOW_S)
            self._share = kept * self._share + (1 - kept) * share
        self._time_s = time_s


def share_inside(published: Prediction, half_width: NDArray[np.float32], seen: SeenPoints) -> float:
    """Share 0..1 of the points whose |ln(true / published depth)| is at most h; NaN where none has a depth.

    Args:
        published: depth as it went out, anchors' correction and all.
        half_width: h of each pixel, float32 [H, W].
        seen: what was measured.
    """
    depth_m = published.at(seen.pixels)
    h = Prediction(half_width, published.intrinsics).at(seen.pixels)
    known = np.isfinite(depth_m) & np.isfinite(h)
    if not known.any():
        return math.nan
    return float((np.abs(np.log(seen.true_m[known] / depth_m[known])) <= h[known]).mean())
