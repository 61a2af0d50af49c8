# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The drive in the package is what today's renderer makes of the default options, and plays without it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from depthclip_ros.core.errors import DepthClipError
from depthclip_ros.ros.camera_node.file_sources import FolderSource
from depthclip_ros.ros.camera_node.rendered_drive import DEPTH_UNITS_PER_METRE
from depthclip_ros.ros.camera_node.room_source import SHIPPED
from depthclip_ros.ros.camera_node.shipped_drive import DRIVE, ShippedDrive
from depthclip_ros.ros.camera_node.source import SourceOptions
from depthclip_ros.ros.camera_node.sources import open_source

LARGEST_BYTES = 15_000_000
LARGEST_ERROR_M = 0.126e-3  # half a quarter of a millimetre, and float32's own rounding


def test_it_is_what_the_renderer_makes() -> None:
    pytest.importorskip("torch", reason="needs torch to render")
    from depthclip_ros.scene import CameraPath, SceneRanges, random_scene, render

    frames = list(open_source("room"))
    assert len(frames) == SHIPPED.frames
    scene = random_scene(SHIPPED.seed, SceneRanges.preset("rooms"))
    path = CameraPath(scene, SHIPPED.seed)
    poses = [path.pose(path.period_s * number / SHIPPED.frames).numpy() for number in range(SHIPPED.frames)]
    np.testing.assert_allclose([frame.pose for frame in frames], poses, atol=1e-6)
    for number in (0, 67):
        image, depth_m = render(scene, poses[number], SHIPPED.intrinsics, photometric=False)
        frame = frames[number]
        assert frame.depth_m is not None
        error_m = np.abs(frame.depth_m - depth_m.numpy())
        # Another processor rounds otherwise where two things meet in a pixel.
        assert np.mean(error_m <= LARGEST_ERROR_M) > 0.999
        levels = np.abs(frame.rgb.astype(int) - image.numpy())
        assert levels.mean() < 1.5
        assert np.percentile(levels, 99) <= 12


def test_it_is_small_and_of_the_default_options() -> None:
    assert DRIVE.stat().st_size <= LARGEST_BYTES
    meta = ShippedDrive().meta
    assert meta["room"] == asdict(SHIPPED)
    assert meta["depth_units_per_metre"] == DEPTH_UNITS_PER_METRE


def test_it_is_played_without_torch_and_without_a_cache(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["torch"] = None
from depthclip_ros.ros.camera_node.sources import open_source
frame = next(iter(open_source("room")))
print(frame.rgb.shape, frame.depth_m.shape, frame.pose.shape, frame.camera.k[0])
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split(" ") == f"(480, 640, 3) (480, 640) (4, 4) {SHIPPED.intrinsics.fx_px}\n".split(" ")
    assert list(tmp_path.iterdir()) == []


def test_the_lap_is_closed_and_without_a_jump() -> None:
    at = np.array([frame.pose for frame in open_source("room") if frame.pose is not None])[:, :3, 3]
    steps_m = np.linalg.norm(np.roll(at, -1, axis=0) - at, axis=1)
    assert steps_m.max() < 1.5 * steps_m.min()


def test_unpacked_it_is_a_folder_of_frames(tmp_path: Path) -> None:
    with zipfile.ZipFile(DRIVE) as packed:
        packed.extractall(tmp_path, ["rgb/007.jpg", "depth/007.png", "meta.json"])
    (one,) = FolderSource(tmp_path, SourceOptions())
    played = list(open_source("room"))[7]
    assert np.array_equal(one.rgb, played.rgb)
    np.testing.assert_array_equal(one.depth_m, played.depth_m)
    assert one.camera is not None
    np.testing.assert_array_equal(one.camera.k, played.camera.k)


def broken_copy(path: Path, change: str) -> Path:
    data = DRIVE.read_bytes()
    if change == "cut short":
        path.write_bytes(data[:1000])
    elif change == "a frame damaged":
        path.write_bytes(data[:2000] + bytes(100) + data[2100:])
    elif change == "no metadata":
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("meta.json", "{}")
    return path


@pytest.mark.parametrize("change", ["absent", "cut short", "a frame damaged", "no metadata"])
def test_a_broken_installation_is_one_sentence(tmp_path: Path, change: str) -> None:
    with pytest.raises(DepthClipError, match=r"room_drive\.zip is missing or damaged .*; reinstall the package"):
        next(iter(ShippedDrive(broken_copy(tmp_path / "room_drive.zip", change))))
