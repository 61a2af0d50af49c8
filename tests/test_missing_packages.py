# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a user is told who forgot to activate the environment: by the real executables, with a package taken away."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthclip_ros.core.errors import missing_package

EXECUTABLES = Path(sys.prefix) / "lib" / "depthclip_ros"


@pytest.fixture
def without(lacking, monkeypatch, ros_domain_id):
    """The environment of a process that lacks a package: `without("torch")`."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(ros_domain_id))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    if not EXECUTABLES.is_dir():
        pytest.skip("the package is not installed beside this Python")

    return lambda package: {**os.environ, **lacking(package)}


@pytest.fixture
def node_said(without):
    """The first line with a word in it of a node without a package; the node lives on until then."""

    def of(package, word, *parameters):
        command = [str(EXECUTABLES / "depth_node"), "--ros-args", "-p", "autostart:=true", *parameters]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=without(package)
        )
        try:
            said = next(line for line in process.stdout if word in line)
            assert process.poll() is None
            return said
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)

    return of


@pytest.mark.timeout(120)
def test_a_node_needs_no_torch_for_the_shipped_weights(node_said):
    assert ", openvino" in node_said("torch", "moa_depthclip (default")


@pytest.mark.timeout(120)
def test_a_node_without_torch_says_what_needs_it_and_how_to_get_it(node_said, small_weights):
    said = node_said("torch", "cannot configure", "-p", f"model.weights:={small_weights}")
    assert "have no graph of their own beside them (depthclip export graph makes one): this needs torch" in said
    assert "pip install torch torchvision open-clip-torch (in a checkout without ROS: make setup)" in said
    said = node_said("torch", "cannot configure", "-p", "model.runtime:=torch")
    assert "runtime 'torch': this needs torch, which is not installed" in said


def test_pictures_need_no_torch_and_presets_say_that_they_do(without, tmp_path):
    picture = tmp_path / "grey.png"
    cv2.imwrite(str(picture), np.full((120, 160, 3), 127, np.uint8))
    predict = [str(EXECUTABLES / "depthclip"), "predict", str(picture), "--out", str(tmp_path / "out")]
    how = {"capture_output": True, "text": True, "env": without("torch"), "timeout": 100}
    done = subprocess.run(predict, check=False, **how)
    assert done.returncode == 0, done.stderr
    assert np.isfinite(np.load(next((tmp_path / "out").glob("*.npy")))).any()
    done = subprocess.run([*predict, "--weights", "preset:depthclip-rn50"], check=False, **how)
    assert done.returncode != 0
    assert "weights preset:depthclip-rn50: this needs torch, which is not installed" in done.stderr
    assert "Traceback" not in done.stderr


MODULES = (
    "depthclip_ros.cli",
    *(f"depthclip_ros.commands.{name}" for name in ("bag", "demo", "doctor", "export_network", "inspect_weights")),
    *(f"depthclip_ros.commands.{name}" for name in ("predict", "score", "compare")),
    "depthclip_ros.core.engine",
    "depthclip_ros.ros.camera_node.node",
    "depthclip_ros.ros.depth_node.node",
)


def test_the_shipped_weights_run_without_torch_being_imported_where_it_is_installed(tmp_path):
    code = (
        f"import importlib, sys; [importlib.import_module(name) for name in {MODULES}]; "
        "from depthclip_ros.core.engine import DepthEngine; "
        "engine = DepthEngine.load('fast'); engine.warm_up(640, 480); engine.warm_up(200, 700, 2); "
        "assert engine.proofs; print([name for name in ('torch', 'open_clip', 'transformers') if name in sys.modules])"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=250, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("executable", "package", "what"),
    [
        (["depth_node"], "simplejpeg", "activate the environment"),
        (["depth_node"], "rclpy", r"source the workspace: . /opt/ros/$ROS_DISTRO/setup.sh"),
        (["depthclip", "predict", "x.png", "--out", "x"], "safetensors", "activate the environment"),
        (["depthclip", "doctor"], "rich", "activate the environment"),
        (["depthclip", "bag", "in", "out"], "rosbags", "activate the environment"),
        (["depthclip", "demo"], "simplejpeg", "activate the environment"),
    ],
)
def test_what_cannot_start_says_it_in_one_sentence(without, executable, package, what):
    name, *arguments = executable
    command = [str(EXECUTABLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=without(package), timeout=100, check=False)
    assert done.returncode != 0
    assert re.search(rf"{package}(\.\w+)? is not installed for {re.escape(sys.prefix)}", done.stderr)
    assert what in done.stderr
    assert "Traceback" not in done.stderr


def test_the_module_that_is_missing_is_named_whole():
    error = ModuleNotFoundError("No module named 'sensor_msgs.msg'", name="sensor_msgs.msg")
    assert missing_package(error).startswith("sensor_msgs.msg is not installed for ")
    assert "source the workspace" in missing_package(error)
