# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a robot that carries the rendered camera would measure: a range beam, a scan, its pose. Exact, then noise."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.geometry import nearest_pixels, pixel_rays, project
from depthclip_ros.core.types import Intrinsics

BASE, ODOM, BEAM, LASER = "base_footprint", "odom", "range_frame", "laser_frame"
BEAM_RAD = math.radians(8)
SCAN_STEP_RAD = math.radians(0.5)
NOISE_M = 0.01
MOST_M = 10.0
OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # optical to x forward, z up
Matrix = NDArray[np.float64]


def base_pose(camera_pose: Matrix) -> Matrix:
    """The pose in the world of the floor under the camera: x where it looks, z up, 4x4."""
    forward = camera_pose[:3, 2]
    yaw = math.atan2(forward[1], forward[0])
    pose = np.eye(4)
    pose[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
    pose[:2, 3] = camera_pose[:2, 3]
    return pose


def range_m(depth_m: NDArray[np.float32], camera: Intrinsics, rng: np.random.Generator) -> float:
    """What a beam along the optical axis reads: the middle distance within its cone; +Inf where nothing is known."""
    rows, columns, size = _beam_pixels(camera)
    depth = depth_m[rows, columns]
    known = np.isfinite(depth)
    if not known.any():
        return math.inf
    return float(np.median((depth * size)[known]) + rng.normal(0, NOISE_M))


@functools.lru_cache(maxsize=4)
def _beam_pixels(camera: Intrinsics) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Rows and columns [N] of the pixels within the beam, and the length of their rays of depth 1 m."""
    size = np.sqrt(1 + (pixel_rays(camera) ** 2).sum(axis=2))
    rows, columns = np.nonzero(1 / size > math.cos(BEAM_RAD / 2))
    return rows, columns, size[rows, columns]


def scan_m(
    depth_m: NDArray[np.float32], camera: Intrinsics, camera_pose: Matrix, rng: np.random.Generator
) -> tuple[NDArray[np.float32], float]:
    """Ranges [N] of a level scan at the camera's height, as far as the image shows its plane, and the first angle."""
    half = math.radians(camera.hfov_deg) / 2
    angles = np.arange(-half, half, SCAN_STEP_RAD)
    level = np.stack([np.cos(angles), np.sin(angles), np.zeros(len(angles))], axis=-1)
    in_camera = level @ base_pose(camera_pose)[:3, :3].T @ camera_pose[:3, :3]
    inside, columns, rows = nearest_pixels(project(in_camera, camera), camera)
    ranges = np.full(len(angles), np.inf, np.float32)
    depth = depth_m[rows, columns]
    ranges[inside] = depth / in_camera[inside, 2] + rng.normal(0, NOISE_M, len(depth))
    ranges[~np.isfinite(ranges) | (ranges > MOST_M)] = np.inf
    return ranges, float(angles[0])


def quaternion(rotation: Matrix) -> tuple[float, float, float, float]:
    """x, y, z, w of a rotation matrix [3, 3]."""
    # the largest of the four is found without a loss of digits (Shepperd, 1978)
    trace = float(np.trace(rotation))
    squares = np.array([*(2 * np.diag(rotation) - trace), trace]) + 1
    index = int(squares.argmax())
    large = math.sqrt(max(0.0, squares[index])) / 2
    x, y, z = range(3)
    skew = [
        rotation[2, 1] - rotation[1, 2],
        rotation[0, 2] - rotation[2, 0],
        rotation[1, 0] - rotation[0, 1],
    ]
    if index == 3:
        return (*(float(one / (4 * large)) for one in skew), large)  # type: ignore[return-value]
    values = [float((rotation[index, other] + rotation[other, index]) / (4 * large)) for other in (x, y, z)]
    values[index] = large
    return (*values, float(skew[index] / (4 * large)))  # type: ignore[return-value]
