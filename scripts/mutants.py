# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Whether the tests can fail: a random sample of mutants of the sources, each met by the tests that reach its line.

.venv/bin/python scripts/mutants.py --seed 1 --number 60
.venv/bin/python scripts/mutants.py --seed 1 --number 20 --only core/anchors

A mutant is a source with one thing of it changed (`mutations.py`). No file is changed: one process has the libraries
loaded and forks for each mutant, whose source it gives to the import. Which test reaches which line is found by a
coverage run (`reached_lines.py`) of the tests that need no node process. It takes a quarter of an hour, and is kept in
.cache/mutants/, for each file of tests, until that file or a source that it imports changes. With --only, only tests of
the sources' folders are looked at, so that more may survive.

Each mutant is a line of --out (JSON). At the end, or at Ctrl-C, stand the survivors and a table by folder. Every
twelfth mutant's tests meet the unchanged source as well; the exit code is 1 if they fail there.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import importlib
import importlib.abc
import importlib.util
import itertools
import json
import os
import random
import re
import signal
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from mutations import Place, mutant, places, statement
from reached_lines import AREAS, REPOSITORY, Reached, forked, measure, module_of, run_tests
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

# What lives in a node process or on a CUDA device alone: no test here reaches it.
NOT_DRAWN = {
    "depthclip_ros/core/engine/on_device/download.py",
    "depthclip_ros/core/runtimes/cuda_graph.py",
    "depthclip_ros/ros/anchors/inputs.py",
    "depthclip_ros/ros/anchors/report.py",
    "depthclip_ros/ros/camera_fields.py",
    "depthclip_ros/ros/camera_frame.py",
    "depthclip_ros/ros/camera_node/node.py",
    "depthclip_ros/ros/camera_node/robot_topics.py",
    "depthclip_ros/ros/depth_node/node.py",
    "depthclip_ros/ros/depth_node/outputs.py",
    "depthclip_ros/ros/depth_node/parameters/declare.py",
    "depthclip_ros/ros/depth_node/rig.py",
    "depthclip_ros/ros/measure/recorder.py",
    "depthclip_ros/ros/processes.py",
    "depthclip_ros/ros/run.py",
}
# Tests that start nodes, and those of another environment's processes.
NEEDS_PROCESS = re.compile(
    r"/fuzz/|/test_(node_.*|soak|transitions|run|camera_node|camera_frame|light_environment)\.py$"
)
# Loaded before the forks. Nothing of our own: that is imported behind them.
LIBRARIES = (
    *("cv2", "h5py", "hypothesis", "jsonargparse", "lightning_fabric", "nncf", "numpy", "onnx", "onnxruntime"),
    *("open_clip", "openvino", "PIL.Image", "rclpy", "rosbags.highlevel", "safetensors.torch", "scipy.io"),
    *("scipy.ndimage", "sensor_msgs.msg", "simplejpeg", "torch", "torch._dynamo", "transformers", "webdataset", "yaml"),
)
BUDGET_S = 60.0  # of tests for a mutant
FILE_S = 0.3  # what it costs to import a file of them
CONTROL_EVERY = 12
FAILED_BY = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", re.MULTILINE)


