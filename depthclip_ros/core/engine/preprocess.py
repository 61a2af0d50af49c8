"""From camera images to the network's input, on the device that the network runs on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from depthclip_ros.core.encodings import check_size
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import scale_intrinsics
from depthclip_ros.core.types import Intrinsics

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


def focal_at_network_px(intrinsics: Intrinsics, network_size: tuple[int, int]) -> float:
    """Focal length at the network's input size (width, height): the geometric mean of both axes."""
    small = scale_intrinsics(intrinsics, *network_size)
    return float((small.fx_px * small.fy_px) ** 0.5)


def network_input(
    images: NDArray[np.uint8],
    network_size: tuple[int, int],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Normalised images [B, 3, h, w] in `dtype`, channels last in memory.

    Args:
        images: uint8 [B, H, W, 3] RGB, any strides.
        network_size: (w, h); shrinking averages over the pixels that fall together (bilinear with antialias).
        mean: of RGB in 0..1.
        std: of RGB in 0..1.
        device: where to compute.
        dtype: of the result.
    """
    # torch warns of arrays that cannot be written, and does not take negative strides.
    usable = images.flags.writeable and min(images.strides) >= 0
    pixels = torch.from_numpy(images if usable else images.copy()).to(device).permute(0, 3, 1, 2)  # [B, 3, H, W]
    width, height = network_size
    if device.type != "cpu":  # only the CPU has a resize for bytes; there it takes a third of the time
        pixels = pixels.float()
    if pixels.shape[-2:] != (height, width):
        pixels = F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    scale = torch.tensor([1 / (255 * s) for s in std], device=device).view(3, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device).view(3, 1, 1)
    normalised = torch.addcmul(shift, pixels.float(), scale)
    return normalised.to(dtype).contiguous(memory_format=torch.channels_last)
