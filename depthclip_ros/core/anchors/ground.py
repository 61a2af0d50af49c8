# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Anchor `ground`: the floor under a camera of known height. A plane in the low part of the depth image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.anchors.measurement import Measurement, Points, Prediction, from_pairs
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import pixel_rays

SAMPLES = 3000
LEAST_SLANT = 0.1  # of a ray against the floor: nearer to the horizon a small tilt moves the floor too far
NEAR_FLOOR = 0.1  # of ln height: so near to the floor a pixel belongs to it
LEAST_SHARE = 0.25  # of the pixels that look down
BELOW_SHARE = 0.08  # so many pixels may lie below a floor: more, and it is a table or a step
LEAST_REGIONS = 4
MOST_TILT_RAD = math.radians(20)  # of the predicted plane against the known attitude: networks tilt what is near
HEIGHT_SD_M = 0.02
TILT_SD_RAD = {"given": math.radians(1.0), "fitted": math.radians(3.0)}
# An attitude that is not given is looked for among those of cameras on robots: nearly upright, looking ahead or down.
MOST_ROLL_RAD, PITCH_RAD = math.radians(12), (math.radians(-10), math.radians(65))
TRIES, TRIED_ON = 80, 500  # planes, and points that they are compared by


def measure_ground(
    prediction: Prediction,
    height_m: float,
    down: NDArray[np.float64] | None = None,
    *,
    height_sd_m: float = HEIGHT_SD_M,
) -> Measurement:
    """Compare the predicted floor with the floor that the camera's height says.

    The floor is the lowest plane that much of what looks down lies on and next to nothing lies below. What has another
    tilt than the attitude says, a table or a wall, is none.

    Args:
        prediction: to compare with.
        height_m: of the camera's optical centre above the floor.
        down: unit vector [3] in the optical frame (from TF or an IMU); None: the plane's own normal serves, where it is
            that of a floor.
        height_sd_m: standard deviation of the height.

    Raises:
        InputError: a height that is not above 0, or no floor is seen; says why.
    """
    if not (math.isfinite(height_m) and height_m > 0):
        raise InputError(f"the camera's height is {height_m} m; it must be above 0")
    pixels, rays, points = _sample(prediction)
    how = "given"
    if down is None:
        down, how = _fitted_down(points), "fitted"
    slant = rays @ down  # of a ray of depth 1 m: metres towards the floor
    low = slant > LEAST_SLANT * np.linalg.norm(rays, axis=1)
    if np.count_nonzero(low) < SAMPLES // 20:
        raise InputError("the floor is not seen: the camera looks along it or above it")
    log_height = np.log((points @ down)[low])
    on_floor = np.flatnonzero(low)[_lowest_plane(log_height)]
    _check_plane(points[on_floor], down)
    regions = prediction.regions(pixels[on_floor])
    if len(np.unique(regions)) < LEAST_REGIONS:
        raise InputError("the floor is not seen: what may be it covers too little of the image")
    sine = slant[on_floor] / np.linalg.norm(rays[on_floor], axis=1)
    cotangent = np.sqrt(1 - np.minimum(sine, 1.0) ** 2) / sine
    # the floor is one surface of the image: what its shape is off by against the rest is not seen on it
    common = prediction.shape_sd**2 / 2
    common += (height_sd_m / height_m) ** 2 + (TILT_SD_RAD[how] * float(np.median(cotangent))) ** 2
    return from_pairs(prediction, pixels[on_floor], height_m / slant[on_floor], 1e-4, common)


