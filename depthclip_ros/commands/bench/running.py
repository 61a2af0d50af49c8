# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Nodes and cameras as processes and recorders in this one, for the parts of the bench that need ROS."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from depthclip_ros.commands.bench.settings import Row, Settings, percentiles, sample_camera, sample_image, size_name
from depthclip_ros.core.errors import DepthClipError
from depthclip_ros.ros import processes

if TYPE_CHECKING:
    from depthclip_ros.ros.measure.recorder import Recorder

STARTUP_S = 240.0  # a first start may make an int8 network
PILOT_HZ = 5.0
FIRST_DEPTHS = 3  # are not counted: subscriptions find each other
WITHOUT_DEPTH_S = 8.0  # without the DDS profile nothing may come, which is a finding
STAGES = ("receive_ms", "wait_ms", "preprocess_ms", "network_ms", "postprocess_ms", "publish_ms", "latency_ms")


@dataclass
class Seen:
    """What came of one camera while it was watched.

    Attributes:
        latency_ms: from stamp to receipt here.
        stats: DepthStats of the same time.
        frames_in, frames_out, frames_dropped: counted by the node meanwhile.
        seconds: how long it was watched.
    """

    latency_ms: list[float] = field(default_factory=list)
    stats: list[Any] = field(default_factory=list)
    frames_in: int = 0
    frames_out: int = 0
    frames_dropped: int = 0
    seconds: float = 0.0

    def add(self, other: Seen) -> None:
        """Put another time's beside it."""
        self.latency_ms += other.latency_ms
        self.stats += other.stats
        for name in ("frames_in", "frames_out", "frames_dropped", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def figures(self) -> Row:
        """Medians by stage, percentiles of latency, rates and shares."""
        stages = {name: [float(getattr(one, name)) for one in self.stats] for name in STAGES}
        medians = {
            name: float(np.nanmedian(values)) if any(np.isfinite(values)) else None for name, values in stages.items()
        }
        node_ms = medians.pop("latency_ms")
        engine_ms = [one.preprocess_ms + one.network_ms + one.postprocess_ms for one in self.stats]
        return {
            **medians,
            "node_latency_ms": node_ms,
            "engine_ms": float(np.median(engine_ms)) if engine_ms else None,
            **percentiles(self.latency_ms),
            "frames": len(self.latency_ms),
            "rate_in_hz": self.frames_in / self.seconds if self.seconds else 0.0,
            "rate_out_hz": self.frames_out / self.seconds if self.seconds else 0.0,
            "dropped_share": self.frames_dropped / self.frames_in if self.frames_in else None,
        }


class Scene:
    """One ROS domain with nodes that stay, and cameras that come and go.

    Args:
        settings: of the bench.
        name: of this scene, for log files.
        namespaces: of the cameras; "" is none.
        profile: whether everything uses the shipped DDS profile.
    """

    def __init__(
        self, settings: Settings, name: str, namespaces: Sequence[str] = ("",), *, profile: bool = True
    ) -> None:
        self.settings, self.name, self.namespaces = settings, name, tuple(namespaces)
        self.nodes: list[processes.NodeProcess] = []
        self._recorders: dict[str, Recorder] = {}
        self._profile = profile
        self._domain = processes.free_domain()
        self._environment = processes.private_environment(self._domain, shared_memory_profile=profile)

    @contextlib.contextmanager
    def open(self, **heard: bool) -> Iterator[Scene]:
        """Listen to depth and stats of all namespaces, and what `Recorder` is asked for; stop all nodes at the end."""
        with processes.interruptible(), contextlib.ExitStack() as stack:
            stack.callback(lambda: processes.stop(self.nodes))
            with processes.environment_of(self._environment):
                from depthclip_ros.ros.measure.recorder import recording

                for namespace in self.namespaces:
                    self._recorders[namespace] = stack.enter_context(
                        recording(self._domain, pictures=False, namespace=namespace, **heard)
                    )
            yield self

    def start_node(
        self, *, cameras: Sequence[str] = (), namespace: str = "", before: bool = False, **parameters: Any
    ) -> processes.NodeProcess:
        """A depth node that activates itself, this version's or `Settings.before`; parameters with `__` for the dot."""
        remappings = {f"{camera}/image": f"{camera}/image_raw" for camera in cameras} or {"image": "image_raw"}
        given = {name.replace("__", "."): value for name, value in parameters.items()}
        values: dict[str, Any] = {
            "autostart": True,
            "model.weights": self.settings.weights,
            "model.device": self.settings.device,
            **({"cameras": list(cameras)} if cameras else {}),
            **given,
        }
        node = processes.NodeProcess(
            "depth_node",
            values,
            environment=self._environment,
            log_path=self.settings.folder / f"{self.name}_depth_node_{len(self.nodes)}.log",
            remappings=remappings,
            namespace=f"/{namespace}" if namespace else "",
            prefix=self.settings.before if before else None,
        )
        self.nodes.append(node)
        return node

    @contextlib.contextmanager
    def cameras(
        self, size_px: tuple[int, int], rate_hz: float, namespaces: Sequence[str] | None = None, *, wait: bool = True
    ) -> Iterator[None]:
        """Cameras that play while this lasts, from when each of them has brought its first depths or, else, at once."""
        names = self.namespaces if namespaces is None else tuple(namespaces)
        source = picture_folder(self.settings.folder, size_px)
        started = [
            processes.NodeProcess(
                "camera_node",
                {"source": str(source), "rate_hz": float(rate_hz)},
                environment=self._environment,
                log_path=self.settings.folder / f"{self.name}_camera_{name or 'only'}.log",
                namespace=f"/{name}" if name else "",
            )
            for name in names
        ]
        try:
            if wait:
                self.wait_for_depth(FIRST_DEPTHS, names, started)
            yield
        finally:
            processes.stop(started)

    def pilot_ms(self, size_px: tuple[int, int]) -> float:
        """What the engine takes for an image in this scene's node, by its own words; the least of a few."""
        with self.cameras(size_px, PILOT_HZ):
            stats = self._recorders[self.namespaces[0]].record.stats[-FIRST_DEPTHS:]
        return min(one.preprocess_ms + one.network_ms + one.postprocess_ms for one in stats)

    def watch(self, seconds: float, namespaces: Sequence[str] | None = None) -> dict[str, Seen]:
        """What comes of each camera in so many seconds."""
        names = self.namespaces if namespaces is None else tuple(namespaces)
        before = {name: self._mark(name) for name in names}
        start_s = time.monotonic()
        time.sleep(seconds)
        elapsed_s = time.monotonic() - start_s
        return {name: self._since(name, before[name], elapsed_s) for name in names}

    def recorder(self, namespace: str = "") -> Recorder:
        """Who listens to this namespace."""
        return self._recorders[namespace]

    def check(self, others: Sequence[processes.NodeProcess] = ()) -> None:
        """Nodes that ended by themselves.

        Raises:
            DepthClipError: says what the node said.
        """
        for one in (*self.nodes, *others):
            if failure := one.failure():
                raise DepthClipError(failure)

    def wait_for_depth(
        self, count: int, namespaces: Sequence[str] | None = None, cameras: Sequence[processes.NodeProcess] = ()
    ) -> None:
        """Until so many further depths of each camera have come; without the DDS profile, not for long.

        Raises:
            DepthClipError: a process ended, or nothing came.
        """
        names = self.namespaces if namespaces is None else tuple(namespaces)
        wanted = {name: self._recorders[name].record.depths + count for name in names}
        begin_s = time.monotonic()
        patience_s = STARTUP_S if self._profile else WITHOUT_DEPTH_S
        while any(self._recorders[name].record.depths < wanted[name] for name in names):
            time.sleep(0.02)
            self.check(cameras)
            if time.monotonic() - begin_s > patience_s:
                if not self._profile:
                    return
                said = "; ".join(node.log()[-400:] for node in self.nodes)
                raise DepthClipError(f"no depth came within {patience_s:.0f} s; the nodes said: {said}")

    def _mark(self, name: str) -> tuple[int, int]:
        record = self._recorders[name].record
        return record.depths, len(record.stats)

    def _since(self, name: str, mark: tuple[int, int], elapsed_s: float) -> Seen:
        record = self._recorders[name].record
        depths, first = mark
        stats = record.stats[first:]
        seen = Seen(record.latency_ms[depths:], list(stats), seconds=elapsed_s)
        if stats:
            # From the first to the last: what was counted between them, and one more.
            begin = record.stats[first - 1] if first else stats[0]
            for field_name in ("frames_in", "frames_out", "frames_dropped"):
                setattr(seen, field_name, int(getattr(stats[-1], field_name)) - int(getattr(begin, field_name)))
        return seen


def picture_folder(folder: Path, size_px: tuple[int, int]) -> Path:
    """A folder with one picture that takes no time to decode, and its intrinsics: the lightest camera."""
    pictures = folder / f"camera_{size_name(size_px)}"
    if not pictures.is_dir():
        pictures.mkdir(parents=True)
        cv2.imwrite(str(pictures / "image.ppm"), sample_image(size_px))
        k = sample_camera(size_px)
        meta: Mapping[str, Any] = {"intrinsics": {"fx": k.fx_px, "fy": k.fy_px, "cx": k.cx_px, "cy": k.cy_px}}
        (pictures / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return pictures


def wait_until_active(
    scene: Scene, log_text: str = "depth of", timeout_s: float = STARTUP_S, *, pause_s: float = 0.1
) -> None:
    """Until every node of a scene has activated itself, looking every `pause_s`; then none disturbs a measurement.

    Raises:
        DepthClipError: a node ended, or did not get there.
    """
    deadline_s = time.monotonic() + timeout_s
    while not all(log_text in node.log() for node in scene.nodes):
        scene.check()
        if time.monotonic() > deadline_s:
            raise DepthClipError(f"a node was not active within {timeout_s:.0f} s: {scene.nodes[-1].log()[-400:]}")
        time.sleep(pause_s)
