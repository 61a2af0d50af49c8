# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Anchor `tag`: an ArUco or AprilTag marker of known side, which OpenCV finds and whose pose it gives."""

from __future__ import annotations

import functools
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.anchors.measurement import Measurement, Prediction, from_pairs
from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.geometry import camera_matrix, pixel_rays

CORNER_SD_PX = 0.5  # of a refined corner
LEAST_SIDE_PX = 12.0
SIDE_SHARE = 0.01  # what a printed side is off by
DICTIONARIES = tuple(sorted(name for name in dir(cv2.aruco) if name.startswith("DICT_")))


@functools.lru_cache(maxsize=8)
def _detector(dictionary: str) -> Any:
    if dictionary not in DICTIONARIES:
        raise ConfigError(f"the tag's dictionary is {dictionary!r}; allowed: {', '.join(DICTIONARIES)}")
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    return cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary)), parameters)


def measure_tags(
    prediction: Prediction, rgb: NDArray[np.uint8], *, side_m: float, dictionary: str = "DICT_APRILTAG_36h11"
) -> Measurement:
    """Compare the depth that markers' size says with the predicted depth of the pixels inside them.

    A corner that is off by `CORNER_SD_PX` makes the side, and so the distance, wrong by sqrt(2) of that over the side
    in pixels; of the four sides two are independent.

    Args:
        prediction: of the image.
        rgb: uint8 [H, W, 3], rectified.
        side_m: of the black square.
        dictionary: OpenCV's name.

    Raises:
        ConfigError: an unknown dictionary.
        InputError: no marker that is large enough and lies where depth is known.
    """
    corners, _, _ = _detector(dictionary).detectMarkers(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    half = side_m / 2
    square = np.array([[-half, half, 0], [half, half, 0], [half, -half, 0], [-half, -half, 0]])
    k = prediction.intrinsics
    matrix = camera_matrix(k)
    pixels, depths, noises = [], [], []
    for one in corners:
        quad = one.reshape(4, 2).astype(np.float64)
        side_px = math.sqrt(abs(cv2.contourArea(quad.astype(np.float32))))
        if side_px < LEAST_SIDE_PX:
            continue
        # not IPPE_SQUARE: of a square that is seen symmetrically OpenCV's closed form makes NaN, or another tilt
        found, turn, shift = cv2.solvePnP(square, quad, matrix, None, flags=cv2.SOLVEPNP_ITERATIVE)
        if not (found and np.isfinite(shift).all()):
            continue
        normal = cv2.Rodrigues(turn)[0][:, 2]
        at = shift[:, 0]
        inside = np.zeros(prediction.depth_m.shape, np.uint8)
        cv2.fillConvexPoly(inside, np.rint(quad).astype(np.int32), 1)
        rows, columns = np.nonzero(inside)
        rays = np.concatenate([pixel_rays(k)[rows, columns], np.ones((len(rows), 1))], axis=1)
        depth_m = (normal @ at) / (rays @ normal)
        good = depth_m > 0
        pixels.append(np.stack([columns, rows], axis=-1)[good].astype(np.float64))
        depths.append(depth_m[good])
        noises.append(np.full(int(good.sum()), (CORNER_SD_PX / side_px) ** 2 * good.sum()))  # one draw for them all
    if not pixels:
        raise InputError(
            f"{len(corners)} markers of {dictionary} are seen, none with a side of {LEAST_SIDE_PX:g} pixels or more"
        )
    return from_pairs(prediction, np.concatenate(pixels), np.concatenate(depths), np.concatenate(noises), SIDE_SHARE**2)
