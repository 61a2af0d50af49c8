# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest

from depthclip_ros.core.steady_depth import GAP_S, MEMORY, SteadyDepth

HEIGHT, WIDTH = 120, 160


def picture(shift_px=0, seed=0):
    """A textured wall, seen further to the side."""
    grain = np.random.default_rng(seed).integers(0, 255, (HEIGHT, 3 * WIDTH, 3), np.uint8)
    smooth = cv2.normalize(cv2.GaussianBlur(grain, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    return np.ascontiguousarray(smooth[:, 100 + shift_px : 100 + shift_px + WIDTH])


def slope(shift_px=0):
    """Depth that grows from left to right by 1 % a pixel, of the same wall."""
    columns = np.arange(WIDTH) + shift_px
    return np.tile(2.0 * np.exp(0.01 * (columns - 80)), (HEIGHT, 1)).astype(np.float32)


def flicker(rng):
    """What a network does: the whole image a little, and broad patches."""
    broad = cv2.resize(rng.normal(0, 0.04, (5, 6)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.exp(broad + rng.normal(0, 0.03)).astype(np.float32)


def errors_of(frames, shift_px, seed=1):
    """Mean |ln(depth / truth)| of the later half of a drive, as it came and steadied, and the flicker of both."""
    rng, steady = np.random.default_rng(seed), SteadyDepth()
    found, logs = [], []
    for i in range(frames):
        truth = slope(i * shift_px)
        came = truth * flicker(rng)
        made = came.copy()
        steady.apply(i / 30, picture(i * shift_px), made)
        logs.append([np.log(came / truth), np.log(made / truth)])
    found = np.array(logs[frames // 2 :])
    return np.abs(found).mean((0, 2, 3)), np.abs(np.diff(found, axis=0)).mean((0, 2, 3))


@pytest.mark.parametrize("shift_px", [0, 2])
def test_flicker_is_halved_and_depth_is_no_worse_whether_the_camera_stands_or_moves(shift_px):
    (before, after), (flickered, steadied) = errors_of(24, shift_px)
    assert steadied < 0.5 * flickered
    assert after < before


def test_a_cut_leaves_no_ghost():
    steady = SteadyDepth()
    for i in range(8):
        steady.apply(i / 30, picture(), slope())
    near = np.full((HEIGHT, WIDTH), 1.9, np.float32)
    made = near.copy()
    steady.apply(8 / 30, picture(seed=9), made)
    np.testing.assert_array_equal(made, near)


def test_who_walks_through_the_picture_leaves_no_ghost():
    steady = SteadyDepth()
    for i in range(8):
        image, depth_m = picture(), np.full((HEIGHT, WIDTH), 3.0, np.float32)
        person = slice(10 * i, 10 * i + 30)
        image[:, person] = (picture(seed=5)[:, :30] // 2).astype(np.uint8)
        depth_m[:, person] = 1.5
        made = depth_m.copy()
        steady.apply(i / 30, image, made)
    np.testing.assert_allclose(made, depth_m, rtol=0.02)


@pytest.mark.parametrize("time_s", [7 / 30 + GAP_S + 0.1, 7 / 30, -5.0])
def test_after_a_gap_or_a_step_back_of_the_clock_the_past_does_not_count(time_s):
    steady = SteadyDepth()
    for i in range(8):
        steady.apply(i / 30, picture(), slope())
    other = slope() * np.float32(1.1)
    made = other.copy()
    steady.apply(time_s, picture(), made)
    np.testing.assert_array_equal(made, other)


@pytest.mark.parametrize("size", [(1280, 128), (2048, 16), (80, 24), (16, 16), (16, 640)])
def test_strips_and_tiny_pictures_are_steadied_too(size):
    """In a process of its own: OpenCV's flow ends the process on a grid that is too low for it."""
    code = f"""
        import cv2, numpy as np
        from depthclip_ros.core.steady_depth import SteadyDepth
        width, height = {size}
        rgb = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8), (0, 0), 3)
        steady = SteadyDepth()
        for i in range(3):
            depth_m = np.full((height, width), 1.8 + 0.2 * (i % 2), np.float32)
            steady.apply(i / 30, rgb, depth_m)
            print(f"{{depth_m.min():.4f}} {{depth_m.max():.4f}}")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    mean_m, last_m = (1.8 * 2.0) ** 0.5, (1.8 * 1.8 * 2.0) ** (1 / 3)
    expected = [f"{depth:.4f} {depth:.4f}" for depth in (1.8, mean_m, last_m)]
    assert done.stdout.splitlines() == expected


def test_another_size_and_a_reset_begin_anew():
    steady = SteadyDepth()
    steady.apply(0.0, picture(), slope())
    steady.apply(0.03, np.zeros((60, 80, 3), np.uint8), np.ones((60, 80), np.float32))
    steady.reset()
    made = slope() * np.float32(1.1)
    steady.apply(0.06, picture(), made)
    np.testing.assert_array_equal(made, slope() * np.float32(1.1))


def test_the_past_is_kept_without_the_scale_that_an_anchor_gave():
    steady = SteadyDepth()
    for i in range(8):
        steady.apply(i / 30, picture(), slope())
    made = slope() * np.float32(1.15)  # the same depth of the network, another scale
    steady.apply(8 / 30, picture(), made, log_scale=float(np.log(1.15)))
    np.testing.assert_allclose(made, slope() * np.float32(1.15), rtol=1e-3)


def test_unknown_and_infinite_stay_and_limits_hold():
    steady = SteadyDepth()
    depth_m = slope()
    depth_m[:40], depth_m[40:60], depth_m[60:80] = np.nan, np.inf, -np.inf
    for i in range(4):
        made = depth_m.copy() * np.float32(1 + 0.1 * (i % 2))
        steady.apply(i / 30, picture(), made, limits_m=(1.0, 3.0))
    assert np.isnan(made[:40]).all()
    assert np.isposinf(made[40:60]).all()
    assert np.isneginf(made[60:80]).all()
    finite = made[80:][np.isfinite(made[80:])]
    assert finite.size
    assert (finite.min(), finite.max()) >= (1.0, 0)
    assert finite.max() <= 3.0


def test_what_comes_into_the_picture_has_no_past():
    """The camera turns: at one side the wall is new, and there depth stays as it came."""
    steady = SteadyDepth()
    for i in range(8):
        steady.apply(i / 30, picture(12 * i), slope(12 * i))
    came = slope(12 * 8) * np.float32(1.1)
    made = came.copy()
    steady.apply(8 / 30, picture(12 * 8), made)
    np.testing.assert_array_equal(made[:, -6:], came[:, -6:])
    assert np.mean(made[:, 20:100] < 0.98 * came[:, 20:100]) > 0.9


def test_each_image_counts_for_less_the_longer_the_wall_is_known_down_to_a_share():
    """The second counts half; after many the change that is left of a step is that of the memory's length."""
    steady = SteadyDepth()
    steady.apply(0.0, picture(), slope())
    made = slope() * np.float32(1.1)
    steady.apply(1 / 30, picture(), made)
    np.testing.assert_allclose(np.median(made / slope()), 1.1**0.5, rtol=1e-3)
    long = SteadyDepth()
    for i in range(60):
        long.apply(i / 30, picture(), slope())
    made = slope() * np.float32(1.1)
    long.apply(2.0, picture(), made)
    np.testing.assert_allclose(np.median(np.log(made / slope())), np.log(1.1) / MEMORY, rtol=1e-2)


@pytest.mark.parametrize("brighter", [-30, 30])
def test_a_change_of_exposure_is_no_cut(brighter):
    steady = SteadyDepth()
    grey = (picture() // 2 + 64).astype(np.uint8)
    steady.apply(0.0, grey, slope())
    made = slope() * np.float32(1.1)
    steady.apply(1 / 30, (grey.astype(int) + brighter).astype(np.uint8), made)
    np.testing.assert_allclose(np.median(made / slope()), 1.1**0.5, rtol=1e-2)


def test_depth_that_is_of_another_surface_is_not_mixed():
    for factor, mixed in ((1.2, True), (1.25, False)):
        steady = SteadyDepth()
        steady.apply(0.0, picture(), slope())
        came = slope() * np.float32(factor)
        made = came.copy()
        steady.apply(1 / 30, picture(), made)
        assert bool(np.median(made / came) < 0.99) is mixed
