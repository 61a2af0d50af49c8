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


def test_the_variance_is_that_of_half_a_pixel_in_the_parallax(texture):
    """0.1 m before a wall at 2 m are 300 * 0.1 / 2 = 15 pixels: a feature is off by 0.5 of them, a turn by 0.6."""
    found = drive(texture, [(0.02 * step, 0.0) for step in range(6)])
    np.testing.assert_allclose(np.median(found.noise_variance), (0.5 / 15) ** 2, rtol=0.05)
    assert found.common_variance == pytest.approx(0.02**2 + (0.002 * 300 / 15) ** 2, rel=0.05)
    prediction = Prediction(np.full((240, 320), WALL_M, np.float32), CAMERA)
    assert measure_features(prediction, found).place_variance > found.common_variance


@pytest.mark.parametrize(("way_m", "found"), [(0.025, False), (0.035, True)])
def test_a_way_of_three_centimetres_is_long_enough(texture, way_m, found):
    assert (drive(texture, [(0.0, 0.0), (way_m, 0.0)]) is not None) is found


@pytest.mark.parametrize(("seen_m", "found"), [(0.022, False), (0.032, True)])
def test_a_parallax_of_four_pixels_is_large_enough(texture, seen_m, found):
    """Wheels that say more than the picture shows: 3.3 and 4.8 pixels."""
    assert (drive(texture, [(0.0, 0.0), (seen_m, 0.0)], scale=0.1 / seen_m) is not None) is found


def test_after_thirty_pixels_the_next_keyframe_begins(texture):
    tracker = BaselineTracker()
    found = [
        tracker.follow(view(texture, 0.05 * step), CAMERA, pose(0.05 * step), step / 10) is not None
        for step in range(9)
    ]
    # 7.5 pixels a step: after 37.5 the fifth image is the keyframe, and the one after it the first that is compared
    assert found == [False, True, True, True, True, True, True, True, True]
    key_m = 0.05 * 5
    again = tracker.follow(view(texture, 0.05 * 9), CAMERA, pose(0.05 * 9), 0.9)
    np.testing.assert_allclose(np.median(again.noise_variance), (0.5 / (150 * (0.45 - key_m))) ** 2, rtol=0.1)


@pytest.mark.parametrize(("later_s", "found"), [(5.0, True), (5.1, False), (-0.1, False)])
def test_a_keyframe_of_more_than_five_seconds_ago_or_of_later_is_none(texture, later_s, found):
    tracker = BaselineTracker()
    tracker.follow(view(texture, 0.0), CAMERA, pose(0.0), 10.0)
    assert (tracker.follow(view(texture, 0.1), CAMERA, pose(0.1), 10.0 + later_s) is not None) is found


def test_another_camera_begins_anew(texture):
    tracker = BaselineTracker()
    tracker.follow(view(texture, 0.0), CAMERA, pose(0.0), 0.0)
    other = Intrinsics(310.0, 310.0, 159.5, 119.5, 320, 240)
    assert tracker.follow(view(texture, 0.1), other, pose(0.1), 0.1) is None
    assert tracker.follow(view(texture, 0.2), other, pose(0.2), 0.2) is not None


def test_what_another_thing_hides_is_not_followed_across_it(texture):
    tracker = BaselineTracker()
    tracker.follow(view(texture, 0.0), CAMERA, pose(0.0), 0.0)
    hidden = view(texture, 0.1)
    hidden[:, 160:] = 128
    found = tracker.follow(hidden, CAMERA, pose(0.1), 0.1)
    assert found.seen.pixels[:, 0].max() < 175
    np.testing.assert_allclose(found.seen.true_m, WALL_M, rtol=0.15)


def test_what_moves_by_itself_does_not_fit_the_way_and_is_left_out(texture):
    """The lower half of the picture goes up and down by 4 pixels while the robot drives to the right."""
    tracker = BaselineTracker()
    tracker.follow(view(texture, 0.0), CAMERA, pose(0.0), 0.0)
    moved = view(texture, 0.1)
    moved[120:] = np.roll(moved, 4, axis=0)[120:]
    found = tracker.follow(moved, CAMERA, pose(0.1), 0.1)
    assert found.seen.pixels[:, 1].max() < 130
    assert len(found.seen.pixels) == len(found.seen.true_m) == len(found.noise_variance) >= 20
