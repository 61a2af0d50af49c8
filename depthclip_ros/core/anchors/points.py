# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Anchors `scan` and `points`: what a LiDAR measured, as true depths of the pixels that see the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.anchors.measurement import Measurement, Points, Prediction, from_pairs
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import project
from depthclip_ros.core.lidar import visible

NOISE_M = 0.02  # of a LiDAR's range
MOUNTING_RAD = 0.01  # what a transform measured by hand is off by; the floor at a slant moves with it
LEAST_POINTS = 5


@dataclass(frozen=True)
class SeenPoints:
    """Points that the camera sees.

    Attributes:
        pixels: [N, 2] (u, v).
        true_m: [N], along the optical axis.
    """

    pixels: Points
    true_m: Points


def scan_points(
    ranges_m: NDArray[np.floating], angle_min_rad: float, angle_step_rad: float, least_m: float, most_m: float
) -> Points:
    """Points [N, 3] of a LaserScan in its frame (x forward, z up); readings out of range are left out.

    Raises:
        InputError: angles that are no numbers, or no reading is in range.
    """
    if not (math.isfinite(angle_min_rad) and math.isfinite(angle_step_rad)):
        raise InputError(f"angle_min is {angle_min_rad} and angle_increment {angle_step_rad} rad; both must be finite")
    ranges = np.asarray(ranges_m, np.float64)
    angles = angle_min_rad + angle_step_rad * np.arange(len(ranges))
    good = np.isfinite(ranges) & (ranges > 0) & (ranges >= least_m) & (ranges <= most_m)
    if not good.any():
        raise InputError(f"none of the {len(ranges)} ranges lies within {least_m:g} to {most_m:g} m")
    ranges, angles = ranges[good], angles[good]
    return np.stack([ranges * np.cos(angles), ranges * np.sin(angles), np.zeros(len(ranges))], axis=-1)


def seen_points(points: Points, to_camera: NDArray[np.float64], prediction: Prediction) -> SeenPoints:
    """The points [N, 3] of a sensor that lie in the image and are not hidden from the camera by nearer ones.

    Args:
        points: in the sensor's frame, metres.
        to_camera: 4x4, sensor to the optical frame.
        prediction: whose image.

    Raises:
        InputError: too few lie in the image.
    """
    intrinsics = prediction.intrinsics
    in_camera = points @ to_camera[:3, :3].T + to_camera[:3, 3]
    pixels = project(in_camera, intrinsics)
    near = (pixels > -0.5) & (pixels < np.array([intrinsics.width_px, intrinsics.height_px]) - 0.5)
    inside = near.all(axis=1)  # false for NaN
    if np.count_nonzero(inside) < LEAST_POINTS:
        raise InputError(
            f"{np.count_nonzero(inside)} of {len(points)} points lie in the image; {LEAST_POINTS} are needed (a sensor "
            "that looks elsewhere, or an inverted transform, has none)"
        )
    pixels, depth_m = pixels[inside], in_camera[inside, 2]
    seen = visible(pixels, depth_m, intrinsics)
    return SeenPoints(pixels[seen], depth_m[seen])


def measure_points(prediction: Prediction, seen: SeenPoints) -> Measurement:
    """Compare points with the predicted depth of their pixels.

    The variance comes from the range's noise, from the slope of the predicted depth where a point lies (a transform
    that is off by `MOUNTING_RAD` looks at a neighbour), and from how the regions of the image differ.

    Raises:
        InputError: too few points lie where depth is known.
    """
    shift_px = MOUNTING_RAD * prediction.intrinsics.fx_px
    there = prediction.at(seen.pixels)
    slopes = [np.log(prediction.at(seen.pixels + shift) / there) for shift in ((shift_px, 0.0), (0.0, shift_px))]
    # one side is enough; at a step of depth it counts as no more than the shape does elsewhere
    slope = sum(np.nan_to_num(np.clip(one, -1, 1)) ** 2 for one in slopes)
    noise = (NOISE_M / seen.true_m) ** 2 + slope
    known = np.isfinite(there)
    common = float(np.median(np.asarray(slope)[known])) if known.any() else 0.0
    return from_pairs(prediction, seen.pixels, seen.true_m, noise, common, least=LEAST_POINTS)
