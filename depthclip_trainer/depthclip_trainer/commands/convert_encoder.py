# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip-train convert-encoder GIVEN OUT.safetensors`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from depthclip_trainer.encoders import READERS, TIMM, convert_encoder


def convert_encoder_command(arguments: Sequence[str]) -> None:
    """Converts a published encoder, for a training to start from."""
    parser = argparse.ArgumentParser(
        prog="depthclip-train convert-encoder",
        description="Write a published encoder (MobileNetV2, EfficientNet-Lite0/1/2, DINOv2 ViT-S/14) as safetensors.",
    )
    parser.add_argument("given", help=f"a file ({', '.join(READERS)}), or {TIMM}NAME for weights that timm fetches")
    parser.add_argument(
        "out", type=Path, help="the .safetensors to write: base_weights of a preset that starts from it"
    )
    options = parser.parse_args(arguments)
    print(f"{options.out}: {convert_encoder(options.given, options.out)}")
