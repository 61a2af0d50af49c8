# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What all runtimes that compile a network have in common: a network per size and batch, each proved before use."""

from __future__ import annotations

import copy
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthclip_ros.core.errors import DepthClipError, DeviceError
from depthclip_ros.core.model.contract import DepthModel, Prediction
from depthclip_ros.core.runtimes.background import Background
from depthclip_ros.core.runtimes.devices import OutOfDeviceMemoryError, quiet_threads, torch_threads
from depthclip_ros.core.runtimes.pixel_network import PixelNetwork, as_prediction
from depthclip_ros.core.runtimes.proof import Proof, Reference, RefusedRuntimeError, prove
from depthclip_ros.core.runtimes.torch_runtime import TorchRuntime

Compiled = Callable[[NDArray[np.uint8]], Sequence[NDArray[np.float32]]]
"""From pixels uint8 [B, h, w, 3] to the outputs of `PixelNetwork`. The arrays may be overwritten by the next call."""

Key = tuple[int, int, int]
"""Batch, height and width of a network's input."""

LARGEST_COUNT = 16  # networks kept, of different sizes and batches; more cameras than that share them in turns


class CompiledRuntime(ABC):
    """See `runtime.Runtime`. Pixels and predictions are on the CPU, whatever device the network runs on.

    Attributes:
        proofs: of every network that was compiled, by (batch, height, width).

    Args:
        model: ready for inference, in float32 on the CPU; kept for further sizes, and for the fallback.
        precision: as the runtime will run it.
        threads: of the CPU; 0: as many as the library likes.
    """

    name: str
    own_threads = True

    def __init__(self, model: DepthModel, precision: str, threads: int = 0) -> None:
        self.device = torch.device("cpu")
        self.precision = precision
        self.threads = threads
        self.notices: list[str] = []
        self.proofs: dict[Key, Proof] = {}
        self._network: PixelNetwork | None = PixelNetwork(model)
        self._compiled: OrderedDict[Key, Compiled] = OrderedDict()
        self._references: OrderedDict[tuple[int, int], Reference] = OrderedDict()
        self._lock = threading.Lock()  # of the networks: they are made by one thread and run by another
        self._background: Background[Key] | None = None
        self._stand_in: PixelNetwork | None = None
        self._stand_in_threads = 1

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
        self._make((batch, height, width))

    def prepare_in_background(self) -> None:
        """See `runtime.Runtime.prepare_in_background`."""
        if self._background is None:
            self._stand_in = _twin(self._alive())
            # of the engine, which runs this thread's torch in a single one
            self._stand_in_threads = self.threads or torch.get_num_threads()
            self._background = Background(self._make_beside, f"{self.name} compiler")

    @property
    def preparing(self) -> tuple[Key, ...]:
        """See `runtime.Runtime.preparing`."""
        return () if self._background is None else self._background.asked

    def run(self, pixels: Tensor) -> Prediction:
        """See `runtime.Runtime.run`."""
        batch, height, width = pixels.shape[:3]
        key = (batch, height, width)
        if self._background is None:
            return _call(self._make(key), pixels)
        compiled = self._made(key)
        return self._run_meanwhile(pixels, key) if compiled is None else _call(compiled, pixels)

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
        if self._background is not None:
            self._background.close()
        with self._lock:
            self._network = self._stand_in = None
            self._compiled.clear()
            self._references.clear()

    def _alive(self) -> PixelNetwork:
        if self._network is None:
            raise DeviceError(f"the model was taken off {self.name}; load it again")
        return self._network

    def _made(self, key: Key) -> Compiled | None:
        """The network of this batch and size, if it is compiled."""
        with self._lock:
            if key in self._compiled:
                self._compiled.move_to_end(key)
            return self._compiled.get(key)

    def _make(self, key: Key) -> Compiled:
        """The network of this batch and size; compiled and proved the first time."""
        compiled = self._made(key)
        if compiled is not None:
            return compiled
        network = self._alive()
        batch, height, width = key
        try:
            made = self.compile(network, *key)
            reference = self._reference(network, width, height)
            proof = prove(lambda pixels: _call(made, pixels), reference, self.name, self.precision, batch)
        except DepthClipError:
            raise
        except Exception as error:  # each library raises its own kinds, and a conversion any of Python's
            first_line = str(error).strip().partition("\n")[0]
            raise RefusedRuntimeError(
                f"{self.name} in {self.precision} cannot run this network ({type(error).__name__}: {first_line})"
            ) from error
        with self._lock:
            if self._network is not None:  # else it was closed meanwhile
                self.proofs[key] = proof
                self._compiled[key] = made
                while len(self._compiled) > LARGEST_COUNT:
                    self._compiled.popitem(last=False)
        return made

    def _make_beside(self, key: Key) -> None:
        """`_make` beside the thread that runs frames. A device that cannot compile is refused: torch has the frames."""
        try:
            with quiet_threads(True):
                self._make(key)
        except (OutOfDeviceMemoryError, RefusedRuntimeError):
            raise
        except DepthClipError as error:
            raise RefusedRuntimeError(str(error)) from error

    def _run_meanwhile(self, pixels: Tensor, key: Key) -> Prediction:
        """The same depth, slower: image by image where that is compiled, else by torch in float32."""
        assert self._background is not None
        one = (1, key[1], key[2])
        for missing in (one, key):  # one image first: it serves any batch
            if self._made(missing) is None:
                self._background.ask(missing)
        single = self._made(one)
        if single is not None:
            parts = [[part.copy() for part in single(image[None].numpy())] for image in pixels]
            return as_prediction([torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True)])
        self._alive()
        assert self._stand_in is not None
        with torch.inference_mode(), torch_threads(self._stand_in_threads):
            return as_prediction(self._stand_in(pixels))

    def _reference(self, network: PixelNetwork, width: int, height: int) -> Reference:
        size = (width, height)
        if size not in self._references:
            self._references[size] = Reference.of(network, size)
            while len(self._references) > LARGEST_COUNT:
                self._references.popitem(last=False)
        return self._references[size]


def _call(compiled: Compiled, pixels: Tensor) -> Prediction:
    return as_prediction([torch.from_numpy(output) for output in compiled(pixels.numpy())])


def _twin(network: PixelNetwork) -> PixelNetwork:
    """The same network with the same weights in memory, as modules of its own: one is traced while the other runs."""
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, shared)
