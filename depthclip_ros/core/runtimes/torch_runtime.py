# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The network in torch, on the CPU or a CUDA device, in float32 or half precision."""

from __future__ import annotations

import copy
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthclip_ros.core.errors import ConfigError, DeviceError
from depthclip_ros.core.model.contract import Prediction
from depthclip_ros.core.runtimes.devices import device_errors, find_device, has_bf16_units, torch_threads
from depthclip_ros.core.runtimes.network import USUAL_IMAGE, Network
from depthclip_ros.core.runtimes.network_output import NetworkOutput
from depthclip_ros.core.runtimes.pixel_network import PixelNetwork, call
from depthclip_ros.core.runtimes.proof import Proof, Reference, RefusedRuntimeError, prove

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MIN_SPEED_UP = 1.1  # half precision is taken by itself on a CPU only where it pays
LARGEST_COUNT = 16  # CUDA graphs kept, of different sizes and batches


class TorchRuntime:
    """See `runtime.Runtime`. On a CUDA device the network is recorded once for each size and batch and replayed."""

    name = "torch"

    def __init__(self, network: Network, device: str = "auto", precision: str = "auto", threads: int = 0) -> None:
        """Move the network; see `runtime.make_runtime` for arguments and errors."""
        if precision not in ("auto", *PRECISIONS):
            raise ConfigError(
                f"precision '{precision}' is not torch's; allowed are auto, {', '.join(PRECISIONS)} (int8: openvino)"
            )
        self.device = find_device(device)
        self.on_device = self.device.type != "cpu"
        self._threads = threads
        self._source = network
        self.notices: list[str] = []
        self.proofs: dict[tuple[int, int, int], Proof] = {}
        self._graphs: OrderedDict[tuple[int, ...], Callable[[Tensor], tuple[Tensor, ...]]] = OrderedDict()
        with device_errors(self.device):
            self._network: PixelNetwork | None = self._choose(network.in_torch(), precision)
        self.precision = {dtype: name for name, dtype in PRECISIONS.items()}[self._network.dtype]

    @property
    def device_name(self) -> str:
        """See `runtime.Runtime`."""
        return str(self.device)

    def prepare(self, network_size: tuple[int, int], batch: int = 1) -> None:
        """See `runtime.Runtime.prepare`."""
        if self.device.type == "cpu":
            return  # there is nothing to compile
        width, height = network_size
        self.run_on_device(torch.zeros(batch, height, width, 3, dtype=torch.uint8, device=self.device))

    def prepare_in_background(self) -> None:
        """See `runtime.Runtime.prepare_in_background`: recording a graph takes no longer than a few frames."""

    @property
    def preparing(self) -> tuple[tuple[int, int, int], ...]:
        """See `runtime.Runtime.preparing`."""
        return ()

    def run(self, pixels: NDArray[np.uint8]) -> NetworkOutput:
        """See `runtime.Runtime.run`."""
        outputs = self._run(torch.from_numpy(pixels).to(self.device))
        return NetworkOutput.of([output.cpu().numpy() for output in outputs])

    def run_on_device(self, pixels: Tensor) -> Prediction:
        """See `runtime.DeviceRuntime.run_on_device`."""
        depth, confidence, *weights = self._run(pixels)
        return Prediction(depth, confidence, scene_weights=weights[0] if weights else None)

    def _run(self, pixels: Tensor) -> tuple[Tensor, ...]:
        network = self._alive()
        with device_errors(self.device), torch.inference_mode(), torch_threads(self._threads):
            return (self._graph(network, pixels) if self.on_device else network)(pixels)

    def synchronize(self) -> None:
        """See `runtime.DeviceRuntime.synchronize`."""
        if self.device.type == "cuda":
            with device_errors(self.device):
                torch.cuda.synchronize(self.device)

    def to_torch_cpu(self, precision: str) -> TorchRuntime:
        """See `runtime.Runtime.to_torch_cpu`."""
        self._alive().model.to("cpu").to(torch.float32)
        self.close()
        return TorchRuntime(self._source, "cpu", precision, self._threads)

    def close(self) -> None:
        """See `runtime.Runtime.close`."""
        self._network = None
        self._graphs.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _alive(self) -> PixelNetwork:
        if self._network is None:
            raise DeviceError(f"the model was taken off {self.device}; load it again")
        return self._network

    def _graph(self, network: PixelNetwork, pixels: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
        key = tuple(pixels.shape)
        if key not in self._graphs:
            from depthclip_ros.core.runtimes.cuda_graph import record

            recorded = record(network, pixels)
            if recorded is None:
                self.notices.append(
                    f"{self.device} cannot record this network as a graph; it runs step by step, slower"
                )
            self._graphs[key] = recorded or network
            while len(self._graphs) > LARGEST_COUNT:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(key)
        return self._graphs[key]

    def _choose(self, network: PixelNetwork, precision: str) -> PixelNetwork:
        """The network in the precision asked for, or in half precision by itself where that proves itself and pays."""
        on_cpu = self.device.type == "cpu"
        asked = precision
        if precision == "auto":
            precision = ("bf16" if has_bf16_units() else "fp32") if on_cpu else "fp16"
        model = network.model.to(memory_format=torch.channels_last)
        if precision == "fp32" and on_cpu:
            return network
        size = model.network_size(*USUAL_IMAGE)
        reference = Reference.of(partial(call, network), size)
        dtype = PRECISIONS[precision]
        other = PixelNetwork(
            copy.deepcopy(model).to(self.device).to(dtype).to(memory_format=torch.channels_last), dtype
        )
        try:
            self.proofs[(1, size[1], size[0])] = prove(partial(call, other), reference, self.name, precision)
        except RefusedRuntimeError as error:
            if precision == "fp32":
                raise
            self.notices.append(f"{error}; it runs in fp32")
            return network if on_cpu else PixelNetwork(model.to(self.device))
        if asked == "auto" and on_cpu and _fastest_s(network, reference) < _fastest_s(other, reference) * MIN_SPEED_UP:
            return network
        return other


def _fastest_s(network: PixelNetwork, reference: Reference) -> float:
    """The shortest of two times on one picture, on the CPU, after a first run that is not counted."""
    pixels = reference.pixels[:1]
    call(network, pixels)
    seconds = []
    for _ in range(2):
        start_s = time.perf_counter()
        call(network, pixels)
        seconds.append(time.perf_counter() - start_s)
    return min(seconds)
