# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Work that must not hold up a camera, done by a thread that lives as long as there is any."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Background(Generic[Key]):
    """Does what it is asked for, one piece after another, each once.

    Args:
        work: on one key; what it raises is told to those who ask for the key again.
        name: of the thread.
    """

    def __init__(self, work: Callable[[Key], object], name: str) -> None:
        self._work = work
        self._name = name
        self._lock = threading.Lock()
        self._asked: list[Key] = []
        self._errors: dict[Key, Exception] = {}
        self._busy = False
        self._closed = False

    @property
    def asked(self) -> tuple[Key, ...]:
        """What is in work, first, and what waits."""
        return tuple(self._asked)

    def ask(self, key: Key) -> None:
        """Have the work on `key` done; returns at once.

        Raises:
            Exception: what the work on this key has raised.
        """
        with self._lock:
            if key in self._errors:
                raise self._errors.pop(key)
            if self._closed or key in self._asked:
                return
            self._asked.append(key)
            if not self._busy:
                self._busy = True
                # Nothing can interrupt a compiler: what is in work when the process ends is left behind.
                threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def close(self) -> None:
        """Begin nothing more. What is in work is not waited for."""
        with self._lock:
            self._closed = True
            del self._asked[1:]

    def _run(self) -> None:
        while self._busy:
            key = self._asked[0]
            try:
                self._work(key)
            except Exception as error:
                with self._lock:
                    self._errors[key] = error
            with self._lock:
                self._asked.remove(key)
                self._busy = bool(self._asked)
