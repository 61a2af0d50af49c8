"""From the config's sources to pools of frames in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_trainer.config import SourceConfig
from depthclip_trainer.data.bag import BagOptions, is_bag, open_bag
from depthclip_trainer.data.frames import FrameSet, read_frames
from depthclip_trainer.data.pseudo import pseudo_pool, read_index
from depthclip_trainer.data.rgbd_folder import open_folder, refuse_test_frames, trainable_range
from depthclip_trainer.data.rooms import RoomCache, RoomStream, render_pool
from depthclip_trainer.data.sample import FramePool, MemoryPool, pool_from_samples
from depthclip_trainer.data.split import part_of
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
        labels = pseudo_pool(name, Path(config.path), config.longest_px, config.count)
        about = f"{len(labels)} pictures of {index['data']}, {labels.target} labels of {index['teacher']}"
        return OpenedSource(name, _on(labels, device), config.share, index["licence"], about)
    frames = frame_set(config, root)
    names = part_names(frames, config)
    if not names:
        raise InputError(f"{config.path} has no frame in its {config.part} part")
    samples = [trainable_range(sample) for sample in read_frames(frames, names, config.crop or None)]
    pool = _on(pool_from_samples(name, samples, config.longest_px), device)
    return OpenedSource(name, pool, config.share, frames.licence, f"{len(pool)} frames of {frames.name}, {config.part}")


def frame_set(config: SourceConfig, root: str | Path) -> FrameSet:
    """Opens the recorded frames of a source that may be trained on.

    Raises:
        InputError: nothing there to read.
        ConfigError: test frames.
    """
    return OPENERS[config.kind](Path(root) / config.path, config)


def part_names(frames: FrameSet, config: SourceConfig) -> list[str]:
    """Names of the frames of the source's part.

    Raises:
        ConfigError: an unknown part.
        InputError: too few frames to cut in time.
    """
    names = list(frames.frame_names)
    if config.split != "time":
        names = part_of(names, config.part)
        return names[: config.count] if config.count else names
    chosen = list(range(len(names)))
    if 0 < config.count < len(names):
        chosen = [round(i * (len(names) - 1) / max(1, config.count - 1)) for i in range(config.count)]
    times_s: Sequence[float] = getattr(frames, "times_s", range(len(names)))
    if config.part != "all":
        parts = time_parts([times_s[i] for i in chosen])
        if config.part not in parts:
            raise ConfigError(f"data part is {config.part!r}; allowed with a split in time: all, {', '.join(parts)}")
        chosen = [chosen[i] for i in parts[config.part]]
    return [names[i] for i in chosen]


def kind_of(path: Path) -> str:
    """The kind of source that a path is.

    Raises:
        InputError: nothing that a reader knows.
    """
    for kind, known in KNOWN_BY.items():
        if known(path):
            return kind
    raise InputError(f"{path} is nothing that a reader knows; there are {', '.join(KNOWN_BY)}")


def _folder(path: Path, _config: SourceConfig) -> FrameSet:
    folder = open_folder(path)
    refuse_test_frames(folder)
    return folder


def _bag(path: Path, config: SourceConfig) -> FrameSet:
    return open_bag(path, BagOptions(config.image_topic, config.depth_topic, config.camera_info_topic))


OPENERS: dict[str, Callable[[Path, SourceConfig], FrameSet]] = {"rgbd_folder": _folder, "bag": _bag}
KNOWN_BY: dict[str, Callable[[Path], bool]] = {"bag": is_bag, "rgbd_folder": lambda p: (p / "meta.json").is_file()}


def _rooms(config: SourceConfig, pool: FramePool) -> str:
    moving = f", {config.stream:g} of them new at each step" if config.stream else ""
    return f"{len(pool)} rendered rooms{moving}"


def _on(pool: MemoryPool, device: torch.device) -> MemoryPool:
    return pool if device.type == "cpu" else pool.to(device)
