"""The command line's own rules: lazy imports, exit codes, one sentence for an error."""

from __future__ import annotations

import subprocess
import sys
import types

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
    [(InputError("focal [red]is[/red] 0"), 2, "focal [red]is[/red] 0\n"), (KeyboardInterrupt(), 130, "")],
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

    command = types.ModuleType("depthclip_ros.commands.failing")
    command.add_arguments = lambda parser: None  # type: ignore[attr-defined]
    command.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, command.__name__, command)
    monkeypatch.setitem(cli.COMMANDS, "failing", ("failing", "fails"))
    assert cli.main(["failing"]) == code
    assert capsys.readouterr().err == text
