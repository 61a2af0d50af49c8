# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""How the node and each of its cameras are doing: what /diagnostics says once a second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from depthclip_ros.core.anchors.estimator import NO_SCALE, ScaleEstimate
from depthclip_ros.ros.anchors.report import AnchorReport
from depthclip_ros.ros.camera_info import LACKING, not_calibrated
from depthclip_ros.ros.depth_node.diagnostics import WINDOW_S, Counters

OK, WARN, ERROR = 0, 1, 2
STALLED_S = (2.0, 10.0)  # so long at one thing is a warning, an error
KEPT_SHARE = 0.7  # of the images that come; with fewer faster weights are advised
SILENT_S = 3.0  # without an image for so long, the camera counts as silent
ACCOUNT = {"unwatched": "without subscriber"}  # what a count is called where it is not called as in DepthStats
SUMMED = (
    *("frames in", "frames out", "frames dropped", "frames refused", "frames failed", "frames without subscriber"),
    *("frames skipped", "frames waiting", "outputs dropped"),
)


@dataclass(frozen=True)
class Health:
    """What a report is made of."""

    state: str  # lifecycle state: unconfigured, inactive, active, ...
    configure_error: str = ""
    preparing: str = ""  # what configure is at, or what is compiled beside the frames
    awaited: str = ""  # the size whose network this camera's images wait for
    doing: str = ""  # what the worker is at, and for how long
    doing_s: float = 0.0
    counters: Counters = field(default_factory=Counters)
    overtaken: int = 0
    outputs_overtaken: int = 0
    prefix: str = ""  # of the camera's topics
    image_topic: str = ""
    image_publishers: int = 0
    other_transport: str = ""  # what to set where images come by that alone
    image_qos: str = ""
    camera_info_topic: str = ""
    camera_info_age_s: float | None = None
    system: str = ""
    weights: str = ""
    faster_weights: str = ""  # shipped ones, where there are
    max_rate_hz: float = 0.0  # of images that are to become depth; 0: all
    weights_sha256: str = ""
    runtime: str = ""
    device: str = ""
    precision: str = ""
    anchors: Mapping[str, AnchorReport] = field(default_factory=dict)
    coverage: float = math.nan  # `AnchorWatch.coverage`
    scale: ScaleEstimate = NO_SCALE  # what they say
    notices: tuple[str, ...] = ()  # what the engine did otherwise than asked


def judge(health: Health) -> tuple[int, str]:
    """Level and one sentence; the first fault in the order of weight decides."""
    counters = health.counters
    if health.preparing and health.state == "configuring":
        return OK, f"preparing: {health.preparing}"
    if health.configure_error:
        return ERROR, health.configure_error
    if health.state != "active":
        return OK, f"{health.state}: configure and activate the node for depth"
    if counters.device_error:
        return ERROR, f"{counters.device_error} (deactivate, cleanup, configure and activate to start anew)"
    if health.doing_s > STALLED_S[0]:
        level = ERROR if health.doing_s > STALLED_S[1] else WARN
        return level, f"{health.doing} for {health.doing_s:.0f} s: restart the process if this does not end"
    if silent := silence(health):
        return ERROR if counters.received else WARN, silent
    if health.awaited:
        return WARN, (
            f"images of {health.awaited} wait for their network, which is being compiled; until then there is no depth "
            "of them"
        )
    bad, good = counters.window_bad.count, counters.window_out.count
    if bad:
        level = WARN if good else ERROR
        return level, f"{bad} images of the last {WINDOW_S:.0f} s could not be used: {counters.last_error}"
    if not counters.has_camera and counters.uncalibrated:
        return WARN, not_calibrated(health.image_topic)
    if not counters.has_camera:
        return WARN, (
            f"no camera_info on {health.camera_info_topic}: depth rests on an assumed field of view, and {LACKING}; "
            f"publish camera_info, or remap `{health.prefix}camera_info` to it"
        )
    opposed = [
        f"anchor {name} disagrees: {one.verdict.reason}"
        for name, one in health.anchors.items()
        if one.verdict.state == "disagrees"
    ]
    if opposed:
        return WARN, "; ".join(opposed)
    if health.notices:
        return WARN, health.notices[-1]
    if not good:
        why = "nobody subscribes to depth"
        if 0 < health.max_rate_hz * WINDOW_S < 1:
            why = f"input.max_rate takes one every {1 / health.max_rate_hz:.0f} s where somebody subscribes to depth"
        return OK, f"{counters.window_in.rate_hz:.1f} images/s come in; {why}"
    rate_hz = counters.window_out.rate_hz
    speed = f"{rate_hz:.1f} depth images/s, latency p50 {counters.latency_percentile_ms(50):.0f} ms"
    if health.preparing:
        return OK, f"preparing: {health.preparing}; meanwhile {speed}"
    if counters.window_unwatched.count:  # then the rate says nothing of what the network can do
        return OK, f"{speed}; for a part of the last {WINDOW_S:.0f} s nobody subscribed to depth"
    wanted_hz = min(counters.window_in.rate_hz, health.max_rate_hz or math.inf)
    if health.faster_weights and rate_hz < KEPT_SHARE * wanted_hz:
        network_ms = counters.timings_ms.get("network", float("nan"))
        return OK, (
            f"{speed}, of {counters.window_in.rate_hz:.1f} that come: the network takes {network_ms:.0f} ms here; "
            f"model.weights: {health.faster_weights} is for such machines"
        )
    return OK, speed


