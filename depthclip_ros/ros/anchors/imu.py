# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Which way is down, of an IMU on the robot: the attitude of a camera on legs, on a handle or on a slope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.transforms import matrix_of

GRAVITY_M_S2, MOST_OFF = 9.81, 0.1  # an acceleration of another size is the robot's own
OLDEST_S = 0.5


@dataclass(frozen=True)
class Down:
    """Unit vector [3] towards the ground in an IMU's frame, at a time."""

    frame_id: str
    stamp_ns: int
    vector: NDArray[np.float64]


def down_of(message: Any, stamp_ns: int) -> Down | None:
    """Of a sensor_msgs/Imu: by its orientation (REP-145: in a world whose z is up), else by gravity.

    None where it tells neither: no orientation, and an acceleration that is not gravity alone.
    """
    q = message.orientation
    turn = np.array([q.x, q.y, q.z, q.w])
    if message.orientation_covariance[0] != -1 and abs(np.linalg.norm(turn) - 1) < 0.01:  # false for NaN
        return Down(message.header.frame_id, stamp_ns, -matrix_of(np.concatenate([np.zeros(3), turn]))[2, :3])
    a = message.linear_acceleration
    felt = np.array([a.x, a.y, a.z], np.float64)
    size = float(np.linalg.norm(felt))
    if message.linear_acceleration_covariance[0] == -1 or not abs(size - GRAVITY_M_S2) <= MOST_OFF * GRAVITY_M_S2:
        return None
    return Down(message.header.frame_id, stamp_ns, -felt / size)


def check_recent(down: Down, stamp_ns: int) -> None:
    """Refuse an attitude of another moment than an image's.

    Raises:
        InputError: more than `OLDEST_S` lie between.
    """
    apart_s = abs(stamp_ns - down.stamp_ns) * 1e-9
    if apart_s > OLDEST_S:
        raise InputError(f"the IMU's attitude is {apart_s:.1f} s from the image's; {OLDEST_S:g} s is the most")
