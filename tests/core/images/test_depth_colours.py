# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Depth as colours: order, special values, and a range that keeps still."""

from __future__ import annotations

import numpy as np
import pytest

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.images.depth_colours import UNKNOWN_RGB, SteadyRange, colorize, depth_range, draw_legend


def test_near_is_red_far_is_blue_unknown_is_grey() -> None:
    depth_m = np.array([[1.0, 5.0, np.nan, np.inf, -np.inf, 0.2, 9.0]], np.float32)
    near, far, unknown, beyond, too_near, below, above = colorize(depth_m, 1.0, 5.0)[0].astype(int)
    assert near[0] > near[2] + 50
    assert far[2] > far[0]
    assert tuple(unknown) == UNKNOWN_RGB
    assert (beyond == far).all()
    assert (above == far).all()
    assert (too_near == near).all()
    assert (below == near).all()


def test_every_depth_has_its_own_colour() -> None:
    ramp = np.linspace(1, 5, 100, dtype=np.float32)[None]
    assert len(np.unique(colorize(ramp, 1, 5)[0], axis=0)) == 100
    assert colorize(ramp, 1, 5).dtype == np.uint8


def test_without_a_range_the_image_gives_it() -> None:
    ramp = np.linspace(1, 5, 200, dtype=np.float32).reshape(10, 20)
    picture = colorize(ramp)
    assert (picture == colorize(ramp, *depth_range(ramp))).all()
    assert colorize(np.full((4, 4), 2.0, np.float32)).shape == (4, 4, 3)
    assert (colorize(np.full((4, 4), np.nan, np.float32)) == UNKNOWN_RGB).all()
    assert colorize(ramp, near_m=8.0).shape == (10, 20, 3)


@pytest.mark.parametrize("ends", [(2.0, 2.0), (3.0, 2.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_an_empty_range_is_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="colour range is"):
        colorize(np.ones((2, 2), np.float32), *ends)


def test_a_range_leaves_out_what_is_rare() -> None:
    depth_m = np.full((100, 100), 2.0, np.float32)
    depth_m[:50] = 4.0
    depth_m[0, 0], depth_m[0, 1] = 1000.0, np.inf
    near_m, far_m = depth_range(depth_m)
    assert (near_m, far_m) == (2.0, 4.0)


def test_a_steady_range_follows_slowly() -> None:
    steady = SteadyRange(share=0.25)
    room = np.linspace(1, 3, 10_000, dtype=np.float32).reshape(100, 100)
    first = steady.update(room)
    assert first == depth_range(room)
    second = steady.update(room * 2)
    assert second == pytest.approx([0.75 * a + 0.25 * 2 * a for a in first], rel=1e-5)
    assert steady.update(np.full((4, 4), np.nan, np.float32)) == second
    assert SteadyRange().update(np.full((4, 4), np.nan, np.float32)) == (0.0, 10.0)


@pytest.mark.parametrize("size", [(480, 640), (120, 160), (3000, 4000)])
def test_the_legend_stays_in_its_corner(size: tuple[int, int]) -> None:
    picture = colorize(np.full(size, 3.0, np.float32), 1, 5)
    result = draw_legend(picture, 1, 5)
    changed = np.argwhere((result != picture).any(-1))
    assert len(changed)
    assert (changed.min(0) > (size[0] * 0.8, size[1] * 0.4)).all()


def test_a_tiny_picture_has_no_room_for_a_legend() -> None:
    picture = colorize(np.full((40, 60), 3.0, np.float32), 1, 5)
    result = draw_legend(picture, 1, 5)
    assert (result == picture).all()
    assert result is not picture


def test_the_legend_lies_on_a_darkened_box_and_its_bar_goes_from_near_to_far() -> None:
    picture = np.full((480, 640, 3), 200, np.uint8)
    result = draw_legend(picture, 1, 5)
    rows, columns = np.nonzero((result == 200 // 4).all(-1))
    assert len(rows) > 1000
    assert (rows.max(), columns.max()) > (470, 630)
    bar_row = result[rows.min() + 15, columns.min() : columns.max()].astype(int)
    coloured = bar_row[(bar_row.max(1) - bar_row.min(1)) > 60]
    assert coloured[2, 0] > coloured[2, 2]
    assert coloured[-3, 2] > coloured[-3, 0]


def test_one_end_of_the_range_may_come_from_the_image() -> None:
    ramp = np.linspace(1, 5, 200, dtype=np.float32).reshape(10, 20)
    near_m, far_m = depth_range(ramp)
    assert (colorize(ramp, near_m=1.5) == colorize(ramp, 1.5, far_m)).all()
    assert (colorize(ramp, far_m=4.0) == colorize(ramp, near_m, 4.0)).all()
    before = np.full((10, 20), 2.0, np.float32)
    before[0, 0] = 8.5
    near, far = colorize(np.array([[1.0, 2.0]], np.float32), 1.0, 2.0)[0]
    found = colorize(before, near_m=8.0)
    assert (found[0, 0] == far).all()
    assert (found[1:] == near).all(), "all before the range"


def test_the_range_holds_96_percent_and_is_never_empty() -> None:
    assert depth_range(np.linspace(0, 1, 10_001, dtype=np.float32)[None]) == pytest.approx((0.02, 0.98), abs=1e-3)
    assert depth_range(np.full((3, 3), 2.0, np.float32)) == pytest.approx((2.0, 2.1))


@pytest.mark.parametrize(
    ("size", "box", "bar", "baseline"),
    [
        ((480, 640), (408, 474, 412, 634), (420, 432, 424, 616), 456),
        ((120, 160), (102, 119, 103, 159), (105, 108, 106, 154), 114),
    ],
)
def test_the_legend_is_sixteen_fortieths_of_the_shorter_side_wide(
    size: tuple[int, int], box: tuple[int, ...], bar: tuple[int, ...], baseline: int
) -> None:
    """By hand, of a unit of 480 / 40 = 12 pixels: a bar of 16 x 1 units, a unit around it and the figures under it."""
    picture = np.full((*size, 3), 200, np.uint8)
    result = draw_legend(picture, 1, 5)
    rows, columns = np.nonzero((result != picture).any(-1))
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == box
    top, bottom, left, right = bar
    ramp = colorize(np.linspace(1, 5, right - left, dtype=np.float32)[None], 1, 5)
    assert (result[top:bottom, left:right] == ramp).all()
    border = result[box[0] : bottom, box[2] : box[3]].copy()
    border[top - box[0] :, left - box[2] : right - box[2]] = 50
    assert (border == 50).all(), "a quarter of what was there"
    rows, columns = np.nonzero((result[bottom:] > 100).all(-1) & (result[bottom:] != picture[bottom:]).any(-1))
    columns = columns[rows + bottom < box[1]]
    assert abs(rows.max() + bottom - baseline) <= 1
    assert 0 <= columns.min() - left <= size[0] // 60
    assert 0 <= right - columns.max() <= size[0] // 60


def test_each_image_moves_a_steady_range_by_a_tenth() -> None:
    steady = SteadyRange()
    steady.update(np.linspace(1, 3, 100, dtype=np.float32)[None])
    moved = steady.update(np.linspace(2, 6, 100, dtype=np.float32)[None])
    assert moved == pytest.approx((1.04 * 0.9 + 2.08 * 0.1, 2.96 * 0.9 + 5.92 * 0.1), rel=1e-3)
