# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Fixtures: a tiny data set of the real file format, a tiny network, a config over both."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from depthclip_trainer.config import TrainConfig
from depthclip_trainer.data.augment import DRAWS, NO_AUGMENT
from depthclip_trainer.data.mixture import assemble
from depthclip_trainer.data.sample import Batch, FramePool
from depthclip_trainer.recipe import config_from_mapping

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real RGB-D frames beside the checkout; a user's machine does not have them."""
    path = REPOSITORY.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("needs the RGB-D frames of ../shared/data, which are not on this machine")
    return path


@pytest.fixture(autouse=True)
def _torch_for_auto(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runtime `auto` is torch, which starts at once; a test that asks for `real_auto` gets what a robot gets."""
    if "real_auto" not in request.fixturenames:
        from depthclip_ros.core.runtimes import runtime

        monkeypatch.setattr(runtime, "fastest_runtime", lambda device, precision="auto": "torch")


@pytest.fixture
def real_auto() -> None:
    """See `_torch_for_auto`."""


TRAIN = "from depthclip_trainer.cli import train_main\nsys.exit(train_main())\n"
"""A script: depthclip-train."""

FORKING = """
import importlib, os, runpy, sys, traceback
for name in ("torch._dynamo", "depthclip_trainer.fit.export", "depthclip_trainer.fit.loop"):
    importlib.import_module(name)
for line in sys.stdin:
    order, _, what = line.rstrip("\\n").partition(" ")
    if order == "poll":
        pid, status = os.waitpid(int(what), os.WNOHANG)
        print(os.waitstatus_to_exitcode(status) if pid else "running", flush=True)
        continue
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        continue
    os.setsid()  # with whatever it starts it can be ended as one group
    log = os.open(what + ".log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1), os.dup2(log, 2)
    code = 1
    try:
        runpy.run_path(what, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(code)
"""


class Started:
    """A script in a process of its own: a real one, that can really be killed."""

    def __init__(self, server: subprocess.Popen[str], path: Path) -> None:
        self._server, self._log, self._code = server, Path(f"{path}.log"), ""
        self._pid = int(self._ask(f"start {path}"))

    def _ask(self, order: str) -> str:
        self._server.stdin.write(f"{order}\n")
        self._server.stdin.flush()
        return self._server.stdout.readline().strip()

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self._log.read_text() if self._log.is_file() else ""

    def is_running(self) -> bool:
        """Whether it has not ended."""
        if self._code in ("", "running"):
            self._code = self._ask(f"poll {self._pid}")
        return self._code == "running"

    def wait(self, timeout_s: float = 240) -> int:
        """Its return code; minus the signal that killed it."""
        end = time.monotonic() + timeout_s
        while self.is_running():
            assert time.monotonic() < end, self.output
            time.sleep(0.01)
        return int(self._code)

    def kill(self) -> int:
        """As `kill -9` does, with whatever it has started."""
        self.is_running()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        return self.wait()


@pytest.fixture(scope="session")
def _forking() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "ignore", "-c", FORKING]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield server
    server.stdin.close()
    server.wait(60)
    server.stdout.close()


@pytest.fixture
def start(_forking: subprocess.Popen[str], tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """`start(script, *arguments, NAME="value" of the environment)`: forked from a process with the trainer imported."""
    started: list[Started] = []

    def begin(script: str, *arguments: object, **environment: str) -> Started:
        path = tmp_path / f"process_{len(started)}.py"
        head = f"import os, sys\nos.environ.update({environment!r})\nsys.argv = {[str(path), *map(str, arguments)]!r}\n"
        path.write_text(head + script)
        started.append(Started(_forking, path))
        return started[-1]

    yield begin
    for one in started:
        one.kill()


@pytest.fixture
def plain_batches() -> Callable[..., list[Batch]]:
    """A whole pool in order, as large as fits, nothing random: `plain_batches(pool, size, width_px, height_px)`."""

    def batches(pool: FramePool, size: int, width_px: int, height_px: int) -> list[Batch]:
        found = []
        for rows in torch.arange(len(pool)).split(size):
            place = (rows.double() + 0.5) / len(pool)
            draws = torch.full((len(rows), DRAWS), 0.5)
            zeros = torch.zeros_like(rows)
            found.append(assemble([pool], zeros, place, draws, [0] * len(rows), (width_px, height_px), NO_AUGMENT))
        return found

    return batches


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes an RGB-D folder: a slanted floor whose colour tells its depth, 0 in the left column."""

    def make(name: str = "walk", frames: int = 6, units: float = 1000.0, **meta: Any) -> Path:
        folder = tmp_path / name
        (folder / "rgb").mkdir(parents=True)
        (folder / "depth").mkdir()
        rng = np.random.default_rng(0)
        for i in range(frames):
            far = 1.5 + 3.0 * rng.random()
            depth_m = np.linspace(far, 0.8, 48)[:, None] * np.ones((48, 64))
            image = np.stack([depth_m * 25, 255 - depth_m * 25, np.full_like(depth_m, 20.0 * i)], -1)
            depth_m[:, 0] = 0
            cv2.imwrite(str(folder / "rgb" / f"{i:04d}.png"), image.astype(np.uint8)[..., ::-1])
            cv2.imwrite(str(folder / "depth" / f"{i:04d}.png"), np.round(depth_m * units).astype(np.uint16))
        content = {
            "source": name,
            "depth_units_per_metre": units,
            "intrinsics": {"fx": 50.0, "fy": 50.0, "cx": 31.5, "cy": 23.5},
            "licence": "made by the tests",
            **meta,
        }
        (folder / "meta.json").write_text(json.dumps(content))
        return folder

    return make


TINY_MODEL = {
    "tower_width": 32,
    "tower_blocks": 2,
    "tower_heads": 2,
    "stem_channels": [8, 8, 16, 16],
    "decoder_channels": [16, 16, 8, 8, 8],
    "tap_layers": [1],
    "adapter_layers": [1],
    "adapter_width": 8,
    "gate_width": 8,
    "last_blocks": 1,
    "bins": 16,
    "position_grid": [2, 3],
    "input_pixels": 96 * 64,
}


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., TrainConfig]:
    """A training of seconds on rendered rooms; section__key=value (or section=mapping) goes on top."""
    rooms = {"kind": "rooms", "count": 8, "seed": 3, "longest_px": 96}
    base = {
        "data": {
            "root": str(tmp_path),
            "width_px": 96,
            "height_px": 64,
            "train": {"rooms": rooms},
            "validation": {"held_out": {**rooms, "count": 2, "seed": 4}},
        },
        "model": {"preset": "nano", "overrides": TINY_MODEL},
        "loss": {"bin_cross_entropy": 0.3, "log_l1": 1.0, "silog": 0.1, "gradient_matching": 0.2},
        "optim": {"rates": {"adapters": 3e-3, "last_blocks": 3e-3, "tower": 3e-3}, "ema_decay": 0.9},
        "loop": {
            "out": str(tmp_path / "run"),
            "steps": 6,
            "batch": 4,
            "accelerator": "cpu",
            "precision": "32-true",
            "threads": 1,
            "log_every": 1000,
            "evaluate_every": 3,
        },
    }

    def make(**overrides: Any) -> TrainConfig:
        mapping: dict[str, Any] = copy.deepcopy(base)
        for dotted, value in overrides.items():
            section, _, key = dotted.partition("__")
            if key:
                mapping[section][key] = value
            else:
                mapping[section] = value
        return config_from_mapping(mapping)

    return make


class Recording:
    """A bag being written; stamps are in seconds, and a message is recorded 5 ms after its stamp."""

    def __init__(self, path: Path, storage: str) -> None:
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_typestore

        self.path = path
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._writer = Writer(path, version=8, storage_plugin=StoragePlugin[storage.upper()])
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> Recording:
        self._writer.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def image(self, stamp_s: float, rgb: np.ndarray, topic: str = "/cam/image_raw", frame: str = "cam") -> None:
        """rgb8, or JPEG where the topic ends in /compressed."""
        height, width = rgb.shape[:2]
        if topic.endswith("/compressed"):
            data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].reshape(-1)
            return self._write(topic, "sensor_msgs/msg/CompressedImage", stamp_s, frame, "jpeg", data)
        data = np.ascontiguousarray(rgb).reshape(-1)
        return self._write(topic, "sensor_msgs/msg/Image", stamp_s, frame, height, width, "rgb8", 0, 3 * width, data)

    def depth(
        self, stamp_s: float, depth_m: np.ndarray, topic: str = "/cam/depth/image", frame: str = "cam", metres=False
    ) -> None:
        """16UC1, or 32FC1 with `metres`, or a PNG where the topic ends in /compressedDepth; 0 is no reading."""
        height, width = depth_m.shape
        encoding, kind = ("32FC1", "<f4") if metres else ("16UC1", "<u2")
        values = (depth_m if metres else np.round(depth_m * 1000)).astype(kind)
        if topic.endswith("/compressedDepth"):
            data = np.append(np.zeros(12, np.uint8), cv2.imencode(".png", values)[1])
            text = f"{encoding}; compressedDepth png"
            return self._write(topic, "sensor_msgs/msg/CompressedImage", stamp_s, frame, text, data)
        data = values.reshape(-1).view(np.uint8)
        step = values.itemsize * width
        return self._write(topic, "sensor_msgs/msg/Image", stamp_s, frame, height, width, encoding, 0, step, data)

    def info(self, stamp_s: float, camera: Any, d: tuple = (0.0,) * 5, topic: str = "/cam/camera_info") -> None:
        """CameraInfo of `Intrinsics` with these plumb_bob coefficients."""
        k = np.array([camera.fx_px, 0, camera.cx_px, 0, camera.fy_px, camera.cy_px, 0, 0, 1.0])
        p = np.insert(k, (3, 6, 9), 0.0)
        whole = self._store.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        values = (camera.height_px, camera.width_px, "plumb_bob", np.array(d), k, np.eye(3).reshape(-1), p, 0, 0, whole)
        self._write(topic, "sensor_msgs/msg/CameraInfo", stamp_s, "cam", *values)

    def cloud(self, stamp_s: float, points: np.ndarray, topic: str = "/lidar/points", frame: str = "lidar") -> None:
        """Points [N, 3] with an intensity between y and z, as a driver packs them."""
        packed = np.zeros(len(points), np.dtype([("x", "<f4"), ("y", "<f4"), ("intensity", "<f4"), ("z", "<f4")]))
        for i, name in enumerate("xyz"):
            packed[name] = points[:, i]
        field = self._store.types["sensor_msgs/msg/PointField"]
        fields = [field(name, offset, 7, 1) for name, offset in (("x", 0), ("y", 4), ("intensity", 8), ("z", 12))]
        size = 16 * len(points)
        values = (1, len(points), fields, False, 16, size, packed.view(np.uint8), True)
        self._write(topic, "sensor_msgs/msg/PointCloud2", stamp_s, frame, *values)

    def transform(self, stamp_s: float, parent: str, child: str, xyz: tuple, quaternion: tuple, topic="/tf") -> None:
        """One transform; quaternion is x, y, z, w."""
        t = self._store.types
        moved = t["geometry_msgs/msg/Transform"](
            t["geometry_msgs/msg/Vector3"](*map(float, xyz)), t["geometry_msgs/msg/Quaternion"](*map(float, quaternion))
        )
        one = t["geometry_msgs/msg/TransformStamped"](self._header(stamp_s, parent), child, moved)
        self._put(topic, "tf2_msgs/msg/TFMessage", stamp_s, t["tf2_msgs/msg/TFMessage"]([one]))

    def own_stats(self, stamp_s: float, topic: str) -> None:
        """What depth_node publishes beside its depth."""
        from rosbags.typesys import get_types_from_msg

        kind = "depthclip_ros/msg/DepthStats"
        self._store.register(get_types_from_msg("float32 scale", kind))
        self._put(topic, kind, stamp_s, self._store.types[kind](1.0))

    def _header(self, stamp_s: float, frame: str) -> Any:
        stamp_ns = round(stamp_s * 1e9)
        stamp = self._store.types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
        return self._store.types["std_msgs/msg/Header"](stamp, frame)

    def _write(self, topic: str, kind: str, stamp_s: float, frame: str, *values: Any) -> None:
        self._put(topic, kind, stamp_s, self._store.types[kind](self._header(stamp_s, frame), *values))

    def _put(self, topic: str, kind: str, stamp_s: float, message: Any) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=self._store)
        data = self._store.serialize_cdr(message, kind)
        self._writer.write(self._connections[topic], round(stamp_s * 1e9) + 5_000_000, data)


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Recording]:
    """Begins a bag: `with record("walk", storage="mcap") as bag: bag.image(...)`; it lies at `bag.path`."""

    def begin(name: str = "walk", storage: str = "mcap") -> Recording:
        return Recording(tmp_path / name, storage)

    return begin


