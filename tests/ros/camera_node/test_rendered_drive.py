# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from depthclip_ros.core.errors import ConfigError, DepthClipError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros.camera_node import rendered_drive
from depthclip_ros.ros.camera_node.source import SourceOptions
from depthclip_ros.ros.camera_node.sources import open_source
from depthclip_ros.scene import CameraPath, SceneRanges, random_scene, render


def options(calls: list[tuple[int, int]], seed: int = 12) -> SourceOptions:
    def progress(done: int, total: int) -> None:
        calls.append((done, total))

    return SourceOptions(width_px=48, height_px=32, seed=seed, frames=3, progress=progress)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "depthclip_ros" / "rooms"


def test_drive_is_rendered_once_and_exact(cache: Path) -> None:
    calls: list[tuple[int, int]] = []
    source = open_source("room", options(calls))
    assert calls[-1] == (3, 3)
    frames = list(source)
    scene = random_scene(12, SceneRanges.preset("rooms"))
    path = CameraPath(scene, 12)
    intrinsics = Intrinsics.from_hfov(rendered_drive.HFOV_DEG, 48, 32)
    for number, frame in enumerate(frames):
        image, depth_m = render(scene, path.pose(path.period_s * number / 3), intrinsics, photometric=False)
        assert np.array_equal(frame.rgb, image.numpy())
        assert frame.depth_m is not None
        assert np.allclose(frame.depth_m, depth_m.numpy(), atol=0.5 / rendered_drive.DEPTH_UNITS_PER_METRE)
        assert frame.camera.k[0] == pytest.approx(intrinsics.fx_px)

    calls.clear()
    again = list(open_source("room", options(calls)))
    assert calls == [], "the second time comes from the cache"
    assert all(np.array_equal(one.rgb, two.rgb) for one, two in zip(frames, again, strict=True))
    assert len(list(cache.iterdir())) == 1


def test_stop_while_rendering_leaves_nothing(cache: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_source("room", SourceOptions(width_px=48, height_px=32, frames=3, progress=stop))
    assert list(cache.iterdir()) == []


def test_failed_rendering_says_why(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no memory left' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(DepthClipError, match="rendering the room failed: no memory left"):
        open_source("room", options([]))
    assert list(cache.iterdir()) == []


def test_only_the_last_used_rooms_are_kept(cache: Path) -> None:
    cache.mkdir(parents=True)
    for age in range(5):
        (cache / f"room{age}").mkdir()
    rendered_drive._forget_old(cache)
    assert len(list(cache.iterdir())) == rendered_drive.KEPT_ROOMS


def test_without_torch_a_cached_room_plays_and_another_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_source("room", options([]))
    monkeypatch.setattr(rendered_drive, "is_installed", lambda name: False)
    assert len(list(open_source("room", options([])))) == 3
    with pytest.raises(ConfigError, match=r"48x32 with seed 13 and 3 frames .* pip install 'depthclip-ros\[torch\]'"):
        open_source("room", options([], seed=13))
    assert len(list(cache.iterdir())) == 1
