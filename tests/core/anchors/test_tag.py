# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from depthclip_ros.core.anchors.measurement import Prediction
from depthclip_ros.core.anchors.tag import measure_tags
from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.types import Intrinsics

CAMERA = Intrinsics(400.0, 400.0, 319.5, 239.5, 640, 480)
SIDE_M = 0.2


def picture(z_m: float, x_m: float = 0.0, yaw_deg: float = 0.0) -> np.ndarray:
    """A marker of 0.2 m before a grey wall, drawn through the pinhole."""
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    marker = cv2.aruco.generateImageMarker(dictionary, 7, 400)
    marker = cv2.copyMakeBorder(marker, 50, 50, 50, 50, cv2.BORDER_CONSTANT, value=255)
    half = SIDE_M / 2 * 500 / 400
    turn, yaw = math.radians(yaw_deg), np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    corners = np.stack([x_m + yaw[:, 0] * math.cos(turn), yaw[:, 1], z_m + yaw[:, 0] * math.sin(turn)], axis=-1)
    pixels = corners[:, :2] / corners[:, 2:] * 400 + (319.5, 239.5)
    ends = np.array([[-0.5, -0.5], [499.5, -0.5], [499.5, 499.5], [-0.5, 499.5]], np.float32)
    grid = cv2.getPerspectiveTransform(ends, pixels.astype(np.float32))
    grey = cv2.warpPerspective(marker, grid, (640, 480), flags=cv2.INTER_AREA, borderValue=150)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)


@pytest.mark.parametrize(("z_m", "x_m", "yaw_deg"), [(1.0, 0.0, 0.0), (1.5, 0.3, 0.0), (1.2, -0.2, 25.0)])
def test_a_marker_of_known_side_gives_the_scale(z_m, x_m, yaw_deg):
    prediction = Prediction(np.full((480, 640), z_m / 1.4, np.float32), CAMERA)
    found = measure_tags(prediction, picture(z_m, x_m, yaw_deg), side_m=SIDE_M)
    assert found.log_ratio == pytest.approx(math.log(1.4), abs=0.02)


def test_a_small_marker_is_less_certain():
    far, near = (
        measure_tags(Prediction(np.full((480, 640), z_m, np.float32), CAMERA), picture(z_m), side_m=SIDE_M)
        for z_m in (2.5, 0.8)
    )
    assert far.noise_variance > 5 * near.noise_variance
    assert far.place_variance > 0.3 * 0.15**2  # one spot of the image


def test_no_marker_and_no_dictionary_are_named():
    prediction = Prediction(np.ones((480, 640), np.float32), CAMERA)
    with pytest.raises(InputError, match="0 markers of DICT_APRILTAG_36h11 are seen"):
        measure_tags(prediction, np.full((480, 640, 3), 128, np.uint8), side_m=SIDE_M)
    with pytest.raises(ConfigError, match=r"dictionary is 'DICT_9X9'; allowed: .*DICT_APRILTAG_36h11"):
        measure_tags(prediction, picture(1.0), side_m=SIDE_M, dictionary="DICT_9X9")


def test_the_variance_is_that_of_half_a_pixel_in_the_side_and_of_the_printed_size():
    """0.2 m at 1 m are 80 pixels of this camera, in the middle of the image: two by two of its regions."""
    found = measure_tags(Prediction(np.full((480, 640), 1.0, np.float32), CAMERA), picture(1.0), side_m=SIDE_M)
    assert found.noise_variance == pytest.approx((0.5 / 80) ** 2, rel=0.05)
    areas = 2.0
    shape = 4 * 0.15**2 / (4 + areas)
    assert found.place_variance == pytest.approx(shape / areas + 0.01**2, rel=0.02)


def test_of_a_marker_at_a_slant_each_pixel_has_its_own_depth():
    """Of a plane turned by 35 degrees about its middle, 1.2 m away: z = 1.2 / (1 - tan 35 * x)."""
    _, u = np.mgrid[:480, :640]
    plane_m = 1.2 / (1 - math.tan(math.radians(35)) * (u - 319.5) / 400)
    found = measure_tags(Prediction(plane_m.astype(np.float32), CAMERA), picture(1.2, 0.0, 35.0), side_m=SIDE_M)
    flat = measure_tags(
        Prediction(np.full_like(plane_m, 1.2, np.float32), CAMERA), picture(1.2, 0.0, 35.0), side_m=SIDE_M
    )
    assert found.log_ratio == pytest.approx(0.0, abs=0.005)
    assert found.place_variance == pytest.approx(4 * 0.15**2 / (4 + 2) / 2 + 0.01**2, rel=0.02)
    assert flat.place_variance > found.place_variance + 1e-4, "what is predicted flat is off by its shape"


def test_a_marker_of_less_than_twelve_pixels_says_nothing():
    """0.2 m are 16 pixels at 5 m, and 11 at 7 m."""
    found = measure_tags(Prediction(np.full((480, 640), 5.0, np.float32), CAMERA), picture(5.0), side_m=SIDE_M)
    assert found.log_ratio == pytest.approx(0.0, abs=0.05)
    with pytest.raises(InputError, match=r"1 markers of .* are seen, none with a side of 12 pixels or more"):
        measure_tags(Prediction(np.full((480, 640), 7.0, np.float32), CAMERA), picture(7.0), side_m=SIDE_M)


def test_two_markers_count_both():
    two = picture(1.0, -0.3)
    two[:, 320:] = picture(1.0, 0.3)[:, 320:]
    depth_m = np.full((480, 640), 1.0, np.float32)
    alone = measure_tags(Prediction(depth_m, CAMERA), picture(1.0, -0.3), side_m=SIDE_M)
    both = measure_tags(Prediction(depth_m, CAMERA), two, side_m=SIDE_M)
    assert both.place_variance < alone.place_variance
    assert both.log_ratio == pytest.approx(0.0, abs=0.02)


def test_what_a_printed_side_is_off_by_stays_where_the_network_is_right():
    exact = Prediction(np.full((480, 640), 1.0, np.float32), CAMERA, shape_sd=0.0)
    found = measure_tags(exact, picture(1.0), side_m=SIDE_M)
    assert 0.01**2 <= found.place_variance < 3 * 0.01**2
