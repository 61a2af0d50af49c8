# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""From the config's sources to pools of frames. A new reader is a module and a row in `OPENERS`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.recordings.bags import is_bag
from depthclip_trainer.config import DataConfig, SourceConfig
from depthclip_trainer.data.frames import FrameSet, read_frames, trainable_range
from depthclip_trainer.data.readers.bag import BagOptions, open_bag
from depthclip_trainer.data.readers.kitti import KittiFrames, is_kitti
from depthclip_trainer.data.readers.nyu import NyuFolder, NyuMat, is_nyu_folder, is_nyu_mat
from depthclip_trainer.data.readers.rgbd_folder import open_folder
from depthclip_trainer.data.readers.shards import ShardSet, is_shards
from depthclip_trainer.data.readers.tum import TumSequence, is_tum
from depthclip_trainer.data.readers.unlabelled import ImageFolder, is_image_folder
from depthclip_trainer.data.sample import MIN_VALID_DEPTH_M, FramePool, MemoryPool, pool_from_samples
from depthclip_trainer.data.split import part_names
from depthclip_trainer.data.store.pools import frames_on_disk
from depthclip_trainer.data.store.pseudo import pseudo_pool, read_index
from depthclip_trainer.data.store.rooms import RoomCache, RoomStream, render_pool


@dataclass(frozen=True)
class OpenedSource:
    """A source that is ready, and what the weights' metadata says of it.

    Attributes:
        sha256: of what it holds: names of frames, the account of pseudo-labels or of a cache of rooms.
    """

    name: str
    pool: FramePool
    share: float
    licence: str
    description: str
    sha256: str


def open_sources(data: DataConfig, part: str, device: torch.device) -> list[OpenedSource]:
    """Opens all sources of a part (`train`, `validation`) of a training config.

    Frames for the validation stay on the CPU at their own size, as the engine will see them.

    Raises:
        InputError, ConfigError: as of `open_source`.
    """
    size_px = (data.width_px, data.height_px)
    sources: dict[str, SourceConfig] = getattr(data, part)
    if part == "validation":
        device = torch.device("cpu")
        sources = {name: full_size(source) for name, source in sources.items()}
    return [open_source(n, s, data.root, size_px, device, data.never_train_on) for n, s in sources.items()]


def open_source(
    name: str,
    config: SourceConfig,
    root: str | Path,
    size_px: tuple[int, int],
    device: torch.device,
    never: Sequence[str] = (),
) -> OpenedSource:
    """Opens one source of a training config; `size_px` (width, height) is that of the batches.

    Raises:
        InputError: no such folder, no usable frame, no reading up to `max_depth_m`.
        ConfigError: frames that are `never` trained on, or such without depth.
    """
    if config.kind == "rooms":
        pool, account = _rooms(name, config, size_px, device)
        moving = f", {config.stream:g} of them new at each step" if config.stream else ""
        about = f"{len(pool)} rendered rooms{moving}"
        licence = "rendered by depthclip_ros"
        if shown := account.get("photographs"):
            licence += f", photographs of {shown['name']} on its surfaces: {shown['licence']}"
        return OpenedSource(name, pool, config.share, licence, about, _hash(account))
    if config.kind == "pseudo":
        index = read_index(Path(config.path))
        refuse(never, Path(index.get("folder", config.path)), str(index["data"]))
        pool = pseudo_pool(name, Path(config.path), config.longest_px, config.count, config.keep)
        about = f"{len(pool)} pictures of {index['data']}, {pool.target} labels of {index['teacher']}"
        account = {**index, "folder": ""}
        return OpenedSource(name, _on(pool, device), config.share, index["licence"], about, _hash(account))
    frames = frame_set(config, root, never)
    names = part_names(frames, config)
    if not names:
        raise InputError(f"{config.path} has no frame in its {config.part} part")
    crop = config.crop or None
    if config.keep == "disk":
        pool = frames_on_disk(name, frames, names, crop, config.longest_px, config.max_depth_m)
    else:
        samples = (trainable_range(sample, config.max_depth_m) for sample in read_frames(frames, names, crop))
        held = pool_from_samples(name, samples, config.longest_px, config.max_depth_m)
        if not held.frames.depth_m.any():
            raise InputError(
                f"{frames.name} has no reading between {MIN_VALID_DEPTH_M} and {config.max_depth_m:g} m; "
                "set max_depth_m of the source, or leave it out"
            )
        pool = _on(held, device)
    about = f"{len(pool)} frames of {frames.name}, {config.part}"
    return OpenedSource(name, pool, config.share, frames.licence, about, _hash([frames.name, names]))


