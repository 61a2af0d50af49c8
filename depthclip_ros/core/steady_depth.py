# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Takes the flicker out of the depth of a camera that goes on looking at the same things; causal, without delay.

Where optical flow explains how the picture moved, the depth of the same surface a moment ago counts beside today's.
Where it does not (something new in view, a person who walks, a cut), only today's counts: there are no ghosts.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

GRID_PX = 160
"""Longer side of the grid on which pictures and depths are compared: flicker is broader than its cells."""
FLOW_PX = 32
"""Shortest side that OpenCV's flow takes, four patches of eight pixels; under it, it reads what is not its own."""
MEMORY = 6
"""Images that count at most."""
GAP_S = 0.5
"""Between images; after a longer one, or when the clock goes back, nothing of the past counts."""
SAME_GREY = 10.0
"""Largest difference of grey, of 255, between what is taken for the same surface in two pictures."""
SAME_LOG = 0.2
"""Largest difference of ln depth: what differs by more has moved, or is another surface."""
SAME_SHARE = 0.5
"""Of the picture that flow must explain; with less it is a cut or too fast a turn."""


class SteadyDepth:
    """The past of one camera. `apply` is to be called once for each image, in their order."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._time_s: float | None = None
        self._grey: NDArray[Any] | None = None
        self._past: NDArray[Any] | None = None

    def apply(
        self,
        time_s: float,
        rgb: NDArray[np.uint8],
        depth_m: NDArray[np.float32],
        log_scale: float = 0.0,
        limits_m: tuple[float, float] = (0.0, np.inf),
    ) -> None:
        """Steadies depth, in place; NaN and infinities stay.

        Args:
            time_s: stamp of the image.
            rgb: uint8 [H, W, 3].
            depth_m: float32 [H, W].
            log_scale: ln of what the depth was multiplied by beside the network; the past is kept without.
            limits_m: what becomes nearer than the first is -Inf, farther than the second +Inf.
        """
        height, width = depth_m.shape
        shrink = min(1.0, GRID_PX / max(height, width))
        size = max(FLOW_PX, round(width * shrink)), max(FLOW_PX, round(height * shrink))
        grey = cv2.cvtColor(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        with np.errstate(invalid="ignore", divide="ignore"):
            new = np.log(cv2.resize(depth_m, size, interpolation=cv2.INTER_NEAREST_EXACT)) - np.float32(log_scale)
        new[~np.isfinite(new)] = np.nan
        count = np.ones_like(new)
        steady = new
        if self._goes_on(time_s, grey) and (moved := self._moved(grey)) is not None:
            before, counted = moved
            same = np.abs(before - new) < SAME_LOG  # False where either is NaN
            count[same] = np.minimum(counted[same] + 1, MEMORY)
            steady = np.where(same, new + (1 - 1 / count) * (before - new), new)
            change = np.nan_to_num(steady - new)
            factor: NDArray[Any] = cv2.exp(cv2.resize(change, (width, height), interpolation=cv2.INTER_LINEAR))
            depth_m *= factor
            near_m, far_m = limits_m
            depth_m[depth_m < near_m] = -np.inf
            depth_m[depth_m > far_m] = np.inf
        self._time_s, self._grey = time_s, grey
        self._past = np.dstack([steady, count])

    def _goes_on(self, time_s: float, grey: NDArray[Any]) -> bool:
        """Whether this image follows the last."""
        if self._time_s is None or self._grey is None or self._grey.shape != grey.shape:
            return False
        return 0 < time_s - self._time_s <= GAP_S

    def _moved(self, grey: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """The past's ln depth and count where its surfaces are now, NaN where they are not seen; None after a cut."""
        assert self._grey is not None
        assert self._past is not None
        flow = self._flow.calc(grey, self._grey, np.zeros((*grey.shape, 2), np.float32))  # from now to then
        rows, columns = np.indices(grey.shape, np.float32)
        x, y = columns + flow[..., 0], rows + flow[..., 1]
        then = cv2.remap(self._grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        difference: NDArray[Any] = grey.astype(np.float32) - then
        brighter = float(np.median(difference))  # exposure
        same = np.abs(difference - brighter) < SAME_GREY
        same &= (x >= 0) & (y >= 0) & (x <= grey.shape[1] - 1) & (y <= grey.shape[0] - 1)
        if same.mean() < SAME_SHARE:
            return None
        past = cv2.remap(self._past, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)  # no mean over an edge
        past[~same] = np.nan
        return past[..., 0], np.nan_to_num(past[..., 1], nan=1.0)
