# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Which test reaches which line of which source, by a coverage run of each file of tests in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import coverage
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
CACHE = REPOSITORY / ".cache" / "mutants"
# Where the sources are, and their tests.
AREAS = {
    "depthclip_ros/core": "tests/core",
    "depthclip_ros/ros": "tests/ros",
    "depthclip_trainer/depthclip_trainer/losses": "depthclip_trainer/tests/losses",
    "depthclip_trainer/depthclip_trainer/evaluation": "depthclip_trainer/tests/evaluation",
    "depthclip_trainer/depthclip_trainer/data/readers": "depthclip_trainer/tests/data/readers",
}
MEMORY_BYTES = 16 << 30  # a mutant may ask for all that there is
MEASURING_S = 900.0  # the longest that one file of tests may take


class Reached(NamedTuple):
    """What a coverage run says of a file of tests.

    Attributes:
        tests: of each test its seconds and whether it passed.
        lines: of each source that is imported, which tests reach which line (its number as text). Lines that a fixture
            reaches are those of all tests: it may have made what they share.
    """

    tests: dict[str, tuple[float, bool]]
    lines: dict[str, dict[str, list[str]]]


def module_of(path: str) -> str:
    """Name of a source's module, or of a folder's package."""
    return ".".join(Path(path.removeprefix("depthclip_trainer/")).with_suffix("").parts)


def kept(test_file: str) -> Reached | None:
    """From the cache; None where it is older than the file, or than a source that the file imports."""
    path = _kept_in(test_file)
    if not path.exists():
        return None
    reached = Reached(*json.loads(path.read_text(encoding="utf-8")))
    read = [REPOSITORY / file for file in (test_file, *reached.lines)]
    fresh = all(file.exists() and file.stat().st_mtime < path.stat().st_mtime for file in read)
    return reached if fresh else None


def _kept_in(test_file: str) -> Path:
    return CACHE / f"{test_file}.json"


class _Reach:
    """Plugin for pytest: measures while the tests run."""

    def __init__(self) -> None:
        packages = [module_of(area) for area in AREAS]
        self.coverage = coverage.Coverage(data_file=None, config_file=False, source_pkgs=packages)
        self.coverage.start()
        self.tests: dict[str, tuple[float, bool]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self.coverage.switch_context("fixture")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        self.coverage.switch_context(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        seconds, passed = self.tests.get(report.nodeid, (0.0, True))
        self.tests[report.nodeid] = seconds + report.duration, passed and report.outcome == "passed"

    def reached(self) -> Reached:
        self.coverage.stop()
        data, lines = self.coverage.get_data(), {}
        for path in data.measured_files():
            area = next(area for area in AREAS if f"/{area}/" in path)
            lines[area + path.rpartition(f"/{area}")[2]] = {
                str(line): [*self.tests] if "fixture" in names else [name for name in names if name]
                for line, names in data.contexts_by_lineno(path).items()
            }
        return Reached(self.tests, lines)


def forked(work: Callable[[], Any], limit_s: float) -> tuple[Any, str]:
    """Call in a process of its own: what it returned (None if it did not, within the time), and what it said."""
    CACHE.mkdir(parents=True, exist_ok=True)
    said, answer = (CACHE / f"{os.getpid()}.{kind}" for kind in ("said", "answer"))
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException), said.open("w") as file:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
            answer.write_text(json.dumps(work()), encoding="utf-8")
            sys.stdout.flush()  # `_exit` does not
        os._exit(0)
    end_s, ended = time.monotonic() + limit_s, False
    try:
        while not ended and time.monotonic() < end_s:
            time.sleep(0.02)
            ended = os.waitpid(child, os.WNOHANG) != (0, 0)
        text = said.read_text(encoding="utf-8", errors="replace")
        return (json.loads(answer.read_text(encoding="utf-8")) if ended and answer.exists() else None), text
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if not ended:
            os.waitpid(child, 0)
        said.unlink(missing_ok=True)
        answer.unlink(missing_ok=True)


def run_tests(files: Iterable[str], plugin: object, *options: str) -> int:
    """Pytest in this process; its exit code."""
    fixed = ("-q", "--no-header", "--tb=short", "--assert=plain", "-p", "no:cacheprovider")
    return int(pytest.main([*fixed, *options, *files], plugins=[plugin]))


def measure(test_file: str) -> Reached:
    """From the cache, or by a coverage run."""

    def work() -> Reached:
        plugin = _Reach()
        run_tests([test_file], plugin)
        return plugin.reached()

    if (reached := kept(test_file)) is not None:
        return reached
    answer, said = forked(work, MEASURING_S)
    if answer is None:
        print(f"{test_file} cannot be measured, and is left out:\n{said[-500:]}", file=sys.stderr)
        return Reached({}, {})
    path = _kept_in(test_file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(answer), encoding="utf-8")
    return Reached(*answer)
