# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Starts and ends nodes in a row, told by changing signals at changing moments; says how soon nothing is left of each.

.venv/bin/python scripts/starts_and_ends.py --depth 50 --camera 15

Needs ROS and the package; takes about 15 s a start. The exit code is 1 if anything was left: in the graph after a
second, in /dev/shm, a traceback, or an exit code other than 0.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, Signals
from typing import Any, NamedTuple

import numpy as np

from depthclip_ros.ros import processes
from depthclip_ros.ros.run import spinning

GONE_S, PATIENCE_S = 1.0, 120.0
SIGNALS: list[tuple[Signals, ...]] = [(SIGINT,), (SIGTERM,), (SIGINT, SIGTERM), (SIGTERM, SIGINT, SIGHUP, SIGTERM)]
MOMENTS = {"depth_node": ["unconfigured", "configuring", "frames"], "camera_node": ["rendering", "playing"]}


class End(NamedTuple):
    """Of one process.

    Attributes:
        gone_s: from the first signal until another node no longer sees it.
        ended_s: until its process has ended.
        faults: what was left, or went wrong.
    """

    node: str
    moment: str
    signals: str
    gone_s: float
    ended_s: float
    faults: list[str]


def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for something that must come."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end_s:
            sys.exit(f"waited {PATIENCE_S:.0f} s for {what}")
        time.sleep(0.005)


def segments(pid: int) -> set[Path]:
    """Shared memory that is this process's own: ports belong to all, and the next participant sweeps them."""

    def mapped(process: int | str) -> set[str]:
        lines = Path(f"/proc/{process}/maps").read_text(encoding="utf-8").splitlines()
        return {path for line in lines if (path := line.rpartition(" ")[2]).startswith("/dev/shm/fastrtps_")}

    return {Path(path) for path in mapped(pid) - mapped("self") if "port" not in path}


def one_end(watcher: Any, start: Callable[[str], processes.NodeProcess], moment: str, signals: Any, number: int) -> End:
    """Start a node, tell it to end at the moment, and watch it go."""
    from sensor_msgs.msg import Image

    namespace = f"/end_{number}"
    process = start(namespace)
    full_name = f"{namespace}/{process.name}"
    names = watcher.get_fully_qualified_node_names
    until(lambda: full_name in names() or process.failure(), f"{full_name} in the graph")
    if moment == "playing":
        until(lambda: "playing" in process.log() or process.failure(), "the room")
    elif moment == "frames":
        until(lambda: "depth of" in process.log() or process.failure(), "the model")
        camera = watcher.create_publisher(Image, f"{namespace}/image", 1)
        listener = watcher.create_subscription(Image, f"{namespace}/depth/image", lambda _: None, 1)
        until(lambda: camera.get_subscription_count() and listener.get_publisher_count(), "the node's topics")
        pixels = np.random.default_rng(number).integers(0, 256, (480, 640, 3), np.uint8).tobytes()
        for _ in range(20):
            image = Image(width=640, height=480, encoding="rgb8", step=3 * 640, data=pixels)
            image.header.stamp = watcher.get_clock().now().to_msg()
            camera.publish(image)
            time.sleep(random.uniform(0.02, 0.05))
        watcher.destroy_publisher(camera)
        watcher.destroy_subscription(listener)
    else:
        time.sleep(random.uniform(0.0, 3.0))
    faults = [] if process.failure() is None else ["ended by itself"]
    own = set() if faults else segments(process.pid)
    told_s = time.monotonic()
    gone_s = ended_s = 0.0
    for one in signals:
        if process.wait(0) is None:
            os.kill(process.pid, one)
    while not (gone_s and ended_s) and time.monotonic() - told_s < PATIENCE_S:
        now_s = time.monotonic() - told_s
        gone_s = gone_s or (0.0 if full_name in names() else now_s)
        ended_s = ended_s or (0.0 if process.wait(0) is None else now_s)
        time.sleep(0.002)
    left = [path.name for path in own if path.exists()]
    faults += [f"in the graph for {gone_s:.2f} s"] if not 0 < gone_s < GONE_S else []
    faults += [f"exit code {process.wait(0)}"] if process.wait(0) != 0 else []
    faults += [f"left in /dev/shm: {', '.join(left)}"] if left else []
    faults += [said for said in ("Traceback", "terminate called", "Segmentation") if said in process.log()]
    processes.stop([process])
    return End(process.name, moment, " ".join(one.name for one in signals), gone_s, ended_s, faults)


def row(name: str, ends: list[End]) -> str:
    """Of the table."""
    times_ms = [[1000 * getattr(end, key) for end in ends] for key in ("gone_s", "ended_s")]
    cells = [f"{statistics.median(of):.0f} | {np.percentile(of, 90):.0f} | {max(of):.0f}" for of in times_ms]
    return f"| {name} | {len(ends)} | {' | '.join(cells)} | {sum(bool(end.faults) for end in ends)} |"


def main() -> int:
    """Run, print one line for each start and a table at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=50, help="starts of depth_node")
    parser.add_argument("--camera", type=int, default=15, help="starts of camera_node")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    random.seed(args.seed)
    domain = processes.free_domain()
    environment = processes.private_environment(domain)
    ends: list[End] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        processes.environment_of(environment),
        processes.interruptible(),
        spinning("watcher", domain) as watcher,
    ):
        for node, count in (("depth_node", args.depth), ("camera_node", args.camera)):
            ways = itertools.cycle(itertools.product(SIGNALS, MOMENTS[node]))
            for number, (signals, moment) in zip(range(count), ways, strict=False):
                cache = {"XDG_CACHE_HOME": f"{folder}/{number}"} if moment == "rendering" else {}
                parameters: dict[str, Any] = {"autostart": moment != "unconfigured"}
                if node == "camera_node":
                    parameters = {"frames": 200 if moment == "rendering" else 2, "width": 320, "height": 240}

                def start(
                    namespace: str, node: str = node, given: Any = parameters, cache: dict[str, str] = cache
                ) -> processes.NodeProcess:
                    log = Path(folder) / f"{node}.log"
                    both = {**environment, **cache}
                    return processes.NodeProcess(node, given, environment=both, log_path=log, namespace=namespace)

                end = one_end(watcher, start, moment, signals, number)
                ends.append(end)
                load = os.getloadavg()[0]
                said = "; ".join(end.faults) or "clean"
                print(
                    f"{node} {number + 1}, {moment}, {end.signals}: gone after {end.gone_s:.3f} s, ended after "
                    f"{end.ended_s:.3f} s, load {load:.1f}: {said}",
                    flush=True,
                )
    print("\n| node, moment | ends | gone: median, ms | 90 % | max | ended: median, ms | 90 % | max | with faults |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for node, moments in MOMENTS.items():
        for moment in moments:
            if found := [end for end in ends if (end.node, end.moment) == (node, moment)]:
                print(row(f"`{node}`, {moment}", found))
    return int(any(end.faults for end in ends))


if __name__ == "__main__":
    sys.exit(main())
