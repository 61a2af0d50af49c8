"""From the config's sources to pools of frames in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from depthclip_ros.core.errors import InputError
from depthclip_trainer.config import SourceConfig
from depthclip_trainer.data.pseudo import pseudo_pool, read_index
from depthclip_trainer.data.rgbd_folder import open_folder, read_frames, refuse_test_frames, trainable_range
from depthclip_trainer.data.rooms import RoomCache, render_pool
from depthclip_trainer.data.sample import FramePool, MemoryPool, pool_from_samples
from depthclip_trainer.data.split import part_of


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
        else:
            pool = render_pool(name, max(1, config.count), width_px, height_px, config.seed, device)
        return OpenedSource(name, pool, config.share, "rendered by depthclip_ros", f"{len(pool)} rendered rooms")
    if config.kind == "pseudo":
        index = read_index(Path(config.path))
        labels = pseudo_pool(name, Path(config.path), config.longest_px, config.count)
        about = f"{len(labels)} pictures of {index['data']}, {labels.target} labels of {index['teacher']}"
        return OpenedSource(name, _on(labels, device), config.share, index["licence"], about)
    path = Path(root) / config.path
    folder = open_folder(path)
    refuse_test_frames(folder)
    names = part_of(folder.frame_names, config.part)
    names = names[: config.count] if config.count else names
    if not names:
        raise InputError(f"{path} has no frame in its {config.part} part")
    samples = [trainable_range(sample) for sample in read_frames(folder, names, config.crop or None)]
    pool = _on(pool_from_samples(name, samples, config.longest_px), device)
    return OpenedSource(name, pool, config.share, folder.licence, f"{len(pool)} frames of {folder.name}, {config.part}")


def _on(pool: MemoryPool, device: torch.device) -> MemoryPool:
    return pool if device.type == "cpu" else pool.to(device)
