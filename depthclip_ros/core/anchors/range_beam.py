# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Anchor `range`: one distance of a sonar or a time-of-flight beam (sensor_msgs/Range), a cone that the camera sees."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.anchors.measurement import Measurement, Points, Prediction
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import project

ULTRASOUND, INFRARED = 0, 1  # sensor_msgs/Range
RINGS = 5
LEAST_SEEN = 0.5  # share of the cone that must lie in the image where depth is known
NEAR_SHARE = 0.9  # an echo comes from the nearest of what the cone meets: the pixel that this share is farther than
LEAST_M = 0.001  # a nearer echo is the sensor itself
NOISE_SHARE, NOISE_M = 0.01, 0.01  # of a reading whose message does not say its variance


def measure_range(
    prediction: Prediction,
    range_m: float,
    to_camera: NDArray[np.float64],
    *,
    field_of_view_rad: float,
    least_m: float = 0.0,
    most_m: float = math.inf,
    radiation: int = ULTRASOUND,
    variance_m2: float = 0.0,
) -> Measurement:
    """Compare a beam with the predicted depth of the pixels that it covers.

    Where in its cone the beam was reflected is not known: the spread of the predicted depth over the cone is part of
    the variance. No scale is needed to find the pixels, since the reading itself says how far away they are.

    Args:
        prediction: to compare with.
        range_m: the reading.
        to_camera: 4x4, sensor (x forward) to the optical frame.
        field_of_view_rad: whole opening angle of the cone.
        least_m: nearer readings mean nothing.
        most_m: likewise farther ones.
        radiation: ULTRASOUND: the nearest thing in the cone is heard; INFRARED: the middle of the cone is seen.
        variance_m2: of the reading; 0: not known, 1 cm and 1 % are taken.

    Raises:
        InputError: a reading that is no distance, or a cone that the image does not show.
    """
    if not (LEAST_M <= range_m < math.inf and least_m <= range_m <= most_m):
        least_m = max(least_m, LEAST_M)
        raise InputError(f"range is {range_m} m; a distance of {least_m:g} to {most_m:g} m is needed")
    if not 0 <= variance_m2 < math.inf:
        raise InputError(f"variance is {variance_m2} m²; allowed: a finite number, 0: not known")
    if not 0 <= field_of_view_rad < math.pi:
        raise InputError(f"field_of_view is {field_of_view_rad} rad; allowed: 0 to below pi")
    points = range_m * _cone(field_of_view_rad / 2) @ to_camera[:3, :3].T + to_camera[:3, 3]  # [N, 3]
    predicted = prediction.at(project(points, prediction.intrinsics))
    known = np.isfinite(predicted)
    if known.mean() < LEAST_SEEN:
        raise InputError(
            f"{known.mean():.0%} of the beam lies in the image where depth is known; {LEAST_SEEN:.0%} is needed (a "
            "beam beside the camera's view, or an inverted transform, has none)"
        )
    ratio = np.log(points[known, 2] / predicted[known])
    middle = float(np.quantile(ratio, NEAR_SHARE if radiation == ULTRASOUND else 0.5))
    footprint = float(np.mean((ratio - np.median(ratio)) ** 2))
    noise_m = math.sqrt(variance_m2) if variance_m2 > 0 else math.hypot(NOISE_M, NOISE_SHARE * range_m)
    return Measurement(middle, prediction.shape_sd**2 + footprint, (noise_m / range_m) ** 2)


def _cone(half_rad: float) -> Points:
    """Unit vectors [N, 3] that fill a cone about x evenly."""
    rings = [(0.0, 1), *((ring / RINGS, 6 * ring) for ring in range(1, RINGS + 1))]
    off = np.concatenate([np.full(count, share * half_rad) for share, count in rings])
    around = np.concatenate([np.arange(count) * 2 * math.pi / count for _, count in rings])
    return np.stack([np.cos(off), np.sin(off) * np.cos(around), np.sin(off) * np.sin(around)], axis=-1)
