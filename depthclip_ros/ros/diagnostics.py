"""How the node is doing: counters and windows that frames feed, and what /diagnostics says of them once a second."""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

OK, WARN, ERROR = 0, 1, 2
WINDOW_S = 5.0  # over which rates and the share of bad frames are taken
SILENT_S = 3.0  # without an image for so long, the camera counts as silent
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
    last_error: str = ""
    device_error: str = ""
    focal_assumed: bool = False
    window_in: Window = field(default_factory=Window)
    window_out: Window = field(default_factory=Window)
    window_bad: Window = field(default_factory=Window)
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=300))
    timings_ms: dict[str, float] = field(default_factory=dict)
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

    def latency_percentile_ms(self, percent: float) -> float:
        """Over the last 300 frames; NaN where no stamp was a time of the node's clock."""
        latencies = tuple(self.latencies_ms)
        return float(np.percentile(latencies, percent)) if latencies else float("nan")


@dataclass(frozen=True)
class Health:
    """What a report is made of."""

    state: str  # lifecycle state: unconfigured, inactive, active, ...
    configure_error: str = ""
    counters: Counters = field(default_factory=Counters)
    overtaken: int = 0
    image_topic: str = ""
    image_publishers: int = 0
    image_qos: str = ""
    camera_info_topic: str = ""
    camera_info_age_s: float | None = None
    system: str = ""
    weights: str = ""
    weights_sha256: str = ""
    runtime: str = ""
    device: str = ""
    precision: str = ""
    notices: tuple[str, ...] = ()  # what the engine did otherwise than asked


def judge(health: Health) -> tuple[int, str]:
    """Level and one sentence; the first fault in the order of weight decides."""
    counters = health.counters
    if health.configure_error:
        return ERROR, health.configure_error
    if health.state != "active":
        return OK, f"{health.state}: configure and activate the node for depth"
    if counters.device_error:
        return ERROR, f"{counters.device_error} (deactivate, cleanup, configure and activate to start anew)"
    silent_s = counters.window_in.age_s
    if silent_s > SILENT_S:
        level = ERROR if counters.received else WARN
        start = "no image" if not counters.received else "no more images"
        advice = (
            "start the camera, or remap `image` to its topic"
            if health.image_publishers == 0
            else "check that the camera sends images and the network carries them (docs: Fast DDS profile)"
        )
        return level, (
            f"{start} on {health.image_topic} for {silent_s:.0f} s: {health.image_publishers} publishers; {advice}"
        )
    bad, good = counters.window_bad.count, counters.window_out.count
    if bad:
        level = WARN if good else ERROR
        return level, f"{bad} images of the last {WINDOW_S:.0f} s could not be used: {counters.last_error}"
    if counters.focal_assumed:
        return WARN, (
            f"no camera_info on {health.camera_info_topic}: depth rests on an assumed field of view, and there is no "
            "cloud; publish camera_info, or remap `camera_info` to it"
        )
    if health.notices:
        return WARN, health.notices[-1]
    if not good:
        return OK, f"{counters.window_in.rate_hz:.1f} images/s come in; nobody subscribes to depth"
    return OK, (
        f"{counters.window_out.rate_hz:.1f} depth images/s, latency p50 {counters.latency_percentile_ms(50):.0f} ms"
    )


def values(health: Health) -> dict[str, str]:
    """Key and value of every figure in the report."""
    counters = health.counters
    age_s = health.camera_info_age_s
    return {
        "state": health.state,
        "image topic": health.image_topic,
        "image publishers": str(health.image_publishers),
        "image QoS": health.image_qos,
        "camera_info topic": health.camera_info_topic,
        "camera_info age (s)": "never received" if age_s is None else f"{age_s:.2f}",
        "focal length assumed": str(counters.focal_assumed).lower(),
        "rate in (Hz)": f"{counters.window_in.rate_hz:.2f}",
        "rate out (Hz)": f"{counters.window_out.rate_hz:.2f}",
        "frames in": str(counters.received),
        "frames out": str(counters.published),
        "frames dropped": str(health.overtaken),
        "frames refused": str(counters.refused),
        "frames failed": str(counters.failed),
        "frames without subscriber": str(counters.unwatched),
        "latency p50 (ms)": f"{counters.latency_percentile_ms(50):.1f}",
        "latency p95 (ms)": f"{counters.latency_percentile_ms(95):.1f}",
        **{f"{name} (ms)": f"{value:.2f}" for name, value in counters.timings_ms.items()},
        "model": health.system,
        "weights": health.weights,
        "weights sha256": health.weights_sha256,
        "runtime": health.runtime,
        "device": health.device,
        "precision": health.precision,
        "last error": counters.last_error,
    }


def fill_status(status: Any, key_value: Any, health: Health, name: str) -> Any:
    """Fill a diagnostic_msgs/DiagnosticStatus; `key_value` makes a KeyValue."""
    level, message = judge(health)
    status.level = bytes([level])
    status.name = name
    status.message = message
    status.hardware_id = health.device or "none"
    status.values = [key_value(key=key, value=value) for key, value in values(health).items()]
    return status
