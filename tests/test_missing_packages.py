# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a user is told who forgot to activate the environment: by the real executables, with a package taken away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from depthclip_ros.core.errors import missing_package

EXECUTABLES = Path(sys.prefix) / "lib" / "depthclip_ros"


@pytest.fixture
def without(tmp_path, monkeypatch):
    """The environment of a process that lacks a package: `without("torch")`."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(20 + os.getpid() % 80))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    if not EXECUTABLES.is_dir():
        pytest.skip("the package is not installed beside this Python")

    def make(name):
        text = f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')\n"
        (tmp_path / f"{name}.py").write_text(text)
        return {**os.environ, "PYTHONPATH": str(tmp_path)}

    return make


@pytest.mark.timeout(120)
def test_a_node_without_torch_stays_up_and_names_the_environment(without):
    command = [str(EXECUTABLES / "depth_node"), "--ros-args", "-p", "autostart:=true"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=without("torch")
    )
    try:
        said = next(line for line in process.stdout if "cannot configure" in line)
        assert "torch is not installed for" in said
        assert "activate the environment: . venv/bin/activate" in said
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


@pytest.mark.parametrize(
    ("executable", "package", "what"),
    [
        (["depth_node"], "simplejpeg", "activate the environment"),
        (["depth_node"], "rclpy", r"source the workspace: . /opt/ros/$ROS_DISTRO/setup.sh"),
        (["depthclip", "predict", "x.png", "--out", "x"], "torch", "activate the environment"),
    ],
)
def test_what_cannot_start_says_it_in_one_sentence(without, executable, package, what):
    name, *arguments = executable
    command = [str(EXECUTABLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=without(package), timeout=100, check=False)
    assert done.returncode != 0
    assert f"{package} is not installed for {sys.prefix}" in done.stderr
    assert what in done.stderr
    assert "Traceback" not in done.stderr


def test_the_module_that_is_missing_is_named_whole():
    error = ModuleNotFoundError("No module named 'sensor_msgs.msg'", name="sensor_msgs.msg")
    assert missing_package(error).startswith("sensor_msgs.msg is not installed for ")
    assert "source the workspace" in missing_package(error)
