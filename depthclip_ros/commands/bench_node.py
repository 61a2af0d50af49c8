"""The parts of the bench that need ROS: what the node adds to the engine's time, and whether its memory grows."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import Progress

from depthclip_ros.commands.bench_core import HFOV_DEG, engine_time_ms, sample_image
from depthclip_ros.core.errors import DepthClipError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros import processes

if TYPE_CHECKING:
    from depthclip_ros.ros.recorder import Recorder

STARTUP_S = 180.0
SATURATION = 0.4  # the camera's period leaves the node idle for the rest of the time
PROFILES = (("with config/fastdds.xml", True), ("default DDS settings", False))


@contextlib.contextmanager
def _running(
    weights: str,
    size_px: tuple[int, int],
    device: str,
    rate_hz: float,
    folder: Path,
    domain_id: int | None,
    *,
    profile: bool = True,
) -> Iterator[tuple[Recorder, processes.NodeProcess]]:
    """Camera and node as processes, a recorder in this one, after the first depth has come."""
    pictures = folder / "camera"
    if not pictures.is_dir():
        pictures.mkdir()
        cv2.imwrite(str(pictures / "image.png"), sample_image(size_px))
        k = Intrinsics.from_hfov(HFOV_DEG, *size_px)
        meta = {"intrinsics": {"fx": k.fx_px, "fy": k.fy_px, "cx": k.cx_px, "cy": k.cy_px}}
        (pictures / "meta.json").write_text(json.dumps(meta))
    domain = processes.free_domain() if domain_id is None else domain_id
    environment = processes.private_environment(domain, shared_memory_profile=profile)
    with processes.environment_of(environment), contextlib.ExitStack() as stack:
        from depthclip_ros.ros.recorder import recording

        stack.enter_context(processes.interruptible())
        recorder = stack.enter_context(recording(domain, pictures=False))
        nodes: list[processes.NodeProcess] = []
        stack.callback(processes.stop, nodes)
        node = processes.NodeProcess(
            "depth_node",
            {"autostart": True, "model.weights": weights, "model.device": device},
            environment=environment,
            log_path=folder / "depth_node.log",
            remappings={"image": "image_raw"},
        )
        nodes.append(node)
        camera = {"source": str(pictures), "rate_hz": rate_hz}
        nodes.append(
            processes.NodeProcess("camera_node", camera, environment=environment, log_path=folder / "camera_node.log")
        )
        deadline_s = time.monotonic() + STARTUP_S
        while recorder.record.depths < 3:
            time.sleep(0.1)
            for one in nodes:
                if failure := one.failure():
                    raise DepthClipError(failure)
            if time.monotonic() > deadline_s:
                if not profile:  # this may be the finding: without the profile nothing arrives
                    break
                raise DepthClipError(f"no depth came within {STARTUP_S:.0f} s; the node said: {node.log()[-500:]}")
        yield recorder, node


def measure_overhead(
    weights: str,
    size_px: tuple[int, int],
    device: str,
    seconds: float,
    folder: Path,
    domain_id: int | None,
    console: Console,
) -> list[dict[str, Any]]:
    """Latency from stamp to receipt in another process less the engine's time of the same frame, medians."""
    rate_hz = max(0.5, min(30.0, SATURATION * 1000 / engine_time_ms(weights, size_px, device)))
    rows = []
    for name, profile in PROFILES:
        with (
            console.status(f"node, {name}, {rate_hz:.1f} Hz") if console.is_terminal else contextlib.nullcontext(),
            _running(weights, size_px, device, rate_hz, folder, domain_id, profile=profile) as (recorder, _),
        ):
            skipped, first = recorder.record.depths, _received(recorder)
            time.sleep(max(seconds, 3 / rate_hz))
            record = recorder.finish()
        last = _received(recorder)
        stats = {_stamp_ns(one): one for one in record.stats}
        pairs = [
            (latency, _total_ms(stats[stamp]))
            for stamp, latency in list(zip(record.stamps_ns, record.latency_ms, strict=True))[skipped:]
            if stamp in stats
        ]
        row: dict[str, Any] = {"name": name, "rate_hz": rate_hz, "sent": last - first, "frames": len(pairs)}
        if pairs:
            latency, engine = (np.array(column) for column in zip(*pairs, strict=True))
            overhead_ms = float(np.median(latency - engine))
            row |= {
                "latency_p50_ms": float(np.percentile(latency, 50)),
                "latency_p95_ms": float(np.percentile(latency, 95)),
                "engine_ms": float(np.median(engine)),
                "overhead_ms": overhead_ms,
                "overhead_share": overhead_ms / float(np.median(engine)),
            }
        else:
            row |= {"overhead_ms": None, "overhead_share": None}
        rows.append(row)
    return rows


def _received(recorder: Recorder) -> int:
    """Images that the node has received, by its own count."""
    stats = recorder.record.stats
    return int(stats[-1].frames_in) if stats else 0


def _stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)


def _total_ms(stats: Any) -> float:
    return float(stats.preprocess_ms + stats.network_ms + stats.postprocess_ms)


def measure_memory(
    weights: str,
    size_px: tuple[int, int],
    device: str,
    frames: int,
    folder: Path,
    domain_id: int | None,
    console: Console,
) -> dict[str, Any]:
    """Resident memory of the node's process over `frames` frames at 30 Hz; growth is counted after the first tenth."""
    samples: list[tuple[int, int]] = []  # frames done, private bytes
    with (
        _running(weights, size_px, device, 30.0, folder, domain_id) as (recorder, node),
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("memory over frames", total=frames)
        start = recorder.record.depths
        while (done := recorder.record.depths - start) < frames:
            time.sleep(0.2)
            if failure := node.failure():
                raise DepthClipError(failure)
            memory = node.resident_bytes()
            if memory:
                samples.append((done, memory["private"]))
            progress.update(task, completed=done)
        total = node.resident_bytes().get("total", 0)
    settled = [(done, size / 2**20) for done, size in samples if done >= frames / 10]
    third = max(1, len(settled) // 3)
    first, last = (float(np.median([size for _, size in part])) for part in (settled[:third], settled[-third:]))
    return {
        "frames": frames,
        "resident_mb": round(total / 2**20, 1),
        "private_first_third_mb": round(first, 1),
        "private_last_third_mb": round(last, 1),
        "growth_mb": round(last - first, 2),
        "growth_kb_per_frame": round((last - first) * 1024 / (frames * 0.9 * 2 / 3), 3),
    }
