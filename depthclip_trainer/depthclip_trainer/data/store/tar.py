# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Shards: plain tars of samples, each some files `KEY.SUFFIX` that follow one another, as WebDataset has them.

Samples are found by the tars' headers, which are read once when a shard is opened, and then taken one by one from where
they lie. So a training reads them in any order, and which samples step N holds stays a function of seed and N alone, on
any number of processes: each takes its slice of the global batch, and a resumed training goes on as it was. That wants
uncompressed tars on a file system that every machine sees (or a copy on each), not a stream of a web server.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import webdataset

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.files import replaced

BLOCK = 512


@dataclass(frozen=True)
class Place:
    """Where a sample lies: its key, its files' suffixes (what follows the name's first dot), its bytes in the tar."""

    key: str
    suffixes: tuple[str, ...]
    start: int
    end: int


def index_shard(path: Path) -> list[Place]:
    """Where each sample of a shard lies, in order.

    Raises:
        InputError: the shard is missing, truncated, compressed or no tar.
    """
    places: list[Place] = []
    try:
        size = path.stat().st_size
        with tarfile.open(path, "r:") as tar:
            for member, key, suffix in _files(tar):
                end = member.offset_data + -(-member.size // BLOCK) * BLOCK
                if member.offset_data + member.size > size:
                    raise tarfile.ReadError(f"{member.name} is cut off")
                if places and places[-1].key == key:
                    last = places.pop()
                    places.append(Place(key, (*last.suffixes, suffix), last.start, end))
                else:
                    places.append(Place(key, (suffix,), member.offset, end))
        if places and size < places[-1].end + BLOCK:  # tarfile takes half a header for the end
            raise tarfile.ReadError("it ends without an end mark, so it is cut off")
    except (OSError, tarfile.TarError, EOFError) as error:
        raise InputError(f"{path} does not read as an uncompressed shard: {error}") from error
    return places


def read_sample(path: Path, start: int, end: int) -> dict[str, Any]:
    """The files (bytes) of the sample at a place, by suffix, and as WebDataset has them its `__key__` and `__url__`.

    Raises:
        InputError: the shard does not hold it, or not whole.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            data = io.BytesIO(file.read(end - start))
        with tarfile.open(fileobj=data, mode="r:") as tar:
            sample: dict[str, Any] = {"__url__": str(path)}
            for member, key, suffix in _files(tar):
                sample |= {"__key__": key, suffix: tar.extractfile(member).read()}  # type: ignore[union-attr]
            return sample
    except (OSError, tarfile.TarError, EOFError) as error:
        raise InputError(f"{path} does not read as an uncompressed shard: {error}") from error


def read_file(path: Path, start: int, suffix: str) -> bytes:
    """One file of the sample that begins at a place, without reading the others.

    Raises:
        InputError: the shard does not hold it, or not whole.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member, _, found in _files(tar):
                    if found == suffix:
                        return tar.extractfile(member).read()  # type: ignore[union-attr]
    except (OSError, tarfile.TarError, EOFError) as error:
        raise InputError(f"{path} does not read as an uncompressed shard: {error}") from error
    raise InputError(f"{path} has no .{suffix} from byte {start} on")


def write_shard(path: Path, samples: Iterable[dict[str, Any]]) -> int:
    """Writes samples, as `webdataset.TarWriter` takes them; the shard is there when it is whole.

    Returns:
        the number of samples.

    Raises:
        OSError: no room; nothing stands under the shard's name then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left_over in path.parent.glob(f".{path.name}.*.tmp"):  # of a process that was killed here
        left_over.unlink(missing_ok=True)
    count = 0
    with replaced(path) as file, webdataset.TarWriter(file, encoder=False, mtime=0) as shard:
        for sample in samples:
            shard.write(sample)
            count += 1
    return count


def _files(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str, str]]:
    """Each regular file with the key and the suffix of its name; names without a dot belong to no sample."""
    for member in tar:
        folder, slash, name = member.name.rpartition("/")
        stem, dot, suffix = name.partition(".")
        if member.isfile() and dot and stem:
            yield member, f"{folder}{slash}{stem}", suffix.lower()
