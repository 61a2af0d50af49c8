# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip-train render-rooms`: a cache of rendered rooms."""

from __future__ import annotations

import argparse
import time
from pathlib import Path


def render_rooms_command(arguments: list[str]) -> None:
    """The command; see `--help`."""
    parser = argparse.ArgumentParser(prog="depthclip-train render-rooms", description="Render a cache of rooms.")
    parser.add_argument("--out", required=True, type=Path, help="folder of the cache; rendering can be restarted")
    parser.add_argument("--count", required=True, type=int, help="rooms, rounded up to whole shards")
    parser.add_argument("--seed", type=int, default=1, help="rooms of different seeds do not overlap")
    parser.add_argument("--width", type=int, default=320, help="pixels")
    parser.add_argument("--height", type=int, default=240, help="pixels")
    parser.add_argument("--preset", default="mixed", help="rooms, tabletop, floor, hall or mixed")
    parser.add_argument(
        "--photographs", type=Path, help="folder of photographs that a share of the surfaces shows, however deep"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 for torch's choice")
    options = parser.parse_args(arguments)
    import torch

    from depthclip_trainer.data.store.photographs import read_photographs
    from depthclip_trainer.data.store.rooms import SHARD, render_cache

    if options.threads:
        torch.set_num_threads(options.threads)
    name = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    begun = time.monotonic()

    def on_shard(done: int, shards: int) -> None:
        rate = done * SHARD / max(1e-9, time.monotonic() - begun)
        print(f"{done * SHARD} of {shards * SHARD} rooms, {rate:.1f} rooms/s", flush=True)

    render_cache(
        options.out,
        options.count,
        options.seed,
        options.width,
        options.height,
        options.preset,
        torch.device(name),
        on_shard,
        read_photographs(options.photographs, options.seed) if options.photographs else None,
    )
