# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The thread that turns images into depth: round after round, the newest image of every camera that has one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from depthclip_ros.core.errors import DeviceError, NotReadyError
from depthclip_ros.core.types import ViewDepth
from depthclip_ros.ros.depth_node.camera import Arrival, Camera, Task
from depthclip_ros.ros.depth_node.mailbox import Mailboxes

if TYPE_CHECKING:
    from depthclip_ros.core.engine import DepthEngine

JOIN_S = 10.0  # the threads end after the frame they are at; longer than this they hang in a device


class DepthWorker:
    """Runs from `start` to `stop`, once. Nothing stops it but its end, and no camera waits for another's image.

    Attributes:
        mailboxes: where the cameras' images come from.
        cameras: to be appended before `start`.
        doing: what it is at, for a person; "" where it waits for images.
    """

    def __init__(self, engine: DepthEngine, logger: Any) -> None:
        self.mailboxes: Mailboxes[Arrival] = Mailboxes()
        self.cameras: list[Camera] = []
        self.doing = ""
        self._since_s = 0.0
        self._engine = engine
        self._logger = logger
        self._ended = False
        self._pool: ThreadPoolExecutor | None = None
        self._thread = threading.Thread(target=self._work, name="depth worker", daemon=True)

    @property
    def doing_s(self) -> float:
        """Seconds since it began with what it is at."""
        return time.monotonic() - self._since_s if self.doing else 0.0

    def start(self) -> None:
        """Begin to work."""
        if len(self.cameras) > 1:
            threads = min(len(self.cameras), os.cpu_count() or 1)
            self._pool = ThreadPoolExecutor(threads, thread_name_prefix="prepare")
        for camera in self.cameras:
            camera.late.start()
        self._thread.start()

    def stop(self, timeout_s: float = JOIN_S) -> bool:
        """End after the frames in work; False if that takes longer. Nothing of them is published then."""
        end_s = time.monotonic() + timeout_s
        self.mailboxes.close()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        self._ended = True
        for camera in self.cameras:
            camera.late.close()
        late_ended = [camera.late.join(max(0.0, end_s - time.monotonic())) for camera in self.cameras]
        if self._pool is not None:
            self._pool.shutdown(wait=False)
        return all(late_ended) and not self._thread.is_alive()

    def _work(self) -> None:
        while arrivals := self.mailboxes.take():
            self._round(arrivals)
            self.doing = ""
            arrivals.clear()  # nothing is held while there is nothing to do

    def _begin(self, doing: str) -> None:
        self._since_s, self.doing = time.monotonic(), doing

    def _round(self, arrivals: Sequence[Arrival]) -> None:
        """One run of the network for all; every depth image goes out before anything else is made."""
        names = ", ".join(filter(None, (arrival.camera.name for arrival in arrivals)))
        of = f" of {names}" if names else ""
        self._begin(f"decoding and rectifying an image{of}")
        tasks = self._prepare(arrivals)
        sizes = ", ".join(f"{task.frame.rgb.shape[1]}x{task.frame.rgb.shape[0]}" for task in tasks)
        self._begin(f"running the network on {self._engine.device} for an image{of} ({sizes})")
        notices = len(self._engine.notices)
        found = self._infer(tasks)
        if self._ended:  # and its publishers gone
            return
        self._begin(f"publishing depth{of}")
        published = [(task.camera, task.camera.publish(task, depth)) for task, depth in found]
        for camera, late in published:
            if late is not None and late.wanted:
                camera.late.put(late)
        for notice in self._engine.notices[notices:]:
            self._logger.warning(notice)

    def _prepare(self, arrivals: Sequence[Arrival]) -> list[Task]:
        def prepare(arrival: Arrival) -> Task | None:
            return arrival.camera.prepare(arrival)

        # OpenCV lets go of the interpreter, so that decoding and rectifying take place side by side.
        several = self._pool is not None and len(arrivals) > 1
        prepared = self._pool.map(prepare, arrivals) if several and self._pool else map(prepare, arrivals)
        return [task for task in prepared if task is not None]

    def _infer(self, tasks: Sequence[Task]) -> list[tuple[Task, ViewDepth]]:
        """The tasks that have a depth; what goes wrong with the others is said by their cameras."""
        if not tasks:
            return []
        try:
            return list(zip(tasks, self._engine.infer_views([task.view for task in tasks]), strict=True))
        except Exception as error:
            # Of a batch it is not known whose image was at fault: each is asked for alone. A device fails them all.
            if len(tasks) == 1 and isinstance(error, NotReadyError):
                tasks[0].camera.wait_for_network(tasks[0])
                return []
            if len(tasks) == 1 or isinstance(error, DeviceError):
                for task in tasks:
                    task.camera.fail(error)
                return []
        return [pair for task in tasks for pair in self._infer([task])]
