# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What all runtimes that compile a network have in common: a network per size and batch, each proved before use."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import DepthClipError, DeviceError, NotReadyError, OutOfDeviceMemoryError
from depthclip_ros.core.present import require_torch
from depthclip_ros.core.runtimes.background import Background
from depthclip_ros.core.runtimes.network import Network
from depthclip_ros.core.runtimes.network_output import NetworkOutput
from depthclip_ros.core.runtimes.proof import Proof, Reference, RefusedRuntimeError, Run, prove

if TYPE_CHECKING:
    from depthclip_ros.core.runtimes.torch_runtime import TorchRuntime

Compiled = Callable[[NDArray[np.uint8]], Sequence[NDArray[np.float32]]]
"""From pixels uint8 [B, h, w, 3] to outputs in the order of `OUTPUTS`. The next call may overwrite them."""

Key = tuple[int, int, int]
"""Batch, height and width of a network's input."""

LARGEST_COUNT = 16  # networks kept, of different sizes and batches; more cameras than that share them in turns


class CompiledRuntime(ABC):
    """See `runtime.Runtime`. Pixels and outputs are on the CPU, whatever device the network runs on.

    Attributes:
        proofs: of every network that was compiled, by (batch, height, width).

    Args:
        network: kept for further sizes, and for the fallback.
        precision: as the runtime will run it.
        threads: of the CPU; 0: as many as the library likes.
    """

    name: str
    on_device = False

    def __init__(self, network: Network, precision: str, threads: int = 0) -> None:
        self.precision = precision
        self.threads = threads
        self.notices: list[str] = []
        self.proofs: dict[Key, Proof] = {}
        self._network: Network | None = network
        self._compiled: OrderedDict[Key, Compiled] = OrderedDict()
        self._references: OrderedDict[tuple[int, int], Reference] = OrderedDict()
        self._lock = threading.Lock()  # of the networks: they are made by one thread and run by another
        self._background: Background[Key] | None = None
        self._stand_in: Run | None = None

    @property
    def device_name(self) -> str:
        """See `runtime.Runtime`."""
        return "cpu"

    @abstractmethod
    def compile(self, network: Network, batch: int, height: int, width: int) -> Compiled:
        """Compile for one size and batch.

        Raises:
            DeviceError: the device cannot take it.
        """

    def compile_exactly(self, network: Network, batch: int, height: int, width: int) -> Compiled | None:
        """The same in float32, where this library can tell what is right without torch; else None."""
        return None

    def forget_kept(self, network: Network) -> bool:
        """Delete what the library itself keeps on the disk of this network; False where there is nothing."""
        return False

    def prepare(self, network_size: tuple[int, int], batch: int = 1) -> None:
        """See `runtime.Runtime.prepare`."""
        width, height = network_size
        self._make((batch, height, width))

    def prepare_in_background(self) -> None:
        """See `runtime.Runtime.prepare_in_background`."""
        if self._background is None:
            network = self._alive()
            if network.graph is None:
                from depthclip_ros.core.runtimes.stand_in import stand_in

                self._stand_in = stand_in(network.in_torch(), self.threads)
            self._background = Background(self._make_beside, f"{self.name} compiler")

    @property
    def preparing(self) -> tuple[Key, ...]:
        """See `runtime.Runtime.preparing`."""
        return () if self._background is None else self._background.asked

    def run(self, pixels: NDArray[np.uint8]) -> NetworkOutput:
        """See `runtime.Runtime.run`."""
        batch, height, width = pixels.shape[:3]
        key = (batch, height, width)
        if self._background is None:
            return self._answer(self._make(key), pixels)
        compiled = self._made(key)
        return self._run_meanwhile(pixels, key) if compiled is None else self._answer(compiled, pixels)

    def to_torch_cpu(self, precision: str) -> TorchRuntime:
        """See `runtime.Runtime.to_torch_cpu`."""
        require_torch(f"{self.name} cannot go on, and torch on the CPU would run in its place")
        from depthclip_ros.core.runtimes.torch_runtime import TorchRuntime

        network = self._alive()
        self.close()
        return TorchRuntime(network, "cpu", precision, self.threads)

    def close(self) -> None:
        """See `runtime.Runtime.close`."""
        if self._background is not None:
            self._background.close()
        with self._lock:
            self._network = self._stand_in = None
            self._compiled.clear()
            self._references.clear()

    def _alive(self) -> Network:
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
        try:
            made, proof = self._make_proved(network, key)
        except DepthClipError:
            raise
        except Exception as error:  # each library raises its own kinds, and a conversion any of Python's
            raise RefusedRuntimeError(
                f"{self.name} in {self.precision} cannot run this network "
                f"({type(error).__name__}: {_first_line(error)})"
            ) from error
        with self._lock:
            if self._network is not None:  # else it was closed meanwhile
                self.proofs[key] = proof
                self._compiled[key] = made
                while len(self._compiled) > LARGEST_COUNT:
                    self._compiled.popitem(last=False)
        return made

    def _make_proved(self, network: Network, key: Key) -> tuple[Compiled, Proof]:
        """A network of the runtime's precision; where that is off at this one size, in float32."""
        try:
            return self._prove(network, key, self.compile(network, *key))
        except RefusedRuntimeError as error:
            if self.forget_kept(network):  # a file that was damaged on the disk is not the library's fault
                with suppress(RefusedRuntimeError):
                    return self._prove(network, key, self.compile(network, *key))
            # The first network of all has to show that the runtime can run it: float32 stands in for later sizes alone.
            exact = self.compile_exactly(network, *key) if self.proofs else None
            if exact is None:
                raise
            found = self._prove(network, key, exact, "fp32")
            self.notices.append(f"{error}: inputs of {key[2]}x{key[1]} run in fp32")
            return found

    def _prove(self, network: Network, key: Key, made: Compiled, precision: str = "") -> tuple[Compiled, Proof]:
        batch, height, width = key
        reference = self._reference(network, width, height)
        return made, prove(partial(_call, made), reference, self.name, precision or self.precision, batch)

    def _answer(self, compiled: Compiled, pixels: NDArray[np.uint8]) -> NetworkOutput:
        """What a network that was proved says; a device that was lost says so in the library's own words.

        Raises:
            DeviceError: it does not answer, even for a single image. Of several it may, one by one.
        """
        try:
            return _call(compiled, pixels)
        except DepthClipError:
            raise
        except Exception as error:
            if len(pixels) > 1:
                raise
            said = _first_line(error)
            raise DeviceError(f"{self.name} on {self.device_name} does not answer any more ({said})") from error

    def _make_beside(self, key: Key) -> None:
        """`_make` beside the thread that runs frames. A device that cannot compile is refused: torch has the frames."""
        try:
            self._make(key)
        except (OutOfDeviceMemoryError, RefusedRuntimeError):
            raise
        except DepthClipError as error:
            raise RefusedRuntimeError(str(error)) from error

    def _run_meanwhile(self, pixels: NDArray[np.uint8], key: Key) -> NetworkOutput:
        """The same depth, slower: image by image where that is compiled, else by torch.

        Raises:
            NotReadyError: neither is there.
        """
        assert self._background is not None
        single = self._made((1, *key[1:]))
        if single is None:
            self._background.ask((1, *key[1:]))
        self._background.ask(key)
        if single is not None:

            def one_by_one(pixels: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
                parts = [[output.copy() for output in single(one[None])] for one in pixels]
                return [np.concatenate(part) for part in zip(*parts, strict=True)]

            return self._answer(one_by_one, pixels)
        self._alive()
        if self._stand_in is None:
            raise NotReadyError(f"the network for an input of {key[2]}x{key[1]} is being compiled")
        return self._stand_in(pixels)

    def _reference(self, network: Network, width: int, height: int) -> Reference:
        """What torch says in float32, or said when the graph was made; for a size without an answer, see below."""
        size = (width, height)
        if size not in self._references:
            self._references[size] = self._find_reference(network, size)
            while len(self._references) > LARGEST_COUNT:
                self._references.popitem(last=False)
        return self._references[size]

    def _find_reference(self, network: Network, size: tuple[int, int]) -> Reference:
        if network.graph is not None:
            if size in network.graph.sizes:
                return Reference.recorded(network.graph.answers(size), size)
            # The library's float32 was proved at a size with an answer; at this one it is what the rest is held to.
            exact = self.compile_exactly(network, 1, size[1], size[0])
            if exact is not None:
                return Reference.of(partial(_call, exact), size)
        from depthclip_ros.core.runtimes.pixel_network import call

        return Reference.of(partial(call, network.in_torch()), size)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _call(compiled: Compiled, pixels: NDArray[np.uint8]) -> NetworkOutput:
    return NetworkOutput.of(compiled(pixels))
