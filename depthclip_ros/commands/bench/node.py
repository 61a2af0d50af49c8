# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The node over DDS: latency by stage from stamp to receipt in another process, and what overload does to it."""

from __future__ import annotations

import contextlib
import functools

import numpy as np

from depthclip_ros.commands.bench.running import Scene, Seen, wait_until_active
from depthclip_ros.commands.bench.settings import Row, Settings, Unit, ratio, size_name
from depthclip_ros.commands.bench.systems import peer_weights

SATURATION = 0.4  # of the time that the node is busy at the quiet rate
OVERLOAD = 2.0
HIGHEST_HZ, LOWEST_HZ = 30.0, 0.5
QUICK_S = 3.0
FASTEST_CAMERA_HZ = 400.0  # what a camera in Python may be asked for
RAW, BEFORE, PEER = "raw", "raw, the version before", "raw, Depth Anything V2-S"
# name: how images travel, whether with the shipped DDS profile
WAYS = {
    RAW: ("raw", True),
    BEFORE: ("raw", True),
    "compressed": ("compressed", True),
    "raw, default DDS settings": ("raw", False),
    PEER: ("raw", True),
}


def units(settings: Settings) -> list[Unit]:
    """Latency of all ways in turn; overload."""
    return [
        Unit("node", "latency", functools.partial(_measure_latency, settings)),
        Unit("overload", "overload", functools.partial(_measure_overload, settings)),
    ]


def _quiet_hz(engine_ms: float) -> float:
    return max(LOWEST_HZ, min(HIGHEST_HZ, SATURATION * 1e3 / engine_ms))


def _measure_latency(settings: Settings) -> list[Row]:
    """A B C A B C: the nodes of all ways run at once and idle, only one has a camera at a time.

    Depth and cloud are subscribed.
    """
    rounds, seconds = (1, QUICK_S) if settings.quick else (3, 6.0)
    sizes = settings.sizes_px[:1] if settings.quick else settings.sizes_px
    peer = None if settings.quick else peer_weights(settings.weights)
    there = {BEFORE: settings.before is not None, PEER: peer is not None}
    ways = {way: how for way, how in WAYS.items() if there.get(way, True)}
    seen = {(size, way): Seen() for size in sizes for way in ways}
    memory: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        scenes = {}
        for way, (transport, profile) in ways.items():
            settings.say(f"node: starting, {way}")
            scene = stack.enter_context(Scene(settings, f"node_{len(scenes)}", profile=profile).open(clouds=True))
            weights = {"model__weights": peer} if way == PEER else {}
            scene.start_node(input__transport=transport, before=way == BEFORE, **weights)
            scenes[way] = scene
        for scene in scenes.values():
            wait_until_active(scene)
        quiet_hz = {size: _quiet_hz(scenes[RAW].pilot_ms(size)) for size in sizes}
        rates = {(size, way): quiet_hz[size] for size in sizes for way in ways}
        if peer is not None:
            rates |= {(size, PEER): _quiet_hz(scenes[PEER].pilot_ms(size)) for size in sizes}
        for _ in range(rounds):
            for size in sizes:
                for way, scene in scenes.items():
                    rate_hz = rates[size, way]
                    settings.say(f"node: {way}, {size_name(size)}, {rate_hz:.1f} Hz")
                    with scene.cameras(size, rate_hz):
                        seen[size, way].add(scene.watch(max(seconds, 4 / rate_hz))[""])
                    memory[way] = scene.nodes[0].resident_bytes().get("total", 0) / 2**20
    rows = []
    for (size, way), one in seen.items():
        figures = one.figures()
        overhead = [
            latency - engine
            for latency, engine in ((figures["latency_p50_ms"], figures["engine_ms"]),)
            if latency is not None and engine is not None
        ]
        overhead_ms = overhead[0] if overhead else None
        rows.append(
            {
                "way": way,
                "image": size_name(size),
                "rate_hz": rates[size, way],
                **figures,
                "overhead_ms": overhead_ms,
                "latency_over_engine": ratio(figures["latency_p50_ms"], figures["engine_ms"]),
                "resident_mb": memory[way],
            }
        )
    for row in rows:
        beside = next(one for one in rows if one["way"] == RAW and one["image"] == row["image"])
        row["times_raw"] = ratio(row["latency_p50_ms"], beside["latency_p50_ms"])
    return rows


def _measure_overload(settings: Settings) -> list[Row]:
    """A quiet camera and one at twice the rate that the node sustains, in turn."""
    rounds, seconds = (1, QUICK_S) if settings.quick else (2, 6.0)
    sizes = settings.sizes_px[:1] if settings.quick else settings.sizes_px
    rows = []
    with Scene(settings, "overload").open() as scene:
        scene.start_node()
        wait_until_active(scene)
        for size in sizes:
            alone_ms = scene.pilot_ms(size)
            flood_hz = min(FASTEST_CAMERA_HZ, 1.5 * 1e3 / alone_ms)  # more would take the machine from the node
            settings.say(f"overload: what the node sustains at {size_name(size)}")
            with scene.cameras(size, flood_hz):
                flooded = scene.watch(seconds / 2)[""]
            sustained_hz = max(LOWEST_HZ, flooded.frames_out / flooded.seconds)
            rates = {"quiet": _quiet_hz(alone_ms), "overload": OVERLOAD * sustained_hz}
            seen = {name: Seen() for name in rates}
            halves: list[tuple[float, float]] = []
            for _ in range(rounds):
                for name, rate_hz in rates.items():
                    settings.say(f"overload: {size_name(size)}, {rate_hz:.1f} Hz")
                    with scene.cameras(size, rate_hz):
                        one = scene.watch(max(seconds, 6 / rate_hz))[""]
                    seen[name].add(one)
                    if name == "overload" and len(one.latency_ms) >= 4:
                        middle = len(one.latency_ms) // 2
                        halves.append(
                            (float(np.median(one.latency_ms[:middle])), float(np.median(one.latency_ms[middle:])))
                        )
            quiet, overload = seen["quiet"].figures(), seen["overload"].figures()
            growth = [late / early for early, late in halves]
            rows.append(
                {
                    "image": size_name(size),
                    "sustained_hz": sustained_hz,
                    "camera_hz": rates["overload"],
                    **{name: overload[name] for name in ("rate_in_hz", "rate_out_hz", "dropped_share", "frames")},
                    **{name: overload[name] for name in ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms")},
                    "quiet_p50_ms": quiet["latency_p50_ms"],
                    "quiet_p99_ms": quiet["latency_p99_ms"],
                    "times_quiet": ratio(overload["latency_p50_ms"], quiet["latency_p50_ms"]),
                    "late_over_early": float(np.median(growth)) if growth else None,
                    "out_over_sustained": ratio(overload["rate_out_hz"], sustained_hz),
                }
            )
    return rows
