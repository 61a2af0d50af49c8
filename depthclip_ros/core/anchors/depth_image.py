# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Anchor `depth`: a depth camera's image, registered to the camera, with holes where it measured nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.anchors.measurement import Measurement, Prediction, from_pairs
from depthclip_ros.core.anchors.points import SeenPoints
from depthclip_ros.core.errors import InputError

LEAST_PIXELS = 50
SAMPLES = 2000  # of a regular grid: more are neighbours that say the same
NOISE_SHARE_PER_M = 0.002  # a stereo camera's depth error grows with the square of depth, so this of each metre


def depth_pixels(prediction: Prediction, measured_m: NDArray[np.float32]) -> SeenPoints:
    """Pixels of a regular grid over the image where depth was measured.

    Args:
        prediction: of the same camera.
        measured_m: float32 [h, w], registered; of any size with the image's sides in proportion. Not finite, or 0:
            nothing was measured.

    Raises:
        InputError: an image of other proportions, or too few pixels.
    """
    height, width = prediction.depth_m.shape
    rows, columns = measured_m.shape
    if abs(rows * width - columns * height) > max(rows, columns) * 2 * max(width / columns, height / rows):
        raise InputError(f"its image is {columns}x{rows} and the camera's {width}x{height}; it must be registered")
    step = max(1, int((rows * columns / SAMPLES) ** 0.5))
    v, u = np.mgrid[step // 2 : rows : step, step // 2 : columns : step]
    metres = measured_m[v, u].astype(np.float64)
    good = np.isfinite(metres) & (metres > 0)
    if np.count_nonzero(good) < LEAST_PIXELS:
        raise InputError(f"{np.count_nonzero(good)} of {good.size} pixels have depth; {LEAST_PIXELS} are needed")
    pixels = np.stack([(u[good] + 0.5) * width / columns - 0.5, (v[good] + 0.5) * height / rows - 0.5], axis=-1)
    return SeenPoints(pixels, metres[good])


def measure_depth(prediction: Prediction, seen: SeenPoints) -> Measurement:
    """Compare a measured depth image with the predicted one.

    Raises:
        InputError: too few pixels of both.
    """
    noise = (NOISE_SHARE_PER_M * seen.true_m) ** 2
    return from_pairs(prediction, seen.pixels, seen.true_m, noise, least=LEAST_PIXELS)
