# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Files of this package's own: where its cache lies, what is in a file, and how one is replaced in one step."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

# A disk that is full, read-only or somebody else's, a name that cannot be: no fault of the program, so no traceback.
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM} | {
    *(errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG)
}


def unwritable(error: OSError) -> str | None:
    """One sentence where a place cannot be written to; None: the error is another one."""
    if error.errno not in UNWRITABLE:
        return None
    where = error.filename or "the output"
    return f"{where} cannot be used: {error.strerror}; give a place with room and the right to write"


def cache_folder() -> Path:
    """Where what can be made again is kept: `$XDG_CACHE_HOME/depthclip_ros`, by default below `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "depthclip_ros"


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` in one step, on the disk, when the block ends without an error.

    Until then, and after any error or kill, `path` is what it was.

    Raises:
        OSError: it could not be written; names `path`.
    """
    prefix, suffix = f".{path.name[:99]}.", ".tmp"  # what a kill leaves is found again by them
    with naming(path), tempfile.NamedTemporaryFile(dir=path.parent, prefix=prefix, suffix=suffix, delete=False) as file:
        temporary = Path(file.name)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)
            os.replace(temporary, path)  # noqa: PTH105 (Path.replace is the same; tests fail it by this name)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of writing below a temporary name, or of SQLite, as those of the file that was to be written.

    Raises:
        OSError: names `path`.
    """
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    except sqlite3.Error as error:
        raise OSError(errno.ENOSPC, str(error), str(path)) from error
