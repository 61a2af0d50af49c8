# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""How the C library hands memory back to the system, for processes that work in frames."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

KEPT_BYTES = 256 << 20  # a few frames of four cameras of 1280x720, with everything that is made of them
LARGEST_BYTES = 32 << 20  # a larger block (a 4K cloud) still goes back at once
_MADV_DONTNEED = 4  # of Linux: what a mapped file holds is read again when it is asked for
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


def keep_freed_memory() -> None:
    """Keep what a frame freed for the next frame, up to `KEPT_BYTES`.

    Left alone, glibc gives a frame's images back to the system each time and gets them back page by page: 2 ms of a
    1280x720 frame. To be called once, by a program, never by a library. Does nothing where the C library has no such
    setting.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, LARGEST_BYTES)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


def give_back_freed_memory() -> None:
    """Hand what is free now back to the system: after loading, whose leavings no frame will need.

    Does nothing where the C library has no such call.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def let_go_of_files(folder: Path) -> None:
    """Take out of this process what it has read of files below `folder` that it keeps mapped for reading.

    OpenVINO reads a network that it compiled before from such a file, and makes weights of its own of it. The system
    keeps the file's pages as long as it has room; what is asked for again comes from there.

    Nothing may unmap these files meanwhile. Does nothing where there is no /proc.
    """
    with contextlib.suppress(OSError, AttributeError):
        madvise, folder = ctypes.CDLL(None).madvise, folder.resolve()
        for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
            where, allowed, *_, name = line.split(maxsplit=5)
            if allowed.startswith("r--") and Path(name).is_relative_to(folder):
                start, end = (int(address, 16) for address in where.split("-"))
                madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)
