"""Pseudo-labelled pictures that stay on disk: for sets that do not fit into the memory."""

from __future__ import annotations

import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from webdataset.tariterators import group_by_keys, tar_file_iterator

from depthclip_ros.core.errors import InputError
from depthclip_trainer.data.sample import RawBatch
from depthclip_trainer.data.store.pseudo import PseudoFrame, decode, on_canvas, one_target, pack

TAR_BLOCK = 512


class PseudoDiskPool:
    """A `FramePool` over a folder of shards; a picture is read when it is drawn.

    The shards' tables of contents are read once; 24 bytes a picture stay in memory.

    Args:
        name: of the source.
        folder: with shards.
        longest_px: pictures are shrunk to this.
        count: pictures to take, 0 for all.
        threads: that read.

    Raises:
        InputError: no shards, or one that does not read.
    """

    def __init__(self, name: str, folder: Path, longest_px: int, count: int = 0, threads: int = 4) -> None:
        self.name = name
        self._longest_px = longest_px
        self._shards = sorted(folder.glob("shard-*.tar"))
        self._readers = ThreadPoolExecutor(threads)
        spans = list(self._readers.map(spans_of, self._shards))
        places = [(s, start, end) for s, found in enumerate(spans) for start, end in found]
        self._places = np.array(places[: count or None], dtype=np.int64).reshape(-1, 3)
        if not len(self._places):
            raise InputError(
                f"{folder} holds no labelled picture; make some: depthclip-train pseudo-label --out {folder}"
            )
        self.target = one_target(folder, {self._read(i).target for i in (0, len(self._places) - 1)})

    def __len__(self) -> int:
        return len(self._places)

    def gather(self, indices: torch.Tensor) -> RawBatch:
        """Frames at `indices` (int64 [N]), on the CPU."""
        packed = self._readers.map(lambda i: pack(self._read(i), self._longest_px), indices.tolist())
        return on_canvas(list(packed))

    def _read(self, index: int) -> PseudoFrame:
        shard, start, end = (int(n) for n in self._places[index])
        path = self._shards[shard]
        try:
            with path.open("rb") as file:
                file.seek(start)
                members = tar_file_iterator(io.BytesIO(file.read(end - start)))
                (files,) = group_by_keys({**member, "__url__": str(path)} for member in members)
        except (OSError, tarfile.TarError, ValueError) as error:
            raise InputError(f"{path} does not read as a shard: {error}") from error
        return decode(files)


def spans_of(path: Path) -> list[tuple[int, int]]:
    """Where each picture of a shard begins and ends, in bytes; its files follow one another.

    Raises:
        InputError: the shard does not read.
    """
    spans: list[tuple[int, int]] = []
    last = ""
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                key = member.name.partition(".")[0]
                end = member.offset_data + -(-member.size // TAR_BLOCK) * TAR_BLOCK
                if key == last:
                    spans[-1] = (spans[-1][0], end)
                else:
                    spans.append((member.offset, end))
                last = key
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{path} does not read as a shard: {error}") from error
    return spans
