# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Which CameraInfo belongs to an image: by its topic, and among the last ones by its stamp."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from depthclip_ros.core.calibration import base_topic, stamp_ns_of

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo


LACKING = "there are no clouds, no scan, no depth/camera_info and no anchors"  # where the focal length is a guess


def not_calibrated(image_topic: str) -> str:
    """What is said of a camera whose CameraInfo holds no calibration, and what to run."""
    return (
        "the camera is not calibrated (its camera_info has only zeros in K and P, or focal lengths of 1 pixel): depth "
        f"rests on an assumed field of view, and {LACKING}; calibrate it: ros2 run camera_calibration "
        f"cameracalibrator --size 8x6 --square 0.025 --ros-args -r image:={base_topic(image_topic)} "
        "-r camera/set_camera_info:=SERVICE (ros2 service list | grep set_camera_info names it), or give its field of "
        "view: input.assumed_hfov"
    )


class CameraInfoCache:
    """The last CameraInfos. Filled by the subscription, read by the worker, who is never kept waiting.

    A driver may send an image before its CameraInfo. `wait_s` says for how long one should lie for a CameraInfo that
    is likely to come: the first one where somebody publishes them, and that of the image's own stamp where the image
    before had its own.
    """

    def __init__(self, size: int = 32, first_wait_s: float = 1.0, own_wait_s: float = 0.05) -> None:
        self._lock = threading.Lock()
        self._by_stamp: OrderedDict[int, CameraInfo] = OrderedDict()
        self._newest: CameraInfo | None = None
        self._newest_ns = 0
        self._received_s: float | None = None
        self._asked_ns: int | None = None
        self._first_until_s = math.inf  # the first one is waited for
        self._size = size
        self._first_wait_s = first_wait_s
        self._own_wait_s = own_wait_s

    def put(self, info: CameraInfo) -> None:
        """Remember a CameraInfo; the oldest is forgotten."""
        with self._lock:
            self._newest_ns = stamp_ns_of(info.header.stamp)
            self._newest = info
            self._received_s = time.monotonic()
            self._by_stamp[self._newest_ns] = info
            self._by_stamp.move_to_end(self._newest_ns)
            while len(self._by_stamp) > self._size:
                self._by_stamp.popitem(last=False)

    def wait_s(self, stamp_ns: int, age_s: float, expected: Callable[[], bool]) -> float:
        """Seconds for which the image of this stamp should still wait; 0: `find` has what there will be.

        Args:
            stamp_ns: the image's stamp.
            age_s: how long it has waited.
            expected: whether anybody publishes CameraInfo. Without any so far, images wait for the first one, once and
                no longer than one of them would.
        """
        with self._lock:
            if self._newest is None:
                if not expected():
                    return 0.0
                now_s = time.monotonic()
                self._first_until_s = min(self._first_until_s, now_s + self._first_wait_s - age_s)
                return max(0.0, self._first_until_s - now_s)
            may_come = self._asked_ns in self._by_stamp and self._newest_ns < stamp_ns
            return max(0.0, self._own_wait_s - age_s) if may_come else 0.0

    def find(self, stamp_ns: int) -> CameraInfo | None:
        """The CameraInfo of this stamp, else the newest, else None."""
        with self._lock:
            self._asked_ns = stamp_ns
            return self._by_stamp.get(stamp_ns, self._newest)

    def has(self, stamp_ns: int) -> bool:
        """Whether the CameraInfo of this stamp is there."""
        with self._lock:
            return stamp_ns in self._by_stamp

    @property
    def age_s(self) -> float | None:
        """Seconds since the last CameraInfo came; None if none has."""
        received_s = self._received_s
        return None if received_s is None else time.monotonic() - received_s
