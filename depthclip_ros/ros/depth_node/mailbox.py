# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Between a subscription and its worker: slots in which the newest frame wins, order of stamps, and a highest rate."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailboxes(Generic[T]):
    """One box for each of several senders, and one taker, who is never kept waiting by a box that has nothing."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._boxes: list[Box[T]] = []
        self._closed = False

    def add(self, wait_s: Callable[[T], float] | None = None) -> Box[T]:
        """A box for another sender.

        Args:
            wait_s: for how many seconds at most an item should still lie, for what belongs to it to come; 0 or less:
                it may be taken. Asked anew whenever something changes. None: no item waits.
        """
        box = Box(self._changed, wait_s)
        with self._changed:
            self._boxes.append(box)
            if self._closed:
                box.close()
        return box

    def take(self) -> list[T]:
        """Wait until anything may be taken; the newest such item of every box. Empty once closed."""
        with self._changed:
            while not self._closed:
                taken = [item for box in self._boxes if (item := box.take()) is not None]
                if taken:
                    return taken
                pause_s = min((box.pause_s for box in self._boxes), default=math.inf)
                self._changed.wait(None if pause_s == math.inf else pause_s)
        return []

    def close(self) -> None:
        """Let every present and later `take` return nothing; what lies in the boxes is let go."""
        with self._changed:
            self._closed = True
            for box in self._boxes:
                box.close()
            self._changed.notify_all()


class Box(Generic[T]):
    """The slot of one sender in `Mailboxes`.

    The newest item that may be taken wins. One that must still wait has a place of its own, where newer ones do not
    overtake it until they may be taken themselves: with a stream of items that all wait, something is always taken.

    Attributes:
        overtaken: how many items were replaced before they were taken.
        pause_s: seconds until an item may be taken, as of the last `take`; infinite where there is none.
    """

    def __init__(self, changed: threading.Condition, wait_s: Callable[[T], float] | None) -> None:
        self.overtaken = 0
        self.pause_s = math.inf
        self._changed = changed
        self._wait_s = wait_s
        self._first: T | None = None
        self._newest: T | None = None  # None where `_first` is
        self._decided_first = False
        self._closed = False

    def put(self, item: T) -> None:
        """Leave `item`, which must not be None; never waits. Ignored once closed."""
        with self._changed:
            if self._closed:
                return
            if self._first is None:
                self._first = item
            elif self._wait_s is None and not self._decided_first:
                self.overtaken += 1
                self._first = item
            else:
                self.overtaken += self._newest is not None
                self._newest = item
            self._changed.notify()

    def put_back(self, item: T, *, first: bool = True) -> None:
        """Leave an item that was taken, with `first` so that nothing is taken before it and nothing overtakes it."""
        with self._changed:
            if self._closed:
                return
            if self._newest is None:
                self._newest = self._first
            else:
                self.overtaken += 1
            self._first, self._decided_first = item, first
            self._changed.notify()

    def wake(self) -> None:
        """What an item waits for may have come."""
        with self._changed:
            self._changed.notify()

    def take(self) -> T | None:
        """For `Mailboxes`, under its lock: the item that may be taken."""
        self.pause_s = math.inf
        if self._newest is not None and not self._decided_first and self._may_be_taken(self._newest):
            item, self._first, self._newest = self._newest, None, None
            self.overtaken += 1
            return item
        if self._first is not None and self._may_be_taken(self._first):
            item, self._first, self._newest = self._first, self._newest, None
            self._decided_first = False
            return item
        return None

    def close(self) -> None:
        """For `Mailboxes`, under its lock: let go of everything."""
        self._closed = True
        self._first = self._newest = None

    def _may_be_taken(self, item: T) -> bool:
        wait_s = self._wait_s(item) if self._wait_s else 0.0
        self.pause_s = min(self.pause_s, wait_s)
        return wait_s <= 0


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


class RateLimit:
    """Lets so many frames a second through. What it lets through is as fresh as it comes: nothing is held back."""

    def __init__(self) -> None:
        self._due_s = -math.inf

    def passes(self, rate_hz: float, now_s: float) -> bool:
        """Whether this frame is one of `rate_hz` a second; 0: all are.

        Args:
            rate_hz: on average; may change from frame to frame.
            now_s: of a clock that does not go back.
        """
        if rate_hz <= 0:
            return True
        period_s = 1 / rate_hz
        if now_s < self._due_s:
            return False
        # A frame that came late does not delay the next one: a camera of this very rate is not halved by its jitter. A
        # pause is not made up for.
        late = now_s - self._due_s > period_s
        self._due_s = (now_s if late else self._due_s) + period_s
        return True
