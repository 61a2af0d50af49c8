# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""LiDAR clouds: read the points, project them, drop those that the camera cannot see."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import nearest_pixels, project
from depthclip_ros.core.types import Intrinsics

# sensor_msgs/PointField
FLOATS = {7: "f4", 8: "f8"}
OCCLUSION_WINDOW = 0.02
"""Side of the window, as a share of the image's width, in which a nearer point hides a farther one: two scan lines of
a 32-line LiDAR lie about this far apart, so that what stands between the camera and a wall has a point in it."""
OCCLUSION_RATIO = 1.25
"""A point this much farther than the nearest in its window is hidden; a floor seen at a slant stays below."""


def cloud_points(message: Any) -> NDArray[np.float64]:
    """Finite points [N, 3] of a PointCloud2, metres, in its frame.

    Raises:
        InputError: no x, y and z of floating point, or too little data.
    """
    fields = {field.name: field for field in message.fields}
    if any(name not in fields or fields[name].datatype not in FLOATS for name in "xyz"):
        raise InputError(f"the cloud has the fields {', '.join(fields) or 'none'}; it needs x, y and z as floats")
    height, width, step = int(message.height), int(message.width), int(message.point_step)
    end = max(fields[name].offset + np.dtype(FLOATS[fields[name].datatype]).itemsize for name in "xyz")
    if end > step:
        raise InputError(f"the cloud's point_step is {step} bytes, and x, y and z need {end}")
    data = np.frombuffer(message.data, np.uint8)
    if message.row_step < width * step or data.size < height * message.row_step:
        raise InputError(f"the cloud of {width}x{height} points has {data.size} bytes, which is too short")
    if not width * height:
        return np.zeros((0, 3))
    order = ">" if message.is_bigendian else "<"
    layout = np.dtype(
        {
            "names": ["x", "y", "z"],
            "formats": [order + FLOATS[fields[name].datatype] for name in "xyz"],
            "offsets": [fields[name].offset for name in "xyz"],
            "itemsize": step,
        }
    )
    rows = data[: height * message.row_step].reshape(height, message.row_step)[:, : width * step]
    packed = np.ascontiguousarray(rows).reshape(-1).view(layout)
    with np.errstate(invalid="ignore"):  # bytes of nothing may be a NaN that signals
        points = np.stack([packed[name].astype(np.float64) for name in "xyz"], axis=-1)
    return points[np.isfinite(points).all(axis=1)]


def sparse_depth(points: NDArray[np.float64], camera: Intrinsics) -> NDArray[np.float32]:
    """Depth image float32 [H, W] in metres of points [N, 3] in the camera's optical frame; 0 where there is none.

    A LiDAR does not stand where the camera does and sees past things that hide the wall from the camera. Of the
    points of one pixel the nearest counts, and of those around it none that is much farther.
    """
    seen, columns, rows = nearest_pixels(project(points, camera), camera)
    image = np.full((camera.height_px, camera.width_px), np.inf, np.float32)
    with np.errstate(over="ignore"):  # beyond float32: as far as can be
        np.minimum.at(image, (rows, columns), points[seen, 2].astype(np.float32))
    side = max(3, round(OCCLUSION_WINDOW * camera.width_px)) | 1
    around = cv2.erode(image, np.ones((side, side), np.uint8))  # the smallest of each window
    visible = np.isfinite(image) & (image / OCCLUSION_RATIO <= around)
    return np.where(visible, image, np.float32(0))


def visible(pixels: NDArray[np.float64], depth_m: NDArray[np.float64], camera: Intrinsics) -> NDArray[np.bool_]:
    """Which points the camera sees, by the rule of `sparse_depth` on a coarse grid: bool [N], without an image of them.

    Args:
        pixels: [N, 2] (u, v), inside the image.
        depth_m: [N].
        camera: of the image.
    """
    cell_px = max(1.0, OCCLUSION_WINDOW * camera.width_px / 2)
    columns, rows = ((pixels + 0.5) / cell_px).astype(np.int64).T
    nearest = np.full((int(camera.height_px / cell_px) + 1, int(camera.width_px / cell_px) + 1), np.inf, np.float32)
    with np.errstate(over="ignore"):  # beyond float32: as far as can be
        np.minimum.at(nearest, (rows, columns), depth_m.astype(np.float32))
    around = cv2.erode(nearest, np.ones((3, 3), np.uint8))
    return np.asarray(depth_m / OCCLUSION_RATIO <= around[rows, columns])
