# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Arguments that several commands take, declared once."""

from __future__ import annotations

import argparse
from pathlib import Path

from depthclip_ros.core.errors import ConfigError


def add_engine(parser: argparse.ArgumentParser, *, weights: bool = True, precision: bool = True) -> None:
    """`--weights`, `--device`, `--precision`."""
    if weights:
        said = "default, a file, preset:NAME, a transformers folder, or a Hugging Face id (default: %(default)s)"
        parser.add_argument("--weights", default="default", help=said)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda[:N] (default: %(default)s)")
    if precision:
        parser.add_argument("--precision", default="auto", help="auto, fp32, bf16 or fp16 (default: %(default)s)")


def add_images(parser: argparse.ArgumentParser) -> None:
    """Images, and where their lens is known from: see `lens.Lens.from_arguments`."""
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files, or folders of them")
    lens = parser.add_mutually_exclusive_group()
    lens.add_argument("--focal-px", type=float, metavar="PX", help="focal length in pixels of these images")
    lens.add_argument("--hfov-deg", type=float, metavar="DEG", help="horizontal field of view")
    said = "calibration (camera_calibration's file or a printed CameraInfo); a distorted image is rectified first"
    lens.add_argument("--camera-info", type=Path, metavar="YAML", help=said)


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) in pixels of WIDTHxHEIGHT.

    Raises:
        ConfigError: another form.
    """
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ConfigError(f"--size is {text!r}; write WIDTHxHEIGHT, e.g. 640x480")
    return int(width), int(height)
