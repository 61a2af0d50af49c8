"""Between a subscription and its worker: one slot in which the newest frame wins, and the order of stamps."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """One slot. Putting overtakes what lies in it, and counts that; taking waits for something to come."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self._overtaken = 0

    @property
    def overtaken(self) -> int:
        """How many items were replaced before anyone took them."""
        return self._overtaken

    def put(self, item: T) -> None:
        """Leave `item`, which must not be None; never waits. Ignored once the mailbox is closed."""
        with self._ready:
            if self._closed:
                return
            if self._item is not None:
                self._overtaken += 1
            self._item = item
            self._ready.notify()

    def take(self) -> T | None:
        """Wait for the newest item and empty the slot; None once the mailbox is closed."""
        with self._ready:
            self._ready.wait_for(lambda: self._closed or self._item is not None)
            item, self._item = self._item, None
            return None if self._closed else item

    def close(self) -> None:
        """Let every present and later `take` return None; what lies in the slot is let go."""
        with self._ready:
            self._closed = True
            self._item = None
            self._ready.notify_all()


class StampOrder:
    """Tells a stray old frame from a clock that was set back.

    A frame older than the last one is out of order and is refused. A bag that starts again, a simulation that is
    reset or a corrected clock makes all frames old: after `patience` old frames in a row, themselves in order, the
    last of them begins a new timeline. One stray frame never does, however old it is.
    """

    def __init__(self, patience: int = 5) -> None:
        self._patience = patience
        self.reset()

    def reset(self) -> None:
        """Forget all stamps: the next one is in order whatever it is."""
        self._newest_ns: int | None = None
        self._old_in_a_row = 0
        self._newest_old_ns = 0

    def check(self, stamp_ns: int) -> tuple[str, float]:
        """What the frame is: "in order", "back" (refuse it) or "new timeline" (take it), and by how many seconds."""
        newest_ns = self._newest_ns
        if newest_ns is None or stamp_ns >= newest_ns:
            self._newest_ns = stamp_ns
            self._old_in_a_row = 0
            return "in order", 0.0
        back_s = (newest_ns - stamp_ns) * 1e-9
        in_a_row = self._old_in_a_row > 0 and stamp_ns >= self._newest_old_ns
        self._old_in_a_row = self._old_in_a_row + 1 if in_a_row else 1
        self._newest_old_ns = stamp_ns
        if self._old_in_a_row < self._patience:
            return "back", back_s
        self._newest_ns = stamp_ns
        self._old_in_a_row = 0
        return "new timeline", back_s
