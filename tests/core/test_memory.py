# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a frame frees is there for the next one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from depthclip_ros.core import memory

# Page faults of the later rounds, each with the depth and the confidence of a 1280x720 frame.
FRAMES = """
import resource, sys
import numpy as np
from depthclip_ros.core.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()

def frame():
    first, second = np.empty((720, 1280), np.float32), np.empty((720, 1280), np.float32)
    first.fill(1.0), second.fill(2.0)

for _ in range(5):
    frame()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    frame()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", FRAMES, how], capture_output=True, text=True, check=True, timeout=120)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_memory_of_a_frame_is_not_fetched_again() -> None:
    left_alone, kept = _faults("left alone"), _faults("kept")
    assert kept < 100
    assert left_alone > 10 * kept  # else the setting is no longer needed


LEAVINGS = """
import numpy as np
from depthclip_ros.core.memory import give_back_freed_memory, keep_freed_memory

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

keep_freed_memory()
blocks = [np.ones(2**18) for _ in range(40)]  # 2 MB each: from the heap, not mapped
del blocks
before = resident_mb()
give_back_freed_memory()
print(before - resident_mb())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a call of glibc")
def test_what_loading_left_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVINGS], capture_output=True, text=True, check=True, timeout=120)
    assert float(done.stdout) > 60


READ = """
import mmap, sys
from pathlib import Path
from depthclip_ros.core.memory import let_go_of_files

folder = Path(sys.argv[1])

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

kept = []
for name in ("inside/read", "outside/read"):
    with (folder / name).open("rb") as file:
        kept.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
with (folder / "inside/written").open("r+b") as file:
    kept.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    kept[-1][:4] = b"mine"
for one in kept:
    assert sum(one[::4096]) >= 0
before = resident_mb()
let_go_of_files(folder / "inside")
print(before - resident_mb())
assert kept[0][-4:] == b"last" and kept[2][:4] == b"mine"
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a file of Linux")
def test_what_was_read_of_mapped_files_goes_and_can_be_read_again(tmp_path) -> None:
    for name in ("inside/read", "inside/written", "outside/read"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(8 * 2**20 - 4) + b"last")
    command = [sys.executable, "-c", READ, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert 7 < float(done.stdout) < 9  # of three files the one that is inside and only read


@pytest.fixture
def calls(monkeypatch):
    """What is asked of the C library, by a stand-in for it: arguments by the function's name."""
    made = []

    class Library:
        def __getattr__(self, name):
            return lambda *arguments: made.append((name, *arguments))

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: Library())
    return made


def test_glibc_is_asked_by_the_numbers_of_its_headers(calls) -> None:
    """malloc.h: M_TRIM_THRESHOLD is -1, M_MMAP_THRESHOLD -3, and no more than HEAP_MAX_SIZE / 2 is taken for it."""
    memory.keep_freed_memory()
    settings = {number: size for _, number, size in calls}
    assert set(settings) == {-1, -3}
    assert settings[-3] <= 32 * 2**20 < settings[-1] <= 2**31 - 1
    calls.clear()
    memory.give_back_freed_memory()
    assert calls == [("malloc_trim", 0)]


def test_a_c_library_without_these_settings_is_left_alone(monkeypatch) -> None:
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    memory.keep_freed_memory()
    memory.give_back_freed_memory()
