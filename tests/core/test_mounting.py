# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A camera that is mounted turned, or sees its robot: what the network sees, and where that lies in the image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.geometry import pixel_rays
from depthclip_ros.core.mounting import read_mask, turned, turned_back, turned_intrinsics, turned_view
from depthclip_ros.core.types import CloudRequest, DepthLimits, Intrinsics, View, ViewDepth

CAMERA = Intrinsics(50.0, 60.0, 30.0, 21.0, 64, 48)
DEGREES = [0, 90, 180, 270]


@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.bool_])
def test_an_image_is_turned_clockwise_and_back(degrees: int, dtype: type) -> None:
    image = np.random.default_rng(0).integers(0, 2, (48, 64)).astype(dtype)
    once = turned(image, degrees)
    assert once.dtype == dtype
    assert np.array_equal(once, np.rot90(image, -degrees // 90))
    assert np.array_equal(turned(once, (360 - degrees) % 360), image)


@pytest.mark.parametrize("degrees", DEGREES)
def test_turned_intrinsics_see_each_pixel_along_the_ray_that_is_turned(degrees: int) -> None:
    rays = pixel_rays(CAMERA)
    camera = turned_intrinsics(CAMERA, degrees)
    assert (camera.width_px, camera.height_px) == ((64, 48) if degrees % 180 == 0 else (48, 64))
    x, y = (turned(np.ascontiguousarray(rays[..., axis]), degrees) for axis in (0, 1))
    angle = np.radians(degrees)  # clockwise: x, to the right, goes down
    expected = np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y], -1)
    np.testing.assert_allclose(pixel_rays(camera), expected, atol=1e-6)


def test_a_turned_view_keeps_what_is_asked_but_for_the_cloud_whose_axes_would_turn() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    view = View(rgb, CAMERA, DepthLimits(max_depth_m=5.0), CloudRequest(edge_threshold=0.2))
    upright = turned_view(view, 90)
    assert np.array_equal(upright.rgb, np.rot90(rgb, -1))
    assert (upright.limits, upright.cloud, upright.flying) == (view.limits, None, 0.2)
    assert turned_view(view, 0) is view


@pytest.mark.parametrize("known", [True, False])
def test_depth_and_what_belongs_to_it_are_turned_back(known: bool) -> None:
    depth_m = np.arange(48 * 64, dtype=np.float32).reshape(48, 64)
    width = depth_m / 1e4 if known else None
    flying = depth_m > 100 if known else None
    upright = ViewDepth(
        turned(depth_m, 270),
        turned(-depth_m, 270),
        3.0,
        half_width=None if width is None else turned(width, 270),
        flying=None if flying is None else turned(flying, 270),
    )
    back = turned_back(upright, 270)
    assert np.array_equal(back.depth_m, depth_m)
    assert np.array_equal(back.confidence, -depth_m)
    assert back.scale == 3.0
    if known:
        assert np.array_equal(back.half_width, width)
        assert np.array_equal(back.flying, flying)
    else:
        assert (back.half_width, back.flying) == (None, None)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_black_is_the_robot(tmp_path: Path, suffix: str) -> None:
    picture = np.full((48, 64, 3), 255, np.uint8)
    picture[32:] = 0
    path = tmp_path / f"body{suffix}"
    cv2.imwrite(str(path), picture)
    assert np.array_equal(read_mask(path), picture[..., 0] == 255)
    assert np.array_equal(read_mask(str(path)), picture[..., 0] == 255)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"body\.png cannot be read: No such file"),
        (b"not a picture", r"body\.png is no picture .*; allowed are \.jpg"),
        (cv2.imencode(".png", np.zeros((48, 64), np.uint8))[1].tobytes(), "black everywhere, which leaves no depth"),
    ],
)
def test_a_mask_that_cannot_be_used_is_one_sentence(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "body.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        read_mask(path)
