# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A process of its own that loads the engine and makes one depth: how long that takes, and what memory it holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from depthclip_ros.core.errors import DepthClipError
from depthclip_ros.core.present import has_cuda

FIRST_DEPTH = "first depth"
FRAMES = 10  # after the first, until memory is read
LONGEST_S = 600.0
CODE = "import sys; from depthclip_ros.commands.bench.probe import main; main(sys.argv[1])"


def probe(
    weights: str, runtime: str, precision: str, device: str, size_px: tuple[int, int], cache: Path, folder: Path
) -> dict[str, Any]:
    """Start the process and wait for it.

    Args:
        weights: of the engine, as are the next three.
        runtime: "auto" too.
        precision: "auto" too.
        device: "auto" too.
        size_px: (width, height) of the image.
        cache: where runtimes keep what they compile: `XDG_CACHE_HOME`.
        folder: the process's working folder, in which nothing lies that could be imported.

    Returns:
        `start_s` from before the start of the process to its first depth, `resident_mb`, `private_mb`, `peak_mb`,
        `gpu_mb` (torch's own) and `gpu_used_mb` (what the device has less), both None without a GPU, `ran`, `notices`.

    Raises:
        DepthClipError: the process ended otherwise, and what its last line is, or not within `LONGEST_S`.
    """
    asked = json.dumps(
        {"weights": weights, "runtime": runtime, "precision": precision, "device": device, "size_px": size_px}
    )
    errors = folder / "probe.log"
    with errors.open("wb") as log:
        start_s = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, asked],
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env={**os.environ, "XDG_CACHE_HOME": str(cache)},
            text=True,
        )
    first_s, found, overdue = None, None, threading.Event()

    def end() -> None:
        overdue.set()
        process.kill()

    timer = threading.Timer(LONGEST_S, end)  # reading waits for as long as the process lives
    timer.start()
    try:
        for line in process.stdout or ():
            if line.strip() == FIRST_DEPTH:
                first_s = time.perf_counter() - start_s
            elif line.startswith("{"):
                found = json.loads(line)
        process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()
    if overdue.is_set():
        raise DepthClipError(f"{runtime} {precision} was not ready within {LONGEST_S:g} s")
    if first_s is None or found is None:
        said = [line for line in errors.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        raise DepthClipError(f"{runtime} {precision} gave no depth: {said[-1] if said else process.returncode}")
    return {"start_s": first_s, **found}


def main(asked: str) -> None:
    """The process: one depth, a line that says so, some more, a line of JSON; then its end, without tidying up."""
    import numpy as np

    from depthclip_ros.core.engine import DepthEngine
    from depthclip_ros.core.types import Intrinsics

    values = json.loads(asked)
    width, height = values.pop("size_px")
    free_before = _gpu_free()
    engine = DepthEngine.load(**values)
    image = np.random.default_rng(0).integers(0, 255, (1, height, width, 3), np.uint8)
    camera = [Intrinsics.from_hfov(70.0, width, height)]
    engine.infer(image, camera)
    print(FIRST_DEPTH, flush=True)
    for _ in range(FRAMES):
        engine.infer(image, camera)
    fields = memory_fields("self")
    free_after = _gpu_free()
    on_gpu = free_before is not None and free_after is not None
    print(
        json.dumps(
            {
                "resident_mb": fields["VmRSS"],
                "private_mb": fields["RssAnon"],
                "peak_mb": fields["VmHWM"],
                "gpu_mb": _gpu_allocated() if on_gpu else None,
                "gpu_used_mb": (free_before - free_after) / 2**20 if on_gpu else None,
                "ran": f"{engine.runtime} {engine.precision}",
                "device": engine.device,
                "notices": list(engine.notices),
            }
        ),
        flush=True,
    )
    os._exit(0)


def memory_fields(pid: int | str) -> dict[str, float]:
    """Megabytes of each `Vm…` and `Rss…` field of /proc/PID/status; empty if the process is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return {}
    lines = (line.split() for line in status.splitlines())
    return {words[0][:-1]: int(words[1]) / 1024 for words in lines if len(words) == 3 and words[2] == "kB"}


def _gpu_free() -> Any:
    if not has_cuda():  # which does not import torch to say so
        return None
    import torch

    return torch.cuda.mem_get_info()[0]


def _gpu_allocated() -> float:
    import torch

    return torch.cuda.max_memory_allocated() / 2**20
