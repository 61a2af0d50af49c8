"""What all runtimes that compile a network have in common: a network per size and batch, each proved before use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthclip_ros.core.errors import DepthClipError, DeviceError
from depthclip_ros.core.model.contract import DepthModel, Prediction
from depthclip_ros.core.runtimes.pixel_network import PixelNetwork, as_prediction
from depthclip_ros.core.runtimes.proof import Proof, Reference, RefusedRuntimeError, prove
from depthclip_ros.core.runtimes.torch_runtime import TorchRuntime

Compiled = Callable[[NDArray[np.uint8]], Sequence[NDArray[np.float32]]]
"""From pixels uint8 [B, h, w, 3] to the outputs of `PixelNetwork`. The arrays may be overwritten by the next call."""

LARGEST_COUNT = 16  # networks kept, of different sizes and batches; more cameras than that share them in turns


class CompiledRuntime(ABC):
    """See `runtime.Runtime`. Pixels and predictions are on the CPU, whatever device the network runs on.

    Attributes:
        proofs: of every network that was compiled, by (batch, height, width).

    Args:
        model: ready for inference, in float32 on the CPU; kept for further sizes, and for the fallback.
        precision: as the runtime will run it.
    """

    name: str
    own_threads = True

    def __init__(self, model: DepthModel, precision: str) -> None:
        self.device = torch.device("cpu")
        self.precision = precision
        self.notices: list[str] = []
        self.proofs: dict[tuple[int, int, int], Proof] = {}
        self._network: PixelNetwork | None = PixelNetwork(model)
        self._compiled: OrderedDict[tuple[int, int, int], Compiled] = OrderedDict()
        self._references: OrderedDict[tuple[int, int], Reference] = OrderedDict()

    @property
    def device_name(self) -> str:
        """See `runtime.Runtime`."""
        return str(self.device)

    @abstractmethod
    def compile(self, network: PixelNetwork, batch: int, height: int, width: int) -> Compiled:
        """Compile for one size and batch.

        Raises:
            DeviceError: the device cannot take it.
        """

    def prepare(self, network_size: tuple[int, int], batch: int = 1) -> None:
        """See `runtime.Runtime.prepare`."""
        width, height = network_size
        self._get(batch, height, width)

    def run(self, pixels: Tensor) -> Prediction:
        """See `runtime.Runtime.run`."""
        batch, height, width = pixels.shape[:3]
        return _call(self._get(batch, height, width), pixels)

    def synchronize(self) -> None:
        """See `runtime.Runtime.synchronize`."""
        return  # a call returns when its result is there

    def to_torch_cpu(self, precision: str) -> TorchRuntime:
        """See `runtime.Runtime.to_torch_cpu`."""
        model = self._alive().model
        self.close()
        return TorchRuntime(model, "cpu", precision)

    def close(self) -> None:
        """See `runtime.Runtime.close`."""
        self._network = None
        self._compiled.clear()
        self._references.clear()

    def _alive(self) -> PixelNetwork:
        if self._network is None:
            raise DeviceError(f"the model was taken off {self.name}; load it again")
        return self._network

    def _get(self, batch: int, height: int, width: int) -> Compiled:
        """The network of this size and batch; compiled and proved the first time."""
        key = (batch, height, width)
        if key in self._compiled:
            self._compiled.move_to_end(key)
            return self._compiled[key]
        network = self._alive()
        try:
            compiled = self.compile(network, *key)
            self.proofs[key] = prove(
                lambda pixels: _call(compiled, pixels), self._reference(width, height), self.name, self.precision, batch
            )
        except DepthClipError:
            raise
        except Exception as error:  # each library raises its own kinds, and a conversion any of Python's
            first_line = str(error).strip().partition("\n")[0]
            raise RefusedRuntimeError(
                f"{self.name} in {self.precision} cannot run this network ({type(error).__name__}: {first_line})"
            ) from error
        self._compiled[key] = compiled
        while len(self._compiled) > LARGEST_COUNT:
            self._compiled.popitem(last=False)
        return compiled

    def _reference(self, width: int, height: int) -> Reference:
        size = (width, height)
        if size not in self._references:
            self._references[size] = Reference.of(self._alive(), size)
            while len(self._references) > LARGEST_COUNT:
                self._references.popitem(last=False)
        return self._references[size]


def _call(compiled: Compiled, pixels: Tensor) -> Prediction:
    return as_prediction([torch.from_numpy(output) for output in compiled(pixels.numpy())])
