# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip-export`: a checkpoint becomes a weights file."""

from __future__ import annotations

import argparse
from pathlib import Path


def export_command(arguments: list[str]) -> None:
    """The command; see `--help`."""
    parser = argparse.ArgumentParser(prog="depthclip-export", description="Make a weights file of a checkpoint.")
    parser.add_argument("checkpoint", type=Path, help="best.ckpt or last.ckpt of a training folder")
    parser.add_argument("out", type=Path, help="the .safetensors to write")
    parser.add_argument("--adapter-only", action="store_true", help="leave the frozen base out and name it")
    parser.add_argument("--dtype", default="float16", choices=("float16", "float32"))
    parser.add_argument("--data-root", default="", help="where the validation data lies now, to calibrate confidence")
    options = parser.parse_args(arguments)
    from depthclip_trainer.fit.export import export_checkpoint

    export_checkpoint(
        options.checkpoint,
        options.out,
        data_root=options.data_root,
        adapter_only=options.adapter_only,
        dtype=options.dtype,
    )
