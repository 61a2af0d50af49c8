# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math

import numpy as np
import pytest

from depthclip_ros.core.anchors.scene_change import Change, SceneChange

WALL = np.full((60, 80), 2.0, np.float32)
HALVES = np.zeros((60, 80, 3), np.uint8)
HALVES[:, :40] = 200


def further(log_depth: float) -> np.ndarray:
    return WALL * np.float32(math.exp(log_depth))


def test_the_first_image_and_a_still_scene_have_not_moved():
    scene = SceneChange()
    assert scene.update(WALL) == Change(0.0, False)
    assert scene.update(further(0.05)) == Change(0.0, False), "the network's own flicker"


@pytest.mark.parametrize(
    ("log_depth", "is_cut"), [(0.07, False), (-0.07, False), (0.11, False), (0.13, True), (-0.13, True)]
)
def test_the_distance_is_the_change_of_ln_depth_and_a_large_one_is_a_cut(log_depth, is_cut):
    scene = SceneChange()
    scene.update(WALL)
    change = scene.update(further(log_depth))
    assert change.distance == pytest.approx(abs(log_depth), rel=1e-4)
    assert change.is_cut is is_cut


def test_a_slow_drive_is_seen_as_a_whole_and_counted_once():
    scene = SceneChange()
    found = [scene.update(further(0.025 * step)).distance for step in range(5)]
    assert found == pytest.approx([0, 0, 0, 0.075, 0], abs=1e-5)


def test_the_middle_of_the_cells_decides_and_unknown_ones_do_not_count():
    scene = SceneChange()
    scene.update(WALL)
    partly = further(0.3)
    partly[:, :45] = 2.0  # nine of sixteen columns stand still
    assert scene.update(partly) == Change()
    partly[:, :45] = np.nan
    assert scene.update(partly).distance == pytest.approx(0.3, abs=1e-5)
    blind = WALL.copy()
    blind[:, :65] = [[np.inf] * 35 + [0] * 30]
    assert scene.update(blind) == Change(), "3 of 16 columns are known: too little to say anything"
    assert scene.update(further(0.3)).distance == 0.0


def test_a_quarter_of_the_cells_is_enough():
    scene = SceneChange()
    scene.update(WALL)
    quarter = further(0.1)
    quarter[:, :60] = np.nan
    assert scene.update(quarter).distance == pytest.approx(0.1, abs=1e-5)


def test_another_picture_is_another_place_though_its_depth_is_alike():
    scene = SceneChange()
    scene.update(WALL, HALVES)
    assert scene.update(WALL, HALVES) == Change()
    assert scene.update(WALL, HALVES[:, ::-1]) == Change(0.0, True)


def mixed(share: float) -> np.ndarray:
    """A picture that correlates with `HALVES` by `share`: of two patterns that have nothing in common."""
    rows = np.zeros((60, 80, 3), np.float64)
    rows[:30] = 1.0
    columns = (HALVES > 0).astype(np.float64)
    picture = share * (columns - 0.5) + math.sqrt(1 - share**2) * (rows - 0.5)
    return np.rint(100 + 80 * picture).astype(np.uint8)


@pytest.mark.parametrize(
    ("likeness", "log_depth", "is_cut"),
    [(0.55, 0.0, True), (0.65, 0.0, False), (0.8, 0.2, True), (0.9, 0.2, False), (0.8, 0.1, False), (0.55, 0.1, True)],
)
def test_pictures_that_are_much_alike_are_no_cut_and_little_alike_are_one(likeness, log_depth, is_cut):
    scene = SceneChange()
    scene.update(WALL, HALVES)
    change = scene.update(further(log_depth), mixed(likeness))
    assert change.is_cut is is_cut
    assert change.distance == pytest.approx(log_depth, abs=1e-5)


def test_a_picture_of_one_brightness_says_nothing_and_depth_decides():
    grey = np.full((60, 80, 3), 90, np.uint8)
    scene = SceneChange()
    scene.update(WALL, grey)
    assert not scene.update(WALL, HALVES).is_cut
    assert not scene.update(WALL, grey).is_cut
    assert scene.update(further(0.2), HALVES).is_cut
