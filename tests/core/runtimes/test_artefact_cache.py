# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Compiled networks on the disk: built once, whole or absent, and anew when stale."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock, Timeout

from depthclip_ros.core.model.registry import build_model, preset
from depthclip_ros.core.runtimes import artefact_cache
from depthclip_ros.core.runtimes.artefact_cache import MANIFEST, artefact, identity_of

# Builds slowly, in two files, and says when it is in between; `log` gets a line per build.
BUILDER = """
import sys, time
from pathlib import Path
from depthclip_ros.core.runtimes.artefact_cache import artefact

log, between_s = Path(sys.argv[1]), float(sys.argv[2])

def build(folder):
    with log.open("a") as lines:
        lines.write("built\\n")
    (folder / "first").write_bytes(b"1" * 100_000)
    print("between", flush=True)
    time.sleep(between_s)
    (folder / "second").write_bytes(b"2" * 100_000)

print(artefact("test", {"weights": "abc"}, build), flush=True)
"""


def _process(log: Path, between_s: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILDER, str(log), str(between_s)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))


def _write(folder: Path) -> None:
    (folder / "network").write_bytes(os.urandom(1000))


def test_it_is_built_once_for_the_same_key(compiled_cache: Path) -> None:
    first = artefact("test", {"weights": "abc", "height": 64}, _write)
    assert first.parent == compiled_cache
    content = (first / "network").read_bytes()
    assert artefact("test", {"height": 64, "weights": "abc"}, _write) == first
    assert (first / "network").read_bytes() == content


@pytest.mark.parametrize("changed", [{"weights": "abd"}, {"openvino": "2"}, {"device": "other"}, {"height": 32}])
def test_a_stale_key_gives_another_one(compiled_cache: Path, changed: dict[str, str | int]) -> None:
    key: dict[str, str | int] = {"weights": "abc", "openvino": "1", "device": "cpu", "height": 64}
    assert artefact("test", {**key, **changed}, _write) != artefact("test", key, _write)


