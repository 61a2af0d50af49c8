# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What each anchor is worth on rendered drives with exact poses: AbsRel as published, median-scaled, with the anchor.

The drive of the demo, twice: rooms 12 and 13, 180 frames at 30 Hz on one lap, 640x480, the engine's own depth. Scores
are of the second lap of the estimator, frame by frame, then the mean. `python scripts/anchors_on_a_drive.py [WEIGHTS]`
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import cv2
import numpy as np

from depthclip_ros.core.anchors.estimator import ScaleEstimator, prior_sd_of
from depthclip_ros.core.anchors.ground import measure_ground
from depthclip_ros.core.anchors.measurement import Measurement, Prediction
from depthclip_ros.core.anchors.odometry import BaselineTracker, measure_features
from depthclip_ros.core.anchors.points import measure_points, scan_points, seen_points
from depthclip_ros.core.anchors.range_beam import INFRARED, measure_range
from depthclip_ros.core.anchors.tag import measure_tags
from depthclip_ros.core.calibration import camera_model
from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import pixel_rays, project
from depthclip_ros.ros.camera_node import robot
from depthclip_ros.ros.camera_node.room_source import RoomSource
from depthclip_ros.ros.camera_node.source import Frame, SourceOptions
from depthclip_ros.ros.measure.scores import score

SEEDS, RATE_HZ, EVERY = (12, 13), 30.0, 3
TAG_M = 0.25


