# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Calibration files of several writers, and the camera of an image that comes rectified."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from depthclip_ros.core.calibration import camera_model, is_uncalibrated, misplaced_centre, read_calibration
from depthclip_ros.core.errors import ConfigError, InputError

D = [-0.28, 0.09, 0.001, -0.0005, 0.0]
K = [540.0, 0.0, 320.0, 0.0, 541.0, 240.0, 0.0, 0.0, 1.0]
P = [500.0, 0.0, 315.0, 0.0, 0.0, 500.0, 235.0, 0.0, 0.0, 0.0, 1.0, 0.0]

CALIBRATOR = """image_width: 640
image_height: 480
camera_name: cam
camera_matrix: {{rows: 3, cols: 3, data: {k}}}
{model}
distortion_coefficients: {{rows: 1, cols: {n}, data: {d}}}
projection_matrix: {{rows: 3, cols: 4, data: {p}}}
"""
PRINTED_BY_ROS_1 = """header:
  seq: 3
  stamp: {{secs: 1, nsecs: 5}}
  frame_id: "cam"
height: 480
width: 640
distortion_model: "plumb_bob"
D: {d}
K: {k}
R: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
P: {p}
binning_x: 0
binning_y: 0
roi: {{x_offset: 0, y_offset: 0, height: 0, width: 0, do_rectify: False}}
---
"""
OPENCV = """%YAML:1.0
---
calibration_time: "Thu 01 Jan 2026"
{size}
{matrix}: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: {k}
{more}
{coefficients}: !!opencv-matrix
   rows: {n}
   cols: 1
   dt: d
   data: {d}
"""


def calibrator(model: str, d: list[float] = D) -> str:
    return CALIBRATOR.format(k=K, d=d, n=len(d), p=P, model=model)


def opencv(d: list[float] = D, more: str = "", old: bool = False) -> str:
    names = ("image_Width", "image_Height", "Camera_Matrix", "Distortion_Coefficients")
    names = names if old else ("image_width", "image_height", "camera_matrix", "distortion_coefficients")
    size = f"{names[0]}: 640\n{names[1]}: 480"
    return OPENCV.format(k=K, d=d, n=len(d), size=size, matrix=names[2], coefficients=names[3], more=more)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "camera [left].yaml"


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (calibrator("distortion_model: plumb_bob"), "plumb_bob"),
        (calibrator("camera_model: plumb_bob"), "plumb_bob"),
        (calibrator("camera_model: fisheye", D[:4]), "equidistant"),
        (calibrator("camera_model: pinhole\ndistortion_model: equidistant", D[:4]), "equidistant"),
        (PRINTED_BY_ROS_1.format(d=D, k=K, p=P), "plumb_bob"),
        (opencv(), "plumb_bob"),
        (opencv(old=True), "plumb_bob"),
        (opencv(D[:4], more="fisheye_model: 1"), "equidistant"),
        (opencv(D[:4], more="fisheye_model: 0"), "plumb_bob"),
        ("\ufeff" + calibrator("distortion_model: plumb_bob"), "plumb_bob"),
    ],
)
def test_the_lens_is_read_as_its_writer_meant_it(file: Path, text: str, model: str) -> None:
    file.write_text(text)
    camera = read_calibration(file)
    assert (camera.width_px, camera.height_px, list(camera.k)) == (640, 480, K)
    assert camera.distortion_model == model
    assert list(camera.d) == (D[:4] if model == "equidistant" else D[: len(camera.d)])
    assert not camera.is_rectified


def test_the_first_of_several_printed_messages_counts(file: Path) -> None:
    first = f"width: 640\nheight: 480\nk: {K}\n"
    file.write_text(f"{first}---\nwidth: 320\nheight: 240\nk: {[0.5 * one for one in K]}\n---\n")
    assert list(read_calibration(file).k) == K