def test_another_source_of_the_networks_makes_it_stale(
    compiled_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = artefact("test", {"weights": "abc"}, _write)
    (tmp_path / "heads.py").write_text("# changed")
    monkeypatch.setattr(artefact_cache.model_package, "__path__", [str(tmp_path)])
    artefact_cache._source_of_networks.cache_clear()
    try:
        assert artefact("test", {"weights": "abc"}, _write) != before
    finally:
        artefact_cache._source_of_networks.cache_clear()


@pytest.mark.parametrize("damage", ["short", "other bytes", "gone", "no manifest", "manifest cut short"])
def test_what_was_damaged_is_built_anew(compiled_cache: Path, damage: str) -> None:
    folder = artefact("test", {"weights": "abc"}, lambda path: (path / "network").write_bytes(b"right" * 100) and None)
    if damage == "short":
        (folder / "network").write_bytes(b"right")
    elif damage == "other bytes":
        (folder / "network").write_bytes(b"wrong" * 100)
    elif damage == "gone":
        (folder / "network").unlink()
    elif damage == "no manifest":
        (folder / MANIFEST).unlink()
    else:
        (folder / MANIFEST).write_text((folder / MANIFEST).read_text()[:20])
    again = artefact("test", {"weights": "abc"}, lambda path: (path / "network").write_bytes(b"right" * 100) and None)
    assert again == folder
    assert (folder / "network").read_bytes() == b"right" * 100


def test_two_processes_at_once_build_it_once(compiled_cache: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [_process(log, 1.0) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert log.read_text() == "built\n"
    assert outputs[0][-1] == outputs[1][-1]
    assert (Path(outputs[0][-1]) / "second").read_bytes() == b"2" * 100_000


def test_a_kill_while_writing_leaves_nothing_that_counts(compiled_cache: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    killed = _process(log, 60.0)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "between\n"
    waiting = _process(log, 0.0)  # the lock of the dead must not hold up the living
    time.sleep(0.5)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=10)
    output, _ = waiting.communicate(timeout=120)
    folder = Path(output.split()[-1])
    assert log.read_text() == "built\nbuilt\n"
    assert {path.name for path in folder.iterdir()} == {"first", "second", MANIFEST}
    assert [path.name for path in compiled_cache.iterdir() if path.is_dir()] == [folder.name]  # no leftover beside it


def test_a_build_that_fails_leaves_nothing(compiled_cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "network").write_bytes(b"half")
        raise ValueError("no such operation")

    with pytest.raises(ValueError, match="no such operation"):
        artefact("test", {"weights": "abc"}, fail)
    assert [path for path in compiled_cache.iterdir() if path.is_dir()] == []


@pytest.fixture
def no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache can be written."""
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))


@pytest.mark.usefixtures("no_place")
def test_without_a_place_to_keep_it_the_process_has_it_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        folder = artefact("test", {"weights": "abc"}, _write)
    assert (folder / "network").stat().st_size == 1000
    assert "set XDG_CACHE_HOME" in caplog.text


def test_what_nobody_has_used_for_long_is_deleted(compiled_cache: Path) -> None:
    old, used = (artefact("test", {"weights": name}, _write) for name in ("old", "used"))
    long_ago_s = time.time() - artefact_cache.UNUSED_S - 60
    for folder in (old, used):
        os.utime(folder, (long_ago_s, long_ago_s))
    artefact("test", {"weights": "used"}, _write)
    artefact("test", {"weights": "new"}, _write)
    assert (old.exists(), used.exists()) == (False, True)


def test_a_model_is_its_file_or_else_its_weights_and_configuration(small_model) -> None:
    model = small_model()
    assert identity_of(model, "0" * 64)() == "0" * 64
    before = identity_of(model, None)
    said = before()
    assert identity_of(small_model(), None)() == said
    with torch.no_grad():
        next(model.parameters()).add_(1)
    assert identity_of(model, None)() != said
    other = small_model()
    other.config = dataclasses.replace(other.config, max_depth_m=12.0)
    assert identity_of(other, None)() != said


@pytest.fixture
def small_model():
    """The same network each time."""

    def make():
        torch.manual_seed(0)
        return build_model(preset("nano", tower_blocks=1, tap_layers=[0], adapter_layers=[]))

    return make


def test_what_a_killed_build_of_the_same_left_is_swept(compiled_cache: Path) -> None:
    folder = artefact("test", {"weights": "abc"}, _write)
    (folder / "network").unlink()
    dead, alive = compiled_cache / f".{folder.name}.dead", compiled_cache / ".test-another.alive"
    for leftover in (dead, alive):
        leftover.mkdir()
        (leftover / "half").write_bytes(b"1")
    artefact("test", {"weights": "abc"}, _write)
    assert (dead.exists(), alive.exists()) == (False, True)


def test_an_artefact_that_is_asked_for_counts_as_used(compiled_cache: Path) -> None:
    folder = artefact("test", {"weights": "abc"}, _write)
    os.utime(folder, (1000, 1000))
    artefact("test", {"weights": "abc"}, _write)
    assert time.time() - folder.stat().st_mtime < 60


def folder_for(rests_on: str) -> Path | None:
    with artefact_cache.cache_for("openvino", {"weights": rests_on}) as folder:
        return folder


def test_a_librarys_own_cache_is_one_for_each_key_and_counts_as_used(compiled_cache: Path) -> None:
    folder = folder_for("abc")
    assert folder is not None
    assert (folder.parent, folder.is_dir(), folder.name.startswith("openvino-cache-")) == (compiled_cache, True, True)
    os.utime(folder, (1000, 1000))
    assert folder_for("abc") == folder
    assert time.time() - folder.stat().st_mtime < 60
    assert folder_for("abd") != folder


def test_nobody_else_is_in_a_librarys_own_cache_meanwhile(compiled_cache: Path) -> None:
    with artefact_cache.cache_for("openvino", {"weights": "abc"}) as folder:
        assert folder is not None
        with artefact_cache.cache_for("openvino", {"weights": "abd"}) as other:  # of another network
            assert other != folder
        with pytest.raises(Timeout):
            FileLock(folder / "lock", timeout=0).acquire()
    with FileLock(folder / "lock", timeout=0):
        pass


def test_a_new_cache_of_a_librarys_own_takes_away_what_nobody_asked_for(compiled_cache: Path) -> None:
    old, young = folder_for("old"), folder_for("young")
    assert old is not None
    assert young is not None
    (old / "1.blob").write_bytes(b"compiled")
    long_ago_s = time.time() - 61 * 24 * 3600
    os.utime(old, (long_ago_s, long_ago_s))
    folder_for("young")
    assert old.exists()  # looked at only where a new one is made
    folder_for("new")
    assert (old.exists(), young.exists()) == (False, True)


@pytest.mark.usefixtures("no_place")
def test_where_no_cache_can_be_written_a_library_has_none(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert folder_for("abc") is None
    assert "set XDG_CACHE_HOME" in caplog.text
