# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""File lists of the usual splits (BTS, AdaBins and those after them): one frame a line, `IMAGE DEPTH FOCAL`.

Paths are relative to a root that the list does not name, some begin with a slash, and DEPTH is `None` where a frame
has no truth. Images and depths may lie under different folders of the root.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from depthclip_ros.core.errors import InputError


@dataclass(frozen=True)
class Entry:
    """One line: paths without a leading slash, the focal length in pixels (0 where none is given)."""

    image: str
    depth: str
    focal_px: float


def find_list(path: Path, named: str, usual: Sequence[str]) -> Path | None:
    """The list that is meant by `path`: itself, `named` in it (or by its own path), or the first of the usual names.

    Raises:
        InputError: the named list is not there.
    """
    if path.is_file():
        return path if path.suffix == ".txt" else None
    if named:
        if not (path / named).is_file():
            raise InputError(f"{path / named} does not exist; file_list names a list of lines IMAGE DEPTH FOCAL")
        return path / named
    return next((path / name for name in usual if (path / name).is_file()), None)


def open_list(path: Path, named: str, usual: Sequence[str]) -> tuple[Path, list[Entry], int]:
    """The list that `find_list` finds, and what `read_list` reads in it.

    Raises:
        InputError: no list, or one that does not read.
    """
    found = find_list(path, named, usual)
    if found is None:
        raise InputError(f"{path} has no file list ({', '.join(usual)}); name it by file_list")
    return found, *read_list(found)


def read_list(path: Path) -> tuple[list[Entry], int]:
    """Entries with a depth, and how many had `None` for it.

    Raises:
        InputError: the list does not read, or a line has another form.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} does not read: {error}") from error
    entries, without = [], 0
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if not parts:
            continue
        try:
            if not 2 <= len(parts) <= 3:
                raise ValueError(f"{len(parts)} words")
            focal_px = float(parts[2]) if len(parts) == 3 else 0.0
        except ValueError as error:
            raise InputError(f"{path}:{number} is {line.strip()[:80]!r}; a line is IMAGE DEPTH FOCAL") from error
        if parts[1] == "None":
            without += 1
            continue
        entries.append(Entry(parts[0].lstrip("/"), parts[1].lstrip("/"), focal_px))
    if not entries:
        raise InputError(f"{path} lists no frame with depth ({without} with None)")
    return entries, without


class Roots:
    """Where the files of a list lie: found for the first one, then tried first for the others.

    Args:
        base: folder of the data.
        folders: below it (or its parent) that are tried, "" for itself.
    """

    def __init__(self, base: Path, folders: Sequence[str]) -> None:
        self._base = base
        self._roots = [root / folder for root in (base, base.parent) for folder in folders]

    def find(self, relative: str) -> Path:
        """The file.

        Raises:
            InputError: it is in none of the folders.
        """
        for root in self._roots:
            path = root / relative
            if path.is_file():
                if root != self._roots[0]:
                    self._roots = [root, *(other for other in self._roots if other != root)]
                return path
        raise InputError(f"{relative} is missing below {self._base}; the list names it")
