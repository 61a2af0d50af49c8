# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Cold start and memory: a process's start to its first depth, with a warm and an empty cache, each beside torch.

And what images of a size that was not there before wait for.
"""

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
from depthclip_ros.commands.bench.probe import memory_fields, probe
from depthclip_ros.commands.bench.running import Scene, wait_until_active
from depthclip_ros.commands.bench.settings import Row, Settings, Unit, ratio, size_name
from depthclip_ros.commands.bench.systems import PEER, peer_weights
from depthclip_ros.core.errors import DepthClipError
from depthclip_ros.core.present import is_installed
from depthclip_ros.ros.processes import NodeProcess

TORCH = ("torch", "fp32")
AUTO = ("auto", "auto")
SETTLED_S = 5.0  # of images with every output subscribed, until a node's memory is read
BEFORE = "auto auto, the version before"
LEFT, RIGHT = "left", "right"  # cameras of one node
NEW_SIZE, NEW_SIZE_HZ = (1280, 720), 10.0
STATS_S = 0.5  # that what is said of a depth may take after it


def units(settings: Settings) -> list[Unit]:
    """The engine alone in every runtime, the node as it starts by itself and with torch, and a new size in a node."""
    return [
        Unit("start", "engine", functools.partial(_measure_engine, settings)),
        Unit("start", "node", functools.partial(_measure_node, settings)),
        Unit("start", "new size", functools.partial(_measure_new_size, settings)),
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
    """The node's process until its first depth is received here, a camera playing and all outputs subscribed.

    Between a node's being active and its first depth lies what DDS takes to make it known to the camera. The node is
    as it starts by itself, that of the version before likewise, with torch, and with Depth Anything V2-S as it starts
    by itself.
    """
    rounds = 1 if settings.quick else 5
    peer = None if settings.quick else peer_weights(settings.weights)
    asked = {"auto auto": (settings.weights, AUTO)}
    if settings.before is not None:
        asked[BEFORE] = (settings.weights, AUTO)
    if is_installed("torch"):
        asked["torch fp32"] = (settings.weights, TORCH)
    if peer is not None:
        asked[PEER] = (peer, AUTO)
    found: dict[tuple[str, str], list[Row]] = {}
    for turn in range(1 + rounds):
        cache_state = "warm" if turn else "empty"
        for name, (weights, key) in asked.items():
            settings.say(f"start: node, {name}, {cache_state} cache")
            with _cache(settings.folder / "node caches" / name.replace(" ", "-")):
                one = _node_start(settings, weights, key, before=name == BEFORE)
                found.setdefault((name, cache_state), []).append(one)
    shutil.rmtree(settings.folder / "node caches", ignore_errors=True)
    medians = {
        of: {name: float(np.median([one[name] for one in rows])) for name in rows[0]} for of, rows in found.items()
    }
    return [
        {
            "what": "node over DDS",
            "asked": name,
            "cache": cache_state,
            "ran": None,
            **one,
            **_beside("torch", one, medians.get(("torch fp32", cache_state))),
            **_beside("peer", one, medians.get((PEER, cache_state))),
            **_beside("before", one, medians.get((BEFORE, cache_state))),
        }
        for (name, cache_state), one in medians.items()
    ]


def _beside(what: str, one: Row, other: Row | None) -> Row:
    """Ratios of one node's start and memory to those of another, which the names of the ratios end with."""
    return {
        f"of_{what}": ratio(one["start_s"], other and other["start_s"]),
        f"memory_of_{what}": ratio(one["resident_mb"], other and other["resident_mb"]),
    }


def _node_start(settings: Settings, weights: str, key: tuple[str, str], *, before: bool) -> Row:
    size = settings.sizes_px[0]
    with Scene(settings, "start").open(everything=True) as scene, scene.cameras(size, 30.0, wait=False):
        time.sleep(1.5)  # the camera is there
        start_s = time.perf_counter()
        model = {"model__runtime": key[0], "model__precision": key[1], "model__weights": weights}
        node = scene.start_node(before=before, **model)
        wait_until_active(scene, pause_s=0.01)
        active_s = time.perf_counter() - start_s
        scene.wait_for_depth(1)
        start_s = time.perf_counter() - start_s
        time.sleep(0.5 if settings.quick else SETTLED_S)
        return {"active_s": active_s, "start_s": start_s, **memory_mb(node)}


def memory_mb(node: NodeProcess) -> Row:
    """Resident megabytes of a node: all, its own, of mapped files, of DDS's shared memory."""
    fields = memory_fields(node.pid)
    names = {"resident_mb": "VmRSS", "private_mb": "RssAnon", "files_mb": "RssFile", "shared_mb": "RssShmem"}
    return {name: fields[of] for name, of in names.items()}


def _measure_new_size(settings: Settings) -> list[Row]:
    """One of a node's two cameras comes again with larger images: its first depth, and what the other one loses."""
    found: dict[str, list[Row]] = {}
    for turn in range(2 if settings.quick else 4):
        cache_state = "warm" if turn else "empty"
        settings.say(f"start: images of {size_name(NEW_SIZE)} come, {cache_state} cache")
        with _cache(settings.folder / "new size cache"):
            found.setdefault(cache_state, []).append(_new_size(settings))
    shutil.rmtree(settings.folder / "new size cache", ignore_errors=True)
    return [
        {
            "what": f"then {size_name(NEW_SIZE)}",
            "asked": "auto auto",
            "cache": cache_state,
            "ran": None,
            **{name: float(np.median([one[name] for one in rows])) for name in rows[0]},
        }
        for cache_state, rows in found.items()
    ]


def _new_size(settings: Settings) -> Row:
    """Seconds from the first larger image in the node to its depth, and the longest that the other camera had none."""
    small, hz = settings.sizes_px[0], NEW_SIZE_HZ
    with Scene(settings, "new_size", (LEFT, RIGHT)).open() as scene:
        scene.start_node(cameras=(LEFT, RIGHT), model__runtime=AUTO[0], model__precision=AUTO[1])
        wait_until_active(scene)
        with scene.cameras(small, hz, (RIGHT,)):
            with scene.cameras(small, hz, (LEFT,)):
                time.sleep(STATS_S)
            left, right = scene.recorder(LEFT).record, scene.recorder(RIGHT).record
            come, seen, others = left.stats[-1].frames_in, len(left.stats), right.depths
            with scene.cameras(NEW_SIZE, hz, (LEFT,)):
                time.sleep(STATS_S)
        first = left.stats[seen]
        received_s = (np.array(right.stamps_ns[others:]) / 1e6 + np.array(right.latency_ms[others:])) / 1e3
        return {
            "start_s": (first.frames_in - come - first.frames_waiting - 1) / hz + first.latency_ms / 1e3,
            "gap_s": float(np.diff(received_s).max()),
        }


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
