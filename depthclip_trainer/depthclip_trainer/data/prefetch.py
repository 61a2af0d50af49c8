# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Batches made ahead of the step that takes them, in a thread, so that reading and rendering are not waited for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from types import TracebackType

import torch

from depthclip_trainer.data.sample import Batch


class Prefetch(Iterator[Batch]):
    """Iterates over `source`, up to `ahead` batches early; 0 takes each when it is asked for.

    Batches come in the order in which they are made, so what a step sees does not depend on `ahead`. On a GPU the
    thread has a stream of its own: augmentation and rendering run beside the training step.

    Args:
        source: makes the batches, without end; only ever asked by one thread.
        device: where batches are wanted.
        ahead: how many may lie ready.
    """

    def __init__(self, source: Iterator[Batch], device: torch.device, ahead: int) -> None:
        self._source, self._device, self._ahead = source, device, ahead
        self._ready: queue.Queue[tuple[Batch | BaseException, torch.cuda.Event | None]] = queue.Queue(max(1, ahead))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" and ahead else None

    def __enter__(self) -> Prefetch:
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
        if self._ahead:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        while self._thread.is_alive():
            with suppress(queue.Empty):  # the thread may be waiting for room
                self._ready.get(timeout=0.05)

    def __next__(self) -> Batch:
        """The next batch, on the device. Whatever making it raised is raised here."""
        if not self._ahead:
            return next(self._source).to(self._device)
        found, made = self._ready.get()
        if isinstance(found, BaseException):
            raise found
        if made is not None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(made)
            for tensor in vars(found).values():
                if isinstance(tensor, torch.Tensor) and tensor.is_cuda:
                    tensor.record_stream(stream)  # its memory is not given out again while the step reads it
        return found

    def _run(self) -> None:
        with torch.cuda.stream(self._stream) if self._stream is not None else nullcontext():
            while not self._stopped.is_set():
                try:
                    batch = next(self._source).to(self._device)
                except BaseException as error:
                    self._ready.put((error, None))
                    return
                self._ready.put((batch, self._stream.record_event() if self._stream is not None else None))
