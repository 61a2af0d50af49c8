# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""From camera images to the network's input, on the device that the engine works on."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


def on_device(image: NDArray[np.uint8], device: torch.device) -> Tensor:
    """An image uint8 [H, W, 3] of any strides as a tensor on a device; on the CPU without a copy where torch can."""
    # torch warns of arrays that cannot be written, and does not take negative strides.
    usable = image.flags.writeable and min(image.strides) >= 0
    tensor = torch.from_numpy(image if usable else image.copy())
    if device.type == "cpu":
        return tensor
    # From memory that the driver knows, the copy does not hold up this thread.
    return tensor.pin_memory().to(device, non_blocking=True)


def network_pixels(image: Tensor, network_size: tuple[int, int]) -> Tensor:
    """The network's input, uint8 [1, h, w, 3], contiguous, of an image uint8 [H, W, 3] on the same device.

    Args:
        image: RGB.
        network_size: (w, h); shrinking averages over the pixels that fall together (bilinear with antialias).
    """
    width, height = network_size
    if image.shape[:2] == (height, width):
        return image[None].contiguous()
    planes = image.permute(2, 0, 1)[None]  # [1, 3, H, W], channels last in memory
    if image.device.type != "cpu":  # only the CPU has a resize for bytes; there it takes a third of the time
        planes = planes.float()
    resized = F.interpolate(planes, (height, width), mode="bilinear", antialias=True)
    if resized.is_floating_point():
        resized = resized.add_(0.5).clamp_(0, 255).to(torch.uint8)
    return resized.permute(0, 2, 3, 1).contiguous()
