# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""From tensors on a device to arrays of the caller's own, in one copy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def download(tensors: Sequence[Tensor]) -> list[NDArray[np.float32]]:
    """Arrays of float32 tensors of one device, each of its tensor's shape.

    On the CPU the arrays are the tensors' own memory. From another device everything comes in one copy, into memory
    that the driver knows: torch keeps that memory and hands it out again once the arrays are gone.
    """
    if not tensors or tensors[0].device.type == "cpu":
        return [tensor.numpy() for tensor in tensors]
    packed = torch.cat([tensor.reshape(-1) for tensor in tensors])
    host = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
    host.copy_(packed, non_blocking=True)
    torch.cuda.current_stream(packed.device).synchronize()
    return split(host.numpy(), [tuple(tensor.shape) for tensor in tensors])


def split(packed: NDArray[np.float32], shapes: Sequence[tuple[int, ...]]) -> list[NDArray[np.float32]]:
    """Views of a packed array, one of each shape, in order."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(packed, ends[:-1]), shapes, strict=True)]