def silence(health: Health) -> str:
    """That no image comes to an active node, and what may help; empty while images come."""
    silent_s = health.counters.window_in.age_s
    if health.state != "active" or silent_s <= SILENT_S:
        return ""
    advice = (
        f"start the camera, or remap `{health.prefix}image` to its topic"
        if health.image_publishers == 0
        else "check that the camera sends images and the network carries them (docs: Fast DDS profile)"
    )
    return (
        f"{'no more images' if health.counters.received else 'no image'} on {health.image_topic} for {silent_s:.0f} s: "
        f"{health.image_publishers} publishers; {health.other_transport or advice}"
    )


class Silences:
    """Tells the log of each camera that falls silent, once."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def log(self, cameras: Mapping[str, Health], logger: Any) -> None:
        """Warn of those, by name, that are silent and were not before."""
        silent = {name: said for name, health in cameras.items() if (said := silence(health))}
        for name in silent.keys() - self._known:
            logger.warning(silent[name])
        self._known = set(silent)


def values(health: Health) -> dict[str, str]:
    """Key and value of every figure in the report."""
    counters = health.counters
    age_s = health.camera_info_age_s
    account = counters.account(health.overtaken)
    return {
        "state": health.state,
        "image topic": health.image_topic,
        "image publishers": str(health.image_publishers),
        "image QoS": health.image_qos,
        "camera_info topic": health.camera_info_topic,
        "camera_info age (s)": "never received" if age_s is None else f"{age_s:.2f}",
        "focal length assumed": str(counters.focal_assumed).lower(),
        "rate in (Hz)": f"{counters.window_in.rate_hz:.2f}",
        "rate out (Hz)": f"{counters.window_out.rate_hz:.2f}",
        **{f"frames {ACCOUNT.get(what, what)}": str(count) for what, count in account.items()},
        "outputs dropped": str(health.outputs_overtaken),
        "batch size": f"{counters.batch_size:.2f}",
        "latency p50 (ms)": f"{counters.latency_percentile_ms(50):.1f}",
        "latency p95 (ms)": f"{counters.latency_percentile_ms(95):.1f}",
        **{f"{name} (ms)": f"{value:.2f}" for name, value in counters.timings_ms.items()},
        **_anchors(health),
        **_model(health),
        "preparing": health.preparing,
        "last error": counters.last_error,
    }


def statuses(make: Any, key_value: Any, cameras: Mapping[str, Health], node: str) -> list[Any]:
    """The report: one status of the node, named `NODE: depth`, and with several cameras one of each, named after it.

    Args:
        make: makes a diagnostic_msgs/DiagnosticStatus.
        key_value: makes a KeyValue.
        cameras: how each is doing, by name; an only camera has none.
        node: name of the node.
    """
    if "" in cameras:
        health = cameras[""]
        return [_status(make(), key_value, f"{node}: depth", judge(health), health, values(health))]
    verdicts = {name: judge(health) for name, health in cameras.items()}
    worst = max(level for level, _ in verdicts.values())
    said = "; ".join(f"{name}: {message}" for name, (level, message) in verdicts.items() if level == worst)
    figures = {name: values(health) for name, health in cameras.items()}
    first = next(iter(cameras.values()))
    whole = {
        "state": first.state,
        "cameras": ", ".join(cameras),
        **{key: str(sum(int(of_one[key]) for of_one in figures.values())) for key in SUMMED},
        **_model(first),
    }
    return [
        _status(make(), key_value, f"{node}: depth", (worst, said), first, whole),
        *(
            _status(make(), key_value, f"{node}: {name}", verdicts[name], health, figures[name])
            for name, health in cameras.items()
        ),
    ]


def _anchors(health: Health) -> dict[str, str]:
    if not health.anchors:
        return {}
    known = health.scale.log_scale_sd is not None
    return {
        "anchors' scale": f"{health.scale.factor:.3f}",
        "anchors' scale, standard deviation": f"{health.scale.log_scale_sd:.1%}" if known else "none accepted",
        "anchors' exponent of depth": _shape(health),
        "intervals hold for": "no points to tell" if math.isnan(health.coverage) else f"{health.coverage:.0%}",
        **{f"anchor {name}": one.sentence for name, one in health.anchors.items()},
    }


def _shape(health: Health) -> str:
    shape = health.scale.shape
    if shape.exponent == 1:
        return "1: the scale alone"
    return f"{shape.exponent:.2f} about {shape.pivot_m * health.scale.factor:.2g} m"


def _model(health: Health) -> dict[str, str]:
    return {
        "model": health.system,
        "weights": health.weights,
        "weights sha256": health.weights_sha256,
        "runtime": health.runtime,
        "device": health.device,
        "precision": health.precision,
    }


def _status(
    status: Any, key_value: Any, name: str, verdict: tuple[int, str], health: Health, figures: Mapping[str, str]
) -> Any:
    level, message = verdict
    status.level = bytes([level])
    status.name = name
    status.message = message
    status.hardware_id = health.device or "none"
    status.values = [key_value(key=key, value=value) for key, value in figures.items()]
    return status
