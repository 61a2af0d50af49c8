# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest

from depthclip_trainer import cli


def test_a_full_disk_is_one_sentence_and_another_error_is_none(monkeypatch, capsys):
    def fail(error):
        def command(_arguments):
            raise error

        monkeypatch.setattr(cli.importlib, "import_module", lambda _name: SimpleNamespace(train_command=command))
        return cli.run("train", [])

    assert fail(OSError(errno.ENOSPC, "No space left on device", "/full/last.ckpt")) == 1
    assert capsys.readouterr().err.startswith("error: /full/last.ckpt cannot be used: No space left on device; give")
    with pytest.raises(FileNotFoundError):
        fail(FileNotFoundError(errno.ENOENT, "No such file", "/a"))
