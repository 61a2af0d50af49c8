# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from depthclip_ros.core.calibration import camera_model, stamp_ns_of
from depthclip_ros.core.errors import InputError
from depthclip_ros.ros import camera_info
from depthclip_ros.ros.camera_info import CameraInfoCache


def _info(width=640, height=480, fx=600.0, fy=610.0, cx=319.5, cy=239.5, p=None, stamp_ns=0, **fields):
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False)
    stamp = SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    values = {
        "header": SimpleNamespace(stamp=stamp, frame_id="camera"),
        "width": width,
        "height": height,
        "distortion_model": "plumb_bob",
        "d": [0.0] * 5,
        "k": np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1.0]),
        "r": np.eye(3).reshape(-1),
        "p": np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0.0]) if p is None else np.array(p, float),
        "binning_x": 0,
        "binning_y": 0,
        "roi": roi,
    }
    return SimpleNamespace(**{**values, **fields})


def test_the_plain_case_is_p():
    camera = camera_model(_info(p=[500, 0, 320, 0, 0, 510, 240, 0, 0, 0, 1, 0]), 640, 480).pinhole
    assert (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px) == (500, 510, 320, 240)
    assert (camera.width_px, camera.height_px) == (640, 480)


def test_k_serves_where_p_is_not_filled():
    assert camera_model(_info(p=[0] * 12), 640, 480).pinhole.fx_px == 600


def test_binning_shrinks_the_focal_length_and_keeps_the_centre_in_the_centre():
    camera = camera_model(_info(binning_x=2, binning_y=4), 320, 120).pinhole
    assert (camera.fx_px, camera.fy_px) == (300, 152.5)
    assert (camera.cx_px, camera.cy_px) == (159.5, 59.5)


def test_a_region_of_interest_moves_the_principal_point():
    roi = SimpleNamespace(x_offset=100, y_offset=40, width=320, height=240)
    camera = camera_model(_info(roi=roi), 320, 240).pinhole
    assert (camera.fx_px, camera.cx_px, camera.cy_px) == (600, 219.5, 199.5)


def test_region_of_interest_then_binning():
    roi = SimpleNamespace(x_offset=100, y_offset=40, width=320, height=240)
    camera = camera_model(_info(roi=roi, binning_x=2, binning_y=2), 160, 120).pinhole
    assert (camera.fx_px, camera.cx_px, camera.cy_px) == (300, 109.5, 99.5)


def test_the_raw_matrix_is_changed_like_the_rectified_one():
    info = _info(d=[-0.2, 0.05, 0, 0, 0], p=[500, 0, 320, 0, 0, 500, 240, 0, 0, 0, 1, 0], binning_x=2, binning_y=2)
    camera = camera_model(info, 320, 240)
    assert camera.k[0] == 300
    assert camera.p is not None
    assert camera.p[0] == 250
    assert not camera.is_rectified


