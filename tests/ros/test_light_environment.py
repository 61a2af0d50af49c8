# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""All tests of the nodes once more, in an environment that has nothing but what `make demo` installs: LIGHT_TESTS=all.

In the gate the nodes' processes have no more either: `start_node` in conftest.py.
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
LEAST = 500  # tests that are in them


@pytest.mark.skipif(os.environ.get("LIGHT_TESTS") != "all", reason="minutes: LIGHT_TESTS=all")
@pytest.mark.timeout(3600)
def test_the_nodes_tests_hold_without_torch(light, small_graph_weights, tmp_path):
    environment = {
        **os.environ,
        **light,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "DEPTHCLIP_TEST_WEIGHTS": str(small_graph_weights),
    }
    settings = ["-q", "-p", "no:cacheprovider", f"--rootdir={REPOSITORY}", f"--config-file={REPOSITORY}/pyproject.toml"]
    files = [str(REPOSITORY / "tests" / "ros"), f"--ignore={__file__}"]
    command = [sys.executable, "-m", "pytest", *settings, *files]  # elsewhere: the checkout has no messages
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) >= LEAST
    print(done.stdout[-300:])
