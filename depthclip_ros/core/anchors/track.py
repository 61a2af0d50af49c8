# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What one anchor has said of late, and how it is judged."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from depthclip_ros.core.anchors.measurement import Measurement

GATE_SD = 3.0
WINDOW_S, WINDOW = 1.0, 15  # of the running median
LEAST_READINGS = 3  # that must agree
LEAST_SHARE = 0.55  # of the readings of a window
RECENT_S = 2.0
SAME_VIEW = 0.2  # way of the scene, in ln depth: readings of before are of another view
WAY_TO_SCALE = 0.5  # of that way the scale may have gone along


class Timeline:
    """Stamps as a time that goes on where they go back: a bag that loops, a clock that was corrected.

    Attributes:
        ahead_s: what is added to a stamp.
    """

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self._newest_s = -math.inf

    def follow(self, stamp_s: float) -> float:
        """The time of the next stamp, in seconds; one that is older by less than `RECENT_S` is only late."""
        if stamp_s + self.ahead_s < self._newest_s - RECENT_S:
            self.ahead_s = self._newest_s - stamp_s
        self._newest_s = max(self._newest_s, stamp_s + self.ahead_s)
        return stamp_s + self.ahead_s


@dataclass(frozen=True)
class Verdict:
    """How the estimator has judged an anchor.

    Attributes:
        name: of the anchor.
        state: accepted, refused, disagrees, waiting (too few readings yet) or silent.
        reason: why, for a person; "" where it is accepted.
        factor: what its readings say depth is to be multiplied by; NaN where they say nothing.
    """

    name: str
    state: str
    reason: str
    factor: float


@dataclass(frozen=True)
class Said:
    """A reading: its time in seconds, the way of the scene until then (ln depth), and what it measured."""

    time_s: float
    way: float
    measurement: Measurement


@dataclass
class AnchorTrack:
    """What one anchor has said.

    Attributes:
        readings: since the cut, of the last second and of about this view; the newest three however old.
        accepted_s: time of the last reading that was believed.
        opposed_since_s, opposed_s: since when its readings agree against the estimate, and when they last did.
        disagrees: both values, for a person; "" where it does not.
        refusal, refused_s: why a reading could not be used, and when.
    """

    readings: deque[Said] = field(default_factory=lambda: deque(maxlen=WINDOW))
    accepted_s: float = -math.inf
    opposed_since_s: float | None = None
    opposed_s: float = -math.inf
    disagrees: str = ""
    refusal: str = ""
    refused_s: float = -math.inf

    def add(self, time_s: float, way: float, measurement: Measurement) -> None:
        """Take the next reading; those of before the window are let go."""
        self.readings.append(Said(time_s, way, measurement))
        while len(self.readings) > LEAST_READINGS and (
            self.readings[0].time_s < time_s - WINDOW_S or self.readings[0].way < way - SAME_VIEW
        ):
            self.readings.popleft()

    @property
    def heard_s(self) -> float:
        """Time of the newest reading."""
        return self.readings[-1].time_s if self.readings else -math.inf

    def accept(self, time_s: float) -> None:
        """Its readings were believed."""
        self.accepted_s, self.disagrees, self.opposed_since_s = time_s, "", None

    def oppose(self, time_s: float, both_values: str) -> None:
        """Its readings agree with each other and not with the estimate."""
        if self.opposed_since_s is None or time_s - self.opposed_s > RECENT_S:  # silence in between says nothing
            self.opposed_since_s = time_s
        self.opposed_s, self.disagrees = time_s, both_values

    def opposed_for_s(self, time_s: float) -> float:
        """How long its readings have agreed against the estimate; 0 where that of now does not."""
        since_s = self.opposed_since_s
        return 0.0 if since_s is None or self.opposed_s < time_s else time_s - since_s

    def begin(self) -> None:
        """A new place: what was read before it does not count in it."""
        self.readings.clear()
        self.opposed_since_s, self.disagrees = None, ""

    def consensus(self, way: float | None = None) -> Measurement | None:
        """The median of the readings, where enough of them are near it; the scene's way by now: they may have moved."""
        if len(self.readings) < LEAST_READINGS:
            return None
        ratios = np.array([one.measurement.log_ratio for one in self.readings])
        place = float(np.median([one.measurement.place_variance for one in self.readings]))
        noise = float(np.median([one.measurement.noise_variance for one in self.readings]))
        middle = float(np.median(ratios))
        # readings of one place differ by noise; those taken on the way by their places too
        moved = np.array([(self.readings[-1].way if way is None else way) - one.way for one in self.readings])
        near = np.abs(ratios - middle) <= GATE_SD * math.sqrt(noise) + math.sqrt(place) + WAY_TO_SCALE * moved
        if np.count_nonzero(near) < max(LEAST_READINGS, LEAST_SHARE * len(ratios)):
            return None
        return Measurement(float(np.median(ratios[near])), place, noise)

    def verdict(self, name: str, time_s: float) -> Verdict:
        """How the anchor of this name is doing."""
        said = self.consensus()
        factor = math.nan if said is None else math.exp(said.log_ratio)
        if time_s - max(self.heard_s, self.refused_s) > RECENT_S:
            return Verdict(name, "silent", f"nothing came for {RECENT_S:g} s", factor)
        if self.disagrees:
            return Verdict(name, "disagrees", self.disagrees, factor)
        if time_s - self.accepted_s <= RECENT_S:
            return Verdict(name, "accepted", "", factor)
        if self.refused_s >= self.heard_s:
            return Verdict(name, "refused", self.refusal, factor)
        if said is None and len(self.readings) >= LEAST_READINGS:
            return Verdict(name, "refused", "its readings do not agree with each other", factor)
        return Verdict(
            name, "waiting", f"{len(self.readings)} readings, {LEAST_READINGS} that agree are needed", factor
        )
