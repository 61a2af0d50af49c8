# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The command line's own rules: lazy imports, exit codes, one sentence for an error."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import types
from collections.abc import Callable

import pytest

from depthclip_ros import cli
from depthclip_ros.core.errors import InputError


def test_help_lists_the_commands_without_their_imports() -> None:
    code = (
        "import sys; from depthclip_ros.cli import main\ntry: main(['--help'])\nfinally: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in ("predict", "bag", "inspect", "bench", "doctor", "score", "demo"):
        assert name in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


def test_no_and_unknown_commands_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["paint"]):
        with pytest.raises(SystemExit) as exit_:
            cli.main(arguments)
        assert exit_.value.code == 2
    assert "invalid choice: 'paint'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("focal [red]is[/red] 0"), 2, "focal [red]is[/red] 0\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            OSError(errno.ENOSPC, "No space left on device", "/full/a[0].npy"),
            1,
            "/full/a[0].npy cannot be used: No space left on device; give a place with room and the right to write\n",
        ),
    ],
)
def test_errors_become_exit_codes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    text: str,
) -> None:
    def run(_: object) -> int:
        raise error

    assert call(monkeypatch, run) == code
    assert capsys.readouterr().err == text


def call(monkeypatch: pytest.MonkeyPatch, run: Callable[[object], int]) -> int:
    command = types.ModuleType("depthclip_ros.commands.failing")
    command.add_arguments = lambda parser: None  # type: ignore[attr-defined]
    command.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, command.__name__, command)
    monkeypatch.setitem(cli.COMMANDS, "failing", ("failing", "fails"))
    return cli.main(["failing"])


def test_an_error_of_the_program_is_not_called_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: object) -> int:
        raise FileNotFoundError(errno.ENOENT, "No such file", "/a")

    with pytest.raises(FileNotFoundError):
        call(monkeypatch, run)


SIGNALLED = """
import signal, sys, types
from depthclip_ros import cli

number, handled = int(sys.argv[1]), sys.argv[2] == "handled"
cleaned = []
def run(_):
    try:
        signal.raise_signal(number)
    finally:
        signal.raise_signal(number)
        cleaned.append(True)
    return 0

if not handled or signal.getsignal(number) == signal.SIG_IGN:  # as under nohup
    signal.signal(number, signal.SIG_DFL if handled else signal.SIG_IGN)
command = types.ModuleType("depthclip_ros.commands.failing")
command.add_arguments, command.run = lambda parser: None, run
sys.modules[command.__name__] = command
cli.COMMANDS["failing"] = ("failing", "fails")
before = signal.getsignal(number)
print(cli.main(["failing"]), cleaned, signal.getsignal(number) == before)
"""


def signalled(number: signal.Signals, how: str) -> str:
    """What a process of its own prints that is told by a signal, twice, while a command runs."""
    command = [sys.executable, "-c", SIGNALLED, str(int(number)), how]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unwinds_what_runs_and_a_second_one_does_not_disturb(number: signal.Signals) -> None:
    assert signalled(number, "handled") == f"{128 + number} [True] True"


def test_an_ignored_hangup_stays_ignored() -> None:
    assert signalled(signal.SIGHUP, "ignored") == "0 [True] True"
