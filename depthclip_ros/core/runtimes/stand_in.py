# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Torch in float32 on the CPU beside another runtime: who runs until its networks are made."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from depthclip_ros.core.runtimes.devices import torch_threads
from depthclip_ros.core.runtimes.network_output import NetworkOutput
from depthclip_ros.core.runtimes.pixel_network import PixelNetwork, call
from depthclip_ros.core.runtimes.proof import Run


def stand_in(network: PixelNetwork, threads: int) -> Run:
    """The same network to run in so many threads (0: as this thread's torch has) while the given one is traced.

    Its weights in memory are those of the given one, its modules are its own.
    """
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    twin = copy.deepcopy(network, shared)
    return partial(_in_threads, twin, threads or torch.get_num_threads())


def _in_threads(network: PixelNetwork, threads: int, pixels: NDArray[np.uint8]) -> NetworkOutput:
    with torch_threads(threads):
        return call(network, pixels)
