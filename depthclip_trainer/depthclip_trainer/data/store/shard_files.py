"""WebDataset shards, opened and closed one at a time, in order, by whoever asks: no splitting over processes."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from webdataset.tariterators import group_by_keys, tar_file_iterator

from depthclip_ros.core.errors import InputError


def shard_files(path: Path) -> Iterator[dict[str, Any]]:
    """Each sample of a tar: `__key__`, and the content (bytes) of its files by what follows the key's first dot.

    Raises:
        InputError: the tar is missing or truncated, or a file stands in it twice.
    """
    try:
        with path.open("rb") as file:
            members = ({**member, "__url__": str(path)} for member in tar_file_iterator(file))
            yield from group_by_keys(members)
    except (OSError, tarfile.TarError, EOFError, ValueError) as error:
        raise InputError(f"{path} does not read as a shard: {error}") from error
