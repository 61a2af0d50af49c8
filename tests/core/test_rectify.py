# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Rectification against OpenCV's own forward projection of known points."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import pixel_rays
from depthclip_ros.core.rectify import CameraModel, Rectifier, rectifier_for

WIDTH, HEIGHT = 320, 240
K = (260.0, 0.0, 161.0, 0.0, 255.0, 118.0, 0.0, 0.0, 1.0)
P = (230.0, 0.0, 155.0, 0.0, 0.0, 235.0, 121.0, 0.0, 0.0, 0.0, 1.0, 0.0)
DISTORTIONS = {
    "plumb_bob": (-0.28, 0.09, 0.001, -0.0005, 0.01),
    "rational_polynomial": (0.5, -0.2, 0.001, 0.0005, 0.02, 0.9, -0.1, 0.03),
    "equidistant": (0.02, -0.01, 0.004, -0.001),
}
ROTATION = tuple(float(x) for x in cv2.Rodrigues(np.array([0.01, -0.02, 0.015]))[0].ravel())


def _raw_pixels(camera: CameraModel, rays: np.ndarray) -> np.ndarray:
    """Where the raw camera sees rays [N, 3] of the rectified one, by OpenCV's forward model."""
    k = np.array(camera.k).reshape(3, 3)
    points = (rays @ np.array(camera.r).reshape(3, 3))[None]
    nothing = np.zeros(3)
    if camera.distortion_model == "equidistant":
        pixels, _ = cv2.fisheye.projectPoints(points, nothing, nothing, k, np.array(camera.d))
    else:
        pixels, _ = cv2.projectPoints(points, nothing, nothing, k, np.array(camera.d))
    return pixels.reshape(-1, 2)


@pytest.mark.parametrize("model", DISTORTIONS)
@pytest.mark.parametrize("p", [P, None])
def test_rectified_pixels_show_what_their_rays_see(model: str, p: tuple[float, ...] | None) -> None:
    r = ROTATION if p is not None else None
    camera = CameraModel.from_numbers(WIDTH, HEIGHT, K, DISTORTIONS[model], model, r, p)
    rectifier = rectifier_for(camera)
    assert not rectifier.is_identity
    if p is not None:
        k = rectifier.intrinsics
        assert (k.fx_px, k.fy_px, k.cx_px, k.cy_px) == (230.0, 235.0, 155.0, 121.0)
    # An image whose two channels are its own coordinates: what a rectified pixel holds is where it was taken from.
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    coordinates = np.stack([u, v], -1).astype(np.float32)
    rectified = rectifier.rectify(coordinates)
    rays = np.concatenate([pixel_rays(rectifier.intrinsics), np.ones((HEIGHT, WIDTH, 1), np.float32)], -1)
    expected = _raw_pixels(camera, rays.reshape(-1, 3).astype(np.float64)).reshape(HEIGHT, WIDTH, 2)
    inside = (expected >= 0).all(-1) & (expected <= (WIDTH - 1, HEIGHT - 1)).all(-1)
    if rectifier.valid is not None:
        outside = (expected < -0.6).any(-1) | (expected > (WIDTH - 0.4, HEIGHT - 0.4)).any(-1)
        assert not rectifier.valid[outside].any()
        assert rectifier.valid[inside].all()
        assert not rectified[~rectifier.valid].any()
    assert inside.mean() > 0.8
    np.testing.assert_allclose(rectified[inside], expected[inside], atol=0.05)  # fixed-point maps: 1/32 pixel


@pytest.mark.parametrize("model", DISTORTIONS)
def test_the_nearest_pixel_is_the_nearest(model: str) -> None:
    rectifier = rectifier_for(CameraModel.from_numbers(WIDTH, HEIGHT, K, DISTORTIONS[model], model, None, P))
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    coordinates = np.stack([u, v], -1).astype(np.float32)
    exact, nearest = rectifier.rectify(coordinates), rectifier.rectify(coordinates, nearest=True)
    inside = (exact > 0).all(-1) & (exact < (WIDTH - 1, HEIGHT - 1)).all(-1)
    assert inside.mean() > 0.7
    np.testing.assert_array_equal(nearest, np.round(nearest))
    assert np.abs(nearest - exact)[inside].max() <= 0.5


