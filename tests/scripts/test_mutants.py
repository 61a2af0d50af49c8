# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""scripts/mutants.py on a repository of one small source, in a process of its own: it forks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cosmic_ray", reason="needs the dependency group `dev`")
SCRIPTS = Path(__file__).parents[2] / "scripts"
SOURCE = '''
LIMIT = 8


def clipped(value: int | None) -> int:
    """At most the limit."""
    if value > LIMIT:
        return LIMIT
    return value


def untested(value: int) -> int:
    return value
'''
TESTS = """
from depthclip_ros.core.small import clipped


def test_below():
    assert clipped(3) == 3


def test_far_above():
    assert clipped(20) == 8


def test_that_fails_always():
    assert clipped(3) == 4
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """With the scripts, one source and its tests; its package hides the installed one of the same name."""
    for name in ("mutants", "mutations", "reached_lines"):
        (tmp_path / "scripts").mkdir(exist_ok=True)
        shutil.copy(SCRIPTS / f"{name}.py", tmp_path / "scripts")
    files = {"depthclip_ros/__init__.py": "", "depthclip_ros/core/__init__.py": "", "pyproject.toml": "[tool.pytest]\n"}
    files |= {"depthclip_ros/core/small.py": SOURCE, "tests/core/test_small.py": TESTS}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def run(repository: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """The command, and the lines that it wrote."""
    start = "import mutants, sys; mutants.LIBRARIES = (); mutants.CONTROL_EVERY = 1; sys.exit(mutants.main())"
    # The coverage of `make test` is not to hold a source of this repository's; and output waits in buffers, as usual.
    left_out = ("COV", "PYTHONUNBUFFERED")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    environment["PYTHONPATH"] = f"{repository}:{repository / 'scripts'}"
    command = [sys.executable, "-c", start, "--number", "100", *options]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    out = repository / "out" / "mutants.jsonl"
    return done, [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def test_each_mutant_meets_the_tests_that_reach_it(repository: Path) -> None:
    done, records = run(repository)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = {(record["line"], record["operator"]): (record["outcome"], record["by"]) for record in records}
    above = "tests/core/test_small.py::test_far_above"
    assert outcomes[2, "NumberReplacer"] == ("killed", above)
    assert outcomes[7, "AddNot"][0] == "killed"
    assert outcomes[7, "ReplaceComparisonOperator_Gt_GtE"] == ("survived", "")  # the limit itself is the limit
    assert outcomes[8, "ReturnNone"] == ("killed", above)
    assert outcomes[13, "ReturnNone"] == ("survived", "no test reaches it")
    assert len(records) == 7, "an annotation does nothing, and a number has two neighbours"
    assert {record["unchanged"] for record in records} == {"passes"}
    assert "| `depthclip_ros/core` | 7 | 5 (71.4%) |" in done.stdout
    assert (repository / "depthclip_ros" / "core" / "small.py").read_text() == SOURCE


def test_a_seed_draws_the_same_and_more_of_it(repository: Path) -> None:
    _, few = run(repository, "--seed", "5", "--number", "1")
    _, more = run(repository, "--seed", "5", "--number", "3")
    places = [[(record["line"], record["operator"], record["occurrence"]) for record in of] for of in (few, more)]
    assert len(places[1]) == 3
    assert places[1][:1] == places[0]


def test_a_regular_expression_that_no_source_has_is_named(repository: Path) -> None:
    done, records = run(repository, "--only", "nowhere")
    assert (done.returncode, records) == (1, [])
    assert "'nowhere'" in done.stderr
