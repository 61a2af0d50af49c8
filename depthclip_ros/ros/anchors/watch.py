# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The thread that compares readings with depth after the depth is out: no anchor ever delays an image."""

from __future__ import annotations

import math
import re
import threading
import time
import traceback
from collections import deque
from typing import Any

from depthclip_ros.core.anchors.coverage import RunningCoverage, share_inside
from depthclip_ros.core.anchors.estimator import PRIOR_SD, ScaleEstimate, ScaleEstimator
from depthclip_ros.core.anchors.track import Verdict
from depthclip_ros.core.errors import DepthClipError, InputError
from depthclip_ros.core.transforms import TransformNotYetError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros.anchors.imu import down_of
from depthclip_ros.ros.anchors.report import AnchorReport, Count, Reading
from depthclip_ros.ros.anchors.sources import (
    ON_FRAMES,
    THROUGH_TF,
    AnchorFrame,
    AnchorOptions,
    FrameAnchors,
    Lookup,
    measure_reading,
)

MATCH_S = 0.1  # between a reading and an image of the same moment
WAIT_S = 0.5  # for an image, or a transform, of a reading's time
OTHER_CLOCK_S = 10.0
SILENT_S = 1.0  # since the last image: then no clock is to blame
ANEW_S = 5.0  # another camera is told of so often at most: two that share a topic come by turns
RATE_HZ = 10.0  # each anchor is measured so often at most: more readings of one place say little more
FRAMES = 8


