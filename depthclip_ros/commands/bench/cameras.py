# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""One to four cameras in one node, beside as many nodes of one camera each, in the same run."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

from depthclip_ros.commands.bench.running import Scene, Seen, wait_until_active
from depthclip_ros.commands.bench.settings import Row, Settings, Unit, percentiles, ratio, size_name

MOST, MOST_QUICK = 4, 2
RATE_HZ = 30.0
QUICK_S = 3.0
ONE, MANY = "one node", "a node each"


def units(settings: Settings) -> list[Unit]:
    """All numbers of cameras, both ways in turn."""
    return [Unit("cameras", "cameras", functools.partial(_measure, settings))]


def _measure(settings: Settings) -> list[Row]:
    most = MOST_QUICK if settings.quick else MOST
    rounds, seconds = (1, QUICK_S) if settings.quick else (2, 4.0)
    names = [f"c{number + 1}" for number in range(most)]
    size = settings.sizes_px[0]
    seen: dict[tuple[int, str], dict[str, Seen]] = {}
    used: dict[tuple[int, str], tuple[float, float]] = {}
    with contextlib.ExitStack() as stack:
        scenes: dict[tuple[int, str], Scene] = {}
        settings.say(f"cameras: starting {2 * most} nodes")
        single = stack.enter_context(Scene(settings, "cameras_single", names).open())
        for name in names:
            single.start_node(namespace=name)
        wait_until_active(single)
        for count in range(1, most + 1):
            scene = stack.enter_context(Scene(settings, f"cameras_{count}", names[:count]).open())
            scene.start_node(cameras=names[:count])
            wait_until_active(scene)
            scenes[count, ONE], scenes[count, MANY] = scene, single
        for _ in range(rounds):
            for (count, way), scene in scenes.items():
                settings.say(f"cameras: {count}, {way}")
                nodes = scene.nodes[: count if way == MANY else 1]
                with scene.cameras(size, RATE_HZ, names[:count]):
                    before_s = sum(_cpu_s(node.pid) for node in nodes)
                    found = scene.watch(seconds, names[:count])
                    cpu_s = sum(_cpu_s(node.pid) for node in nodes) - before_s
                kept = seen.setdefault((count, way), {name: Seen() for name in names[:count]})
                for name, one in found.items():
                    kept[name].add(one)
                memory_mb = sum(node.resident_bytes().get("total", 0) for node in nodes) / 2**20
                used[count, way] = (memory_mb, cpu_s / seconds)
    return [_row(count, way, size_name(size), seen, used) for count, way in seen]


def _row(
    count: int,
    way: str,
    image: str,
    seen: dict[tuple[int, str], dict[str, Seen]],
    used: dict[tuple[int, str], tuple[float, float]],
) -> Row:
    rate_hz, other_hz = (_rate_hz(seen[count, one]) for one in (way, MANY))
    each_hz = [one.frames_out / one.seconds for one in seen[count, way].values()]
    memory_mb, cores = used[count, way]
    batches = [stats.batch_size for one in seen[count, way].values() for stats in one.stats]
    return {
        "cameras": count,
        "way": way,
        "image": image,
        "camera_hz": RATE_HZ,
        "rate_out_hz": rate_hz,
        "slowest_hz": min(each_hz),
        **percentiles([value for one in seen[count, way].values() for value in one.latency_ms]),
        "batch_size": sum(batches) / len(batches) if batches else None,
        "resident_mb": memory_mb,
        "cores": cores,
        "times_rate": ratio(rate_hz, other_hz) if way == ONE else None,
        "of_memory": ratio(memory_mb, used[count, MANY][0]) if way == ONE else None,
    }


def _rate_hz(seen: dict[str, Seen]) -> float:
    """Depth images per second over all cameras."""
    return sum(one.frames_out / one.seconds for one in seen.values())


def _cpu_s(pid: int) -> float:
    """CPU time that a process has taken, from /proc; 0 where there is none."""
    import os

    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
