# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Sensors as they would have read in a place whose depth is known: from the true depth image, with noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.anchors.depth_image import depth_pixels, measure_depth
from depthclip_ros.core.anchors.ground import measure_ground
from depthclip_ros.core.anchors.measurement import Measurement, Prediction
from depthclip_ros.core.anchors.points import SeenPoints, measure_points, scan_points, seen_points
from depthclip_ros.core.anchors.range_beam import INFRARED, ULTRASOUND, measure_range
from depthclip_ros.core.geometry import pixel_rays
from depthclip_ros.core.types import Intrinsics

FORWARD = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])  # x forward, z up -> optical frame
BEAM_RAD = math.radians(8)
MOST_M = 10.0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """What stands before the sensors: points [N, 3] in the optical frame, their pixels [N, 2], the depth image."""

    points: Array
    pixels: Array
    depth_m: NDArray[np.float32]
    camera: Intrinsics

    @classmethod
    def of(cls, depth_m: NDArray[np.float32], camera: Intrinsics) -> Place:
        """From a depth image of the camera; 0 and NaN: not known."""
        rows, columns = np.nonzero(np.isfinite(depth_m) & (depth_m > 0) & (depth_m < MOST_M))
        rays = np.concatenate([pixel_rays(camera)[rows, columns], np.ones((len(rows), 1), np.float32)], axis=1)
        points = rays.astype(np.float64) * depth_m[rows, columns, None]
        return cls(points, np.stack([columns, rows], axis=-1).astype(np.float64), depth_m, camera)


def mounted(right_m: float, down_m: float, forward_m: float = 0.0) -> Array:
    """A sensor that looks ahead, so far from the camera: sensor to optical frame."""
    matrix = FORWARD.copy()
    matrix[:3, 3] = right_m, down_m, forward_m
    return matrix


Read = tuple[Measurement, SeenPoints | None]
"""What a reading says, and the points that it measured, if many."""
Reading = Callable[[Prediction, np.random.Generator, float], Read]
"""Reads once and compares with the prediction; `wild`: share of the ranges that are drawn at random."""


def range_sensor(place: Place, radiation: int = INFRARED) -> Reading:
    """A central beam of 8 degrees, 3 cm beside and 5 cm under the camera; noise of 1 cm and 1 %."""
    to_camera = mounted(0.03, 0.05)
    away = place.points - to_camera[:3, 3]
    distance_m = np.linalg.norm(away, axis=1)
    inside = away[:, 2] / distance_m > math.cos(BEAM_RAD / 2)
    true_m = math.nan
    if np.count_nonzero(inside) >= 20:
        true_m = float(np.quantile(distance_m[inside], 0.03 if radiation == ULTRASOUND else 0.5))

    def read(prediction: Prediction, rng: np.random.Generator, wild: float) -> Read:
        noisy_m = true_m + rng.normal(0, math.hypot(0.01, 0.01 * true_m)) if math.isfinite(true_m) else math.nan
        range_m = float(rng.uniform(0.1, MOST_M)) if rng.random() < wild else noisy_m
        return measure_range(prediction, range_m, to_camera, field_of_view_rad=BEAM_RAD, radiation=radiation), None

    return read


def scan_sensor(place: Place) -> Reading:
    """A scan in the plane of the camera's middle row, half a degree a beam, 1 cm of noise."""
    camera = place.camera
    half = min(math.atan(camera.cx_px / camera.fx_px), math.atan((camera.width_px - camera.cx_px) / camera.fx_px))
    angles = np.arange(-half, half, math.radians(0.5))
    columns = np.rint(camera.cx_px - camera.fx_px * np.tan(angles)).astype(int).clip(0, camera.width_px - 1)
    row = min(max(round(camera.cy_px), 0), camera.height_px - 1)
    depth_m = place.depth_m[row, columns]
    true_m = np.where(depth_m > 0, depth_m / np.cos(angles), np.inf)

    def read(prediction: Prediction, rng: np.random.Generator, wild: float) -> Read:
        ranges = true_m + rng.normal(0, 0.01, len(true_m))
        ranges = np.where(rng.random(len(ranges)) < wild, rng.uniform(0.1, MOST_M, len(ranges)), ranges)
        points = scan_points(ranges, float(angles[0]), math.radians(0.5), 0.1, MOST_M)
        seen = seen_points(points, FORWARD, prediction)
        return measure_points(prediction, seen), seen

    return read