class Tag:
    """A marker on a surface that is seen: every `RENEW`-th frame it hangs somewhere else."""

    RENEW = 20

    def __init__(self) -> None:
        dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
        marker = cv2.aruco.generateImageMarker(dictionary, 3, 400)
        self.picture = cv2.copyMakeBorder(marker, 50, 50, 50, 50, cv2.BORDER_CONSTANT, value=255)
        self.corners: np.ndarray | None = None

    def draw(self, number: int, rgb: np.ndarray, depth_m: np.ndarray, pose: np.ndarray, camera) -> np.ndarray:
        """The picture with the marker in it, where it is in sight."""
        if number % self.RENEW == 0:
            self.corners = self._hang(depth_m, pose, camera)
        if self.corners is None:
            return rgb
        seen = (self.corners - pose[:3, 3]) @ pose[:3, :3]
        pixels = project(seen, camera)
        inside = (pixels > 1).all() and (pixels < (camera.width_px - 2, camera.height_px - 2)).all()
        if not inside or np.abs(depth_m[tuple(np.rint(pixels).astype(int).T[::-1])] - seen[:, 2]).max() > 0.05:
            return rgb  # outside, or something stands before it
        ends = np.array([[-0.5, -0.5], [499.5, -0.5], [499.5, 499.5], [-0.5, 499.5]], np.float32)
        grid = cv2.getPerspectiveTransform(ends, pixels.astype(np.float32))
        size = (camera.width_px, camera.height_px)
        drawn = cv2.warpPerspective(self.picture, grid, size, flags=cv2.INTER_AREA)
        mask = cv2.warpPerspective(np.full((500, 500), 255, np.uint8), grid, size)
        return np.where(mask[..., None] > 127, drawn[..., None], rgb)

    @staticmethod
    def _hang(depth_m: np.ndarray, pose: np.ndarray, camera) -> np.ndarray | None:
        """Corners [4, 3] in the world, on the flattest spot of the middle of the image."""
        rays = np.concatenate([pixel_rays(camera), np.ones((*depth_m.shape, 1), np.float32)], axis=2)
        for v, u in ((200, 320), (160, 240), (160, 400), (240, 200), (240, 440)):
            spot = (rays * depth_m[..., None])[v - 25 : v + 26, u - 25 : u + 26].reshape(-1, 3).astype(float)
            middle = spot.mean(axis=0)
            _, sizes, axes = np.linalg.svd(spot - middle, full_matrices=False)
            if (
                np.isfinite(spot).all()
                and sizes[2] / np.sqrt(len(spot)) < 0.003
                and abs(axes[2] @ middle) > 0.5 * middle[2]
            ):
                normal = -axes[2] * np.sign(axes[2] @ middle)
                right = np.cross(np.array([0.0, 1, 0]), -normal)
                right /= np.linalg.norm(right)
                down = np.cross(-normal, right)
                half = TAG_M / 2 * 500 / 400
                square = [middle + half * (a * right + b * down) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
                return np.array(square) @ pose[:3, :3].T + pose[:3, 3]
        return None


def main(weights: str = "default") -> None:
    """Print the table."""
    engine = DepthEngine.load(weights, runtime="auto", device="cpu")
    names = ("range", "scan", "ground", "odometry", "tag", "all")
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    used = dict.fromkeys(names, 0)
    deviations: dict[str, list[float]] = {name: [] for name in names}
    for seed in SEEDS:
        frames = list(RoomSource(SourceOptions(seed=seed)))
        camera = camera_model(frames[0].camera, 640, 480).pinhole
        tag, depths, pictures = Tag(), [], []
        for number, frame in enumerate(frames):
            pictures.append(tag.draw(number, frame.rgb, frame.depth_m, frame.pose, camera))
            depths.append(engine.infer(np.ascontiguousarray(pictures[-1])[None], [camera]).depth_m[0])
        for name in names:
            estimator, tracker, rng = (
                ScaleEstimator(prior_sd_of(engine.uncertainty)),
                BaselineTracker(),
                np.random.default_rng(0),
            )
            for lap in range(2):
                for number in range(len(frames)):
                    frame, predicted_m = frames[number], depths[number]
                    time_s = (lap * len(frames) + number) / RATE_HZ
                    if (
                        lap
                        and number % EVERY == 0
                        and (one := score(predicted_m * np.float32(estimator.estimate.factor), frame.depth_m))
                    ):
                        g, p = frame.depth_m, predicted_m
                        known = np.isfinite(g) & np.isfinite(p)
                        median = float(np.median(g[known]) / np.median(p[known]))
                        own, scaled = score(p, g), score(p * np.float32(median), g)
                        assert own is not None
                        assert scaled is not None
                        rows[name].append((own.abs_rel, scaled.abs_rel, one.abs_rel))
                        if estimator.estimate.log_scale_sd:
                            deviations[name].append(
                                (estimator.estimate.log_scale - np.log(median)) / estimator.estimate.log_scale_sd
                            )
                    prediction = Prediction(predicted_m, camera)
                    estimator.see(time_s, predicted_m, pictures[number])
                    for kind, measure in MEASURES.items() if number % EVERY == 0 else ():
                        if name in (kind, "all"):
                            try:
                                said = measure(prediction, frame, pictures[number], tracker, rng, time_s)
                            except InputError:
                                continue
                            if said is not None:
                                used[name] += estimator.add(kind, time_s, said)
    print("anchor      published  median  anchored  of median  readings  error/sd")
    for name, values in rows.items():
        own, scaled, anchored = np.mean(values, axis=0)
        spread = np.sqrt(np.mean(np.square(deviations[name]))) if deviations[name] else np.nan
        share = anchored / scaled
        print(f"{name:10} {own:10.3f} {scaled:7.3f} {anchored:9.3f} {share:10.2f} {used[name]:9d} {spread:9.2f}")


def _range(prediction, frame: Frame, rgb, tracker, rng, time_s) -> Measurement:
    metres = robot.range_m(frame.depth_m, prediction.intrinsics, rng)
    to_camera = np.linalg.inv(robot.OPTICAL)
    return measure_range(prediction, metres, to_camera, field_of_view_rad=robot.BEAM_RAD, radiation=INFRARED)


def _scan(prediction, frame: Frame, rgb, tracker, rng, time_s) -> Measurement:
    ranges, first = robot.scan_m(frame.depth_m, prediction.intrinsics, frame.pose, rng)
    to_camera = np.linalg.inv(frame.pose) @ robot.base_pose(frame.pose)
    to_camera[:3, 3] = 0  # the scan is at the camera's height
    points = scan_points(ranges, first, robot.SCAN_STEP_RAD, 0.05, robot.MOST_M)
    return measure_points(prediction, seen_points(points, to_camera, prediction))


def _ground(prediction, frame: Frame, rgb, tracker, rng, time_s) -> Measurement:
    return measure_ground(prediction, float(frame.pose[2, 3]), -frame.pose[2, :3])


def _odometry(prediction, frame: Frame, rgb, tracker: BaselineTracker, rng, time_s) -> Measurement | None:
    found = tracker.follow(np.ascontiguousarray(rgb), prediction.intrinsics, frame.pose, time_s)
    return None if found is None else measure_features(prediction, found)


def _tag(prediction, frame: Frame, rgb, tracker, rng, time_s) -> Measurement:
    return measure_tags(prediction, np.ascontiguousarray(rgb), side_m=TAG_M)


MEASURES: dict[str, Callable[..., Measurement | None]] = {
    "range": _range,
    "scan": _scan,
    "ground": _ground,
    "odometry": _odometry,
    "tag": _tag,
}

if __name__ == "__main__":
    main(*sys.argv[1:2])
