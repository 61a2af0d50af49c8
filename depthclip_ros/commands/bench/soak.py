# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Soak: the node at full rate for minutes; what its process holds is sampled, and its growth fitted after warm-up."""

from __future__ import annotations

import csv
import functools
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from depthclip_ros.commands.bench.probe import memory_fields
from depthclip_ros.commands.bench.running import Scene, wait_until_active
from depthclip_ros.commands.bench.settings import Row, Settings, Unit, percentiles, size_name
from depthclip_ros.core.files import replaced

FULL = 1.3  # images per second over what the engine could take: the node is never idle
FASTEST_CAMERA_HZ = 60.0
SAMPLES = 400  # of a soak, however long
WARM_UP_SHARE = 0.5  # buffers and arenas still come in the fifth minute, and then no more
QUICK_S = 20.0


@dataclass(frozen=True)
class ProcessSample:
    """What a process holds at a moment: megabytes resident and private (no mapped files), threads, open handles."""

    time_s: float
    resident_mb: float
    private_mb: float
    threads: int
    handles: int
    frames: int = 0


@dataclass(frozen=True)
class Growth:
    """A straight line through samples after warm-up: private memory per hour, its standard error, and the ends."""

    mb_per_hour: float
    error_mb_per_hour: float
    warm_up_s: float
    first_mb: float
    last_mb: float


def sample_process(pid: int, time_s: float, frames: int = 0) -> ProcessSample | None:
    """Read a process's memory, threads and handles from /proc; None if it is gone."""
    memory = memory_fields(pid)
    try:
        threads = sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
        handles = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return None
    if "VmRSS" not in memory:
        return None
    return ProcessSample(time_s, memory["VmRSS"], memory["RssAnon"], threads, handles, frames)


def growth(samples: Sequence[ProcessSample]) -> Growth | None:
    """Least squares of private memory over time after warm-up; None with fewer than five samples there."""
    if not samples:
        return None
    start_s, end_s = samples[0].time_s, samples[-1].time_s
    warm_up_s = WARM_UP_SHARE * (end_s - start_s)
    settled = [one for one in samples if one.time_s - start_s >= warm_up_s]
    if len(settled) < 5:
        return None
    hours = np.array([one.time_s for one in settled]) / 3600
    private_mb = np.array([one.private_mb for one in settled])
    centred = hours - hours.mean()
    spread = float(centred @ centred)
    slope = float(centred @ (private_mb - private_mb.mean())) / spread
    rest = private_mb - private_mb.mean() - slope * centred
    error = float(np.sqrt(rest @ rest / (len(settled) - 2) / spread))
    tenth = max(1, len(settled) // 10)
    first_mb, last_mb = (float(np.median(part)) for part in (private_mb[:tenth], private_mb[-tenth:]))
    return Growth(slope, error, warm_up_s, first_mb, last_mb)


def write_csv(path: Path, samples: Sequence[ProcessSample]) -> None:
    """One line for each sample."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(ProcessSample)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: round(value, 3) for name, value in asdict(one).items()} for one in samples)
    with replaced(path) as file:
        file.write(text.getvalue().encode())


def watch_process(
    pid: int,
    seconds: float,
    *,
    frames: Callable[[], int] = lambda: 0,
    every_s: float | None = None,
    each: Callable[[float], None] = lambda elapsed_s: None,
) -> list[ProcessSample]:
    """Samples of a process over a time; ends early when it is gone.

    Args:
        pid: of the process.
        seconds: how long.
        frames: counts what it has done so far.
        every_s: time between two samples; None takes SAMPLES in all, half a second apart at least.
        each: called after each sample with the time since the start.
    """
    step_s = max(0.5, seconds / SAMPLES) if every_s is None else every_s
    start_s, samples = time.monotonic(), list[ProcessSample]()
    while (elapsed_s := time.monotonic() - start_s) < seconds:
        one = sample_process(pid, elapsed_s, frames())
        if one is None:
            break
        samples.append(one)
        each(elapsed_s)
        time.sleep(max(0.0, min(step_s, start_s + step_s * len(samples) - time.monotonic())))
    return samples


def units(settings: Settings) -> list[Unit]:
    """The soak."""
    return [Unit("soak", "soak", functools.partial(_measure, settings))]


def _measure(settings: Settings) -> list[Row]:
    size = settings.sizes_px[0]
    seconds = QUICK_S if settings.quick else settings.minutes * 60
    with Scene(settings, "soak").open(everything=True) as scene:
        node = scene.start_node()
        wait_until_active(scene)
        rate_hz = min(FASTEST_CAMERA_HZ, FULL * 1e3 / scene.pilot_ms(size))
        with scene.cameras(size, rate_hz):
            record = scene.recorder().record
            before, skipped = record.depths, len(record.latency_ms)
            samples = watch_process(
                node.pid,
                seconds,
                frames=lambda: record.depths - before,
                each=lambda elapsed_s: settings.say(f"soak: {elapsed_s / 60:.1f} of {seconds / 60:.1f} minutes"),
            )
            scene.check()
            latencies, last = record.latency_ms[skipped:], record.stats[-1]
    if settings.csv:
        write_csv(settings.csv, samples)
    fitted = growth(samples)
    return [
        {
            "image": size_name(size),
            "minutes": seconds / 60,
            "camera_hz": rate_hz,
            "frames": samples[-1].frames if samples else 0,
            "rate_out_hz": samples[-1].frames / samples[-1].time_s if len(samples) > 1 else None,
            "dropped_share": last.frames_dropped / last.frames_in if last.frames_in else None,
            **percentiles(latencies),
            "growth_mb_per_hour": fitted and fitted.mb_per_hour,
            "growth_error_mb_per_hour": fitted and fitted.error_mb_per_hour,
            "warm_up_s": fitted and fitted.warm_up_s,
            "private_first_mb": fitted and fitted.first_mb,
            "private_last_mb": fitted and fitted.last_mb,
            "resident_mb": samples[-1].resident_mb if samples else None,
            "threads": [samples[len(samples) // 4].threads, samples[-1].threads] if samples else None,
            "handles": [samples[len(samples) // 4].handles, samples[-1].handles] if samples else None,
            "curve": [[round(one.time_s, 1), round(one.private_mb, 2), one.threads, one.handles] for one in samples],
        }
    ]
