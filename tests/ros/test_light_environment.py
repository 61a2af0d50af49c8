# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Tests of the nodes once more, in an environment that has nothing but what `make demo` installs.

`LIGHT_TESTS=all` runs all tests of this folder so, in place of the quarter that is in the gate.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS installation, or the package's extra `ros`")

REPOSITORY = Path(__file__).resolve().parents[2]
ABSENT = ("torch", "torchvision", "open_clip", "transformers", "nncf", "onnx", "onnxruntime", "depthclip_trainer")
TESTS = [f"test_node_{name}.py" for name in ("depth", "cameras", "navigation", "mounting", "bad_input")]
TESTS.append("test_transitions.py")
LEAST = 50  # tests that are in them
ALL = os.environ.get("LIGHT_TESTS") == "all"


@pytest.mark.timeout(3600 if ALL else 600)
def test_the_nodes_tests_hold_without_torch(small_graph_weights, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({ABSENT!r}))\n")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "DEPTHCLIP_TEST_WEIGHTS": str(small_graph_weights),
    }
    settings = [
        "-q",
        *([] if ALL else ["-x"]),
        "-p",
        "no:cacheprovider",
        f"--rootdir={REPOSITORY}",
        f"--config-file={REPOSITORY}/pyproject.toml",
    ]
    folder = REPOSITORY / "tests" / "ros"
    files = [folder, f"--ignore={__file__}"] if ALL else [folder / "depth_node" / name for name in TESTS]
    command = [sys.executable, "-m", "pytest", *settings, *map(str, files)]  # elsewhere: the checkout has no messages
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) >= LEAST
    if ALL:
        print(done.stdout[-300:])
    else:
        skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
        assert [line for line in skipped if "shared/data" not in line] == []  # a clone has no such frames beside it
