# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What weights see of real rooms: each frame, its measured depth, and the depth of each weights file, in one picture.

The colours of a frame are those of its measured depth in every column, so that a wrong scale shows as a wrong colour.
`python scripts/room_pictures.py --data FOLDER --frames SOURCE/NAME [...] [--weights fast default] [--out rooms.jpg]`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from depthclip_trainer.evaluation.protocols import PROTOCOLS, frames_of
from numpy.typing import NDArray

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.images.depth_colours import colorize, depth_range

TILE_PX = (240, 180)
GAP_PX = 6
HEAD_PX = 22
ACROSS = 2
"""Frames side by side."""

Picture = NDArray[np.uint8]


def tile(image: Picture) -> Picture:
    """The image at the size of a tile, cut at its longer side."""
    width, height = TILE_PX
    ratio = max(width / image.shape[1], height / image.shape[0])
    large = cv2.resize(image, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return np.asarray(large[top : top + height, left : left + width])


def head(names: list[str]) -> Picture:
    """A line of names above the columns."""
    line = np.full((HEAD_PX, len(names) * (TILE_PX[0] + GAP_PX), 3), 255, np.uint8)
    for column, name in enumerate(names):
        at = (column * (TILE_PX[0] + GAP_PX) + 4, HEAD_PX - 7)
        cv2.putText(line, name, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return line


def row(tiles: list[Picture]) -> Picture:
    """Tiles beside each other, with gaps."""
    return np.hstack(
        [cv2.copyMakeBorder(t, 0, GAP_PX, 0, GAP_PX, cv2.BORDER_CONSTANT, value=(255,) * 3) for t in tiles]
    )


def main() -> None:
    """Run the engines and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of RGB-D sources")
    parser.add_argument("--frames", nargs="+", required=True, help="SOURCE/NAME")
    parser.add_argument("--weights", nargs="+", default=["fast", "default"])
    parser.add_argument("--out", type=Path, default=Path("rooms.jpg"))
    args = parser.parse_args()
    engines = [DepthEngine.load(weights, runtime="auto", device="cpu") for weights in args.weights]
    found: dict[str, Picture] = {}
    for source, sample in frames_of(PROTOCOLS["frames"], args.data):
        name = f"{source}/{Path(sample.path).stem}"
        if name not in args.frames:
            continue
        measured = np.where(sample.valid, sample.depth_m, np.float32(np.nan)).astype(np.float32)
        near_m, far_m = depth_range(measured)
        depths = [measured, *(e.infer(sample.image[None], [sample.intrinsics]).depth_m[0] for e in engines)]
        found[name] = row([tile(sample.image), *(tile(colorize(depth_m, near_m, far_m)) for depth_m in depths)])
        print(f"{name}: {near_m:.1f} to {far_m:.1f} m")
    columns = ["image", "measured", *(Path(weights).stem for weights in args.weights)]
    rows = [found[name] for name in args.frames]
    rows += [np.full_like(rows[0], 255)] * (-len(rows) % ACROSS)
    lines = [np.hstack(rows[i : i + ACROSS]) for i in range(0, len(rows), ACROSS)]
    picture = np.vstack([head(columns * ACROSS), *lines])
    cv2.imwrite(str(args.out), picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(f"written: {args.out}")


if __name__ == "__main__":
    main()