def full_size(config: SourceConfig) -> SourceConfig:
    """A source whose recorded frames keep the size that they have."""
    return config if config.kind == "rooms" else dataclasses.replace(config, longest_px=LONGEST_PX)


LONGEST_PX = 1 << 16


def frame_set(config: SourceConfig, root: str | Path, never: Sequence[str] = ()) -> FrameSet:
    """Opens the recorded frames of a source to learn from.

    Raises:
        InputError: nothing there to read.
        ConfigError: frames that are `never` trained on, or such without depth.
    """
    path = Path(root) / config.path
    if config.kind in WITHOUT_DEPTH:
        raise ConfigError(f"{path} has no depth to learn from; give it labels with depthclip-train pseudo-label")
    frames = OPENERS[config.kind](path, config)
    refuse(never, path, frames.name)
    return frames


def refuse(never: Sequence[str], path: Path, name: str) -> None:
    """Keeps out of training what `data.never_train_on` lists, whatever reads it.

    Raises:
        ConfigError: a source of a listed name, or one in a listed folder.
    """
    place = path.resolve()
    for listed in never:
        folder = Path(listed).resolve()
        if name in (listed, folder.name) or folder in (place, *place.parents):
            raise ConfigError(f"{path} ({name}) is not trained on: data.never_train_on lists {listed}")


def kind_of(path: Path) -> str:
    """The kind of source that a path is.

    Raises:
        InputError: nothing that a reader knows.
    """
    for kind, known in KNOWN_BY.items():
        if known(path):
            return kind
    raise InputError(f"{path} is nothing that a reader knows; there are {', '.join(KNOWN_BY)}")


def _bag(path: Path, config: SourceConfig) -> FrameSet:
    return open_bag(path, BagOptions(config.image_topic, config.depth_topic, config.camera_info_topic))


OPENERS: dict[str, Callable[[Path, SourceConfig], FrameSet]] = {
    "rgbd_folder": lambda path, _: open_folder(path),
    "nyu_mat": lambda path, _: NyuMat(path, "train"),  # never the official test part
    "nyu_folder": lambda path, config: NyuFolder(path, config.file_list),
    "kitti": lambda path, config: KittiFrames(path, config.file_list, kb_crop=True),
    "tum": lambda path, config: TumSequence(path, config.intrinsics),
    "bag": _bag,
    "shards": lambda path, _: ShardSet(path),
    "images": lambda path, config: ImageFolder(path, config.hfov_deg),
}
"""How the recorded frames of each kind are opened to be learned from."""

WITHOUT_DEPTH = frozenset({"images"})

KNOWN_BY: dict[str, Callable[[Path], bool]] = {
    "bag": is_bag,
    "rgbd_folder": lambda path: (path / "meta.json").is_file(),
    "nyu_mat": is_nyu_mat,
    "kitti": is_kitti,
    "nyu_folder": is_nyu_folder,
    "tum": is_tum,
    "shards": is_shards,
    "images": is_image_folder,
}
"""How a path tells its kind; the first that holds."""


def _rooms(
    name: str, config: SourceConfig, size_px: tuple[int, int], device: torch.device
) -> tuple[FramePool, dict[str, Any]]:
    """Rooms, and what they were rendered with."""
    if config.path:
        pool = RoomCache(name, Path(config.path), config.count)
        return pool, {**json.loads((Path(config.path) / "meta.json").read_text()), "count": len(pool)}
    ratio = config.longest_px / max(size_px)
    width_px, height_px = round(size_px[0] * ratio), round(size_px[1] * ratio)
    account = {"width_px": width_px, "height_px": height_px, "seed": config.seed, "stream": config.stream}
    count = max(1, config.count)
    if config.stream:
        return RoomStream(name, count, config.stream, width_px, height_px, config.seed, device), account
    return render_pool(name, count, width_px, height_px, config.seed, device), account


def _hash(account: object) -> str:
    return hashlib.sha256(json.dumps(account, sort_keys=True).encode()).hexdigest()


def _on(pool: FramePool, device: torch.device) -> FramePool:
    return pool.to(device) if isinstance(pool, MemoryPool) and device.type != "cpu" else pool
