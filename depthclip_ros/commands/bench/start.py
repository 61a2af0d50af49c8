# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Cold start and memory: a process's start to its first depth, with a warm and an empty cache, each beside torch."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from depthclip_ros.commands.bench.engine import device_of, options_of
from depthclip_ros.commands.bench.probe import probe
from depthclip_ros.commands.bench.running import Scene
from depthclip_ros.commands.bench.settings import Row, Settings, Unit, ratio
from depthclip_ros.core.errors import DepthClipError

TORCH = ("torch", "fp32")
AUTO = ("auto", "auto")


def units(settings: Settings) -> list[Unit]:
    """The engine alone in every runtime, the node as it starts by itself and with torch."""
    return [
        Unit("start", "engine", functools.partial(_measure_engine, settings)),
        Unit("start", "node", functools.partial(_measure_node, settings)),
    ]


def _measure_engine(settings: Settings) -> list[Row]:
    """Empty cache once, then warm, all runtimes in turn."""
    device, size = device_of(settings.device), settings.sizes_px[0]
    keys = [AUTO, *(key for key in options_of(device) if not settings.quick or key == TORCH)]
    warm_rounds = 1 if settings.quick else 2
    starts: dict[tuple[Any, str], list[dict[str, Any]]] = {}
    failed: dict[Any, str] = {}
    for turn in range(1 + warm_rounds):
        cache_state = "warm" if turn else "empty"
        for key in keys:
            if key in failed:
                continue
            cache = settings.folder / "caches" / "-".join(key)
            settings.say(f"start: engine, {' '.join(key)}, {cache_state} cache")
            try:
                one = probe(settings.weights, *key, device, size, cache, settings.folder)
                starts.setdefault((key, cache_state), []).append(one)
            except DepthClipError as error:
                failed[key] = str(error)
    shutil.rmtree(settings.folder / "caches", ignore_errors=True)
    rows: list[Row] = [{"what": "engine", "asked": " ".join(key), "failed": why} for key, why in failed.items()]
    for (key, cache_state), found in starts.items():
        baseline = starts.get((TORCH, cache_state))
        last = found[-1]
        start_s = float(np.median([one["start_s"] for one in found]))
        rows.append(
            {
                "what": "engine",
                "asked": " ".join(key),
                "cache": cache_state,
                **{name: last[name] for name in ("ran", "device", "notices", "peak_mb", "gpu_mb", "gpu_used_mb")},
                **{name: float(np.median([one[name] for one in found])) for name in ("resident_mb", "private_mb")},
                "start_s": start_s,
                "of_torch": ratio(start_s, baseline and float(np.median([one["start_s"] for one in baseline]))),
                "memory_of_torch": ratio(
                    last["resident_mb"], baseline and float(np.median([one["resident_mb"] for one in baseline]))
                ),
            }
        )
    return rows


def _measure_node(settings: Settings) -> list[Row]:
    """The node's process until its first depth is received here, a camera playing all the while."""
    size = settings.sizes_px[0]
    rounds = 1 if settings.quick else 2
    found: dict[tuple[Any, str], list[float]] = {}
    memory: dict[tuple[Any, str], float] = {}
    for turn in range(1 + rounds):
        cache_state = "warm" if turn else "empty"
        for key in (AUTO, TORCH):
            settings.say(f"start: node, {' '.join(key)}, {cache_state} cache")
            with _cache(settings.folder / "node caches" / "-".join(key)):
                start_s, resident_mb = _node_start(settings, key, size)
            found.setdefault((key, cache_state), []).append(start_s)
            memory[key, cache_state] = resident_mb
    shutil.rmtree(settings.folder / "node caches", ignore_errors=True)
    return [
        {
            "what": "node over DDS",
            "asked": " ".join(key),
            "cache": cache_state,
            "ran": None,
            "start_s": float(np.median(starts)),
            "resident_mb": memory[key, cache_state],
            "of_torch": ratio(float(np.median(starts)), float(np.median(found[TORCH, cache_state]))),
            "memory_of_torch": ratio(memory[key, cache_state], memory[TORCH, cache_state]),
        }
        for (key, cache_state), starts in found.items()
    ]


def _node_start(settings: Settings, key: tuple[str, str], size: tuple[int, int]) -> tuple[float, float]:
    with Scene(settings, "start").open() as scene, scene.cameras(size, 30.0, wait=False):
        time.sleep(1.5)  # the camera is there
        start_s = time.perf_counter()
        node = scene.start_node(model__runtime=key[0], model__precision=key[1])
        scene.wait_for_depth(1)
        return time.perf_counter() - start_s, node.resident_bytes().get("total", 0) / 2**20


@contextlib.contextmanager
def _cache(folder: Path) -> Any:
    """Let what is started meanwhile keep its cache here."""
    before = os.environ.get("XDG_CACHE_HOME")
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before
