# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import errno
import hashlib
import sqlite3

import pytest

from depthclip_ros.core.files import hash_file, naming, replaced, unwritable


def test_a_file_takes_the_place_of_another_when_it_is_whole(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    with replaced(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
        assert len(list(tmp_path.iterdir())) == 2
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]
    assert hash_file(path) == hashlib.sha256(b"new").hexdigest()


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), replaced(path):
        raise KeyError
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])


@pytest.mark.parametrize(
    ("error", "number", "text"),
    [
        (OSError(errno.EROFS, "read-only", "/tmp/.hidden.tmp"), errno.EROFS, "read-only"),
        (OSError("no number"), None, "no number"),
        (sqlite3.OperationalError("database or disk is full"), errno.ENOSPC, "database or disk is full"),
    ],
)
def test_errors_name_the_file_that_was_to_be_written(tmp_path, error, number, text):
    with pytest.raises(OSError, match=text) as found, naming(tmp_path / "mine"):
        raise error
    assert (found.value.errno, found.value.filename) == (number, str(tmp_path / "mine"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EISDIR])
def test_a_place_that_cannot_be_written_is_one_sentence(number):
    assert unwritable(OSError(number, "no way", "/out/depth.png")) == (
        "/out/depth.png cannot be used: no way; give a place with room and the right to write"
    )
    assert unwritable(OSError(number, "no way")).startswith("the output cannot be used")


def test_another_error_is_none_of_a_place():
    assert unwritable(OSError(errno.EPIPE, "broken pipe", "/out")) is None
    assert unwritable(OSError("no number")) is None