def points_sensor(place: Place, count: int = 50, seed: int = 0) -> Reading:
    """Points of a fixed random pattern over the image, 2 cm of noise."""
    chosen = np.random.default_rng(seed).permutation(len(place.points))[:count]
    points = place.points[chosen]

    def read(prediction: Prediction, rng: np.random.Generator, wild: float) -> Read:
        share = 1 + rng.normal(0, 0.02, len(points)) / points[:, 2]
        random_m = rng.uniform(0.1, MOST_M, len(points))
        share = np.where(rng.random(len(points)) < wild, random_m / points[:, 2], share)
        seen = seen_points(points * share[:, None], np.eye(4), prediction)
        return measure_points(prediction, seen), seen

    return read


def depth_sensor(place: Place) -> Reading:
    """The depth image itself, with half of it in holes of 1/8 of its side, and 1 % of noise in each row."""

    def read(prediction: Prediction, rng: np.random.Generator, wild: float) -> Read:
        height, width = place.depth_m.shape
        holes = np.repeat(np.repeat(rng.random((8, 8)) < 0.5, -(-height // 8), 0), -(-width // 8), 1)[:height, :width]
        depth_m = place.depth_m * rng.normal(1, 0.01, (height, 1)).astype(np.float32)
        random_rows = rng.random(height) < wild
        depth_m[random_rows] = rng.uniform(0.1, MOST_M, (np.count_nonzero(random_rows), 1))
        depth_m[holes] = 0
        seen = depth_pixels(prediction, depth_m)
        return measure_depth(prediction, seen), seen

    return read


def ground_sensor(place: Place) -> Reading | None:
    """The camera's height over the lowest large plane of the true depth, and its attitude; None where there is none."""
    floor = true_floor(place)
    if floor is None:
        return None
    height_m, down = floor

    def read(prediction: Prediction, rng: np.random.Generator, wild: float) -> Read:
        height = float(rng.uniform(0.1, 3.0)) if rng.random() < wild else height_m
        return measure_ground(prediction, height, down), None

    return read


def true_floor(place: Place) -> tuple[float, Array] | None:
    """Height in metres and direction of the lowest large plane; None where there is none that a floor may be.

    A floor: 15 % of what is seen lies within 2 % of it, at most 1 % clearly below it, and it lies as under a camera
    that is nearly upright.
    """
    rng = np.random.default_rng(0)
    points = place.points[rng.permutation(len(place.points))[:4000]]
    three = points[rng.integers(len(points), size=(800, 3))]
    normals = np.cross(three[:, 1] - three[:, 0], three[:, 2] - three[:, 0])
    normals *= np.sign(normals[:, 1:2])
    length = np.linalg.norm(normals, axis=1)
    roll, pitch = np.arctan2(normals[:, 0], normals[:, 1]), np.arctan2(normals[:, 2], normals[:, 1])
    upright = (np.abs(roll) < math.radians(15)) & (np.abs(pitch - math.radians(25)) < math.radians(40))
    upright &= length > 0  # three points on a line have no plane
    normals = normals[upright] / length[upright, None]
    heights = np.einsum("ni,ni->n", normals, three[upright, 0])
    normals, heights = normals[heights > 0.1], heights[heights > 0.1]
    share = points @ normals.T / heights
    on, below = (np.abs(share - 1) < 0.02).mean(axis=0), (share > 1.05).mean(axis=0)
    good = (on > 0.15) & (below < 0.01)
    if not good.any():
        return None
    best = int(np.where(good, on, 0).argmax())
    return float(heights[best]), normals[best]


def sensors_of(place: Place) -> dict[str, Reading]:
    """All that this place has something for, by the name in the table."""
    found: dict[str, Reading] = {
        "range": range_sensor(place),
        "range, ultrasound": range_sensor(place, ULTRASOUND),
        "scan": scan_sensor(place),
        "points": points_sensor(place),
        "depth": depth_sensor(place),
    }
    ground = ground_sensor(place)
    if ground is not None:
        found["ground"] = ground
    return found
