# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Anchor `odometry`: features that OpenCV tracks and triangulates while the wheels know how far the camera moved."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.anchors.measurement import Measurement, Points, Prediction, from_pairs
from depthclip_ros.core.anchors.points import SeenPoints
from depthclip_ros.core.geometry import camera_matrix, project
from depthclip_ros.core.types import Intrinsics

CORNERS = 150
LEAST_TRACKED = 20
LEAST_BASELINE_M = 0.03
LEAST_PARALLAX_PX = 4.0  # of the middle feature, and half of it of each that is used
ENOUGH_PARALLAX_PX = 30.0  # then the next keyframe begins
MOST_REPROJECTION_PX = 1.5
TRACKING_SD_PX = 0.5
BASELINE_SHARE = 0.02  # what wheels are off by on a short way
TURN_SD_RAD = 0.002  # what the turn between both frames is off by
OLD_S = 5.0


@dataclass(frozen=True)
class Triangulated:
    """Features with the depth that the baseline gives them.

    Attributes:
        seen: their pixels in the newest image, and depth.
        noise_variance: [N], of ln depth, by tracking.
        common_variance: by baseline and turn.
    """

    seen: SeenPoints
    noise_variance: Points
    common_variance: float


@dataclass
class _Keyframe:
    time_s: float
    to_world: NDArray[np.float64]
    start: NDArray[np.float32]  # [N, 2] in the keyframe
    now: NDArray[np.float32]  # [N, 2] in the newest image


class BaselineTracker:
    """Follows corners of a keyframe through a camera's images until the way is long enough to triangulate them."""

    def __init__(self) -> None:
        self._grey: NDArray[np.uint8] | None = None
        self._camera: Intrinsics | None = None
        self._key: _Keyframe | None = None

    def forget(self) -> None:
        """Begin anew: the next image is the first."""
        self._grey = self._key = None

    def follow(
        self, rgb: NDArray[np.uint8], camera: Intrinsics, to_world: NDArray[np.float64], time_s: float
    ) -> Triangulated | None:
        """Take the next image; what can be triangulated in it, None while the camera has not moved enough.

        Args:
            rgb: uint8 [H, W, 3], rectified.
            camera: of the image.
            to_world: 4x4, optical frame to a frame that stands still, by the wheels.
            time_s: of the image.
        """
        grey: NDArray[np.uint8] = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        before, key, known = self._grey, self._key, self._camera
        self._grey, self._camera = grey, camera
        if before is None or key is None or camera != known or not 0 <= time_s - key.time_s <= OLD_S:
            self._begin(grey, to_world, time_s)
            return None
        self._track(before, grey, key)
        if len(key.now) < LEAST_TRACKED:
            self._begin(grey, to_world, time_s)
            return None
        moved = np.linalg.inv(to_world) @ key.to_world  # a point of the keyframe's camera in the newest one's
        found, parallax_px = _triangulate(key.start, key.now, moved, camera)
        if parallax_px > ENOUGH_PARALLAX_PX:
            self._begin(grey, to_world, time_s)
        return found

    def _begin(self, grey: NDArray[np.uint8], to_world: NDArray[np.float64], time_s: float) -> None:
        corners = cv2.goodFeaturesToTrack(grey, CORNERS, 0.01, min(grey.shape) / 40)
        start = np.zeros((0, 2), np.float32) if corners is None else corners.reshape(-1, 2).astype(np.float32)
        self._key = _Keyframe(time_s, to_world, start, start.copy())

    @staticmethod
    def _track(before: NDArray[np.uint8], grey: NDArray[np.uint8], key: _Keyframe) -> None:
        if not len(key.now):
            return
        ahead, good, _ = cv2.calcOpticalFlowPyrLK(before, grey, key.now[:, None], np.empty_like(key.now[:, None]))
        back, good_back, _ = cv2.calcOpticalFlowPyrLK(grey, before, ahead, np.empty_like(ahead))
        same = np.linalg.norm(back.reshape(-1, 2) - key.now, axis=1) < 0.7
        kept = (good.ravel() > 0) & (good_back.ravel() > 0) & same
        key.start, key.now = key.start[kept], ahead.reshape(-1, 2)[kept]


def _triangulate(
    start: NDArray[np.float32], now: NDArray[np.float32], moved: NDArray[np.float64], camera: Intrinsics
) -> tuple[Triangulated | None, float]:
    """Depth in the newest image, or None where the baseline is too short; and the middle parallax in pixels."""
    matrix = camera_matrix(camera)
    rays = np.concatenate([start, np.ones((len(start), 1), np.float32)], axis=1) @ np.linalg.inv(matrix).T
    still = project(rays @ moved[:3, :3].T, camera)  # where each would be now if the camera had only turned
    parallax_px = np.linalg.norm(now - still, axis=1)
    middle_px = float(np.nanmedian(parallax_px))
    if np.linalg.norm(moved[:3, 3]) < LEAST_BASELINE_M or not middle_px >= LEAST_PARALLAX_PX:
        return None, middle_px if np.isfinite(middle_px) else 0.0
    homogeneous = cv2.triangulatePoints(
        matrix @ np.eye(3, 4), matrix @ moved[:3], start.T.astype(np.float64), now.T.astype(np.float64)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        first = (homogeneous[:3] / homogeneous[3]).T
    second = first @ moved[:3, :3].T + moved[:3, 3]
    error_px = np.maximum(
        np.linalg.norm(project(first, camera) - start, axis=1), np.linalg.norm(project(second, camera) - now, axis=1)
    )
    good = (error_px < MOST_REPROJECTION_PX) & (parallax_px > LEAST_PARALLAX_PX / 2) & (second[:, 2] > 0)
    if np.count_nonzero(good) < LEAST_TRACKED:
        return None, middle_px
    noise = (TRACKING_SD_PX / parallax_px[good]) ** 2
    turn = TURN_SD_RAD * camera.fx_px / middle_px
    return (
        Triangulated(SeenPoints(now[good].astype(np.float64), second[good, 2]), noise, BASELINE_SHARE**2 + turn**2),
        middle_px,
    )


def measure_features(prediction: Prediction, features: Triangulated) -> Measurement:
    """Compare triangulated features with the predicted depth of their pixels.

    Raises:
        InputError: too few lie where depth is known.
    """
    seen = features.seen
    return from_pairs(
        prediction,
        seen.pixels,
        seen.true_m,
        features.noise_variance,
        features.common_variance,
        least=LEAST_TRACKED // 2,
    )
