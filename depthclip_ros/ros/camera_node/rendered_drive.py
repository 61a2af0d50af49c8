# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A closed drive through a room: rendered once by all cores, kept in the user's cache, replayed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import ConfigError, DepthClipError
from depthclip_ros.core.files import cache_folder
from depthclip_ros.core.present import INSTALL_TORCH, is_installed
from depthclip_ros.core.types import Intrinsics

Progress = Callable[[int, int], None]  # frames done, frames in all
SCENE = Path(__file__).resolve().parents[2] / "scene"  # by its path: importing it imports torch
HFOV_DEG = 70.0
DEPTH_UNITS_PER_METRE = 4000  # uint16: quarter millimetres up to 16 m, half the size of float32
DONE = b"a frame is rendered"
KEPT_ROOMS = 3  # about 280 MB each at the demo's settings
PARTIAL = ".partial-"  # begins the name of a room that is not yet whole
LEFT_BEHIND_S = 24 * 3600.0  # after which nobody renders it any more: its process was killed


@dataclass(frozen=True)
class RoomSettings:
    """What a recording of a room depends on, besides the code."""

    width_px: int
    height_px: int
    seed: int
    frames: int
    hfov_deg: float = HFOV_DEG

    @property
    def intrinsics(self) -> Intrinsics:
        """Of the camera that drives."""
        return Intrinsics.from_hfov(self.hfov_deg, self.width_px, self.height_px)

    @property
    def key(self) -> str:
        """Names the recording: another setting or another renderer is another recording."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        for path in sorted([*SCENE.rglob("*.py"), Path(__file__)]):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


class RenderedDrive:
    """Pictures uint8 [H, W, 3], depth uint16 [H, W] and poses [4, 4] of a drive; renders where the cache has none.

    Raises:
        ConfigError: it is to be rendered, and torch is not installed.
        DepthClipError: rendering failed, or the cache cannot be written.
    """

    def __init__(self, settings: RoomSettings, progress: Progress) -> None:
        folder = cache_folder() / "rooms" / settings.key
        if not folder.is_dir():
            if not is_installed("torch"):
                raise ConfigError(
                    f"the room's drive at {settings.width_px}x{settings.height_px} with seed {settings.seed} and "
                    f"{settings.frames} frames is not in {folder.parent} and would have to be rendered: "
                    f"{INSTALL_TORCH}, or leave size, seed and frames at their defaults, "
                    "whose drive is shipped"
                )
            _record(settings, folder, progress)
        os.utime(folder)  # the newest used are kept
        self._rgb = np.load(folder / "rgb.npy", mmap_mode="r")  # uint8 [N, H, W, 3]
        self._depth = np.load(folder / "depth.npy", mmap_mode="r")  # uint16 [N, H, W]
        self._poses = np.load(folder / "pose.npy")  # float64 [N, 4, 4]

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float64]]]:
        for rgb, depth, pose in zip(self._rgb, self._depth, self._poses, strict=True):
            yield np.asarray(rgb), np.asarray(depth), pose


def _record(settings: RoomSettings, folder: Path, progress: Progress) -> None:
    """Render into a folder beside and rename it: a recording is whole or not there."""
    count = min(_worker_count(), settings.frames)  # may import torch, uninterrupted: while nothing is there yet
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder.parent, ignore_cleanup_errors=True) as made:
            partial = Path(made)
            shape = (settings.frames, settings.height_px, settings.width_px)
            for name, dtype, full in (("rgb", np.uint8, (*shape, 3)), ("depth", np.uint16, shape)):
                # Not flushed: workers see it all the same, and on a busy disk nothing could interrupt the wait.
                np.lib.format.open_memmap(partial / f"{name}.npy", "w+", dtype, full)
            _render_with_workers(settings, count, partial, progress)
            try:
                partial.rename(folder)
            except OSError:
                if not folder.is_dir():  # another process was faster, and its recording is the same
                    raise
        _forget_old(folder.parent)
    except OSError as error:
        raise DepthClipError(f"cannot write the room to {folder.parent}: {error}; set XDG_CACHE_HOME") from error


def _render_with_workers(settings: RoomSettings, count: int, partial: Path, progress: Progress) -> None:
    # Processes rather than threads: one picture keeps one core busy, and more threads for it would get in each
    # other's way. Not multiprocessing: it imports the main program again, which may be a node.
    code = "import sys; from depthclip_ros.ros.camera_node.rendered_drive import worker; worker(sys.argv[1:])"
    arguments = [json.dumps(asdict(settings)), str(partial)]
    logs = [partial / f"worker_{index}.log" for index in range(count)]
    # Started where no module lies that `-c` would find first, and out of reach of Ctrl-C: this program stops them.
    how: dict[str, Any] = {"cwd": partial, "stdin": subprocess.DEVNULL, "start_new_session": True}
    how["env"] = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    workers = []
    for index, log in enumerate(logs):
        with log.open("wb") as output:
            command = [sys.executable, "-c", code, *arguments, str(index), str(count)]
            workers.append(subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **how))
    try:
        working = True
        while working:
            working = any(one.poll() is None for one in workers)
            done = sum(log.read_bytes().count(DONE) for log in logs)
            progress(done, settings.frames)  # may raise: the user stopped us
            if working:
                time.sleep(0.1)
        for one, log in zip(workers, logs, strict=True):
            if one.returncode != 0:
                said = log.read_text(errors="replace").strip().splitlines()
                raise DepthClipError(
                    f"rendering the room failed: {said[-1] if said else f'exit code {one.returncode}'}"
                )
    finally:
        for one in workers:
            one.kill()
            one.wait()
        for log in logs:
            log.unlink(missing_ok=True)


def _worker_count() -> int:
    import torch

    return 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))


def worker(arguments: list[str]) -> None:
    """Render every COUNT-th frame from INDEX on into the files of the folder; prints DONE for each."""
    import torch

    from depthclip_ros.scene import CameraPath, SceneRanges, random_scene, render

    settings = RoomSettings(**json.loads(arguments[0]))
    folder, index, count = Path(arguments[1]), int(arguments[2]), int(arguments[3])
    torch.set_num_threads(1)
    scene = random_scene(settings.seed, SceneRanges.preset("rooms"))
    path = CameraPath(scene, settings.seed)
    if index == 0:
        poses = [path.pose(path.period_s * number / settings.frames).numpy() for number in range(settings.frames)]
        np.save(folder / "pose.npy", np.stack(poses).astype(np.float64))
    scene = scene.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    rgb = np.load(folder / "rgb.npy", mmap_mode="r+")
    depth = np.load(folder / "depth.npy", mmap_mode="r+")
    for number in range(index, settings.frames, count):
        pose = path.pose(path.period_s * number / settings.frames)
        image, depth_m = render(scene, pose, settings.intrinsics, photometric=False)
        rgb[number] = image.cpu().numpy()
        units = np.rint(depth_m.cpu().numpy() * DEPTH_UNITS_PER_METRE)
        depth[number] = np.where(units < 65536, units, 0)  # farther than 16 m: not known
        print(DONE.decode())


def _forget_old(folder: Path) -> None:
    """Keep the rooms that were used last, and of what is half made what may still be at work."""
    ages_s = {path: time.time() - path.stat().st_mtime for path in folder.iterdir()}
    rooms = sorted((path for path in ages_s if not path.name.startswith(".")), key=lambda path: ages_s[path])
    left_behind = [path for path, age_s in ages_s.items() if path.name.startswith(PARTIAL) and age_s > LEFT_BEHIND_S]
    for old in [*rooms[KEPT_ROOMS:], *left_behind]:
        shutil.rmtree(old, ignore_errors=True)
