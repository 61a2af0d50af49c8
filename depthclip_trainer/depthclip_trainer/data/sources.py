"""From the config's sources to pools of frames. A new reader is a module and a row in `OPENERS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_trainer.config import SourceConfig
from depthclip_trainer.data.frames import FrameSet, read_frames, trainable_range
from depthclip_trainer.data.held_back import refuse_test_set
from depthclip_trainer.data.readers.bag import BagOptions, is_bag, open_bag
from depthclip_trainer.data.readers.image_folder import ImageFolder, is_image_folder
from depthclip_trainer.data.readers.kitti import KittiFrames, is_kitti
from depthclip_trainer.data.readers.nyu import NyuFolder, NyuMat, is_nyu_folder, is_nyu_mat
from depthclip_trainer.data.readers.rgbd_folder import open_folder
from depthclip_trainer.data.readers.tum import TumSequence, is_tum
from depthclip_trainer.data.sample import FramePool, MemoryPool, pool_from_samples
from depthclip_trainer.data.split import part_of
from depthclip_trainer.data.store.disk_pool import DiskPool
from depthclip_trainer.data.store.pseudo import pseudo_pool, read_index
from depthclip_trainer.data.store.pseudo_disk import PseudoDiskPool
from depthclip_trainer.data.store.rooms import RoomCache, RoomStream, render_pool
from depthclip_trainer.data.store.shards import ShardSet, is_shards
from depthclip_trainer.data.time_split import time_parts


@dataclass(frozen=True)
class OpenedSource:
    """A source that is ready, and what the weights' metadata says of it."""

    name: str
    pool: FramePool
    share: float
    licence: str
    description: str


def open_source(
    name: str, config: SourceConfig, root: str | Path, size_px: tuple[int, int], device: torch.device
) -> OpenedSource:
    """Opens one source of a training config; `size_px` (width, height) is that of the batches.

    Raises:
        InputError: no such folder, no usable frame.
        ConfigError: test frames.
    """
    if config.kind == "rooms":
        ratio = config.longest_px / max(size_px)
        width_px, height_px = round(size_px[0] * ratio), round(size_px[1] * ratio)
        if config.path:
            pool: FramePool = RoomCache(name, Path(config.path), config.count)
        elif config.stream:
            pool = RoomStream(name, max(1, config.count), config.stream, width_px, height_px, config.seed, device)
        else:
            pool = render_pool(name, max(1, config.count), width_px, height_px, config.seed, device)
        return OpenedSource(name, pool, config.share, "rendered by depthclip_ros", _rooms(config, pool))
    if config.kind == "pseudo":
        index = read_index(Path(config.path))
        taken = (name, Path(config.path), config.longest_px, config.count)
        pool = PseudoDiskPool(*taken) if config.keep == "disk" else _on(pseudo_pool(*taken), device)
        about = f"{len(pool)} pictures of {index['data']}, {pool.target} labels of {index['teacher']}"
        return OpenedSource(name, pool, config.share, index["licence"], about)
    frames = frame_set(config, root)
    names = part_names(frames, config)
    if not names:
        raise InputError(f"{config.path} has no frame in its {config.part} part")
    crop = config.crop or None
    if config.keep == "disk":
        pool = DiskPool(name, frames, names, crop, config.longest_px, config.max_depth_m)
    else:
        samples = [trainable_range(sample, config.max_depth_m) for sample in read_frames(frames, names, crop)]
        pool = _on(pool_from_samples(name, samples, config.longest_px, config.max_depth_m), device)
    return OpenedSource(name, pool, config.share, frames.licence, f"{len(pool)} frames of {frames.name}, {config.part}")


def frame_set(config: SourceConfig, root: str | Path) -> FrameSet:
    """Opens the recorded frames of a source that may be trained on.

    Raises:
        InputError: nothing there to read.
        ConfigError: test frames, or frames without depth.
    """
    path = Path(root) / config.path
    if config.kind in WITHOUT_DEPTH:
        raise ConfigError(f"{path} has no depth to learn from; give it labels with depthclip-train pseudo-label")
    frames = OPENERS[config.kind](path, config)
    refuse_test_set(path, frames.name)
    return frames


def part_names(frames: FrameSet, config: SourceConfig) -> list[str]:
    """Names of the frames of the source's part.

    Raises:
        ConfigError: an unknown part.
        InputError: too few frames to cut in time.
    """
    names = list(frames.frame_names)
    if config.split != "time":
        names = part_of(names, config.part)
        return [names[i] for i in spread(len(names), config.count)]
    chosen = spread(len(names), config.count)
    times_s: Sequence[float] = getattr(frames, "times_s", range(len(names)))
    if config.part != "all":
        parts = time_parts([times_s[i] for i in chosen])
        if config.part not in parts:
            raise ConfigError(f"data part is {config.part!r}; allowed with a split in time: all, {', '.join(parts)}")
        chosen = [chosen[i] for i in parts[config.part]]
    return [names[i] for i in chosen]


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` of the numbers 0..count, ascending and evenly over the whole; all for 0 or where there are fewer."""
    if not 0 < wanted < count:
        return list(range(count))
    return [round(i * (count - 1) / max(1, wanted - 1)) for i in range(wanted)]


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


def _rooms(config: SourceConfig, pool: FramePool) -> str:
    moving = f", {config.stream:g} of them new at each step" if config.stream else ""
    return f"{len(pool)} rendered rooms{moving}"


def _on(pool: MemoryPool, device: torch.device) -> MemoryPool:
    return pool if device.type == "cpu" else pool.to(device)
