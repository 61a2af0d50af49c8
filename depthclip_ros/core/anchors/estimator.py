# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""One scale per camera, of what all anchors say: a Kalman filter over ln scale that no wild reading moves.

State: ln scale s, and for each anchor an offset b of what it says from s. A reading is z = s + b + noise. The offset
has the reading's `place_variance` and stays while the scene stands still, so that a thousand readings of one wall count
as one look at one wall, and in a still scene a reading that jumps stands out against the noise alone. As the picture
moves on (`SceneChange`) offsets are drawn anew and s may change: both variances grow back towards their prior.

After a cut nothing of an anchor is believed until several of its readings agree; then all that were read since are
taken at once, so that the first one, which may be wild, has no more weight than the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.anchors.measurement import Measurement, Prediction
from depthclip_ros.core.anchors.points import SeenPoints
from depthclip_ros.core.anchors.scene_change import SceneChange
from depthclip_ros.core.anchors.shape import NO_SHAPE, Shape, ShapeEstimator
from depthclip_ros.core.anchors.track import GATE_SD, RECENT_S, AnchorTrack, Timeline, Verdict
from depthclip_ros.core.types import DepthLimits
from depthclip_ros.core.uncertainty import Uncertainty

PRIOR_SD = 0.5
"""Of ln scale, of weights of which nothing more is known: 95 % of places within a factor of 2.7."""
FORGET_S = 60.0  # silence after which the variance is back at its prior by 1 - 1/e^2
SCALE_LENGTH, OFFSET_LENGTH = 2.0, 0.3  # change of the scene, in ln depth, after which s and offsets are others
FLICKER_SD = 0.04  # of ln depth: what the network itself moves by while a scene counts as still
SETTLE_S = 1.0  # after a cut: all readings since are weighed together
SETTLE_GATE_SD = 4.0  # readings that agree with each other, where nothing is known of the place yet
PATIENCE_S = 10.0  # readings that agree for so long against the estimate are believed


@dataclass(frozen=True)
class ScaleEstimate:
    """Of one camera.

    Attributes:
        log_scale: ln of what predicted depth is to be multiplied by; 0 where no anchor was accepted.
        log_scale_sd: its standard deviation; None where no anchor was accepted.
        shape: what is corrected before the scale, and how wide the intervals are.
    """

    log_scale: float = 0.0
    log_scale_sd: float | None = None
    shape: Shape = NO_SHAPE

    @property
    def factor(self) -> float:
        """What predicted depth is to be multiplied by."""
        return math.exp(self.log_scale)

    def applied_to(self, limits: DepthLimits) -> DepthLimits:
        """The limits of depth that is so corrected, their own scale included."""
        return replace(
            limits,
            scale_factor=limits.scale_factor * self.factor,
            log_scale_sd=self.log_scale_sd,
            exponent=self.shape.exponent,
            pivot_m=self.shape.pivot_m * self.factor,
            width=self.shape.width,
        )


NO_SCALE = ScaleEstimate()


def prior_sd_of(uncertainty: Uncertainty | None) -> float:
    """Standard deviation of ln scale before any anchor speaks.

    At least `PRIOR_SD`: weights were calibrated in places like those they know, and a robot's may be like none of them;
    with a narrow prior the gate would refuse the very sensor that says so.
    """
    return max(PRIOR_SD, uncertainty.scale_sd if uncertainty is not None else 0.0)


