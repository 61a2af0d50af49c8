# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A network recorded as a CUDA graph: hundreds of kernels started by one call, which at batch 1 is most of the time."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

WARM_UP_RUNS = 3  # libraries choose kernels and allocate in their first runs, which must not be recorded
STREAMS = 32  # that torch gives out in turn for each device, again and again

_recorded_on: set[tuple[torch.device, int]] = set()
"""Streams of the graphs that live."""


class CudaGraph:
    """Replays a network on inputs of one shape. The outputs are overwritten by the next call.

    Args:
        network: on a CUDA device.
        example: an input of the shape and dtype to come.
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        self._input = example.clone()
        with torch.cuda.device(example.device), torch.inference_mode():
            stream = own_stream(example.device)
            weakref.finalize(self, _recorded_on.discard, (example.device, stream.cuda_stream))
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP_RUNS):
                    network(self._input)
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=stream):
                self._outputs: tuple[Tensor, ...] = network(self._input)

    def __call__(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Outputs for pixels of the example's shape."""
        self._input.copy_(pixels)
        self._graph.replay()
        return self._outputs


def own_stream(device: torch.device) -> Any:
    """A stream that no other graph was recorded on.

    A matrix product's workspace belongs to the stream that it was recorded on, and the end of one graph takes it away
    from every other of that stream, which then reads what is no longer its own (pytorch issue 193402).

    Raises:
        RuntimeError: each stream has its graph.
    """
    for _ in range(STREAMS):
        stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        if (device, stream.cuda_stream) not in _recorded_on:
            _recorded_on.add((device, stream.cuda_stream))
            return stream
    raise RuntimeError(f"{STREAMS} CUDA graphs are there, one for each stream")


def record(network: nn.Module, example: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]] | None:
    """A recorded network; None where none can be made.

    It may do something that cannot be recorded (wait for the device, say), or no stream is left.

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