def _sample(prediction: Prediction) -> tuple[Points, Points, Points]:
    """Pixels [N, 2] of a regular grid where depth is known, their rays [N, 3] of depth 1 m, their points [N, 3]."""
    height, width = prediction.depth_m.shape
    step = max(1, int((height * width / SAMPLES) ** 0.5))
    rows, columns = (grid.ravel() for grid in np.mgrid[step // 2 : height : step, step // 2 : width : step])
    depth_m = prediction.depth_m[rows, columns].astype(np.float64)
    known = np.isfinite(depth_m) & (depth_m > 0)
    if np.count_nonzero(known) < SAMPLES // 10:
        raise InputError("the floor is not seen: too little depth is known")
    rows, columns, depth_m = rows[known], columns[known], depth_m[known]
    rays = np.concatenate([pixel_rays(prediction.intrinsics)[rows, columns], np.ones((len(rows), 1))], axis=1)
    return np.stack([columns, rows], axis=-1).astype(np.float64), rays, rays * depth_m[:, None]


def _lowest_plane(log_height: Points) -> NDArray[np.int64]:
    """Indices of what lies on the lowest level that enough lies on.

    Raises:
        InputError: there is none.
    """
    ordered = np.sort(log_height)
    around = np.searchsorted(ordered, ordered + NEAR_FLOOR) - np.searchsorted(ordered, ordered - NEAR_FLOOR)
    enough = np.flatnonzero(around >= LEAST_SHARE * len(ordered))
    if not len(enough):
        raise InputError("the floor is not seen: what looks down lies on no common level")
    level = ordered[enough[-1]]  # the lowest that has enough; then the middle of what is there
    for _ in range(5):
        level = float(np.median(ordered[np.abs(ordered - level) <= NEAR_FLOOR]))
    below = float(np.mean(ordered > level + 2.5 * NEAR_FLOOR))
    if below > BELOW_SHARE:
        raise InputError(f"the floor is not seen: {below:.0%} of what looks down lies below the level that may be it")
    return np.flatnonzero(np.abs(log_height - level) <= NEAR_FLOOR)


def _check_plane(points: Points, down: NDArray[np.float64]) -> None:
    normal = np.linalg.svd((points - points.mean(axis=0)) / points[:, 2:].mean(), full_matrices=False)[2][2]
    tilt_rad = math.acos(min(1.0, abs(float(normal @ down))))
    if tilt_rad > MOST_TILT_RAD:
        raise InputError(
            f"the floor is not seen: the plane that may be it is tilted by {math.degrees(tilt_rad):.0f} degrees "
            f"against the camera's attitude; at most {math.degrees(MOST_TILT_RAD):.0f} are a floor's"
        )


def _fitted_down(points: Points) -> NDArray[np.float64]:
    """The normal of the plane through three of the lower points that most lie on, of those a floor may have."""
    lower = points[points[:, 1] / points[:, 2] > np.median(points[:, 1] / points[:, 2])]
    rng = np.random.default_rng(0)
    lower = lower[rng.permutation(len(lower))[:TRIED_ON]]
    three = lower[rng.integers(len(lower), size=(TRIES, 3))]
    normals = np.cross(three[:, 1] - three[:, 0], three[:, 2] - three[:, 0])
    normals *= np.where(normals[:, 1:2] < 0, -1.0, 1.0)  # of any length, and of none where the three are on a line
    heights = np.einsum("ni,ni->n", normals, three[:, 0])
    roll, pitch = np.arctan2(normals[:, 0], normals[:, 1]), np.arctan2(normals[:, 2], normals[:, 1])
    floor_like = (np.abs(roll) < MOST_ROLL_RAD) & (pitch > PITCH_RAD[0]) & (pitch < PITCH_RAD[1]) & (heights > 0)
    if not floor_like.any():
        raise InputError("the floor is not seen: no plane in the low part of the image lies as a floor does")
    normals, heights = normals[floor_like], heights[floor_like]
    away = np.abs(lower @ normals.T / heights - 1)  # [N, planes], as a share of the height
    best = int((away < NEAR_FLOOR).sum(axis=0).argmax())
    on = lower[away[:, best] < NEAR_FLOOR]
    normal = np.linalg.svd(on - on.mean(axis=0), full_matrices=False)[2][2]
    normal *= -1.0 if normal[1] < 0 else 1.0
    pitch_rad = math.atan2(normal[2], normal[1])
    if not PITCH_RAD[0] < pitch_rad < PITCH_RAD[1]:
        raise InputError(
            f"the floor is not seen: the plane in the low part of the image is that of a camera that looks down "
            f"by {math.degrees(pitch_rad):.0f} degrees"
        )
    return np.asarray(normal)
