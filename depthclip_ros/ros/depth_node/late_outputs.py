# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The thread that fills and publishes what nobody needs at once, so that depth never waits for a cloud."""

from __future__ import annotations

import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from depthclip_ros.ros.depth_node.diagnostics import Throttle
from depthclip_ros.ros.depth_node.mailbox import Mailboxes

if TYPE_CHECKING:
    from depthclip_ros.ros.depth_node.outputs import LateFrame, Outputs


SCAN_WAIT_S = 0.2  # for the transforms of an image's time: joints and wheels speak later than a fast network
LOOK_AGAIN_S = 0.01


@dataclass(frozen=True)
class LateScan:
    """The scan of a frame, which may have to wait for its transforms."""

    frame: LateFrame
    came_s: float


class LateOutputs:
    """Publishes one camera's clouds, confidence, picture, stats and scan; the newest frame wins."""

    def __init__(self, outputs: Outputs, logger: Any, name: str = "") -> None:
        self._outputs = outputs
        self._logger = logger
        self._label = f"{name}: " if name else ""
        self._mailboxes: Mailboxes[LateFrame | LateScan] = Mailboxes()
        self._box = self._mailboxes.add()
        self._scans = self._mailboxes.add(self._scan_waits_s)
        self._throttle = Throttle()
        self._thread = threading.Thread(target=self._work, name=f"{self._label}late outputs", daemon=True)

    @property
    def overtaken(self) -> int:
        """How many frames gave way to a newer one before any of it was published."""
        return self._box.overtaken

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def close(self) -> None:
        """Take no more; what waits is let go."""
        self._mailboxes.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of the frame in work, after `close`; False if that hangs."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def put(self, frame: LateFrame) -> None:
        """Hand over; never waits."""
        self._box.put(frame)
        if self._outputs.has_scan_of(frame):
            self._scans.put(LateScan(frame, time.monotonic()))

    def _scan_waits_s(self, late: LateFrame | LateScan) -> float:
        assert isinstance(late, LateScan)
        left_s = late.came_s + SCAN_WAIT_S - time.monotonic()
        return 0.0 if self._outputs.may_scan(late.frame) else min(left_s, LOOK_AGAIN_S)

    def _work(self) -> None:
        while taken := self._mailboxes.take():
            while taken:  # nothing is held while there is nothing to do
                self._publish(taken.pop(0))

    def _publish(self, late: LateFrame | LateScan) -> None:
        try:
            if isinstance(late, LateScan):
                self._outputs.publish_scan(late.frame)
            else:
                self._outputs.publish_late(late)
        except Exception as error:
            if self._throttle.passes(f"{type(error).__name__}: {error}"):
                self._logger.error(f"{self._label}outputs of a frame failed: {traceback.format_exc()}")
