# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A network recorded as a CUDA graph: hundreds of kernels started by one call, which at batch 1 is most of the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

WARM_UP_RUNS = 3  # libraries choose kernels and allocate in their first runs, which must not be recorded


class CudaGraph:
    """Replays a network on inputs of one shape. The outputs are overwritten by the next call.

    Args:
        network: on a CUDA device.
        example: an input of the shape and dtype to come.
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        self._input = example.clone()
        with torch.cuda.device(example.device), torch.inference_mode():
            stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP_RUNS):
                    network(self._input)
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._outputs: tuple[Tensor, ...] = network(self._input)

    def __call__(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Outputs for pixels of the example's shape."""
        self._input.copy_(pixels)
        self._graph.replay()
        return self._outputs


def record(network: nn.Module, example: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]] | None:
    """A recorded network, or None where it does something that cannot be recorded (it waits for the device, say).

    Raises:
        torch.cuda.OutOfMemoryError: the device's memory is full.
    """
    try:
        return CudaGraph(network, example)
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError:
        torch.cuda.synchronize(example.device)
        return None