def test_borders_that_the_lens_did_not_see_are_invalid() -> None:
    wide = (150.0, 0.0, 160.0, 0.0, 0.0, 150.0, 120.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    camera = CameraModel.from_numbers(WIDTH, HEIGHT, K, DISTORTIONS["equidistant"], "equidistant", None, wide)
    rectifier = Rectifier(camera)
    assert rectifier.valid is not None
    assert not rectifier.valid[0, 0]
    assert rectifier.valid[HEIGHT // 2, WIDTH // 2]
    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    rectified = rectifier.rectify(white)
    assert np.array_equal(rectified[..., 0] == 255, rectifier.valid)


def test_rays_beyond_the_turning_point_of_the_polynomial_are_invalid() -> None:
    # r * (1 - 0.3 r^2) turns back at r = 1.05: rays farther out would show parts of the image a second time.
    wide = (60.0, 0.0, 160.0, 0.0, 0.0, 60.0, 120.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    camera = CameraModel.from_numbers(WIDTH, HEIGHT, K, (-0.3, 0, 0, 0), "plumb_bob", None, wide)
    rectifier = Rectifier(camera)
    assert rectifier.valid is not None
    radius = np.linalg.norm(pixel_rays(rectifier.intrinsics), axis=-1)
    assert not rectifier.valid[radius > 1.06].any()


@pytest.mark.parametrize("matrix", ["k", "p"])
def test_a_focal_length_that_no_lens_has_is_refused(matrix: str) -> None:
    tiny = {"k": (1e-300, 0, 32, 0, 50, 24, 0, 0, 1), "p": (50, 0, 32, 0, 0, 1e-300, 24, 0, 0, 0, 1, 0)}
    given = {"k": (50, 0, 32, 0, 50, 24, 0, 0, 1), matrix: tiny[matrix]}
    with pytest.raises(InputError, match=r"focal length is 1e-300 pixels; allowed: 0\.001 or more"):
        CameraModel.from_numbers(64, 48, d=(-0.2, 0.01, 0, 0, 0), distortion_model="plumb_bob", **given)


def test_rays_that_graze_the_image_plane_are_unknown_and_nothing_overflows() -> None:
    turned = (1, 0, 0, 0, 1, 0, 0, 0, 1e-308)  # a rotation that is none, as a broken driver sends it
    camera = CameraModel.from_numbers(
        64,
        48,
        (50, 0, 32, 0, 50, 24, 0, 0, 1),
        (-0.2, 0.01, 0, 0, 0),
        "plumb_bob",
        turned,
        (1e-3, 0, 32, 0, 0, 1e-3, 24, 0, 0, 0, 1, 0),
    )
    with pytest.raises(InputError, match="leaves no pixel"):
        Rectifier(camera)


def test_no_pixel_beyond_a_fisheyes_turning_point_is_valid() -> None:
    d, focal_px = (-1.15, 2.91, -2.48, 0.18), 100.0
    angle = np.linspace(0, np.pi / 2, 5000)
    bent = angle * (1 + d[0] * angle**2 + d[1] * angle**4 + d[2] * angle**6 + d[3] * angle**8)
    turning = angle[np.flatnonzero(np.diff(bent) <= 0)[0]]
    p = (focal_px, 0.0, 160.0, 0.0, 0.0, focal_px, 120.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    for r in (None, ROTATION):
        camera = CameraModel.from_numbers(WIDTH, HEIGHT, (120.0, *K[1:4], 120.0, *K[5:]), d, "equidistant", r, p)
        rectifier = Rectifier(camera)
        assert rectifier.valid is not None
        rays = np.concatenate([pixel_rays(rectifier.intrinsics), np.ones((HEIGHT, WIDTH, 1))], -1)
        rays = rays @ np.reshape(camera.r, (3, 3))
        beyond = np.arctan2(np.hypot(rays[..., 0], rays[..., 1]), rays[..., 2])
        assert (beyond > turning).any()
        assert not rectifier.valid[beyond > turning + 0.001].any()
        assert rectifier.valid[beyond < turning - 0.01].all()


@pytest.mark.parametrize(
    ("focal_px", "d", "model"),
    [
        (95.0, (0.01, 0.0, 0.0, 0.0), "equidistant"),  # 160 px are 96 degrees of an ideal one
        (120.0, (-0.3, 0.0, 0.0, 0.0), "equidistant"),  # turns back within the image
        (80.0, (-0.48, 0.18, -0.002, 0.003, 0, 0, 0, 0.1), "rational_polynomial"),
    ],
)
def test_a_lens_without_a_flat_picture_of_its_own_asks_for_p(focal_px: float, d: tuple[float, ...], model: str) -> None:
    camera = CameraModel.from_numbers(WIDTH, HEIGHT, (focal_px, 0, 160, 0, focal_px, 120, 0, 0, 1), d, model)
    with pytest.raises(InputError, match="give the projection matrix P of the flat image"):
        Rectifier(camera)
    p = (*P[:2], 160.0, *P[3:6], 120.0, *P[7:])
    assert Rectifier(CameraModel.from_numbers(WIDTH, HEIGHT, camera.k, d, model, None, p)).intrinsics.fx_px == P[0]


@pytest.mark.parametrize(
    ("model", "same_model", "d", "same_d"),
    [
        ("equidistant", "equidistant", (*DISTORTIONS["equidistant"], 0.0), DISTORTIONS["equidistant"]),
        ("fisheye", "equidistant", (*DISTORTIONS["equidistant"], 0, 0, 0, 0), DISTORTIONS["equidistant"]),
        ("plumb_bob", "rational_polynomial", *[DISTORTIONS["rational_polynomial"]] * 2),
        ("rational_polynomial", "plumb_bob", *[DISTORTIONS["plumb_bob"]] * 2),
        ("plumb_bob", "plumb_bob", (*DISTORTIONS["plumb_bob"], 0.0), DISTORTIONS["plumb_bob"]),
    ],
)
def test_coefficients_are_read_as_drivers_send_them(
    model: str, same_model: str, d: tuple[float, ...], same_d: tuple[float, ...]
) -> None:
    pictures = [
        Rectifier(CameraModel.from_numbers(WIDTH, HEIGHT, K, coefficients, name, None, P)).rectify(
            np.arange(WIDTH * HEIGHT, dtype=np.float32).reshape(HEIGHT, WIDTH)
        )
        for name, coefficients in ((model, d), (same_model, same_d))
    ]
    np.testing.assert_array_equal(*pictures)


@pytest.mark.parametrize(
    ("model", "d"), [("", ()), ("plumb_bob", (0, 0, 0, 0, 0)), ("somebody's", (0.0,)), ("", (0.0,) * 5)]
)
def test_a_rectified_camera_passes_images_through(model: str, d: tuple[float, ...]) -> None:
    camera = CameraModel.from_numbers(WIDTH, HEIGHT, K, d, model, [0] * 9, [0] * 12)
    assert camera.is_rectified
    rectifier = Rectifier(camera)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert rectifier.rectify(image) is image
    assert rectifier.valid is None
    assert rectifier.intrinsics.fx_px == K[0]
    assert CameraModel.from_numbers(WIDTH, HEIGHT, K, d, model, None, P).pinhole.fx_px == P[0]


def test_equal_calibrations_share_their_maps() -> None:
    numbers = (WIDTH, HEIGHT, list(K), list(DISTORTIONS["plumb_bob"]), "plumb_bob")
    assert rectifier_for(CameraModel.from_numbers(*numbers)) is rectifier_for(CameraModel.from_numbers(*numbers))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distortion_model": "thin_lens"}, "'thin_lens' cannot be rectified; allowed are plumb_bob, rational_poly"),
        ({"distortion_model": ""}, "no distortion_model is named; name the one that D was calibrated for: plumb_bob"),
        ({"d": (0.1, 0.2, 0.3)}, "'plumb_bob' has 3 coefficients; it must have 4, 5, 8, 12 or 14"),
        ({"d": (0.1,) * 5, "distortion_model": "equidistant"}, "'equidistant' has 5 coefficients; it must have 4"),
        ({"d": (0.1,) * 6}, "'plumb_bob' has 6 coefficients"),
        ({"k": (0.0,) * 9, "p": P}, "fx_px is 0.0"),
        ({"d": (float("nan"), 0, 0, 0)}, "must be finite"),
        ({"k": (0.0,) * 9}, "fx_px is 0.0"),
        ({"k": (-5.0, *K[1:])}, "fx_px is -5.0"),
        ({"k": K[:6]}, "K has 6 numbers"),
        ({"p": (float("inf"), *P[1:])}, "must be finite"),
        ({"width_px": 0}, "0x240"),
    ],
)
def test_a_calibration_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    good = {"width_px": WIDTH, "height_px": HEIGHT, "k": K, "d": (0.1, 0.0, 0.0, 0.0), "distortion_model": "plumb_bob"}
    with pytest.raises(InputError, match=message):
        CameraModel.from_numbers(**(good | change))  # type: ignore[arg-type]


def test_an_image_of_another_size_is_refused() -> None:
    rectifier = Rectifier(CameraModel.from_numbers(WIDTH, HEIGHT, K, (0.1, 0, 0, 0), "plumb_bob"))
    with pytest.raises(InputError, match="image is 240x320 but its calibration is 320x240"):
        rectifier.rectify(np.zeros((WIDTH, HEIGHT, 3), np.uint8))


@pytest.mark.parametrize("field", ["k", "d", "r", "p"])
@pytest.mark.parametrize("value", [1e308, -1e10, math.nan, math.inf])
def test_numbers_that_no_lens_has_are_refused(field, value):
    numbers = {"k": [50.0, 0, 31.5, 0, 50.0, 23.5, 0, 0, 1], "d": [0.1, 0, 0, 0], "r": [1.0, 0, 0, 0, 1, 0, 0, 0, 1]}
    numbers["p"] = [50.0, 0, 31.5, 0, 0, 50.0, 23.5, 0, 0, 0, 1, 0]
    numbers[field][1] = value
    with pytest.raises(
        InputError, match=rf"camera info {field.upper()} is .* must be finite, and none is beyond 1e\+09"
    ):
        CameraModel.from_numbers(64, 48, **numbers, distortion_model="plumb_bob")


@pytest.mark.parametrize("size", [(2**40, 48), (64, 2**31), (0, 48), (-5, 48), (60_000, 60_000)])
def test_sizes_that_no_image_has_are_refused(size):
    with pytest.raises(InputError, match="image size is"):
        CameraModel.from_numbers(*size, [50.0, 0, 31.5, 0, 50.0, 23.5, 0, 0, 1], [0.1, 0, 0, 0], "plumb_bob")


@pytest.mark.parametrize("side", range(4))
def test_each_side_of_a_fisheyes_image_is_to_lie_within_its_view(side: int) -> None:
    """Of an ideal fisheye (D zero but for a trace) of 100 px the right angle is 157 px from the centre."""
    for reach_px, has_picture in ((150.0, True), (158.0, False)):
        sides = [100.0] * 4
        sides[side] = reach_px
        left, right, up, down = sides
        k = (100.0, 0.0, left, 0.0, 100.0, up, 0.0, 0.0, 1.0)
        camera = CameraModel.from_numbers(int(left + right), int(up + down), k, (1e-9, 0, 0, 0), "equidistant")
        if has_picture:
            assert Rectifier(camera).intrinsics.fx_px > 0
        else:
            with pytest.raises(InputError, match="sees 180 degrees or more"):
                Rectifier(camera)


def test_p_is_read_by_its_places() -> None:
    numbers = [211.0, 1.0, 33.0, 4.0, 5.0, 222.0, 44.0, 8.0, 9.0, 10.0, 1.0, 12.0]
    found = CameraModel.from_numbers(64, 96, K, p=numbers).pinhole
    assert (found.fx_px, found.fy_px, found.cx_px, found.cy_px) == (211.0, 222.0, 33.0, 44.0)
    assert (found.width_px, found.height_px) == (64, 96)


@pytest.mark.parametrize(
    ("model", "d", "turning"),
    [
        ("plumb_bob", (-0.3, 0.0, 0.0, 0.0), math.sqrt(1 / 0.9)),  # r - 0.3 r^3 is steepest no more
        ("plumb_bob", (0.0, -0.1, 0.0, 0.0), 0.5**-0.25),  # r - 0.1 r^5
        ("plumb_bob", (0.0, 0.0, 0.0, 0.0, -0.02), (7 * 0.02) ** (-1 / 6)),  # r - 0.02 r^7
        ("rational_polynomial", (0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0), 1.0),  # r / (1 + r^2)
        ("rational_polynomial", (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0), 3**-0.25),  # r / (1 + r^4)
        ("rational_polynomial", (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0), 5 ** (-1 / 6)),  # r / (1 + r^6)
    ],
)
def test_a_lens_is_known_up_to_where_its_polynomial_turns_back(
    model: str, d: tuple[float, ...], turning: float
) -> None:
    """The raw image is far larger than what the lens bends into it: only the turning point makes pixels unknown."""
    k = (60.0, 0.0, 160.0, 0.0, 60.0, 120.0, 0.0, 0.0, 1.0)
    p = (60.0, 0.0, 160.0, 0.0, 0.0, 60.0, 120.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    rectifier = Rectifier(CameraModel.from_numbers(WIDTH, HEIGHT, k, d, model, None, p))
    radius = np.linalg.norm(pixel_rays(rectifier.intrinsics), axis=-1)
    assert rectifier.valid is not None
    assert rectifier.valid[radius < turning - 2e-3].all()
    assert not rectifier.valid[radius > turning + 2e-3].any()
