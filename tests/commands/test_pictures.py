# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from depthclip_ros.commands.pictures import draw_cloud, draw_frames
from depthclip_ros.core.errors import InputError


def sample(number: int, truth: bool) -> Any:
    depth_m = np.full((48, 64), 2.0, np.float32)
    depth_m[:10] = np.inf
    depth_m[10:12] = np.nan
    truth_m = np.full((48, 64), 2.5, np.float32) if truth else None
    rgb = np.full((48, 64, 3), (200, 30, 30), np.uint8)
    return SimpleNamespace(rgb=rgb, depth_m=depth_m, truth_m=truth_m, stamp_ns=number * 10**9)


@pytest.mark.parametrize("truth", [True, False])
def test_frames_in_rows_with_error_only_where_there_is_truth(tmp_path: Path, truth: bool) -> None:
    draw_frames([sample(n, truth) for n in range(9)], tmp_path / "frames.png", "title")
    picture = cv2.imread(str(tmp_path / "frames.png"))
    assert picture is not None
    red = (np.abs(picture.astype(int) - (30, 30, 200)).max(axis=2) < 6).mean(axis=1) > 0.15
    starts = np.flatnonzero(np.diff(red.astype(int)) == 1)
    assert len(starts) == 4, "nine frames become four rows"
    assert (picture.shape[1] > 1500) == truth, "four columns with truth, two without"


def test_frames_without_any_depth_are_drawn_too(tmp_path: Path) -> None:
    one = sample(0, truth=False)
    one.depth_m[:] = np.nan
    draw_frames([one], tmp_path / "frames.png", "title")
    assert (tmp_path / "frames.png").is_file()


def test_near_points_cover_far_ones(tmp_path: Path) -> None:
    v, u = np.mgrid[0:480, 0:640]
    rays = np.stack([(u - 320) / 600, (v - 240) / 600, np.ones((480, 640))], axis=2)
    wall, box = rays * 4.0, (rays * 2.0)[180:300, 240:400]
    points = np.concatenate([box.reshape(-1, 3), wall.reshape(-1, 3)]).astype(np.float32)
    colours = np.concatenate([np.tile((255, 0, 0), (120 * 160, 1)), np.tile((0, 0, 255), (480 * 640, 1))]).astype(
        np.uint8
    )
    draw_cloud(points, colours, tmp_path / "cloud.png", "a box before a wall", size_px=(400, 300))
    picture = cv2.imread(str(tmp_path / "cloud.png")).astype(int)
    red = (picture[..., 2] > 200) & (picture[..., 0] < 60)
    blue = (picture[..., 0] > 200) & (picture[..., 2] < 60)
    assert red.mean() > 0.005
    assert blue.mean() > 0.05
    rows, columns = np.nonzero(red)
    rows = rows[columns == int(np.median(columns))]
    assert len(rows) == rows.max() - rows.min() + 1 > 10, "no wall shines through the box"


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frame"):
        draw_frames([], tmp_path / "frames.png", "title")
    with pytest.raises(InputError, match="no finite point"):
        draw_cloud(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), tmp_path / "cloud.png", "title")
