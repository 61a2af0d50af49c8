# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Pictures without depth, however deep in a folder, or in WebDataset shards.

To learn from them they need a teacher's labels: `depthclip-train pseudo-label`, whose workers take them in pieces.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics
from depthclip_trainer.data.readers.image_files import decode_colour, frame_of, read_bytes, read_colour
from depthclip_trainer.data.readers.rgbd_folder import ASSUMED_HFOV_DEG
from depthclip_trainer.data.sample import Sample
from depthclip_trainer.data.store.tar import index_shard, read_sample

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
MIN_SIDE_PX = 32
DEPTH_FOLDER = "depth"


@dataclass(frozen=True)
class Piece:
    """What becomes one shard: some files of a folder, or one shard of pictures.

    Attributes:
        names: of the pictures; empty for a shard, which is not opened before its turn.
        paths: of the files, or of the one shard.
        is_shard: `paths` holds a tar.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    is_shard: bool = False


@dataclass(frozen=True)
class PictureSet:
    """All pictures to label.

    Attributes:
        pieces: in an order that every worker and every restart finds again.
        description, licence: for the labels' metadata.
        sha256: of the list of names, to notice that the folder has changed between restarts.
    """

    pieces: tuple[Piece, ...]
    description: str
    licence: str
    sha256: str

    @property
    def pictures(self) -> int | None:
        """How many there are; None where shards were not opened yet."""
        return None if any(p.is_shard for p in self.pieces) else sum(len(p.names) for p in self.pieces)


class ImageFolder:
    """Images of a folder; a `FrameSet` in which no pixel has a depth.

    Attributes:
        name: of the folder.
        frame_names: paths of the images below it, in order. Folders named `depth` are passed over.

    Args:
        path: the folder.
        hfov_deg: horizontal field of view that is assumed.

    Raises:
        InputError: no folder, no image, a field of view outside 0..180 degrees.
    """

    def __init__(self, path: str | Path, hfov_deg: float = ASSUMED_HFOV_DEG) -> None:
        found = find_pictures(Path(path), 1)
        self.path, self.name, self.licence = Path(path), found.description, found.licence
        self.hfov_deg = hfov_deg
        Intrinsics.from_hfov(hfov_deg, 1, 1)  # a bad angle is one error, not one a frame
        self._paths = {n: p for piece in found.pieces for n, p in zip(piece.names, piece.paths, strict=True)}
        self.frame_names = tuple(self._paths)

    def read(self, name: str) -> Sample:
        """One image, no depth.

        Raises:
            InputError: the file is missing or broken.
        """
        image = read_colour(self._paths[name])
        camera = Intrinsics.from_hfov(self.hfov_deg, image.shape[1], image.shape[0])
        return frame_of(image, np.zeros(image.shape[:2], np.float32), camera, f"{self.name}/{name}", True)


def find_pictures(folder: Path, piece_size: int) -> PictureSet:
    """Lists a folder's pictures, however deep, or its `.tar` shards where it has some.

    Folders named `depth` are passed over, so that an RGB-D folder gives its colour images.

    Raises:
        InputError: no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder} is no folder; give one with pictures ({', '.join(PICTURE_SUFFIXES)}) or .tar shards"
        )
    shards = sorted(folder.glob("*.tar"))
    if shards:
        pieces = tuple(Piece((), (path,), is_shard=True) for path in shards)
        names = [path.name for path in shards]
    else:
        paths = [p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file()]
        found = {p.relative_to(folder).as_posix(): p for p in paths if DEPTH_FOLDER not in p.relative_to(folder).parts}
        names = sorted(found)
        if not names:
            raise InputError(f"{folder} holds no picture ({', '.join(PICTURE_SUFFIXES)}) and no .tar shard")
        cuts = [names[i : i + piece_size] for i in range(0, len(names), piece_size)]
        pieces = tuple(Piece(tuple(cut), tuple(found[name] for name in cut)) for cut in cuts)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return PictureSet(pieces, folder.resolve().name, _licence(folder), digest)


def read_piece(piece: Piece, executor: Executor) -> Iterator[tuple[str, NDArray[np.uint8] | InputError]]:
    """Name and picture (uint8 [H, W, 3] RGB) in order; in place of a broken picture, what is wrong with it."""
    if piece.is_shard:
        names, jobs = [], []
        for name, data in _pictures_of_shard(piece.paths[0]):
            names.append(name)
            jobs.append(data)
        yield from zip(names, executor.map(_decoded, names, jobs), strict=True)
    else:
        yield from zip(piece.names, executor.map(_read, piece.names, piece.paths), strict=True)


def is_image_folder(path: Path) -> bool:
    """Whether a folder has an image in it, at any depth of folders."""
    return path.is_dir() and any(p.suffix.lower() in PICTURE_SUFFIXES for p in path.rglob("*"))


def _pictures_of_shard(path: Path) -> Iterator[tuple[str, bytes]]:
    for place in index_shard(path):
        suffix = next((s for s in place.suffixes if f".{s.split('.')[-1]}" in PICTURE_SUFFIXES), None)
        if suffix is not None:
            yield f"{path.name}/{place.key}", read_sample(path, place.start, place.end)[suffix]


def _read(name: str, path: Path) -> NDArray[np.uint8] | InputError:
    try:
        data = read_bytes(path)
    except InputError as error:
        return error
    return _decoded(name, data)


def _decoded(name: str, data: bytes) -> NDArray[np.uint8] | InputError:
    try:
        rgb = decode_colour(data, name)
    except InputError as error:
        return error
    if min(rgb.shape[:2]) < MIN_SIDE_PX:
        return InputError(f"{name} is {rgb.shape[1]}x{rgb.shape[0]}; both sides must be at least {MIN_SIDE_PX} pixels")
    return rgb


def _licence(folder: Path) -> str:
    """What the `meta.json` files in and under a folder state, each licence once."""
    stated: Sequence[str] = []
    for path in sorted(folder.rglob("meta.json")):
        try:
            licence = str(json.loads(path.read_text()).get("licence", ""))
        except (OSError, ValueError, AttributeError):
            continue
        if licence and licence not in stated:
            stated = [*stated, licence]
    return "; ".join(stated) or "not stated"
