# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The thread that fills and publishes what nobody needs at once, so that depth never waits for a cloud."""

from __future__ import annotations

import threading
import traceback
from typing import TYPE_CHECKING, Any

from depthclip_ros.ros.depth_node.diagnostics import Throttle
from depthclip_ros.ros.depth_node.mailbox import Mailboxes

if TYPE_CHECKING:
    from depthclip_ros.ros.depth_node.outputs import LateFrame, Outputs


class LateOutputs:
    """Publishes one camera's cloud, confidence, picture and stats from `start` to `close`; the newest frame wins."""

    def __init__(self, outputs: Outputs, logger: Any, name: str = "") -> None:
        self._outputs = outputs
        self._logger = logger
        self._label = f"{name}: " if name else ""
        self._mailboxes: Mailboxes[LateFrame] = Mailboxes()
        self._box = self._mailboxes.add()
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

    def _work(self) -> None:
        while frames := self._mailboxes.take():
            try:
                self._outputs.publish_late(frames[0])
            except Exception as error:
                if self._throttle.passes(f"{type(error).__name__}: {error}"):
                    self._logger.error(f"{self._label}outputs of a frame failed: {traceback.format_exc()}")
            frames.clear()  # nothing is held while there is nothing to do
