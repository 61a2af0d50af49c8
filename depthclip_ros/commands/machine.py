# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What machine a figure was measured on."""

from __future__ import annotations

import itertools
import os
import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthclip_ros.core.present import has_cuda, is_installed

if TYPE_CHECKING:
    from depthclip_ros.core.engine import DepthEngine


def cpu_flags() -> set[str]:
    """CPU features as Linux names them; empty elsewhere."""
    return set(_cpuinfo("flags").split() or _cpuinfo("Features").split())


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Physical memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def gpus() -> list[dict[str, Any]]:
    """CUDA devices that torch can use; none where it is not installed."""
    if not has_cuda():
        return []
    import torch

    found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [{"name": one.name, "memory_gb": round(one.total_memory / 2**30, 1)} for one in found]


def describe_machine() -> dict[str, Any]:
    """The facts that go beside every figure; of torch where it is installed."""
    memory = memory_bytes()
    of_torch: dict[str, Any] = {"torch": None, "torch_threads": None}
    if is_installed("torch"):
        import torch

        of_torch = {"torch": torch.__version__, "torch_threads": torch.get_num_threads()}
    return {
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "memory_gb": round(memory / 2**30, 1) if memory else None,
        "gpus": gpus(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        **of_torch,
    }


def one_line(machine: dict[str, Any]) -> str:
    """The machine in one line for tables."""
    names = ", ".join(gpu["name"] for gpu in machine["gpus"]) or "no GPU"
    cores = f"{machine['cores']} cores"
    torch = f"torch {machine['torch']}" if machine["torch"] else "no torch"
    return ", ".join((machine["cpu"], cores, names, torch, f"Python {machine['python']}"))


def image_ms(engine: DepthEngine) -> float:
    """Median time that an engine takes for a 640x480 image, once it is warm."""
    engine.warm_up(640, 480)
    times_s = [time.perf_counter()]
    for _ in range(7):
        engine.warm_up(640, 480)
        times_s.append(time.perf_counter())
    return statistics.median(after - before for before, after in itertools.pairwise(times_s)) * 1e3