class ScaleEstimator:
    """See the module. Times are the readings' stamps in seconds; where they go back, what is known stays."""

    def __init__(self, prior_sd: float = PRIOR_SD) -> None:
        self._prior = prior_sd**2
        self.reset()

    def reset(self) -> None:
        """Forget everything: another camera, other weights."""
        self._change = SceneChange()
        self._shape = ShapeEstimator()
        self._names: list[str] = []
        self._mean: NDArray[np.float64] = np.zeros(1)
        self._covariance: NDArray[np.float64] = np.full((1, 1), self._prior)
        self._anchors: dict[str, AnchorTrack] = {}
        self._timeline = Timeline()
        self._time_s: float | None = None
        self._heard_s = -math.inf
        self._way = 0.0  # of the scene, in ln depth
        self._begin_s: float | None = None  # of the place: since the last cut
        self._before: tuple[NDArray[np.float64], NDArray[np.float64]] = self._mean, self._covariance
        self._believed = False

    @property
    def estimate(self) -> ScaleEstimate:
        """The present one."""
        if not self._believed:
            return ScaleEstimate()
        shape = NO_SHAPE if self._time_s is None else self._shape.at(self._time_s)
        return ScaleEstimate(float(self._mean[0]), math.sqrt(float(self._covariance[0, 0])), shape)

    def see(self, time_s: float, depth_m: NDArray[np.float32], rgb: NDArray[np.uint8] | None = None) -> None:
        """The next depth image, float32 [H, W], as the network gives it, and its picture: the scene may move on."""
        time_s = self._timeline.follow(time_s)
        self._advance(time_s)
        change = self._change.update(depth_m, rgb)
        if change.distance:
            self._way += change.distance
            self._grow(change.distance / SCALE_LENGTH, change.distance / OFFSET_LENGTH)
        if change.is_cut:
            self._covariance[0, 0] = self._prior
            self._begin(time_s)

    def add(self, name: str, time_s: float, measurement: Measurement) -> bool:
        """A reading of an anchor; whether it was believed."""
        time_s = self._timeline.follow(time_s)
        self._advance(time_s)
        self._heard_s = time_s
        if self._begin_s is None:
            self._begin(time_s)
        anchor = self._anchors.setdefault(name, AnchorTrack())
        anchor.add(time_s, self._way, measurement)
        assert self._begin_s is not None
        if time_s - self._begin_s < SETTLE_S or name not in self._names:
            self._settle(time_s)
        else:
            self._update(name, anchor, time_s)
        if self._stands_alone_against_us(anchor, time_s):
            self._covariance[0, 0] = self._prior
            self._begin(time_s)
        return anchor.accepted_s == time_s

    def learn_shape(
        self,
        prediction: Prediction,
        shape: Shape,
        seen: SeenPoints,
        half_width: NDArray[np.float32] | None = None,
        usual: float = 1.0,
    ) -> None:
        """Many points of a reading that `add` has just believed; see `ShapeEstimator.add`."""
        if self._time_s is not None and self._believed:
            factor = math.exp(float(self._mean[0]))
            self._shape.add(self._time_s, prediction, shape, seen, factor, half_width, usual)

    def refuse(self, name: str, time_s: float, reason: str) -> None:
        """A reading of an anchor that could not be used."""
        anchor = self._anchors.setdefault(name, AnchorTrack())
        anchor.refusal, anchor.refused_s = reason, time_s + self._timeline.ahead_s

    def verdicts(self, time_s: float) -> list[Verdict]:
        """How each anchor is doing, by name."""
        time_s += self._timeline.ahead_s
        return [anchor.verdict(name, time_s) for name, anchor in sorted(self._anchors.items())]

    # The filter

    def _advance(self, time_s: float) -> None:
        before_s, self._time_s = self._time_s, time_s
        # while anchors speak, the picture alone says how much may have changed: else a wrong constant would wear the
        # gate down
        if before_s is not None and time_s > before_s and time_s - self._heard_s > RECENT_S:
            share = (time_s - before_s) / FORGET_S
            self._grow(share, share)

    def _grow(self, of_scale: float, of_offsets: float) -> None:
        """Let s wander (its variance grows to the prior) and offsets be drawn anew, by shares of their lengths."""
        mean, covariance = self._mean.copy(), self._covariance.copy()
        covariance[0, 0] += max(0.0, self._prior - covariance[0, 0]) * (1 - math.exp(-2 * of_scale))
        kept = math.exp(-of_offsets)
        mean[1:] *= kept
        covariance[0, 1:] *= kept
        covariance[1:, 0] *= kept
        covariance[1:, 1:] *= kept**2
        for index, name in enumerate(self._names, 1):
            covariance[index, index] += self._place_variance(name) * (1 - kept**2)
        self._mean, self._covariance = mean, covariance

    def _place_variance(self, name: str) -> float:
        readings = self._anchors[name].readings
        return readings[-1].measurement.place_variance if readings else 0.0

    def _begin(self, time_s: float) -> None:
        """A new place: what was read before it does not count in it."""
        self._begin_s = time_s
        self._shape.begin()
        for anchor in self._anchors.values():
            anchor.begin()
        self._names = []
        self._mean, self._covariance = self._mean[:1], self._covariance[:1, :1]
        self._before = self._mean, self._covariance

    def _settle(self, time_s: float) -> None:
        """All that was read since the cut, weighed together; an anchor that comes later joins in the same way."""
        assert self._begin_s is not None
        fresh = time_s - self._begin_s < SETTLE_S
        said = {name: one for name, anchor in self._anchors.items() if (one := anchor.consensus(self._way)) is not None}
        if fresh:
            self._names = []
            self._mean, self._covariance = self._before
        else:
            recent = {name for name, anchor in self._anchors.items() if time_s - anchor.heard_s <= RECENT_S}
            said = {name: one for name, one in said.items() if name in recent - set(self._names)}
        agreed = _largest_agreement(said) if fresh else set(said)
        for name in sorted(agreed, key=lambda one: said[one].variance):
            anchor = self._anchors[name]
            index = self._joined(name, said[name].place_variance)
            gate_sd = SETTLE_GATE_SD if fresh else GATE_SD
            if self._correct(index, said[name].log_ratio, said[name].noise_variance, gate_sd=gate_sd):
                anchor.accept(time_s)
                self._believed = True
            else:
                self._leave(name)
                self._oppose(anchor, said[name], time_s)
        for name in said.keys() - agreed:
            self._oppose(self._anchors[name], said[name], time_s)

    def _update(self, name: str, anchor: AnchorTrack, time_s: float) -> None:
        """After the settling: the running median, which a few wild readings do not move, against the gate."""
        said = anchor.consensus(self._way)
        if said is None:
            return
        index = self._names.index(name) + 1
        if self._correct(index, said.log_ratio, said.noise_variance, len(anchor.readings)):
            anchor.accept(time_s)
        else:
            self._oppose(anchor, said, time_s)

    def _stands_alone_against_us(self, anchor: AnchorTrack, time_s: float) -> bool:
        """Whether the anchor has said something else for long, and nobody says what we say."""
        others = any(time_s - one.accepted_s <= RECENT_S for one in self._anchors.values())
        return anchor.opposed_for_s(time_s) > PATIENCE_S and not others

    def _joined(self, name: str, place_variance: float) -> int:
        self._names = [*self._names, name]
        size = len(self._names) + 1
        mean, covariance = np.zeros(size), np.zeros((size, size))
        mean[:-1], covariance[:-1, :-1] = self._mean, self._covariance
        covariance[-1, -1] = place_variance
        self._mean, self._covariance = mean, covariance
        return size - 1

    def _leave(self, name: str) -> None:
        kept = [0, *(index for index, one in enumerate(self._names, 1) if one != name)]
        self._names = [one for one in self._names if one != name]
        self._mean, self._covariance = self._mean[kept], self._covariance[np.ix_(kept, kept)]

    def _correct(
        self, index: int, log_ratio: float, noise_variance: float, readings: int = 1, gate_sd: float = GATE_SD
    ) -> bool:
        """Kalman's update by z = s + b; False where z is beyond the gate, which then changes nothing.

        `readings`: each of them is in about as many medians as a window holds, so that one median counts for less.
        """
        row = np.zeros(len(self._mean))
        row[[0, index]] = 1
        spread = self._covariance @ row
        known = float(row @ spread)
        innovation = log_ratio - float(row @ self._mean)
        if innovation**2 > gate_sd**2 * (known + noise_variance + FLICKER_SD**2):
            return False
        variance = known + readings * (noise_variance + FLICKER_SD**2)
        gain = spread / variance
        self._mean = self._mean + gain * innovation
        self._covariance = self._covariance - np.outer(gain, spread)
        return True

    def _oppose(self, anchor: AnchorTrack, said: Measurement, time_s: float) -> None:
        own_sd = math.sqrt(float(self._covariance[0, 0]))
        anchor.oppose(
            time_s,
            f"it says depth times {math.exp(said.log_ratio):.2f} (± {math.sqrt(said.variance):.0%}), what was believed "
            f"so far says {math.exp(self._mean[0]):.2f} (± {own_sd:.0%})",
        )


def _largest_agreement(said: dict[str, Measurement]) -> set[str]:
    """The most anchors that agree with one of them; of as many, those with the least variance."""
    best: tuple[int, float, set[str]] = (0, 0.0, set())
    for one in said.values():
        near = {
            name
            for name, other in said.items()
            if (one.log_ratio - other.log_ratio) ** 2 <= GATE_SD**2 * (one.variance + other.variance)
        }
        certainty = sum(1 / max(said[name].variance, 1e-9) for name in near)
        if (len(near), certainty) > best[:2]:
            best = len(near), certainty, near
    return best[2]
