# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What frames feed while they pass: counters, windows of the last seconds, and what throttles the log."""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np

WINDOW_S = 5.0  # over which rates and the share of bad frames are taken
CLOCK_S = 3600.0  # an older stamp is no time of this node's clock


def latency_ms(stamp_ns: int, now_ns: int) -> float:
    """Milliseconds from stamp to now; NaN where the stamp is no time of this clock: zero, ahead of it, or hours old."""
    elapsed_s = (now_ns - stamp_ns) * 1e-9
    return elapsed_s * 1e3 if stamp_ns > 0 and 0 <= elapsed_s <= CLOCK_S else float("nan")


class Throttle:
    """Lets a message through once in `period_s`.

    Messages that differ only in their numbers are of one kind; a few of a kind pass in a period, so that the second of
    two faults is not hidden by the first, and a fault with another number on every frame is still throttled.
    """

    def __init__(self, period_s: float = 5.0, of_a_kind: int = 3, size: int = 256) -> None:
        self._period_s = period_s
        self._of_a_kind = of_a_kind
        self._size = size
        self._said: dict[str, tuple[float, set[str]]] = {}  # kind: start of its period, what was said in it

    def passes(self, message: str, now_s: float | None = None) -> bool:
        """Whether to say this now."""
        now_s = time.monotonic() if now_s is None else now_s
        kind = re.sub(r"\d+", "#", message)
        start_s, said = self._said.get(kind, (-math.inf, set()))
        if now_s - start_s >= self._period_s:
            if len(self._said) >= self._size:
                self._said.clear()
            self._said[kind] = (now_s, {message})
            return True
        if message in said or len(said) >= self._of_a_kind:
            return False
        said.add(message)
        return True


class Window:
    """Moments of the last seconds."""

    def __init__(self, span_s: float = WINDOW_S) -> None:
        self._span_s = span_s
        self._start_s = time.monotonic()
        self._moments_s: deque[float] = deque(maxlen=10_000)

    def add(self) -> None:
        """Something happened now."""
        self._moments_s.append(time.monotonic())

    @property
    def count(self) -> int:
        """How often it happened within the window."""
        limit_s = time.monotonic() - self._span_s
        return sum(moment_s >= limit_s for moment_s in tuple(self._moments_s))

    @property
    def rate_hz(self) -> float:
        """How often a second it happened within the window, or since the start if that is later."""
        elapsed_s = min(self._span_s, time.monotonic() - self._start_s)
        return self.count / elapsed_s if elapsed_s > 0 else 0.0

    @property
    def age_s(self) -> float:
        """Seconds since it last happened, or since the start."""
        return time.monotonic() - (self._moments_s[-1] if self._moments_s else self._start_s)


@dataclass
class Counters:
    """What became of the images since the node was activated. Every image ends in exactly one of the counts."""

    received: int = 0
    published: int = 0
    refused: int = 0
    failed: int = 0
    unwatched: int = 0
    skipped: int = 0
    last_error: str = ""
    device_error: str = ""
    focal_assumed: bool = False
    has_camera: bool = True
    uncalibrated: bool = False
    window_in: Window = field(default_factory=Window)
    window_out: Window = field(default_factory=Window)
    window_bad: Window = field(default_factory=Window)
    window_unwatched: Window = field(default_factory=Window)
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=300))
    timings_ms: dict[str, float] = field(default_factory=dict)
    batch_sizes: deque[int] = field(default_factory=lambda: deque(maxlen=300))
    _lock: threading.Lock = field(default_factory=threading.Lock)  # subscription and worker both refuse

    def count_received(self) -> None:
        """An image came."""
        self.received += 1
        self.window_in.add()

    def count_published(self, latency: float) -> None:
        """Its depth went out, `latency` milliseconds after its stamp."""
        self.published += 1
        self.window_out.add()
        self.device_error = ""
        if not math.isnan(latency):
            self.latencies_ms.append(latency)

    def count_unwatched(self) -> None:
        """Nobody would have heard its depth."""
        with self._lock:
            self.unwatched += 1
            self.window_unwatched.add()

    def count_skipped(self) -> None:
        """It was more than `input.max_rate` lets through."""
        self.skipped += 1

    def count_refused(self, reason: str) -> None:
        """It could not be used."""
        with self._lock:
            self.refused += 1
            self.window_bad.add()
            self.last_error = reason

    def count_failed(self, reason: str, *, device: bool) -> None:
        """It could be used, but the device or the node failed."""
        self.failed += 1
        self.window_bad.add()
        self.last_error = reason
        if device:
            self.device_error = reason

    def account(self, overtaken: int) -> dict[str, int]:
        """Where all images are; `overtaken` gave way to newer ones. The rest waits, or is in work."""
        ended = {
            "out": self.published,
            "dropped": overtaken,
            "refused": self.refused,
            "failed": self.failed,
            "unwatched": self.unwatched,
            "skipped": self.skipped,
        }
        received = self.received  # after the others: one that comes meanwhile waits
        return {"in": received, **ended, "waiting": received - sum(ended.values())}

    @property
    def batch_size(self) -> float:
        """Mean over the last 300 frames; 0 where there was none."""
        sizes = tuple(self.batch_sizes)
        return sum(sizes) / len(sizes) if sizes else 0.0

    def latency_percentile_ms(self, percent: float) -> float:
        """Over the last 300 frames; NaN where no stamp was a time of the node's clock."""
        latencies = tuple(self.latencies_ms)
        return float(np.percentile(latencies, percent)) if latencies else float("nan")
