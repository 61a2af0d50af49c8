# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip-train write-shards`: frames of any reader into WebDataset shards."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def write_shards_command(arguments: Sequence[str]) -> None:
    """The command; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="depthclip-train write-shards",
        description="Write frames with depth to WebDataset shards, for sets of many files or larger than the memory.",
    )
    parser.add_argument("--data", required=True, type=Path, help="what depthclip-eval takes; training parts only")
    parser.add_argument("--kind", default="", help="of the configuration's sources; empty finds it")
    parser.add_argument("--file-list", default="", help="of nyu_folder and kitti: the list, relative to the data")
    parser.add_argument("--part", default="all", help="all, train or validation")
    parser.add_argument("--out", required=True, type=Path, help="folder, empty or new")
    parser.add_argument("--per-shard", type=int, default=1000, help="frames of one shard")
    parser.add_argument("--max-depth", type=float, default=80.0, help="metres; farther readings are none")
    parser.add_argument("--lossless", action="store_true", help="images as PNG rather than JPEG of quality 95")
    options = parser.parse_args(arguments)
    from depthclip_trainer.config import SourceConfig
    from depthclip_trainer.data.frames import read_frames, trainable_range
    from depthclip_trainer.data.readers.shards import write_shards
    from depthclip_trainer.data.sources import frame_set, kind_of, part_names

    source = SourceConfig(
        kind=options.kind or kind_of(options.data),
        path=str(options.data),
        part=options.part,
        file_list=options.file_list,
        max_depth_m=options.max_depth,
    )
    frames = frame_set(source, ".")
    samples = (trainable_range(s, options.max_depth) for s in read_frames(frames, part_names(frames, source)))
    count = write_shards(
        samples,
        options.out,
        source=frames.name,
        licence=frames.licence,
        per_shard=options.per_shard,
        lossless=options.lossless,
    )
    print(f"{count} frames of {frames.name} in {options.out}")
