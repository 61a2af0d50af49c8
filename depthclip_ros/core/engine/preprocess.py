# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""From camera images to the network's input, on the CPU; `on_device/preprocess.py` does the same on a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthclip_ros.core.engine.limits import check_limits
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.images.encodings import check_size
from depthclip_ros.core.types import Intrinsics, View

MIN_SIDE_PX = 16


def check_batch(images: NDArray[np.uint8], intrinsics: Sequence[Intrinsics]) -> None:
    """Refuse what the engine cannot take.

    Args:
        images: must be uint8 [B, H, W, 3], B at least 1, sides of at least 16 pixels, at most 64 million pixels each.
        intrinsics: must be one per image, of the images' size.

    Raises:
        InputError: any of it does not hold.
    """
    if images.dtype != np.uint8:
        raise InputError(f"images are {images.dtype}; they must be uint8 RGB")
    if images.ndim != 4 or images.shape[3] != 3 or images.shape[0] < 1:
        raise InputError(f"images have the shape {list(images.shape)}; it must be [B, H, W, 3] with B at least 1")
    batch, height, width, _ = images.shape
    check_size(width, height)
    if min(width, height) < MIN_SIDE_PX:
        raise InputError(f"image size is {width}x{height}; both sides must be at least {MIN_SIDE_PX} pixels")
    if len(intrinsics) != batch:
        raise InputError(f"{batch} images came with {len(intrinsics)} intrinsics; each image needs its own")
    for camera in intrinsics:
        if (camera.width_px, camera.height_px) != (width, height):
            raise InputError(
                f"images are {width}x{height} but intrinsics are {camera.width_px}x{camera.height_px}; "
                "rescale them with geometry.scale_intrinsics"
            )


def by_network_size(
    views: Sequence[View], network_size: Callable[[int, int], tuple[int, int]]
) -> dict[tuple[int, int], list[int]]:
    """Indices of the views by the (width, height) that the network sees them at.

    Raises:
        InputError: as `check_batch`, of any view.
        ConfigError: a limit that means nothing.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, view in enumerate(views):
        check_batch(view.rgb[None], [view.intrinsics])
        check_limits(view.limits)
        size = network_size(view.intrinsics.width_px, view.intrinsics.height_px)
        groups.setdefault(size, []).append(index)
    return groups


def network_pixels(image: NDArray[np.uint8], network_size: tuple[int, int]) -> NDArray[np.uint8]:
    """The network's input, uint8 [h, w, 3], contiguous, of an image uint8 [H, W, 3] RGB of any strides.

    Shrinking averages over the pixels that fall together (bilinear with antialias): to the bit, but for rounding, what
    `torch.nn.functional.interpolate` with antialias makes of bytes, which the networks were trained on.
    """
    width, height = network_size
    if image.shape[:2] == (height, width):
        return np.require(image, requirements=("C", "W"))  # torch warns of arrays that cannot be written
    return np.array(Image.fromarray(np.ascontiguousarray(image)).resize(network_size, Image.Resampling.BILINEAR))