class AnchorWatch:
    """The anchors of one camera. Its estimate lives as long as the watch; the thread from `start` to `end`.

    Attributes:
        estimate: the present scale; replaced whole, so that any thread may read it.
        reports: by name of the anchor; replaced whole.
    """

    def __init__(
        self, options: AnchorOptions, transforms: Lookup, logger: Any, label: str = "", prior_sd: float = PRIOR_SD
    ) -> None:
        self.estimate = ScaleEstimate()
        self.reports: dict[str, AnchorReport] = {}
        self._options = options
        self._transforms = transforms
        self._logger = logger
        self._label = label
        self._estimator = ScaleEstimator(prior_sd)
        self._coverage = RunningCoverage()
        self._on_frames = FrameAnchors(options)
        self._counts: dict[str, Count] = {}
        self._frames: deque[AnchorFrame] = deque(maxlen=FRAMES)
        self._first_frame_id: dict[str, str] = {}
        self._frame_came_s = 0.0  # the newest, by this machine's clock
        self._camera: tuple[Intrinsics, str, float] | None = None
        self._anew_s = -math.inf  # when it was said that they begin anew
        self._said: set[str] = set()
        self._changed = threading.Condition()
        self._newest: tuple[AnchorFrame, float] | None = None
        self._readings: deque[Reading] = deque(maxlen=64)
        self._held: list[Reading | tuple[str, AnchorFrame, float]] = []
        self._thread: threading.Thread | None = None
        self._ended = True

    def start(self) -> None:
        """Begin to measure."""
        self._ended = False
        self._said.clear()
        self._thread = threading.Thread(target=self._work, name=f"{self._label}anchors", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Measure no more; never waits."""
        with self._changed:
            self._ended = True
            self._readings.clear()
            self._newest = None
            self._changed.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for the measurement in work, after `end`; False if that hangs. What was learnt stays, and is said."""
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        thread.join(timeout_s)
        if thread.is_alive():
            self._thread = thread
            return False
        self._frames.clear()
        self._held.clear()
        estimate = self.estimate
        if estimate.log_scale_sd is not None and self._camera is not None:
            self._logger.info(
                f"{self._label}the anchors say depth times {estimate.factor:.3f} (± {estimate.log_scale_sd:.1%}); to "
                f"begin with it next time, set scale.factor, or this camera's of scale.factors, to "
                f"{self._camera[2] * estimate.factor:.3f}"
            )
        return True

    def offer(self, frame: AnchorFrame, base_factor: float) -> None:
        """A frame whose depth is out; never waits.

        Args:
            frame: the newest.
            base_factor: the user's own, `scale.factor` times the camera's: another one begins anew.
        """
        with self._changed:
            self._newest = frame, base_factor
            self._changed.notify()

    @property
    def coverage(self) -> float:
        """Share of what scan, points and depth measured that lay within the published intervals; NaN without."""
        return self._coverage.share

    def on_reading(self, kind: str, message: Any, stamp_ns: int) -> None:
        """A message of an anchor's topic; never waits. Of sensors each frame_id is an anchor of its own."""
        sensor = message.header.frame_id
        first = self._first_frame_id.setdefault(kind, sensor)
        name = kind if sensor == first or kind not in THROUGH_TF else f"{kind} {sensor}"
        if not self._is_due(name, stamp_ns):
            return
        with self._changed:
            if not self._ended:
                self._readings.append(Reading(kind, name, message, stamp_ns, time.monotonic()))
                self._changed.notify()

    def on_imu(self, message: Any, stamp_ns: int) -> None:
        """Which way is down, for the floor; never waits."""
        self._on_frames.down = down_of(message, stamp_ns) or self._on_frames.down

    def complain(self, name: str, reason: str) -> None:
        """Count and name what is wrong with an anchor: once, whatever the numbers in it."""
        count = self._counts.setdefault(name, Count())
        count.refusal = reason
        self._say(f"anchor {name}: {reason}")

    def _say(self, sentence: str) -> None:
        kind = re.sub(r"\d+", "#", sentence)
        if kind not in self._said:
            self._said.add(kind)
            self._logger.warning(f"{self._label}{sentence}; depth goes on without it")

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._ended and self._newest is None and not self._readings:
                    if not self._changed.wait(WAIT_S if self._held else None):
                        break
                if self._ended:
                    return
                newest, self._newest = self._newest, None
                readings = [*self._readings]
                self._readings.clear()
            try:
                if newest is not None:
                    self._take_frame(*newest)
                self._held += readings
                self._measure_held()
                self._report()
            except Exception:
                self._say(f"anchors failed: {traceback.format_exc()}")

    def _take_frame(self, frame: AnchorFrame, base_factor: float) -> None:
        camera = frame.camera, frame.frame_id, base_factor
        if self._camera is not None and camera != self._camera:
            if time.monotonic() - self._anew_s > ANEW_S:
                self._logger.info(f"{self._label}another camera or scale.factor: the anchors begin anew")
                self._anew_s = time.monotonic()
            self._estimator.reset()
            self._coverage = RunningCoverage()
            self._on_frames.forget()
            self._frames.clear()
        self._camera = camera
        if self._frames and frame.stamp_ns < self._frames[-1].stamp_ns:  # a new timeline
            self._frames.clear()
            self._on_frames.forget()
        self._frames.append(frame)
        self._frame_came_s = time.monotonic()
        self._estimator.see(frame.stamp_ns * 1e-9, frame.prediction.depth_m, frame.rgb)
        for kind in ON_FRAMES:
            if kind in self._options.names and self._is_due(kind, frame.stamp_ns):
                self._held.append((kind, frame, time.monotonic()))

    def _is_due(self, name: str, stamp_ns: int) -> bool:
        measured_ns = self._counts.setdefault(name, Count()).measured_ns
        return not 0 <= stamp_ns - measured_ns < 0.9e9 / RATE_HZ

    def _measure_held(self) -> None:
        """Measure what waits; what may still get its image or transform waits on, for `WAIT_S`."""
        waiting = []
        for held in self._held:
            kind, frame, came_s = held if isinstance(held, tuple) else (held.kind, None, held.came_s)
            name, stamp_ns = (kind, frame.stamp_ns) if frame else (held.name, held.stamp_ns)  # type: ignore[union-attr]
            may_wait = time.monotonic() - came_s < WAIT_S
            if not self._is_due(name, stamp_ns):
                continue
            try:
                if frame is None:
                    frame = self._frame_of(stamp_ns, may_wait)
                    if frame is None:
                        waiting.append(held)
                        continue
                self._measure(kind, name, None if isinstance(held, tuple) else held, frame, may_wait)
            except TransformNotYetError as error:
                if may_wait:
                    waiting.append(held)
                else:
                    self._refuse(name, stamp_ns, str(error))
            except DepthClipError as error:
                self._refuse(name, stamp_ns, str(error))
            except Exception as error:  # of one reading, which must not hold up the others
                self._say(f"anchors failed: {traceback.format_exc()}")
                self._refuse(name, stamp_ns, f"{type(error).__name__}: {error}")
        self._held = waiting

    def _frame_of(self, stamp_ns: int, may_wait: bool) -> AnchorFrame | None:
        """The frame of a reading; None where a nearer one may come.

        Raises:
            InputError: none is near it in time.
        """
        if not self._frames:
            if may_wait:
                return None
            raise InputError(
                "no depth to compare it with yet: no image comes, the camera is not calibrated, or nobody subscribes"
            )
        silent_s = time.monotonic() - self._frame_came_s
        nearest = min(self._frames, key=lambda frame: abs(frame.stamp_ns - stamp_ns))
        apart_s = (stamp_ns - nearest.stamp_ns) * 1e-9
        if not may_wait and apart_s > MATCH_S and silent_s > SILENT_S:
            raise InputError(f"no depth to compare it with for {silent_s:.0f} s: no image comes, or nobody subscribes")
        if abs(apart_s) > OTHER_CLOCK_S and silent_s <= SILENT_S:
            raise InputError(f"its stamp is {apart_s:+.0f} s from the image's: another clock; synchronise the two")
        if nearest is self._frames[-1] and apart_s > 0 and may_wait:
            return None
        if abs(apart_s) > MATCH_S:
            raise InputError(
                f"its stamp is {apart_s:+.3g} s from that of the nearest image that has depth; {MATCH_S:g} s is the "
                "most: images are overtaken by newer ones, or the clocks differ"
            )
        return nearest

    def _measure(self, kind: str, name: str, reading: Reading | None, frame: AnchorFrame, may_wait: bool) -> None:
        start_s, seen = time.perf_counter(), None
        if reading is None:
            measured = self._on_frames.measure(kind, frame, self._transforms, patient=may_wait)
        else:
            told = reading.message, reading.stamp_ns
            measured, seen = measure_reading(kind, *told, frame, self._transforms, patient=may_wait)
            if seen is not None and frame.half_width is not None:
                share = share_inside(frame.published, frame.half_width, seen)
                self._coverage.add(frame.stamp_ns * 1e-9, share)
        count = self._counts.setdefault(name, Count())
        count.measured_ns = frame.stamp_ns if reading is None else reading.stamp_ns
        taken_ms = (time.perf_counter() - start_s) * 1e3
        count.measure_ms = taken_ms if not count.measure_ms else 0.9 * count.measure_ms + 0.1 * taken_ms
        if measured is not None:
            count.used += 1
            if self._estimator.add(name, frame.stamp_ns * 1e-9, measured) and seen is not None:
                self._estimator.learn_shape(frame.prediction, frame.shape, seen, frame.half_width, frame.judged_share)

    def _refuse(self, name: str, stamp_ns: int, reason: str) -> None:
        count = self._counts.setdefault(name, Count())
        count.refused += 1
        count.measured_ns = stamp_ns
        self.complain(name, reason)
        now_s = self._frames[-1].stamp_ns * 1e-9 if self._frames else stamp_ns * 1e-9
        self._estimator.refuse(name, now_s, reason)

    def _report(self) -> None:
        self.estimate = self._estimator.estimate
        now_s = self._frames[-1].stamp_ns * 1e-9 if self._frames else 0.0
        verdicts = {one.name: one for one in self._estimator.verdicts(now_s)}
        for name in self._options.names:
            verdicts.setdefault(name, Verdict(name, "silent", "nothing has come", float("nan")))
        self.reports = {
            name: AnchorReport(verdict, count.used, count.refused, count.refusal, count.measure_ms)
            for name, verdict in verdicts.items()
            for count in [self._counts.get(name, Count())]
        }
        for name, verdict in verdicts.items():
            if verdict.state == "disagrees":
                self._say(f"anchor {name} disagrees: {verdict.reason}")