class GivenSource(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module's import a source that is in no file."""

    def __init__(self, file: str, source: str) -> None:
        self.module, self.path, self.source, self.used = module_of(file), str(REPOSITORY / file), source, False

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Of the one module."""
        ours = fullname == self.module
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self) if ours else None

    def exec_module(self, module: ModuleType) -> None:
        """As if it had been read from its file."""
        self.used = True
        exec(compile(self.source, self.path, "exec", dont_inherit=True), module.__dict__)


class Chosen:
    """Plugin for pytest: these tests run, and those that a mutant has given another name."""

    def __init__(self, chosen: set[str], known: set[str]) -> None:
        self.chosen, self.known = chosen, known

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """What is left is in the order of the files."""
        items[:] = [item for item in items if item.nodeid in self.chosen or item.nodeid not in self.known]


def area_of(file: str) -> str:
    """Of a source."""
    return next(area for area in AREAS if file.startswith(f"{area}/"))


def tests_of(file: str) -> str:
    """The file of tests that mirrors a source."""
    area = area_of(file)
    path = Path(AREAS[area], Path(file).relative_to(area))
    return str(path.with_name(f"test_{path.name}"))


def folder(path: str, areas: Any = AREAS) -> str:
    """The area, and the first folder in it."""
    area = next(area for area in areas if path.startswith(f"{area}/"))
    return "/".join([area, *Path(path).relative_to(area).parts[:-1][:1]])


def test_files(drawn: list[Place], near: bool) -> list[str]:
    """Those that need no process; near: only those of the folders of the sources, or of the area where it has none."""
    paths = [path for tests in AREAS.values() for path in (REPOSITORY / tests).rglob("test_*.py")]
    files = sorted(str(path.relative_to(REPOSITORY)) for path in paths)
    files = [file for file in files if not NEEDS_PROCESS.search(f"/{file}")]
    if not near:
        return files
    found = set()
    for source in {place.file for place in drawn}:
        mirror = folder(tests_of(source), AREAS.values())
        inside = {file for file in files if folder(file, AREAS.values()) == mirror}
        found |= inside or {file for file in files if file.startswith(f"{AREAS[area_of(source)]}/")}
    return sorted(found)


def tests_for(place: Place, source: str, reached: dict[str, Reached]) -> list[dict[str, list[str]]]:
    """Names of the tests that reach a place, by file: those of its folder, its own file first; then the others."""
    lines, at_import = statement(source, place.line)
    own = Path(tests_of(place.file))
    found = []
    for file, of in reached.items():
        if (hit := of.lines.get(place.file)) is not None:
            names = of.tests if at_import else {name for line in lines for name in hit.get(str(line), [])}
            rank = (Path(file).parent != own.parent, Path(file) != own)
            found += [(*rank, of.tests[name][0], name, file) for name in names if of.tests[name][1]]
    groups: list[dict[str, list[str]]] = [{}, {}]
    spent_s = 0.0
    for far, _, seconds, name, file in sorted(found):
        spent_s += seconds + FILE_S * (file not in groups[far])
        if spent_s > BUDGET_S and any(groups):
            break
        groups[far].setdefault(file, []).append(name)
    return [group for group in groups if group]


def outcome(file: str, source: str, tests: dict[str, list[str]], reached: dict[str, Reached]) -> tuple[str, str]:
    """What the tests make of a source: "killed" and by which, or "survived"."""

    def work() -> tuple[int, bool]:
        given = GivenSource(file, source)
        sys.meta_path.insert(0, given)
        known = {name for test_file in tests for name in reached[test_file].tests}
        code = run_tests(tests, Chosen({name for names in tests.values() for name in names}, known), "-x")
        return code, given.used

    usual_s = sum(reached[test_file].tests[name][0] for test_file, names in tests.items() for name in names)
    answer, said = forked(work, 30.0 + 4.0 * usual_s)
    by = next(iter(FAILED_BY.findall(said)), "")
    if answer is None:
        return "killed", by or "time, memory or a crash"
    code, used = answer
    if code in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        return "survived", "" if used else "not imported"
    return "killed", by or said[-200:]


def meet(place: Place, changed: str, reached: dict[str, Reached], control: bool) -> dict[str, Any]:
    """A line of the result."""
    started_s, source = time.monotonic(), (REPOSITORY / place.file).read_text(encoding="utf-8")
    groups = tests_for(place, source, reached)
    result, by = "survived", "no test reaches it"
    for group in groups:
        result, by = outcome(place.file, changed, group, reached)
        if result == "killed":
            break
    pairs = itertools.zip_longest(source.splitlines(), changed.splitlines(), fillvalue="")
    before, after = next((old.strip(), new.strip()) for old, new in pairs if old != new)
    record = place._asdict() | {"before": before, "after": after, "outcome": result, "by": by}
    record["tests"] = sum(len(names) for group in groups for names in group.values())
    if control:
        results = [outcome(place.file, source, group, reached) for group in groups]
        record["unchanged"] = next((by for result, by in results if result == "killed"), "passes")
    return record | {"seconds": round(time.monotonic() - started_s, 1)}


def table(records: list[dict[str, Any]]) -> str:
    """By folder, for docs/reliability.md."""
    counts: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    for record in records:
        for row in (f"`{folder(record['file'])}`", "all"):
            counts[row][0] += 1
            counts[row][1] += record["outcome"] == "killed"
    rows = sorted(counts.items(), key=lambda row: (row[0] == "all", row[0]))
    lines = [f"| {name} | {made} | {killed} ({killed / made:.1%}) |" for name, (made, killed) in rows]
    return "\n".join(["| folder | made | killed |", "| --- | --- | --- |", *lines])


def main() -> int:
    """Draw, meet, write, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--number", type=int, default=60, help="of mutants")
    parser.add_argument("--only", type=re.compile, help="sources in whose path this regular expression is found")
    parser.add_argument("--out", type=Path, default=Path("out/mutants.jsonl"), help="where each mutant is a line")
    args = parser.parse_args()
    paths = sorted(path for area in AREAS for path in (REPOSITORY / area).rglob("*.py"))
    files = {str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8") for path in paths}
    chosen = [file for file in files if file not in NOT_DRAWN and (args.only is None or args.only.search(file))]
    drawn = [place for file in chosen for place in places(file, files[file])]
    random.Random(args.seed).shuffle(drawn)
    mutants = ((place, changed) for place in drawn if (changed := mutant(place, files[place.file])) is not None)
    sample = list(itertools.islice(mutants, args.number))
    if not sample:
        sys.exit(f"--only {args.only and args.only.pattern!r}: it is in no path of a source that can be drawn")
    out = args.out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    os.chdir(REPOSITORY)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that no child is left
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    records = []
    # Without a thread and without a hand on stdout: both would go along into the forks.
    bar = Progress(*columns, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
    with bar as progress, out.open("w", encoding="utf-8") as lines:
        for name in progress.track(LIBRARIES, description="libraries"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        tests = test_files([place for place, _ in sample], near=args.only is not None)
        reached = {file: measure(file) for file in progress.track(tests, description="lines that the tests reach")}
        with contextlib.suppress(KeyboardInterrupt):  # what is done by then is a sample too
            for number, (place, changed) in enumerate(progress.track(sample, description="mutants"), 1):
                records.append(meet(place, changed, reached, control=number % CONTROL_EVERY == 0))
                print(json.dumps(records[-1]), file=lines, flush=True)
    for record in records:
        if record["outcome"] == "survived":
            print("{file}:{line} {operator}: `{before}` -> `{after}` {by}".format(**record))
    failed = [record for record in records if record.get("unchanged", "passes") != "passes"]
    for record in failed:
        print("{file}:{line}: the unchanged source fails as well, in {unchanged}".format(**record))
    print(table(records))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
