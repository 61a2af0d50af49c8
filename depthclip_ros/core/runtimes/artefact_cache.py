# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What runtimes compiled, kept on the disk: whole or absent, and made anew when anything it rests on has changed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from depthclip_ros.core import model as model_package
from depthclip_ros.core.files import cache_folder, hash_file
from depthclip_ros.core.tensor_file import hash_tensors

if TYPE_CHECKING:
    from depthclip_ros.core.model.contract import DepthModel

MANIFEST, LOCK = "manifest.json", "lock"
UNUSED_S = 60 * 24 * 3600.0  # an artefact that nobody asked for in so long is deleted when a new one is made

CANNOT_KEEP = "cannot keep what was compiled (%s); it is made anew at every start: set XDG_CACHE_HOME"

_log = logging.getLogger(__name__)


def identity_of(model: DepthModel, sha256: str | None) -> Callable[[], str]:
    """What tells a model's artefacts from another's: when called, the SHA-256 of its file, or of its weights as now.

    Args:
        model: before anything is folded for inference.
        sha256: of its weights file, if it comes from one.
    """
    state, config = model.state_dict(), model.config

    def identity() -> str:
        if sha256 is not None:
            return sha256
        return hash_tensors(state, set(state)) + json.dumps(dataclasses.asdict(config), sort_keys=True)

    return identity


def artefact(kind: str, rests_on: Mapping[str, str | int], build: Callable[[Path], None]) -> Path:
    """The folder of an artefact, built on first use.

    Processes that want the same one at once build it once: the others wait. One that is killed while building leaves
    nothing that would be taken for an artefact. A file that was cut short or changed is noticed, and all is built anew.
    Where the cache cannot be written the artefact lives as long as this process, and a warning says so.

    Args:
        kind: what the folder's name begins with, e.g. "openvino".
        rests_on: all that the artefact depends on: hash of the weights, versions, device, precision, size. What the
            networks' own source files say is added here.
        build: writes the artefact's files into the folder that it is given.
    """
    key = {**rests_on, "networks": _source_of_networks()}
    folder = _folder(kind, key)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not _is_whole(folder):
                _build_in_place(folder, key, build)
            os.utime(folder)
            return folder
    except OSError as error:  # read-only, full, not ours: of no matter to this run
        _log.warning(CANNOT_KEEP, error)
    return _build_for_this_process(build)


@contextlib.contextmanager
def cache_for(kind: str, rests_on: Mapping[str, str | int]) -> Iterator[Path | None]:
    """A folder that a library may keep its own compiled networks in; None where the cache cannot be written.

    It is named by what they rest on, and deleted when unused like an artefact. Others wait for it meanwhile: a process
    in which OpenVINO reads the file that another one is just writing ends in a bus error.
    """
    folder = _folder(f"{kind}-cache", rests_on)
    with contextlib.ExitStack() as held:
        kept: Path | None = None
        try:
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                _delete_unused(folder.parent)
            os.utime(folder)
            if os.access(folder, os.W_OK):
                held.enter_context(FileLock(folder / LOCK))
                kept = folder
        except OSError as error:
            _log.warning(CANNOT_KEEP, error)
        yield kept


def _folder(kind: str, rests_on: Mapping[str, str | int]) -> Path:
    digest = hashlib.sha256(json.dumps(dict(rests_on), sort_keys=True).encode()).hexdigest()
    return cache_folder() / "compiled" / f"{kind}-{digest[:20]}"


def _build_in_place(folder: Path, key: Mapping[str, str | int], build: Callable[[Path], None]) -> None:
    """Build beside the folder and rename; the caller holds the folder's lock, so other leftovers are of the dead."""
    for leftover in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    _delete_unused(folder.parent)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        build(temporary)
        files = {path.name: [path.stat().st_size, hash_file(path)] for path in sorted(temporary.iterdir())}
        (temporary / MANIFEST).write_text(json.dumps({"rests_on": key, "files": files}, indent=2), encoding="utf-8")
        for path in (*temporary.iterdir(), temporary):
            _flush(path)
        temporary.rename(folder)
        _flush(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    """Whether every file of the manifest is there with the bytes that were written."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        return all(
            (folder / name).stat().st_size == size and hash_file(folder / name) == digest
            for name, (size, digest) in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _delete_unused(parent: Path) -> None:
    limit_s = time.time() - UNUSED_S
    for folder in parent.glob("*-*"):
        with contextlib.suppress(FileNotFoundError):  # another process is at it too
            if folder.is_dir() and folder.stat().st_mtime < limit_s:
                shutil.rmtree(folder, ignore_errors=True)
                Path(f"{folder}.lock").unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the disk keep what was written, so that a power cut does not leave a name without its bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot sync a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _build_for_this_process(build: Callable[[Path], None]) -> Path:
    folder = tempfile.TemporaryDirectory(prefix="depthclip_compiled_")
    _for_this_process.append(folder)
    build(Path(folder.name))
    return Path(folder.name)


_for_this_process: list[tempfile.TemporaryDirectory[str]] = []  # deleted when the process ends


@functools.lru_cache(maxsize=1)
def _source_of_networks() -> str:
    """Hash of the source files that networks are made of: what was compiled of an older version is stale."""

    def sources() -> Iterator[bytes]:
        for folder in sorted(model_package.__path__):
            for path in sorted(Path(folder).rglob("*.py")):
                yield path.read_bytes()

    digest = hashlib.sha256()
    for source in sources():
        digest.update(source)
    return digest.hexdigest()[:20]
