# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import numpy as np
import pytest
from depthclip_trainer.data.readers.bag import open_bag

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics

CAMERA = Intrinsics(100.0, 100.0, 79.5, 59.5, 160, 120)
# base (x forward, z up) → optical frame (z forward, y down), as a quaternion of the child in its parent
OPTICAL = (-0.5, 0.5, -0.5, 0.5)


def wall(x_m: float, y_m: float = 3.0, z_m: float = 2.0, step_m: float = 0.05) -> np.ndarray:
    """Points of a wall x_m ahead, [N, 3], in a frame with x forward and z up."""
    y, z = np.meshgrid(np.arange(-y_m, y_m, step_m), np.arange(-z_m, z_m, step_m))
    return np.stack([np.full(y.size, x_m), y.ravel(), z.ravel()], -1)


def test_a_bag_with_a_lidar_gives_the_depth_that_the_camera_sees(record):
    with record(storage="sqlite3") as bag:
        bag.transform(0.5, "base", "cam", (0.2, 0, 0.3), OPTICAL, "/tf_static")
        bag.transform(0.5, "base", "lidar", (0, 0, 1.0), (0, 0, 0, 1), "/tf_static")
        for i in range(5):
            bag.transform(1 + i * 0.1, "odom", "base", (i * 0.1, 0, 0), (0, 0, 0, 1))
        for i in range(4):
            bag.image(1 + i * 0.1, np.full((120, 160, 3), 100, np.uint8))
            bag.info(1 + i * 0.1, CAMERA)
            bag.cloud(1 + i * 0.1 + 0.05, wall(4.0 - 0.05 - i * 0.1))  # as the lidar sees it where it is by then
    frames = open_bag(bag.path)
    assert frames.topics.is_cloud
    for i, name in enumerate(frames.frame_names):
        sample = frames.read(name)
        assert 0.05 < sample.valid.mean() < 1
        np.testing.assert_allclose(sample.depth_m[sample.valid], 4.0 - 0.2 - i * 0.1, atol=1e-5)


def test_a_bag_without_the_transform_of_its_lidar_is_an_error(record):
    with record() as bag:
        bag.transform(0.5, "base", "cam", (0, 0, 0), OPTICAL, "/tf_static")
        bag.image(1.0, np.zeros((120, 160, 3), np.uint8))
        bag.info(1.0, CAMERA)
        bag.cloud(1.0, wall(4.0))
    with pytest.raises(InputError, match="no chain of transforms leads from 'lidar' to 'cam'"):
        open_bag(bag.path)
