# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from depthclip_ros.core.anchors.measurement import Prediction
from depthclip_ros.core.anchors.odometry import BaselineTracker, measure_features
from depthclip_ros.core.types import Intrinsics

CAMERA = Intrinsics(300.0, 300.0, 159.5, 119.5, 320, 240)
WALL_M = 2.0


@pytest.fixture(scope="module")
def texture():
    """A wall of 4 x 3 m, 200 pixels a metre, with blots that corners are found on."""
    rng = np.random.default_rng(0)
    rough = cv2.resize(rng.integers(0, 255, (75, 100), dtype=np.uint8), (800, 600), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(rough, (5, 5), 0)


def view(texture: np.ndarray, right_m: float, ahead_m: float = 0.0) -> np.ndarray:
    """The wall from a camera that moved, and looks straight at it."""
    per_pixel = (WALL_M - ahead_m) / 300.0 * 200
    grid = np.array([[per_pixel, 0, 400 + right_m * 200 - per_pixel * 159.5], [0, per_pixel, 300 - per_pixel * 119.5]])
    grey = cv2.warpAffine(texture, grid, (320, 240), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)


def pose(right_m: float, ahead_m: float = 0.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[[0, 2], 3] = right_m, ahead_m
    return matrix


def drive(texture, ways, scale=1.0):
    """What the tracker found last, of wheels that say `scale` times the way."""
    tracker, found = BaselineTracker(), None
    for number, (right_m, ahead_m) in enumerate(ways):
        new = tracker.follow(
            view(texture, right_m, ahead_m), CAMERA, pose(right_m * scale, ahead_m * scale), number / 10
        )
        found = found if new is None else new
    return found


def test_a_way_that_the_wheels_know_gives_the_scale(texture):
    found = drive(texture, [(0.02 * step, 0.0) for step in range(8)])
    np.testing.assert_allclose(np.median(found.seen.true_m), WALL_M, rtol=0.01)
    prediction = Prediction(np.full((240, 320), WALL_M / 0.8, np.float32), CAMERA)
    assert measure_features(prediction, found).log_ratio == pytest.approx(math.log(0.8), abs=0.01)


def test_driving_ahead_does_as_well(texture):
    found = drive(texture, [(0.0, 0.05 * step) for step in range(10)])
    np.testing.assert_allclose(np.median(found.seen.true_m), WALL_M - 0.45, rtol=0.03)


def test_the_wheels_scale_is_that_of_depth(texture):
    found = drive(texture, [(0.02 * step, 0.0) for step in range(8)], scale=1.1)
    np.testing.assert_allclose(np.median(found.seen.true_m), 1.1 * WALL_M, rtol=0.01)


def test_a_longer_way_is_more_certain(texture):
    short, long = (drive(texture, [(step_m * step, 0.0) for step in range(5)]) for step_m in (0.015, 0.04))
    assert np.median(long.noise_variance) < np.median(short.noise_variance) / 3
    assert long.common_variance < short.common_variance


def test_a_camera_that_stands_or_only_turns_says_nothing(texture):
    assert drive(texture, [(0.0, 0.0)] * 8) is None
    tracker = BaselineTracker()
    matrix = np.array([[300, 0, 159.5], [0, 300, 119.5], [0, 0, 1.0]])
    for step in range(8):
        turn = cv2.Rodrigues(np.array([0.0, 0.01 * step, 0.0]))[0]  # camera to world
        seen = cv2.warpPerspective(view(texture, 0.0), matrix @ turn.T @ np.linalg.inv(matrix), (320, 240))
        to_world = np.eye(4)
        to_world[:3, :3] = turn
        to_world[0, 3] = 0.01 * step  # wheels that slip
        assert tracker.follow(seen, CAMERA, to_world, step / 10) is None


def test_a_picture_without_corners_a_cut_and_a_jump_of_time_say_nothing(texture):
    tracker = BaselineTracker()
    grey = np.full((240, 320, 3), 100, np.uint8)
    for step in range(4):
        assert tracker.follow(grey, CAMERA, pose(0.1 * step), step / 10) is None
    tracker.follow(view(texture, 0.0), CAMERA, pose(0.0), 1.0)
    assert tracker.follow(view(texture, 0.15), CAMERA, pose(0.15), 100.0) is None
    tracker.forget()
    assert tracker.follow(view(texture, 0.3), CAMERA, pose(0.3), 100.1) is None