@pytest.fixture
def make_tiny_weights(tmp_path: Path) -> Callable[..., Path]:
    """Writes weights of an untrained tiny network: `make_tiny_weights(seed=0)`."""

    def make(seed: int = 0) -> Path:
        import torch

        from depthclip_ros.core.model.registry import build_model, config_from_dict, preset
        from depthclip_ros.core.weights.weights_file import save_weights

        torch.manual_seed(seed)
        plain = {name: tuple(v) if isinstance(v, list) else v for name, v in TINY_MODEL.items()}
        model = build_model(config_from_dict({**vars(preset("nano")), **plain}))
        path = tmp_path / f"tiny{seed}.safetensors"
        save_weights(path, model, training={"data": {"nothing": "untrained"}}, metrics={})
        return path

    return make


NYU_FRAMES = 6


def _nyu_arrays(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, H, W, 3] RGB with a white frame, depths float32 [N, H, W]: each frame a ramp of its own."""
    rows = np.linspace(1.0, 0.0, 480, dtype=np.float32)[:, None] * np.ones((1, 640), np.float32)
    depths = np.stack([1.0 + 0.25 * i + 3.0 * rows for i in range(NYU_FRAMES)])
    images = np.full((NYU_FRAMES, 480, 640, 3), 255, np.uint8)
    shades = np.stack([depths * 40, 255 - depths * 40, np.full_like(depths, 30)], -1).astype(np.uint8)
    images[:, 8:472, 8:632] = shades[:, 8:472, 8:632]
    return images, depths


@pytest.fixture
def make_nyu_mat(tmp_path: Path) -> Callable[..., Path]:
    """The labelled .mat as MATLAB 7.3 writes it (HDF5, axes in reverse) and splits.mat (MATLAB 5, from 1)."""

    def make(train: tuple[int, ...] = (1, 2, 4), test: tuple[int, ...] = (3, 5, 6)) -> Path:
        import h5py
        import scipy.io

        images, depths = _nyu_arrays()
        folder = tmp_path / "nyu_mat"
        folder.mkdir()
        with h5py.File(folder / "nyu_depth_v2_labeled.mat", "w", userblock_size=512) as file:
            file["images"] = images.transpose(0, 3, 2, 1)  # [N, 3, W, H]
            file["depths"] = depths.transpose(0, 2, 1)  # [N, W, H]
        with (folder / "nyu_depth_v2_labeled.mat").open("r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128, b" "))
        columns = {"trainNdxs": np.array(train)[:, None], "testNdxs": np.array(test)[:, None]}
        scipy.io.savemat(folder / "splits.mat", columns)
        return folder

    return make


@pytest.fixture
def make_nyu_folder(tmp_path: Path) -> Callable[[], Path]:
    """Scenes of the synchronised download with both file lists; lines of the training list begin with a slash."""

    def make() -> Path:
        images, depths = _nyu_arrays()
        folder = tmp_path / "nyu"
        lists: dict[str, list[str]] = {"train": [], "test": []}
        for i, scene in enumerate(("kitchen_0028a", "kitchen_0028b", "office_0001a", "study_0003", "bathroom", "cafe")):
            part = "test" if i >= 4 else "train"
            place = folder / ("official_splits/test" if part == "test" else "sync") / scene
            place.mkdir(parents=True)
            cv2.imwrite(str(place / f"rgb_{i:05d}.jpg"), images[i][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
            cv2.imwrite(str(place / f"sync_depth_{i:05d}.png"), np.round(depths[i] * 1000).astype(np.uint16))
            slash = "/" if part == "train" else ""
            lists[part].append(f"{slash}{scene}/rgb_{i:05d}.jpg {slash}{scene}/sync_depth_{i:05d}.png 518.8579")
        for part, lines in lists.items():
            (folder / f"nyudepthv2_{part}_files_with_gt.txt").write_text("\n".join(lines) + "\n")
        return folder

    return make


@pytest.fixture
def make_kitti(tmp_path: Path) -> Callable[..., Path]:
    """Drives of two dates, one with a calibration, LiDAR-like sparse depth, and both Eigen lists with a `None`."""

    def make(size_px: tuple[int, int] = (1242, 375)) -> Path:
        width, height = size_px
        root = tmp_path / "kitti"
        rng = np.random.default_rng(1)
        lists: dict[str, list[str]] = {"train": [], "test": []}
        for i in range(4):
            date = "2011_09_26" if i % 2 == 0 else "2011_09_28"
            drive, part = f"{date}_drive_{i:04d}_sync", "test" if i >= 2 else "train"
            image = root / "raw" / date / drive / "image_02" / "data" / f"{i:010d}.png"
            depth = root / "data_depth_annotated" / drive / "proj_depth" / "groundtruth" / "image_02" / image.name
            image.parent.mkdir(parents=True)
            depth.parent.mkdir(parents=True)
            depth_m = np.linspace(70, 4, height)[:, None] * np.ones((1, width)) + i
            shade = np.stack([depth_m * 3, 255 - depth_m * 3, np.full_like(depth_m, 40)], -1).astype(np.uint8)
            cv2.imwrite(str(image), shade[..., ::-1])
            sparse = np.where(rng.random(depth_m.shape) < 0.2, np.round(depth_m * 256), 0)
            cv2.imwrite(str(depth), sparse.astype(np.uint16))
            relative = image.relative_to(root / "raw"), depth.relative_to(root / "data_depth_annotated")
            lists[part].append(f"{relative[0]} {relative[1]} 721.5377")
        lists["test"].append(f"2011_09_26/{drive}/image_02/data/0000000099.png None 721.5377")
        (root / "raw" / "2011_09_26" / "calib_cam_to_cam.txt").write_text(
            "calib_time: 09-Jan-2012 13:57:47\ncorner_dist: 9.950000e-02\n"
            "P_rect_02: 7.215377e+02 0.000000e+00 6.095593e+02 4.485728e+01 0.000000e+00 7.215377e+02 1.728540e+02 "
            "2.163791e-01 0.000000e+00 0.000000e+00 1.000000e+00 2.745884e-03\n"
        )
        for part, lines in lists.items():
            (root / f"eigen_{part}_files_with_gt.txt").write_text("\n".join(lines) + "\n")
        return root

    return make
