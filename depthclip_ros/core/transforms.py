# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Transforms of /tf and /tf_static, recorded or live: where a point of one frame lies in another, each at its own time.

tf2's buffer is not on PyPI, and its lookup takes both ends at one time unless a fixed frame is named.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.calibration import stamp_ns_of
from depthclip_ros.core.errors import InputError

Matrix = NDArray[np.float64]


LATE_NS, NEW_TIMELINE = 10**9, 3
"""A transform may be so late; so many of one frame in a row that are later, and increase, are of a new timeline."""


class TransformNotYetError(InputError):
    """A transform of this time may still come: the newest known one is older."""


class Transforms:
    """A tree of frames. Between two known transforms it interpolates (linear, and along the shortest rotation).

    Attributes:
        parents: by child frame.
        refused: transforms that could not be taken in: not finite, a rotation of length 0, a frame in itself.
    """

    def __init__(self, *, max_gap_s: float = math.inf, history_s: float = math.inf) -> None:
        """Make an empty tree.

        Args:
            max_gap_s: between two transforms further apart nothing is interpolated.
            history_s: older transforms are forgotten; a stamp that goes back by more begins a new history, and so do
                three in a row that are more than a second late. Without it none is forgotten, whatever their order.
        """
        self.parents: dict[str, str] = {}
        self.refused = 0
        self._max_gap_ns = max_gap_s * 1e9
        self._history_ns = history_s * 1e9
        self._fixed: dict[str, Matrix] = {}
        self._times_ns: dict[str, list[int]] = defaultdict(list)  # by child, ascending
        self._behind: dict[str, list[int]] = defaultdict(list)  # by child: the last ones, as far as they were late
        self._rows: dict[str, dict[int, NDArray[np.float64]]] = defaultdict(dict)  # by child, time: t, q

    def add(self, message: Any, *, is_static: bool) -> None:
        """Takes in a TFMessage."""
        for one in message.transforms:
            parent, child = one.header.frame_id.lstrip("/"), one.child_frame_id.lstrip("/")
            t, q = one.transform.translation, one.transform.rotation
            row = np.array([t.x, t.y, t.z, q.x, q.y, q.z, q.w], np.float64)
            if not np.isfinite(row).all() or not row[3:].any() or parent == child:
                self.refused += 1
                continue
            self.parents[child] = parent
            if is_static:
                self._fixed[child] = matrix_of(row)
            else:
                self._put(child, stamp_ns_of(one.header.stamp), row)

    def forget(self) -> None:
        """Of what moves, begin a new history."""
        self._times_ns.clear()
        self._rows.clear()
        self._behind.clear()

    def common_frames(self, source: str, target: str) -> list[str]:
        """Frames above both, the nearest first.

        Raises:
            InputError: the two hang on no common frame.
        """
        above_source, above_target = self._ancestors(source), self._ancestors(target)
        common = [frame for frame in above_source if frame in above_target]
        if not common:
            raise InputError(
                f"no chain of transforms leads from {source!r} to {target!r}: {source!r} hangs on "
                f"{above_source[-1]!r}, {target!r} on {above_target[-1]!r}; /tf and /tf_static must hold both"
            )
        return common

    def between(self, source: str, source_ns: int, target: str, target_ns: int, *, patient: bool = False) -> Matrix:
        """4x4: takes a point of `source` at one time to `target` at another.

        What moved in between is taken out through the highest common frame (map or odom, where they are known),
        else through the nearest one; at one time all of them say the same, and the nearest needs the least.

        Args:
            source: the frame that the point is given in.
            source_ns: when, as a stamp in nanoseconds.
            target: the frame that it is wanted in.
            target_ns: when.
            patient: where the highest common frame may be known of these times soon, say so in place of leaving out
                the motion.

        Raises:
            InputError: no chain, or a time for which a transform of it is not known.
            TransformNotYetError: as InputError, and a later message may bring it.
        """
        source, target = source.lstrip("/"), target.lstrip("/")
        common = self.common_frames(source, target)
        if source_ns != target_ns and len(common) > 1:
            try:
                return self._through(common[-1], source, source_ns, target, target_ns)
            except InputError as error:
                if patient and isinstance(error, TransformNotYetError):
                    raise
        return self._through(common[0], source, source_ns, target, target_ns)

    def moved(self, fixed: str, frame: str, from_ns: int, to_ns: int) -> Matrix:
        """4x4: takes a point of `frame` at one time to `frame` at another, of a world that stands still in `fixed`.

        Raises:
            InputError, TransformNotYetError: as `between`; also where `fixed` is not above `frame`.
        """
        fixed, frame = fixed.lstrip("/"), frame.lstrip("/")
        if fixed not in self._ancestors(frame):
            raise InputError(f"{frame!r} does not hang on {fixed!r}; publish /tf from {fixed!r} to it")
        return self._through(fixed, frame, from_ns, frame, to_ns)

    def _through(self, fixed: str, source: str, source_ns: int, target: str, target_ns: int) -> Matrix:
        to_target = np.linalg.inv(self._up(target, fixed, target_ns))
        return np.asarray(to_target @ self._up(source, fixed, source_ns))

    def _ancestors(self, frame: str) -> list[str]:
        found = [frame.lstrip("/")]
        while (parent := self.parents.get(found[-1])) is not None:
            if parent in found:
                raise InputError(f"the transforms go round in a circle through {parent!r}; is one of them inverted?")
            found.append(parent)
        return found

    def _up(self, frame: str, ancestor: str, time_ns: int) -> Matrix:
        matrix = np.eye(4)
        while frame != ancestor:
            matrix = self._edge(frame, time_ns) @ matrix
            frame = self.parents[frame]
        return matrix

    def _put(self, child: str, time_ns: int, row: NDArray[np.float64]) -> None:
        times_ns, rows = self._times_ns[child], self._rows[child]
        if times_ns and self._is_new_timeline(self._behind[child], time_ns, times_ns[-1]):
            kept = {ns: rows[ns] for ns in self._behind.pop(child) if ns in rows}
            times_ns[:] = kept
            rows.clear()
            rows.update(kept)
        if time_ns not in rows:
            insort(times_ns, time_ns)
        rows[time_ns] = row
        while times_ns[0] < times_ns[-1] - self._history_ns:
            del rows[times_ns.pop(0)]

    def _is_new_timeline(self, behind: list[int], time_ns: int, newest_ns: int) -> bool:
        """Whether a bag loops, a simulation was reset, or a clock corrected; `behind`: the stamps that speak for it."""
        if time_ns >= newest_ns - LATE_NS or (behind and time_ns <= behind[-1]):
            behind.clear()
        if time_ns < newest_ns - LATE_NS:
            behind.append(time_ns)
        return time_ns < newest_ns - self._history_ns or (
            len(behind) >= NEW_TIMELINE and math.isfinite(self._history_ns)
        )

    def _edge(self, child: str, time_ns: int) -> Matrix:
        if child in self._fixed:
            return self._fixed[child]
        times_ns, rows = self._times_ns[child], self._rows[child]
        if not times_ns:
            raise TransformNotYetError(f"nothing is known yet of the transform of {child!r}")
        if not times_ns[0] <= time_ns <= times_ns[-1]:
            kind = TransformNotYetError if time_ns > times_ns[-1] else InputError
            raise kind(
                f"the transform of {child!r} is known from {times_ns[0] / 1e9:.3f} to {times_ns[-1] / 1e9:.3f} s, "
                f"not at {time_ns / 1e9:.3f} s"
            )
        after = bisect_left(times_ns, time_ns)
        if times_ns[after] == time_ns:
            return matrix_of(rows[time_ns])
        before_ns, after_ns = times_ns[after - 1], times_ns[after]
        if after_ns - before_ns > self._max_gap_ns:
            raise InputError(
                f"the transform of {child!r} has a gap of {(after_ns - before_ns) / 1e9:.3f} s at "
                f"{time_ns / 1e9:.3f} s; at most {self._max_gap_ns / 1e9:g} s is bridged"
            )
        return _interpolated(rows[before_ns], rows[after_ns], (time_ns - before_ns) / (after_ns - before_ns))


def matrix_of(row: NDArray[np.float64]) -> Matrix:
    """4x4 of a translation and a quaternion, [7]: x y z of the one, x y z w of the other, of any length above 0."""
    x, y, z, w = row[3:] / np.linalg.norm(row[3:])
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = row[:3]
    return matrix


def _interpolated(before: NDArray[np.float64], after: NDArray[np.float64], share: float) -> Matrix:
    """Shoemake's slerp ("Animating rotation with quaternion curves", 1985) beside a straight line."""
    a, b = before[3:] / np.linalg.norm(before[3:]), after[3:] / np.linalg.norm(after[3:])
    cosine = float(a @ b)
    if cosine < 0:  # the same rotation by the other quaternion is the shorter way
        b, cosine = -b, -cosine
    angle = math.acos(min(1.0, cosine))
    # sin(part * angle) over angle, which is `part` where the two are one rotation; `matrix_of` takes any length
    weights = [part * np.sinc(part * angle / math.pi) for part in (1 - share, share)]
    translation = (1 - share) * before[:3] + share * after[:3]
    return matrix_of(np.concatenate([translation, weights[0] * a + weights[1] * b]))
