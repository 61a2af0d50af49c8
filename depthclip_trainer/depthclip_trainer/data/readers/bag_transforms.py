"""The transforms of a recording (/tf, /tf_static): where a point of one frame lies in another, each at its own time."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.calibration import stamp_ns_of
from depthclip_ros.core.errors import InputError

Matrix = NDArray[np.float64]


class Transforms:
    """A tree of frames. Between two recorded transforms it interpolates (linear, and along the shortest rotation).

    `parents` is by child frame.
    """

    def __init__(self) -> None:
        self.parents: dict[str, str] = {}
        self._fixed: dict[str, Matrix] = {}
        self._moving: dict[str, dict[int, NDArray[np.float64]]] = defaultdict(dict)  # child → time → t, q
        self._tables: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}

    def add(self, message: Any, *, is_static: bool) -> None:
        """Takes in a TFMessage."""
        for one in message.transforms:
            parent, child = one.header.frame_id.lstrip("/"), one.child_frame_id.lstrip("/")
            t, q = one.transform.translation, one.transform.rotation
            row = np.array([t.x, t.y, t.z, q.x, q.y, q.z, q.w], np.float64)
            if not np.isfinite(row).all() or not row[3:].any():
                continue
            self.parents[child] = parent
            if is_static:
                self._fixed[child] = _matrix(row)
            else:
                self._moving[child][stamp_ns_of(one.header.stamp)] = row
                self._tables.pop(child, None)

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
                f"{above_source[-1]!r}, {target!r} on {above_target[-1]!r}; record /tf and /tf_static with both"
            )
        return common

    def between(self, source: str, source_ns: int, target: str, target_ns: int) -> Matrix:
        """4x4: takes a point of `source` at one time to `target` at another.

        What moved in between is taken out through the highest common frame (map or odom, where they are recorded),
        else through the nearest one.

        Raises:
            InputError: no chain, or a time for which a transform of it was not recorded.
        """
        source, target = source.lstrip("/"), target.lstrip("/")
        common = self.common_frames(source, target)
        try:
            return self._through(common[-1], source, source_ns, target, target_ns)
        except InputError:
            if len(common) == 1:
                raise
        return self._through(common[0], source, source_ns, target, target_ns)

    def _through(self, fixed: str, source: str, source_ns: int, target: str, target_ns: int) -> Matrix:
        to_target = np.linalg.inv(self._up(target, fixed, target_ns))
        return np.asarray(to_target @ self._up(source, fixed, source_ns))

    def _ancestors(self, frame: str) -> list[str]:
        found = [frame.lstrip("/")]
        while (parent := self.parents.get(found[-1])) is not None:
            if parent in found:
                raise InputError(f"the transforms go round in a circle through {parent!r}")
            found.append(parent)
        return found

    def _up(self, frame: str, ancestor: str, time_ns: int) -> Matrix:
        matrix = np.eye(4)
        while frame != ancestor:
            matrix = self._edge(frame, time_ns) @ matrix
            frame = self.parents[frame]
        return matrix

    def _edge(self, child: str, time_ns: int) -> Matrix:
        if child in self._fixed:
            return self._fixed[child]
        if child not in self._tables:
            rows = self._moving[child]
            times = np.array(sorted(rows), np.int64)
            self._tables[child] = times, np.stack([rows[int(time)] for time in times])
        times_ns, values = self._tables[child]
        if not times_ns[0] <= time_ns <= times_ns[-1]:
            raise InputError(
                f"the transform of {child!r} is known from {times_ns[0] / 1e9:.3f} to {times_ns[-1] / 1e9:.3f} s, "
                f"not at {time_ns / 1e9:.3f} s"
            )
        after = int(np.searchsorted(times_ns, time_ns))
        if times_ns[after] == time_ns:
            return _matrix(values[after])
        share = (time_ns - times_ns[after - 1]) / (times_ns[after] - times_ns[after - 1])
        return _interpolated(values[after - 1], values[after], float(share))


def _matrix(row: NDArray[np.float64]) -> Matrix:
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat(row[3:]).as_matrix()
    matrix[:3, 3] = row[:3]
    return matrix


def _interpolated(before: NDArray[np.float64], after: NDArray[np.float64], share: float) -> Matrix:
    from scipy.spatial.transform import Rotation, Slerp

    matrix = np.eye(4)
    matrix[:3, :3] = Slerp([0.0, 1.0], Rotation.from_quat([before[3:], after[3:]]))(share).as_matrix()
    matrix[:3, 3] = (1 - share) * before[:3] + share * after[:3]
    return matrix