def test_a_matrix_in_rows_is_read(file: Path) -> None:
    file.write_text(f"width: 640\nheight: 480\nk: {[K[:3], K[3:6], K[6:]]}\n")
    assert list(read_calibration(file).k) == K
    assert read_calibration(file).is_rectified


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (calibrator(""), "no distortion_model is named"),
        (calibrator("distortion_model:"), "no distortion_model is named"),
        (calibrator("camera_model: pinhole"), "'pinhole' cannot be rectified; allowed are plumb_bob"),
        (opencv(D[:4]), "no distortion_model is named"),
        ("cam0:\n  camera_model: pinhole\n  intrinsics: [1, 1, 1, 1]\n", "no camera_matrix; camera_calibration's YAML"),
        ("# oST version 5.0\n[image]\n\nwidth\n640\n", "OpenCV's YAML are read"),
        ("<?xml version='1.0'?><opencv_storage/>", "OpenCV's YAML are read"),
        ("width: 640\nheight: 480\nk: [1, a]\n", "cannot be used"),
        ("width: 640\nheight: [1]\nk: [1, 2]\n", "cannot be used"),
        ("width: 640\nheight: 480\ncamera_matrix: {rows: 3}\n", "no camera_matrix"),
    ],
)
def test_what_is_no_calibration_is_one_sentence(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_calibration(file)
    assert said in str(error.value)
    assert str(file) in str(error.value)


def _info(**fields: object) -> SimpleNamespace:
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
    values = {"width": 640, "height": 480, "k": K, "d": D, "p": P, "r": [0.0] * 9, "distortion_model": "plumb_bob"}
    return SimpleNamespace(**{**values, "binning_x": 0, "binning_y": 0, "roi": roi, **fields})


@pytest.mark.parametrize(
    "fields", [{}, {"k": [0.0] * 9}, {"distortion_model": ""}, {"distortion_model": "wavy"}, {"d": [0.1]}]
)
def test_the_camera_of_a_rectified_image_is_p_whatever_the_lens_was(fields: dict[str, object]) -> None:
    camera = camera_model(_info(**fields), 640, 480, rectified=True)
    assert camera.is_rectified
    assert (camera.pinhole.fx_px, camera.pinhole.cx_px, camera.pinhole.cy_px) == (500, 315, 235)
    binned = camera_model(_info(**fields, binning_x=2, binning_y=2), 320, 240, rectified=True)
    assert binned.pinhole.fx_px == 250


def test_without_p_the_camera_of_a_rectified_image_is_k() -> None:
    assert camera_model(_info(p=[0.0] * 12), 640, 480, rectified=True).pinhole.fx_px == 540
    with pytest.raises(InputError, match="is the camera calibrated"):
        camera_model(_info(p=[0.0] * 12, k=[0.0] * 9), 640, 480, rectified=True)


def test_p_alone_serves_where_there_is_no_distortion() -> None:
    assert camera_model(_info(k=[0.0] * 9, d=[0.0] * 5), 640, 480).pinhole.fx_px == 500
    with pytest.raises(InputError, match="fx_px is 0"):
        camera_model(_info(k=[0.0] * 9), 640, 480)


def test_a_distortion_of_no_named_model_is_refused() -> None:
    with pytest.raises(InputError, match="no distortion_model is named"):
        camera_model(_info(distortion_model=""), 640, 480)
    assert camera_model(_info(distortion_model="", d=[0.0] * 5), 640, 480).is_rectified


@pytest.mark.parametrize(
    ("k", "p", "doubtful"),
    [
        (K, None, False),
        (K, [2 * value for value in P], False),
        ([2 * value for value in K], P, True),
        ([value / 3 for value in K], P, True),
        ([0.0] * 9, P, False),
        ([0.0] * 9, [2 * value for value in P], True),
    ],
)
def test_a_principal_point_far_from_the_middle_is_doubtful(
    k: list[float], p: list[float] | None, doubtful: bool
) -> None:
    assert ("middle half of the 640x480 image" in misplaced_centre(k, p, 640, 480)) == doubtful


@pytest.mark.parametrize("width", [".inf", "1e999", "99999999999999999999", ".nan", "[]"])
def test_a_size_that_is_no_number_of_pixels_is_one_sentence(tmp_path, width):
    path = tmp_path / "camera.yaml"
    path.write_text(
        f"image_width: {width}\nimage_height: 48\ndistortion_model: plumb_bob\n"
        "camera_matrix: [50.0, 0, 31.5, 0, 50.0, 23.5, 0, 0, 1]\n"
    )
    with pytest.raises(ConfigError, match="cannot be used"):
        read_calibration(path)


def _part(x: int, y: int, width: int, height: int) -> SimpleNamespace:
    return SimpleNamespace(x_offset=x, y_offset=y, width=width, height=height)


@pytest.mark.parametrize(
    ("fields", "size", "expected"),
    [
        ({}, (640, 480), (540.0, 541.0, 321.0, 238.0)),
        ({"roi": _part(100, 40, 320, 240)}, (320, 240), (540.0, 541.0, 221.0, 198.0)),
        ({"binning_x": 2, "binning_y": 4}, (320, 120), (270.0, 135.25, 160.25, 59.125)),
        ({"binning_x": 2}, (320, 480), (270.0, 541.0, 160.25, 238.0)),
        ({"roi": _part(100, 40, 321, 240), "binning_x": 2, "binning_y": 2}, (160, 120), None),
        ({"roi": _part(100, 40, 321, 240), "binning_x": 2, "binning_y": 2}, (161, 120), None),
    ],
)
def test_region_and_binning_say_what_of_the_sensor_an_image_shows(fields, size, expected) -> None:
    """REP-104: the region in full resolution, then binning; a pixel's centre is an integer."""
    k = [540.0, 0, 321.0, 0, 541.0, 238.0, 0, 0, 1]
    camera = camera_model(_info(k=k, d=[0.0] * 5, p=[0.0] * 12, **fields), *size).pinhole
    assert (camera.width_px, camera.height_px) == size
    if expected is not None:
        assert (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("fields", "size", "said"),
    [
        ({}, (320, 240), "camera_info is 640x480 but the image is 320x240"),
        ({"width": 0}, (640, 480), "camera_info is 0x480 but"),
        ({"height": 0}, (640, 480), "camera_info is 640x0 but"),
        ({"roi": _part(0, 0, 320, 240)}, (322, 240), "640x480, region of interest 320x240 but"),
        ({"binning_x": 2, "binning_y": 2}, (319, 240), "640x480, binning 2x2 but"),
        ({"roi": _part(0, 0, 321, 240), "binning_x": 2}, (162, 240), "region of interest 321x240, binning 2x1 but"),
    ],
)
def test_an_image_of_another_size_is_named_with_what_the_camera_info_says(fields, size, said) -> None:
    with pytest.raises(InputError) as error:
        camera_model(_info(**fields), *size)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("cx", "cy", "doubtful"),
    [(160.0, 120.0, False), (480.0, 360.0, False), (159.0, 240.0, True), (481.0, 240.0, True), (320.0, 119.0, True),
     (320.0, 361.0, True)],
)  # fmt: skip
def test_the_middle_half_of_an_image_is_from_a_quarter_to_three(cx: float, cy: float, doubtful: bool) -> None:
    assert bool(misplaced_centre([500, 0, cx, 0, 500, cy, 0, 0, 1], None, 640, 480)) is doubtful


@pytest.mark.parametrize(
    ("k", "p", "expected"),
    [
        ([0.0] * 9, [0.0] * 12, True),
        ([1.0, 0, 160, 0, 1, 120, 0, 0, 1], [1.0, 0, 160, 0, 0, 1, 120, 0, 0, 0, 1, 0], True),
        ([2.0, 0, 160, 0, 2, 120, 0, 0, 1], [0.0] * 12, False),
        ([0.0] * 9, [200.0, 0, 160, 0, 0, 200, 120, 0, 0, 0, 1, 0], False),
        ([200.0, 0, 160, 0, 1, 120, 0, 0, 1], [0.0] * 12, False),
    ],
)
def test_zeros_and_focal_lengths_of_one_pixel_are_of_no_calibration(
    k: list[float], p: list[float], expected: bool
) -> None:
    assert is_uncalibrated(SimpleNamespace(k=k, p=p)) is expected
