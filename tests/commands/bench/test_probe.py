# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What the bench says of a process that gives no depth."""

from __future__ import annotations

from pathlib import Path

import pytest

from depthclip_ros.commands.bench import probe
from depthclip_ros.core.errors import DepthClipError


def of(folder: Path) -> None:
    probe.probe("default", "auto", "auto", "cpu", (64, 48), folder / "cache", folder)


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "LONGEST_S", 0.5)
    monkeypatch.setattr(probe, "CODE", "import time; print('begun', flush=True); time.sleep(20)")
    with pytest.raises(DepthClipError, match=r"auto auto was not ready within 0\.5 s"):
        of(tmp_path)


def test_a_process_that_ends_otherwise_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "CODE", "import sys; sys.exit('no memory is left')")
    with pytest.raises(DepthClipError, match="auto auto gave no depth: no memory is left"):
        of(tmp_path)
