# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch to render")

import torch

import depthclip_ros.scene as scene_package
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
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker called here leaves the number of threads of the other tests alone."""
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)


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


def test_nothing_lies_there_while_torch_loads_which_no_signal_interrupts(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[Path] = []

    def ended_meanwhile() -> int:
        there.extend(cache.glob(".*") if cache.is_dir() else [])
        raise InterruptedError

    monkeypatch.setattr(rendered_drive, "_worker_count", ended_meanwhile)
    with pytest.raises(InterruptedError):
        open_source("room", options([]))
    assert not there


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
    for age in (2, 0, 4, 1, 3):
        (cache / f"room{age}").mkdir()
        os.utime(cache / f"room{age}", (1000 - age, 1000 - age))
    (cache / ".partial-x").mkdir()  # somebody renders
    (cache / ".partial-killed").mkdir()
    (cache / ".partial-slow").mkdir()
    for name, hours in ((".partial-killed", 25), (".partial-slow", 23)):
        began_s = time.time() - hours * 3600
        os.utime(cache / name, (began_s, began_s))
    rendered_drive._forget_old(cache)
    assert {path.name for path in cache.iterdir()} == {"room0", "room1", "room2", ".partial-x", ".partial-slow"}


def test_without_torch_a_cached_room_plays_and_another_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_source("room", options([]))
    monkeypatch.setattr(rendered_drive, "is_installed", lambda name: False)
    assert len(list(open_source("room", options([])))) == 3
    with pytest.raises(ConfigError, match=r"48x32 with seed 13 and 3 frames .* pip install torch "):
        open_source("room", options([], seed=13))
    assert len(list(cache.iterdir())) == 1


def test_each_worker_renders_its_share_of_the_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second of two has the frames 1 and 3 of four; the first one writes the poses too."""
    room = rendered_drive.RoomSettings(48, 32, 12, 4)
    for name, dtype, shape in (("rgb", np.uint8, (4, 32, 48, 3)), ("depth", np.uint16, (4, 32, 48))):
        np.lib.format.open_memmap(tmp_path / f"{name}.npy", "w+", dtype, shape).flush()
    rendered_drive.worker([json.dumps(asdict(room)), str(tmp_path), "1", "2"])
    assert capsys.readouterr().out.split("\n") == [rendered_drive.DONE.decode()] * 2 + [""]
    assert not (tmp_path / "pose.npy").exists()
    rgb, depth = (np.load(tmp_path / f"{name}.npy") for name in ("rgb", "depth"))
    assert [bool(one.any()) for one in depth] == [False, True, False, True]
    rendered_drive.worker([json.dumps(asdict(room)), str(tmp_path), "0", "2"])
    scene = random_scene(12, SceneRanges.preset("rooms"))
    path = CameraPath(scene, 12)
    poses = np.load(tmp_path / "pose.npy")
    assert poses.shape == (4, 4, 4)
    np.testing.assert_allclose(poses[3], path.pose(path.period_s * 3 / 4).numpy(), atol=1e-6)
    image, depth_m = render(scene, path.pose(path.period_s * 3 / 4), room.intrinsics, photometric=False)
    np.testing.assert_array_equal(rgb[3], image.numpy())
    np.testing.assert_allclose(depth[3] / 4000, depth_m.numpy(), atol=0.126e-3)


def test_what_is_farther_than_sixteen_metres_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """65535 quarter millimetres are 16.38 m."""
    for name, dtype, shape in (("rgb", np.uint8, (1, 32, 48, 3)), ("depth", np.uint16, (1, 32, 48))):
        np.lib.format.open_memmap(tmp_path / f"{name}.npy", "w+", dtype, shape).flush()
    depth_m = torch.linspace(16.3, 16.5, 48).expand(32, 48)
    monkeypatch.setattr(scene_package, "render", lambda *_, **__: (torch.zeros(32, 48, 3, dtype=torch.uint8), depth_m))
    rendered_drive.worker([json.dumps(asdict(rendered_drive.RoomSettings(48, 32, 12, 1))), str(tmp_path), "0", "1"])
    kept = np.load(tmp_path / "depth.npy")[0]
    far = depth_m.numpy() > 65535.5 / 4000
    assert (kept[far] == 0).all()
    np.testing.assert_array_equal(kept[~far], np.rint(depth_m.numpy()[~far] * 4000))
