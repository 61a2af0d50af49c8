# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The command line of `depthclip-train pseudo-label`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path


def pseudo_label_command(arguments: list[str]) -> None:
    """Parses, labels, and says what was done; one worker of as many as torchrun started."""
    parser = argparse.ArgumentParser(
        prog="depthclip-train pseudo-label",
        description="Let a trained model (any weights file) label plain pictures, as WebDataset shards to train on.",
        epilog="Many workers: torchrun --nproc-per-node 4 --no-python depthclip-train pseudo-label ...; "
        "after a stop start the same command again, whole shards are kept.",
    )
    parser.add_argument("--weights", required=True, help="the teacher: a weights file, `default`, a Hugging Face id")
    parser.add_argument("--data", required=True, type=Path, help="folder of pictures, or of .tar shards of pictures")
    parser.add_argument("--out", required=True, type=Path, help="folder of the labelled shards")
    parser.add_argument("--target", default="", help="canonical or affine; default: what the teacher can give")
    parser.add_argument("--flip", action="store_true", help="average with the mirrored picture, at twice the time")
    parser.add_argument("--hfov", type=float, default=60.0, help="degrees, written down for pictures of unknown lenses")
    parser.add_argument("--longest", type=int, default=384, help="pixels; larger pictures are stored shrunk to this")
    parser.add_argument("--shard", type=int, default=256, help="pictures of one shard")
    parser.add_argument("--batch", type=int, default=16, help="pictures of one forward pass")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=4, help="that read pictures")
    o = parser.parse_args(arguments)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from depthclip_trainer.data.readers.unlabelled import find_pictures
    from depthclip_trainer.labelling.label_pictures import LabelConfig, label_pictures

    config = LabelConfig(
        o.weights, o.data, o.out, o.target, o.flip, o.hfov, o.longest, o.shard, o.batch, o.runtime, o.device,
        o.precision, o.threads,
    )  # fmt: skip
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    pieces = find_pictures(config.data, config.shard).pieces[rank::world_size]
    total = None if any(piece.is_shard for piece in pieces) else sum(len(piece.names) for piece in pieces)
    begun = time.monotonic()
    columns = (TextColumn("labelling"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=rank != 0 or not sys.stdout.isatty()) as bar:
        task = bar.add_task("labelling", total=total)
        counts = label_pictures(config, rank, world_size, lambda n: bar.advance(task, n))
    rate = counts.pictures / max(1e-9, time.monotonic() - begun)
    who = f"worker {rank} of {world_size}: " if world_size > 1 else ""
    print(
        f"{who}{counts.pictures} pictures labelled in {counts.shards} shards ({rate:.1f} a second), "
        f"{counts.found} shards were there, {counts.broken} broken pictures skipped; {config.out}",
        flush=True,
    )
