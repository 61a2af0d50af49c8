# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`colcon build` of this checkout as a workspace package, against the ROS wheels of the environment."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
BUILD_TIMEOUT_S = 540  # half a minute on a machine that does nothing else
CHECK_IMPORTS = """
import depthclip_ros.core.types, depthclip_ros.msg
print(depthclip_ros.core.types.__file__)
print(depthclip_ros.msg.__file__)
print(depthclip_ros.msg.DepthStats(system="nano").system)
"""

pytestmark = [
    pytest.mark.skipif(
        not ((BIN / "colcon").exists() and (BIN.parent / "share" / "rosidl_cmake").is_dir()),
        reason="needs colcon and the ROS wheels beside this Python (make setup brings them)",
    ),
    pytest.mark.skipif(
        not (shutil.which("c++") or shutil.which("g++")), reason="needs a C++ compiler to build the messages"
    ),
    pytest.mark.timeout(BUILD_TIMEOUT_S + 60),
]


def tracked_files():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("needs a git checkout, to build what is tracked and nothing else")
    return [name for name in listed.stdout.decode().split("\0") if name and (REPOSITORY / name).is_file()]


def environment():
    """As in a workspace whose virtual environment is active, with nothing of another ROS in it."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR", "SSL_CERT_FILE") if name in os.environ}
    return {
        **kept,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "VIRTUAL_ENV": str(BIN.parent),
        "ROS_DOMAIN_ID": os.environ.get("ROS_DOMAIN_ID", "0"),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "MAKEFLAGS": "-j2",  # else colcon adds a load limit, and a busy machine builds one file after another
    }


def in_workspace(workspace, command):
    """Run a shell line with the workspace's install sourced, as its user does."""
    return subprocess.run(
        ["sh", "-c", f". install/setup.sh && {command}"],
        cwd=workspace,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module", params=[[], ["--symlink-install"]], ids=["copied", "symlinked"])
def workspace(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("colcon_ws")
    for name in tracked_files():
        target = root / "src" / "depthclip_ros" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, target)
    command = [str(BIN / "colcon"), "build", *request.param, "--event-handlers", "console_direct+", "--cmake-args"]
    command += ["-DBUILD_TESTING=OFF", f"-DPython3_EXECUTABLE={sys.executable}"]
    built = subprocess.run(
        command,
        cwd=root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    assert built.returncode == 0, built.stdout[-6000:]
    # The trainer is no package of the workspace: COLCON_IGNORE.
    assert [line.split()[2] for line in built.stdout.splitlines() if line.startswith("Finished <<<")] == [
        "depthclip_ros"
    ]
    return root


def test_python_modules_and_messages_are_found_in_the_install(workspace):
    ran = in_workspace(workspace, f"{sys.executable} -c '{CHECK_IMPORTS}'")
    assert ran.returncode == 0, ran.stderr
    types, messages, system = ran.stdout.split()
    assert Path(types).is_relative_to(workspace)
    assert (Path(types).parents[1] / "data" / "room_drive.zip").is_file()
    assert Path(messages).is_relative_to(workspace)
    assert system == "nano"


def test_share_holds_what_ros2_launch_needs(workspace):
    share = workspace / "install" / "depthclip_ros" / "share" / "depthclip_ros"
    for name in (
        "package.xml",
        "launch/depth.launch.py",
        "config/depth.yaml",
        "config/fastdds.xml",
        "config/depth.rviz",
    ):
        assert (share / name).is_file(), name
    index = workspace / "install" / "depthclip_ros" / "share" / "ament_index" / "resource_index" / "packages"
    assert (index / "depthclip_ros").exists()


def test_installed_node_starts_and_ends_on_sigint(workspace):
    node = workspace / "install" / "depthclip_ros" / "lib" / "depthclip_ros" / "depth_node"
    assert os.access(node, os.X_OK)
    with subprocess.Popen(
        ["sh", "-c", f". install/setup.sh && exec {node}"],
        cwd=workspace,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            wait_for_node(workspace)
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0, output
    assert "Traceback" not in output


def wait_for_node(workspace):
    """Until the node's lifecycle service is there, seen from another process of the same workspace."""
    seen = in_workspace(
        workspace,
        f"""{sys.executable} -c '
import rclpy
from lifecycle_msgs.srv import GetState
rclpy.init()
node = rclpy.create_node("colcon_test_client")
found = node.create_client(GetState, "/depth_node/get_state").wait_for_service(timeout_sec=40)
node.destroy_node()
rclpy.shutdown()
raise SystemExit(not found)'""",
    )
    assert seen.returncode == 0, f"no lifecycle service within 40 s\n{seen.stdout}{seen.stderr}"
