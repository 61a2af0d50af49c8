"""Which of the last CameraInfos belongs to an image."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from depthclip_ros.core.calibration import camera_model, stamp_ns_of

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo

__all__ = ["CameraInfoCache", "camera_model", "stamp_ns_of"]


class CameraInfoCache:
    """The last CameraInfos. Filled by the subscription, read by the worker.

    A driver may send an image before its CameraInfo. The reader waits for a CameraInfo that is likely to come: the
    first one where somebody publishes them, and that of the image's own stamp where the image before had its own.
    """

    def __init__(self, size: int = 32, first_wait_s: float = 1.0, own_wait_s: float = 0.05) -> None:
        self._changed = threading.Condition()
        self._by_stamp: OrderedDict[int, CameraInfo] = OrderedDict()
        self._newest: CameraInfo | None = None
        self._newest_ns = 0
        self._received_s: float | None = None
        self._asked_ns: int | None = None
        self._size = size
        self._first_wait_s = first_wait_s
        self._own_wait_s = own_wait_s
        self._closed = False

    def put(self, info: CameraInfo) -> None:
        """Remember a CameraInfo; the oldest is forgotten."""
        with self._changed:
            self._newest_ns = stamp_ns_of(info.header.stamp)
            self._newest = info
            self._received_s = time.monotonic()
            self._by_stamp[self._newest_ns] = info
            self._by_stamp.move_to_end(self._newest_ns)
            while len(self._by_stamp) > self._size:
                self._by_stamp.popitem(last=False)
            self._changed.notify_all()

    def find(self, stamp_ns: int, expected: bool) -> CameraInfo | None:
        """The CameraInfo of this stamp, else the newest, else None.

        Args:
            stamp_ns: the image's stamp.
            expected: whether anybody publishes CameraInfo. Without any so far, the first image waits for the first one.
        """
        with self._changed:
            if self._newest is None and expected and self._asked_ns is None:
                self._changed.wait_for(lambda: self._closed or self._newest is not None, self._first_wait_s)
            previous_had_its_own = self._asked_ns is not None and self._asked_ns in self._by_stamp
            if previous_had_its_own and self._newest_ns < stamp_ns:
                self._changed.wait_for(lambda: self._closed or self._newest_ns >= stamp_ns, self._own_wait_s)
            self._asked_ns = stamp_ns
            return self._by_stamp.get(stamp_ns, self._newest)

    def find_own(self, stamp_ns: int, wait_s: float) -> CameraInfo | None:
        """The CameraInfo of this stamp, waiting for it for so long; None if it does not come."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or stamp_ns in self._by_stamp, wait_s)
            return self._by_stamp.get(stamp_ns)

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def age_s(self) -> float | None:
        """Seconds since the last CameraInfo came; None if none has."""
        received_s = self._received_s
        return None if received_s is None else time.monotonic() - received_s