@pytest.mark.parametrize(
    ("fields", "size", "said"),
    [
        ({}, (320, 240), "camera_info is 640x480 but the image is 320x240"),
        ({"width": 0, "height": 0}, (640, 480), "camera_info is 0x0"),
        ({"binning_x": 2, "binning_y": 2}, (640, 480), "binning 2x2 but the image is 640x480"),
        ({"fx": 0.0}, (640, 480), "fx_px is 0.0"),
        ({"fy": math.nan}, (640, 480), "fy_px is nan"),
        ({"fx": -600.0}, (640, 480), "fx_px is -600.0"),
        ({"p": [math.nan] * 12}, (640, 480), "fx_px is nan"),
        ({"cx": math.inf}, (640, 480), "cx_px is inf"),
        ({"distortion_model": "wavy", "d": [0.1]}, (640, 480), "distortion model 'wavy'"),
        ({"d": [0.1, 0.1]}, (640, 480), "2 coefficients"),
        ({"d": [math.nan] * 5}, (640, 480), "D is"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_value(fields, size, said):
    with pytest.raises(InputError) as error:
        camera_model(_info(**fields), *size)
    assert said in str(error.value)


def test_the_cache_finds_the_own_stamp_else_the_newest():
    cache = CameraInfoCache()
    for stamp_ns in (10, 20, 30):
        cache.put(_info(fx=float(stamp_ns), stamp_ns=stamp_ns))
    assert stamp_ns_of(cache.find(20).header.stamp) == 20
    assert stamp_ns_of(cache.find(25).header.stamp) == 30
    assert stamp_ns_of(cache.find(99).header.stamp) == 30


def test_the_cache_forgets_the_oldest():
    cache = CameraInfoCache(size=3)
    for stamp_ns in range(10):
        cache.put(_info(stamp_ns=stamp_ns))
    assert stamp_ns_of(cache.find(1).header.stamp) == 9
    assert stamp_ns_of(cache.find(7).header.stamp) == 7
    assert cache.has(7)
    assert not cache.has(6)


def test_without_a_publisher_nobody_waits():
    cache = CameraInfoCache(first_wait_s=3600)
    assert cache.wait_s(1, 0.0, expected=lambda: False) == 0
    assert cache.find(1) is None
    assert cache.age_s is None


def test_the_first_image_waits_for_the_first_camera_info():
    cache = CameraInfoCache(first_wait_s=3600)
    assert cache.wait_s(1, 600.0, expected=lambda: True) == pytest.approx(3000)
    cache.put(_info(stamp_ns=5))
    assert cache.wait_s(1, 0.0, expected=lambda: True) == 0
    assert cache.find(1) is not None


def test_images_wait_for_the_first_camera_info_where_its_publisher_is_found_later_and_once(monkeypatch):
    now_s = [100.0]
    monkeypatch.setattr(camera_info.time, "monotonic", lambda: now_s[0])
    cache = CameraInfoCache(first_wait_s=0.2)
    assert cache.wait_s(1, 0.0, expected=lambda: False) == 0
    assert cache.find(1) is None
    assert cache.wait_s(2, 0.0, expected=lambda: True) == pytest.approx(0.2)
    now_s[0] += 0.15
    assert cache.wait_s(3, 0.0, expected=lambda: True) == pytest.approx(0.05), "since the first that waited"
    now_s[0] += 0.1
    assert cache.wait_s(4, 0.0, expected=lambda: True) == 0


def test_a_promise_that_was_not_kept_is_not_waited_for_again():
    cache = CameraInfoCache(first_wait_s=3600)
    assert cache.wait_s(1, 3601.0, expected=lambda: True) == 0
    assert cache.find(1) is None
    assert cache.wait_s(2, 0.0, expected=lambda: True) == 0


def test_an_image_waits_for_its_own_camera_info_where_the_one_before_had_its_own():
    cache = CameraInfoCache(own_wait_s=3600)
    cache.put(_info(stamp_ns=1))
    cache.find(1)
    assert cache.wait_s(2, 600.0, expected=lambda: True) == 3000
    cache.put(_info(stamp_ns=2))
    assert cache.wait_s(2, 600.0, expected=lambda: True) == 0
    assert stamp_ns_of(cache.find(2).header.stamp) == 2


def test_an_image_whose_camera_info_is_already_overtaken_does_not_wait():
    cache = CameraInfoCache(own_wait_s=3600)
    cache.put(_info(stamp_ns=1))
    cache.find(1)
    cache.put(_info(stamp_ns=3))
    assert cache.wait_s(2, 0.0, expected=lambda: True) == 0


def test_an_image_does_not_wait_where_camera_info_comes_once():
    cache = CameraInfoCache(own_wait_s=3600)
    cache.put(_info(stamp_ns=1))
    for stamp_ns in (50, 60, 70):
        assert cache.wait_s(stamp_ns, 0.0, expected=lambda: True) == 0
        assert stamp_ns_of(cache.find(stamp_ns).header.stamp) == 1


def test_an_image_waits_a_second_for_the_first_camera_info_and_a_twentieth_for_its_own():
    cache = CameraInfoCache()
    assert cache.wait_s(10, 0.25, lambda: True) == pytest.approx(0.75)
    assert cache.wait_s(10, 1.5, lambda: True) == 0.0
    assert cache.wait_s(10, 0.0, lambda: False) == 0.0
    cache.put(_info(stamp_ns=10))
    cache.find(10)
    assert cache.wait_s(20, 0.03, lambda: True) == pytest.approx(0.02)
    assert cache.wait_s(5, 0.0, lambda: True) == 0.0, "older than what has come"


def test_the_last_thirty_two_are_remembered():
    cache = CameraInfoCache()
    for stamp_ns in range(33):
        cache.put(_info(stamp_ns=stamp_ns))
    assert [cache.has(stamp_ns) for stamp_ns in (0, 1, 32)] == [False, True, True]
