# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""How a camera sits on its robot: turned about its axis, and with the robot's own body in its view."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.images.compressed import SUFFIXES, decode_picture
from depthclip_ros.core.types import Intrinsics, View, ViewDepth

QUARTER_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
WHITE = 128  # from this grey value on


def read_mask(path: str | Path) -> NDArray[np.bool_]:
    """Where a camera sees its surroundings: bool [H, W] of a black and white picture, False (black) the robot's body.

    Raises:
        ConfigError: no such file, no picture, or one that is black everywhere.
    """
    path = Path(path).expanduser()
    try:
        rgb = decode_picture(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"the mask {path} cannot be read: {error.strerror}; give a picture file") from error
    except InputError as error:
        raise ConfigError(f"the mask {path} is no picture ({error}); allowed are {', '.join(SUFFIXES)}") from error
    seen: NDArray[np.bool_] = rgb.max(-1) >= WHITE
    if not seen.any():
        raise ConfigError(
            f"the mask {path} is black everywhere, which leaves no depth; paint white what is not the robot (a "
            "transparent background counts as its colour)"
        )
    return seen


def turned(image: NDArray[Any], degrees: int) -> NDArray[Any]:
    """The image [H, W] or [H, W, C] turned clockwise by 0, 90, 180 or 270 degrees; a copy unless by 0."""
    if not degrees:
        return image
    pixels = image.view(np.uint8) if image.dtype == np.bool_ else image
    return np.asarray(cv2.rotate(pixels, QUARTER_TURNS[degrees])).view(image.dtype)


def turned_intrinsics(intrinsics: Intrinsics, degrees: int) -> Intrinsics:
    """Intrinsics of `turned` images: pixel (u, v) goes to (H - 1 - v, u) with each quarter turn."""
    for _ in range(degrees // 90):
        intrinsics = Intrinsics(
            fx_px=intrinsics.fy_px,
            fy_px=intrinsics.fx_px,
            cx_px=intrinsics.height_px - 1 - intrinsics.cy_px,
            cy_px=intrinsics.cx_px,
            width_px=intrinsics.height_px,
            height_px=intrinsics.width_px,
        )
    return intrinsics


def turned_view(view: View, degrees: int) -> View:
    """The view with its image turned clockwise.

    It asks for no cloud, whose axes would be turned too, but for what makes one of the depth that is turned back.
    """
    if not degrees:
        return view
    return dataclasses.replace(
        view,
        rgb=turned(view.rgb, degrees),
        intrinsics=turned_intrinsics(view.intrinsics, degrees),
        cloud=None,
        flying=view.flying or (view.cloud.edge_threshold if view.cloud is not None else 0.0),
    )


def turned_back(depth: ViewDepth, degrees: int) -> ViewDepth:
    """Depth of a `turned_view` as its image was before it was turned."""
    if not degrees:
        return depth
    back = 360 - degrees
    return dataclasses.replace(
        depth,
        depth_m=turned(depth.depth_m, back),
        confidence=turned(depth.confidence, back),
        half_width=None if depth.half_width is None else turned(depth.half_width, back),
        flying=None if depth.flying is None else turned(depth.flying, back),
    )
