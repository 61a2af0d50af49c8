# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A hall and walls with a person and a box, for tests: depth by geometry, clouds by the node's own code."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.types import ViewDepth
from depthclip_ros.ros.depth_node.parameters.values import Settings, settings_from
from depthclip_ros.ros.depth_node.pipeline import FramePipeline

WIDTH, HEIGHT, FOCAL_PX = 640, 480, 554.0
Box = tuple[tuple[float, float, float], tuple[float, float, float]]  # lowest and highest corner, m: x forward, z up

PERSON: Box = ((2.0, -0.25, 0.0), (2.3, 0.25, 1.7))
CRATE: Box = ((1.6, 0.45, 0.0), (1.9, 0.75, 0.4))
NEAR_WALL: Box = ((2.8, -20.0, 0.0), (3.0, 20.0, 3.0))
FAR_WALL: Box = ((4.0, -20.0, 0.0), (4.2, 20.0, 4.0))  # beyond the map
HALL = (20.0, 4.0)  # length and height, m


def exact_depth(boxes: list[Box], height_m: float, max_depth_m: float = 10.0) -> NDArray[np.float32]:
    """Depth [HEIGHT, WIDTH] of a level camera at (0, 0, height) that looks along x, in a hall with boxes; metres."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    rays = np.stack([np.ones(u.shape), (319.5 - u) / FOCAL_PX, (239.5 - v) / FOCAL_PX], -1)  # depth 1
    at = np.array([0, 0, height_m])
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.where(rays[..., 2] > 0, HALL[1] - height_m, -height_m) / rays[..., 2]
        depth_m = np.minimum(HALL[0], np.where(rays[..., 2] != 0, up, np.inf))
        for low, high in boxes:
            to_low, to_high = (np.array(low) - at) / rays, (np.array(high) - at) / rays
            enters = np.minimum(to_low, to_high).max(-1)
            leaves = np.maximum(to_low, to_high).min(-1)
            depth_m = np.where((enters <= leaves) & (enters > 0), np.minimum(depth_m, enters), depth_m)
    return np.where(depth_m > max_depth_m, np.inf, depth_m).astype(np.float32)


def clouds(
    depth_m: NDArray[np.float32],
    height_m: float,
    half_width: NDArray[np.float32] | None = None,
    settings: Settings | None = None,
) -> dict[str, NDArray[np.float64]]:
    """The node's clouds of a depth image by topic, points [N, 3] in the frame below the camera: x forward, z up."""
    engine: Any = SimpleNamespace(require_metric=lambda: None, uncertainty=None, max_depth_m=10.0)
    pipeline = FramePipeline(engine, settings or settings_from({"cloud.color": False}))
    frame = pipeline.prepare(_image(), _info())
    result = pipeline.result(frame, ViewDepth(depth_m.copy(), np.ones_like(depth_m), 1.0, half_width=half_width))
    made = {"/depth/points": result.make_cloud(), "/depth/points_clear": result.make_clearing_cloud()}
    return {
        topic: np.stack([cloud["z"], -cloud["x"], height_m - cloud["y"]], -1).reshape(-1, 3).astype(np.float64)
        for topic, cloud in made.items()
    }


def _image() -> Any:
    header = SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=0))
    data = np.zeros(WIDTH * HEIGHT * 3, np.uint8)
    shape = {"width": WIDTH, "height": HEIGHT, "step": WIDTH * 3}
    return SimpleNamespace(encoding="rgb8", is_bigendian=0, data=data, header=header, **shape)


def _info() -> Any:
    return SimpleNamespace(
        width=WIDTH,
        height=HEIGHT,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[FOCAL_PX, 0, 319.5, 0, FOCAL_PX, 239.5, 0, 0, 1],
        r=[1.0, 0, 0, 0, 1, 0, 0, 0, 1],
        p=[FOCAL_PX, 0, 319.5, 0, 0, FOCAL_PX, 239.5, 0, 0, 0, 1, 0],
        binning_x=0,
        binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    )
