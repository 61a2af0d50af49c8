"""WebDataset shards of frames with depth, for sets that fit no memory and many small files that a disk dislikes.

A shard is a plain tar with three files a frame, so `webdataset` and every tool around it reads them too:

    KEY.jpg or KEY.png    the image; what is written is the source's picture as JPEG of quality 95, or PNG
    KEY.depth.png         uint16 [H, W], 0 no reading
    KEY.json              {"name", "source", "licence", "units_per_metre", "intrinsics": [fx, fy, cx, cy],
                           "assumed_intrinsics"}

Frames are found by the tars' headers, which are read once when the set is opened, and then taken one by one from
where they lie. So a training reads them in any order, and which frames step N holds stays a function of seed and N
alone, on any number of processes: each takes its slice of the global batch, and a resumed training goes on as it was.
That wants uncompressed tars on a file system that every machine sees (or a copy on each), not a stream of a web server.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import webdataset

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics
from depthclip_trainer.data.readers.image_files import decode_colour, decode_depth, frame_of
from depthclip_trainer.data.sample import Sample

DEPTH, META = "depth.png", "json"
IMAGES = ("jpg", "jpeg", "png")
JPEG_QUALITY = 95
LARGEST_VALUE = 65535
MILLIMETRES, COARSE = 1000.0, 256.0

Span = tuple[int, int]
"""Where a file lies in its tar: offset and length in bytes."""


@dataclass(frozen=True)
class Place:
    """Where one frame lies: its shard, and the spans of its files by what follows the key's first dot."""

    shard: Path
    spans: dict[str, Span]


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
        self._places = {name: place for shard in shards for name, place in index_shard(shard).items()}
        if not self._places:
            raise InputError(f"{path} holds no frame with image, {DEPTH} and {META}")
        self.frame_names = tuple(self._places)
        meta = self._meta(self.frame_names[0])
        self.name, self.licence = str(meta.get("source", self.path.name)), str(meta.get("licence", "not stated"))

    def read(self, name: str) -> Sample:
        """One frame.

        Raises:
            InputError: a file in it is broken, image and depth differ in size.
        """
        place, meta = self._places[name], self._meta(name)
        suffix = next(s for s in IMAGES if s in place.spans)
        image = decode_colour(_content(place, suffix), f"{place.shard}/{name}.{suffix}")
        try:
            units, (fx, fy, cx, cy) = float(meta["units_per_metre"]), (float(v) for v in meta["intrinsics"])
            assumed = bool(meta.get("assumed_intrinsics", False))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{name}.{META} in {self.path} lacks what a frame needs: {error!r}") from error
        if not units > 0:
            raise InputError(f"{name}.{META} in {self.path} has units_per_metre {units}; it must be above 0")
        depth_m = decode_depth(_content(place, DEPTH), f"{place.shard}/{name}.{DEPTH}", units)
        camera = Intrinsics(fx, fy, cx, cy, image.shape[1], image.shape[0])
        return frame_of(image, depth_m, camera, str(meta.get("name", name)), assumed)

    def _meta(self, name: str) -> dict[str, Any]:
        try:
            meta = json.loads(_content(self._places[name], META))
        except ValueError as error:
            raise InputError(f"{name}.{META} in {self.path} does not read: {error}") from error
        if not isinstance(meta, dict):
            raise InputError(f"{name}.{META} in {self.path} holds no mapping")
        return meta


def index_shard(path: Path) -> dict[str, Place]:
    """Where each frame of a shard lies; files that belong to none are passed over.

    Raises:
        InputError: the shard is truncated, compressed or no tar, or a frame lacks one of its files.
    """
    spans: dict[str, dict[str, Span]] = {}
    size = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, dot, suffix = member.name.rpartition("/")[2].partition(".")
                if not member.isfile() or not dot:
                    continue
                if member.offset_data + member.size > size:
                    raise tarfile.ReadError(f"{member.name} is cut off")
                spans.setdefault(key, {})[suffix.lower()] = (member.offset_data, member.size)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise InputError(f"{path} does not read as an uncompressed shard: {error}") from error
    for key, found in spans.items():
        if not any(s in found for s in IMAGES) or DEPTH not in found or META not in found:
            raise InputError(f"{path} has {key} with {', '.join(found)}; a frame has jpg or png, {DEPTH} and {META}")
    return {f"{path.stem}/{key}": Place(path, found) for key, found in spans.items()}


def write_shards(
    frames: Iterable[Sample], out: Path, *, source: str, licence: str, per_shard: int = 1000, lossless: bool = False
) -> int:
    """Writes frames to `out/frames-NNNNNN.tar` through webdataset, and returns how many.

    Depth is written in millimetres, and beyond 65 m in steps of 1/256 m.

    Raises:
        InputError: the folder holds shards already; a mixture of two sets would look like one.
    """
    out.mkdir(parents=True, exist_ok=True)
    if any(out.glob("*.tar")):
        raise InputError(f"{out} holds shards already; write to an empty folder")
    count = 0
    with webdataset.ShardWriter(str(out / "frames-%06d.tar"), maxcount=per_shard, maxsize=1e12, verbose=0) as writer:
        for count, sample in enumerate(frames, 1):
            writer.write({"__key__": f"{count - 1:08d}", **encoded(sample, source, licence, lossless)})
    return count


def encoded(sample: Sample, source: str, licence: str, lossless: bool = False) -> dict[str, bytes]:
    """The files of one frame by suffix."""
    units = MILLIMETRES if sample.depth_m.max(initial=0) * MILLIMETRES <= LARGEST_VALUE else COARSE
    depth = np.where(sample.valid, np.clip(np.round(sample.depth_m * units), 0, LARGEST_VALUE), 0).astype(np.uint16)
    camera = sample.intrinsics
    meta = {
        "name": sample.path,
        "source": source,
        "licence": licence,
        "units_per_metre": units,
        "intrinsics": [camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px],
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


def _content(place: Place, suffix: str) -> bytes:
    offset, length = place.spans[suffix]
    with place.shard.open("rb") as file:
        file.seek(offset)
        return file.read(length)
