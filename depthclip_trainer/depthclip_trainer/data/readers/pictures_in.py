"""Pictures without depth, from folders and WebDataset shards, cut into pieces that a worker labels at a time."""

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
from depthclip_trainer.data.held_back import refuse_test_set
from depthclip_trainer.data.readers.image_files import decode_colour, read_bytes
from depthclip_trainer.data.store.shard_files import shard_files

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


def find_pictures(folder: Path, piece_size: int) -> PictureSet:
    """Lists a folder's pictures, however deep, or its `.tar` shards where it has some.

    Folders named `depth` are passed over, so that an RGB-D folder gives its colour images.

    Raises:
        InputError: no such folder, or nothing in it.
        ConfigError: the project's test frames.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder} is no folder; give one with pictures ({', '.join(PICTURE_SUFFIXES)}) or .tar shards"
        )
    refuse_test_set(folder, folder.name)
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


def _pictures_of_shard(path: Path) -> Iterator[tuple[str, bytes]]:
    for files in shard_files(path):
        name = next((n for n in files if f".{n.split('.')[-1].lower()}" in PICTURE_SUFFIXES and n[0] != "_"), None)
        if name is not None:
            yield f"{path.name}/{files['__key__']}", files[name]


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
