# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Depth as files: numpy, 16-bit PNG, a picture and a cloud, named after the image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.files import replaced
from depthclip_ros.core.geometry import organised_cloud
from depthclip_ros.core.images.depth_colours import colorize, depth_range, draw_legend
from depthclip_ros.core.types import Intrinsics

DEPTH_SUFFIX, COLOR_SUFFIX = PICTURE_SUFFIXES = ("_depth.png", "_color.png")

SHEET_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".pdf", ".svg", ".eps", ".tif", ".tiff", ".webp")
"""Of pictures that matplotlib writes; without one they are PNG."""


def check_sheet(option: str, path: Path) -> None:
    """Refuse the name of a picture before the work for it is done.

    Raises:
        ConfigError: its suffix is not one of `SHEET_SUFFIXES`.
    """
    if path.suffix.lower() not in SHEET_SUFFIXES:
        raise ConfigError(f"{option} {path}: a picture ends in {', '.join(SHEET_SUFFIXES[1:])}; give it one of these")


def output_stems(paths: Sequence[Path]) -> list[str]:
    """A name for each image's outputs: its stem, with a number behind it where another image has it already."""
    stems = [path.stem for path in paths]
    taken: set[str] = set()
    # Every stem is spoken for from the start, so that a.jpg, a.png, a_2.png become a, a_3, a_2.
    spoken_for = {stem.casefold() for stem in stems}
    names = []
    for stem in stems:
        name, number = stem, 1
        while name.casefold() in taken or (number > 1 and name.casefold() in spoken_for):
            number += 1
            name = f"{stem}_{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def write_outputs(
    folder: Path, stem: str, rgb: NDArray[np.uint8], depth_m: NDArray[np.float32], intrinsics: Intrinsics
) -> None:
    """Write STEM.npy, STEM_depth.png, STEM_color.png and STEM.ply.

    Raises:
        OSError: no room or no right to write.
    """
    _write_array(folder / f"{stem}.npy", depth_m)
    _write_png(folder / f"{stem}{DEPTH_SUFFIX}", to_millimetres(depth_m))
    near_m, far_m = depth_range(depth_m)
    picture = draw_legend(colorize(depth_m, near_m, far_m), near_m, far_m)
    _write_png(folder / f"{stem}{COLOR_SUFFIX}", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    write_ply(folder / f"{stem}.ply", rgb, depth_m, intrinsics)


def write_relative(folder: Path, stem: str, depth: NDArray[np.float32]) -> None:
    """Write relative depth, which has no metres: STEM_relative.npy and STEM_color.png without figures.

    Raises:
        OSError: no room or no right to write.
    """
    _write_array(folder / f"{stem}_relative.npy", depth)
    known = depth[np.isfinite(depth)]
    near, far = np.percentile(known, (2, 98)) if known.size else (0.0, 1.0)
    picture = colorize(depth, float(near), max(float(far), float(near) * (1 + 1e-6) + 1e-9))
    _write_png(folder / f"{stem}{COLOR_SUFFIX}", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def to_millimetres(depth_m: NDArray[np.float32]) -> NDArray[np.uint16]:
    """uint16 millimetres (REP-118); 0 where there is no depth or it does not fit into 16 bits (above 65.535 m)."""
    with np.errstate(invalid="ignore"):
        millimetres = np.round(depth_m.astype(np.float64) * 1000)
        fits = (millimetres >= 0) & (millimetres <= 65535)
    return np.where(fits, millimetres, 0).astype(np.uint16)


def write_ply(path: Path, rgb: NDArray[np.uint8], depth_m: NDArray[np.float32], intrinsics: Intrinsics) -> None:
    """Write the finite points as binary little-endian PLY: x y z float32 metres (optical frame), red green blue uint8.

    Raises:
        OSError: no room or no right to write.
    """
    cloud = organised_cloud(depth_m, rgb, intrinsics)
    seen = np.isfinite(cloud["z"])
    points = np.empty(int(seen.sum()), [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    points["xyz"] = np.stack([cloud[axis][seen] for axis in "xyz"], -1)
    points["rgb"] = rgb[seen]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(points)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {colour}" for colour in ("red", "green", "blue")),
        "end_header",
    ]
    with replaced(path) as file:
        file.write("\n".join(header).encode() + b"\n" + points.tobytes())


def _write_array(path: Path, values: NDArray[np.float32]) -> None:
    with replaced(path) as file:
        np.save(file, values)


def _write_png(path: Path, image: NDArray[Any]) -> None:
    coded, data = cv2.imencode(".png", image)
    if not coded:
        raise OSError(f"cannot encode {path.name}")
    with replaced(path) as file:
        file.write(data.tobytes())
