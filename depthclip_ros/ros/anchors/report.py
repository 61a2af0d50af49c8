# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What waits to be measured, what became of it, and how it is said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from depthclip_ros.core.anchors.track import Verdict


@dataclass(frozen=True)
class AnchorReport:
    """How one anchor is doing.

    Attributes:
        verdict: the estimator's.
        used, refused: readings so far.
        refusal: why the last one was refused; "" where none was.
        measure_ms: time that a measurement takes.
    """

    verdict: Verdict
    used: int = 0
    refused: int = 0
    refusal: str = ""
    measure_ms: float = 0.0

    @property
    def sentence(self) -> str:
        """For people."""
        verdict = self.verdict
        value = "" if math.isnan(verdict.factor) else f", depth times {verdict.factor:.2f}"
        why = f": {verdict.reason}" if verdict.reason else ""
        last = f"; last refused: {self.refusal}" if self.refusal and self.refusal != verdict.reason else ""
        return f"{verdict.state}{value}{why}; {self.used} used, {self.refused} refused, {self.measure_ms:.1f} ms{last}"


def as_stats(reports: Mapping[str, AnchorReport]) -> dict[str, list[str]]:
    """The anchors by how they are judged, as fields of DepthStats; reports by name."""
    found: dict[str, list[str]] = {"accepted": [], "refused": [], "disagreeing": []}
    for name, report in reports.items():
        verdict = report.verdict
        if verdict.state == "accepted":
            found["accepted"].append(name)
        elif verdict.state == "disagrees":
            found["disagreeing"].append(f"{name}: {verdict.reason}")
        else:
            found["refused"].append(f"{name}: {report.refusal or verdict.reason}")
    return {f"anchors_{state}": names for state, names in found.items()}


@dataclass(frozen=True)
class Reading:
    """A message of an anchor's topic: of which anchor, and when it came by `time.monotonic`."""

    kind: str
    name: str
    message: Any
    stamp_ns: int
    came_s: float


@dataclass
class Count:
    """What became of an anchor's readings; see `AnchorReport`. `measured_ns`: stamp of the last one."""

    used: int = 0
    refused: int = 0
    refusal: str = ""
    measure_ms: float = 0.0
    measured_ns: int = 0
