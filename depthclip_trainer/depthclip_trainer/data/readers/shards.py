# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""WebDataset shards of frames with depth, for sets that fit no memory and many small files that a disk dislikes.

A shard is a plain tar with three files a frame, so `webdataset` and every tool around it reads them too:

    KEY.jpg or KEY.png    the image; what is written is the source's picture as JPEG of quality 95, or PNG
    KEY.depth.png         uint16 [H, W], 0 no reading
    KEY.json              {"name", "source", "licence", "units_per_metre", "intrinsics": [fx, fy, cx, cy],
                           "assumed_intrinsics"}
"""

from __future__ import annotations

import itertools
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics
from depthclip_trainer.data.readers.image_files import decode_colour, decode_depth, frame_of
from depthclip_trainer.data.sample import Sample, intrinsics_row
from depthclip_trainer.data.store.tar import index_shard, read_file, read_sample, write_shard

DEPTH, META = "depth.png", "json"
IMAGES = ("jpg", "jpeg", "png")
JPEG_QUALITY = 95
LARGEST_VALUE = 65535
MILLIMETRES, COARSE = 1000.0, 256.0


class ShardSet:
    """Frames of a folder of shards; a `FrameSet`.

    Attributes:
        name, licence: of the first frame's source.
        frame_names: `SHARD/KEY`, in the order of the shards' names and of the frames in them.

    Args:
        path: a folder with .tar files, or one of them.

    Raises:
        InputError: no shard, one that is truncated or compressed, or a frame without image, depth or JSON.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        shards = [self.path] if self.path.is_file() else sorted(self.path.glob("*.tar"))
        if not shards:
            raise InputError(f"{path} holds no .tar; write some: depthclip-train write-shards")
        self._places: dict[str, tuple[Path, int, int]] = {}
        for shard in shards:
            for found in index_shard(shard):
                if not set(IMAGES) & set(found.suffixes) or not {DEPTH, META} <= set(found.suffixes):
                    held = ", ".join(found.suffixes)
                    raise InputError(f"{shard} has {found.key} with {held}; a frame has jpg or png, {DEPTH} and {META}")
                self._places[f"{shard.stem}/{found.key}"] = shard, found.start, found.end
        if not self._places:
            raise InputError(f"{path} holds no frame with image, {DEPTH} and {META}")
        self.frame_names = tuple(self._places)
        meta = self._files(self.frame_names[0])[1]
        self.name, self.licence = str(meta.get("source", self.path.name)), str(meta.get("licence", "not stated"))

    def recorded_names(self) -> list[str]:
        """What the frames were called in the set that they were written from (`DRIVE/image_02/N`), in their order.

        Raises:
            InputError: a frame's JSON does not read.
        """
        found = [self._meta(name, read_file(*self._places[name][:2], META)).get("name") for name in self._places]
        if not all(found):  # another writer's: its keys say nothing of rooms or drives
            return list(self.frame_names)
        return [str(name).partition("/")[2] or str(name) for name in found]

    def read(self, name: str) -> Sample:
        """One frame.

        Raises:
            InputError: a file in it is broken, image and depth differ in size.
        """
        files, meta = self._files(name)
        suffix = next(s for s in IMAGES if s in files)
        image = decode_colour(files[suffix], f"{self.path}/{name}.{suffix}")
        try:
            units, (fx, fy, cx, cy) = float(meta["units_per_metre"]), (float(v) for v in meta["intrinsics"])
            assumed = bool(meta.get("assumed_intrinsics", False))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{name}.{META} in {self.path} lacks what a frame needs: {error!r}") from error
        if not units > 0:
            raise InputError(f"{name}.{META} in {self.path} has units_per_metre {units}; it must be above 0")
        depth_m = decode_depth(files[DEPTH], f"{self.path}/{name}.{DEPTH}", units)
        camera = Intrinsics(fx, fy, cx, cy, image.shape[1], image.shape[0])
        return frame_of(image, depth_m, camera, str(meta.get("name", name)), assumed)

    def _files(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        files = read_sample(*self._places[name])
        return files, self._meta(name, files[META])

    def _meta(self, name: str, text: bytes) -> dict[str, Any]:
        try:
            meta = json.loads(text)
        except ValueError as error:
            raise InputError(f"{name}.{META} in {self.path} does not read: {error}") from error
        if not isinstance(meta, dict):
            raise InputError(f"{name}.{META} in {self.path} holds no mapping")
        return meta


def write_shards(
    frames: Iterable[Sample], out: Path, *, source: str, licence: str, per_shard: int = 1000, lossless: bool = False
) -> int:
    """Writes frames to `out/frames-NNNNNN.tar` and returns how many.

    Depth is written in millimetres, and beyond 65 m in steps of 1/256 m.

    Raises:
        InputError: the folder holds shards already; a mixture of two sets would look like one.
    """
    out.mkdir(parents=True, exist_ok=True)
    if any(out.glob("*.tar")):
        raise InputError(f"{out} holds shards already; write to an empty folder")
    numbered, count = enumerate(frames), 0
    for number in itertools.count():
        part = list(itertools.islice(numbered, per_shard))
        if not part:
            return count
        samples = ({"__key__": f"{i:08d}", **encoded(sample, source, licence, lossless)} for i, sample in part)
        count += write_shard(out / f"frames-{number:06d}.tar", samples)
    return count


def encoded(sample: Sample, source: str, licence: str, lossless: bool = False) -> dict[str, bytes]:
    """The files of one frame by suffix."""
    units = MILLIMETRES if sample.depth_m.max(initial=0) * MILLIMETRES <= LARGEST_VALUE else COARSE
    depth = np.where(sample.valid, np.clip(np.round(sample.depth_m * units), 0, LARGEST_VALUE), 0).astype(np.uint16)
    meta = {
        "name": sample.path,
        "source": source,
        "licence": licence,
        "units_per_metre": units,
        "intrinsics": intrinsics_row(sample.intrinsics),
        "assumed_intrinsics": sample.assumed_intrinsics,
    }
    bgr = np.ascontiguousarray(sample.image[..., ::-1])
    suffix, options = ("png", []) if lossless else ("jpg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return {
        suffix: cv2.imencode(f".{suffix}", bgr, options)[1].tobytes(),
        DEPTH: cv2.imencode(".png", depth)[1].tobytes(),
        META: json.dumps(meta).encode(),
    }


def is_shards(path: Path) -> bool:
    """Whether a path is a shard of frames with depth, or a folder whose first shard is one."""
    shard = path if path.is_file() and path.suffix == ".tar" else next(iter(sorted(path.glob("*.tar"))), None)
    if shard is None:
        return False
    try:
        with tarfile.open(shard, "r:") as tar:
            names = [member.name for _, member in zip(range(4), tar, strict=False)]
    except (OSError, tarfile.TarError):
        return False
    return any(name.endswith(f".{DEPTH}") for name in names)
