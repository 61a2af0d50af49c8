# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The end of a node's process: nothing of it stays in the graph or in shared memory, whenever it is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from depthclip_ros.ros import processes

pytestmark = pytest.mark.timeout(300)
INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
ENDS_S = 10.0  # a busy machine included
GONE_S = 1.0  # after the process has ended; without a farewell others see a node for its lease, 20 s


def segments(pid):
    """Shared memory of Fast DDS that is the process's own: ports are shared, and swept by the next participant."""

    def mapped(process):
        lines = Path(f"/proc/{process}/maps").read_text().splitlines()
        return {path for line in lines if (path := line.rpartition(" ")[2]).startswith("/dev/shm/fastrtps_")}

    return {path for path in mapped(pid) - mapped("self") if "port" not in path}


def ends(client, process, name, numbers):
    """The process, told by these signals, is soon gone, leaves nothing behind, and its exit code is 0."""
    names = client.node.get_fully_qualified_node_names
    client.wait(lambda: name in names(), what=f"discovery of {name}")
    mine = segments(process.pid)
    assert mine
    told_s = time.monotonic()
    for number in numbers:
        os.kill(process.pid, number)
    after_s = {}

    def over():
        if process.poll() is not None:
            after_s.setdefault("ended", time.monotonic() - told_s)
        if name not in names():
            after_s.setdefault("gone", time.monotonic() - told_s)
        return len(after_s) == 2

    client.wait(over, what=f"the end of {name}", pause_s=0.01)
    assert process.wait(60) == 0
    assert not {path for path in mine if Path(path).exists()}
    assert after_s["gone"] - after_s["ended"] < GONE_S
    assert max(after_s.values()) < ENDS_S


@pytest.mark.parametrize(
    ("moment", "numbers"),
    [("unconfigured", [TERM]), ("configuring", [INT, TERM]), ("working", [INT]), ("working", [TERM, TERM, INT, HUP])],
)
def test_depth_node_leaves_nothing_behind(start_node, client, camera, room, moment, numbers):
    namespace = f"/ends/{moment}_{len(numbers)}"
    node = start_node(namespace, {"autostart": moment != "unconfigured"})
    if moment == "working":
        eye = camera(namespace)
        eye.send_until(lambda: (eye.image_message(room), eye.info_message(160, 120)), eye.depth)
        eye.send(eye.image_message(room), eye.info_message(160, 120))
    ends(client, node.process, f"{namespace}/depth_node", numbers)
    assert "Traceback" not in node.log()
    assert "terminate called" not in node.log()


@pytest.fixture
def hangup():
    """Not ignored by the processes of a test, as it is under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize(("moment", "numbers"), [("rendering", [TERM, INT]), ("playing", [HUP])])
def test_camera_node_leaves_nothing_behind(ros_environment, client, tmp_path, moment, numbers):
    pytest.importorskip("torch", reason="needs torch to render")
    size = {"width": 320, "height": 240, "frames": 200} if moment == "rendering" else {"width": 32, "height": 32}
    node = processes.NodeProcess(
        "camera_node",
        {"frames": 2, **size},
        environment={**ros_environment, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        log_path=tmp_path / "log.txt",
        namespace=f"/ends_{moment}",
    )
    try:
        if moment == "playing":
            client.wait(lambda: "playing room" in node.log(), what="the room")
        ends(client, node._process, f"/ends_{moment}/camera_node", numbers)
        assert "Traceback" not in node.log()
        rooms = tmp_path / "cache" / "depthclip_ros" / "rooms"
        assert not list(rooms.glob(".*")), "half a room"
    finally:
        node.signal_group(signal.SIGKILL)


COMMAND = {
    "recording": "from depthclip_ros.ros.measure.recorder import recording as listen",
    "scoring": "from depthclip_ros.ros.measure.live_score import live_scoring",
}


@pytest.mark.parametrize("kind", COMMAND)
@pytest.mark.parametrize("delay_s", [0.0, 0.3])
def test_a_command_that_listens_leaves_nothing_behind(ros_environment, client, tmp_path, kind, delay_s):
    name = {"recording": "recorder", "scoring": "depth_score"}[kind]
    listen = {"recording": "listen(None)", "scoring": "live_scoring(None, 'a', 'b', 0.1)"}[kind]
    code = f"""
        import time
        from depthclip_ros.ros.processes import interruptible
        {COMMAND[kind]}
        try:
            with interruptible(), {listen}:
                for _ in range(300):  # as commands do: the system may give the signal to a thread of numpy's
                    time.sleep(0.1)
        except KeyboardInterrupt:
            pass
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    process = subprocess.Popen(command, cwd=tmp_path, env=ros_environment, stderr=subprocess.PIPE, text=True)
    try:
        names = client.node.get_fully_qualified_node_names
        client.wait(lambda: process.poll() is not None or f"/{name}" in names(), what="discovery")
        time.sleep(delay_s)
        ends(client, process, f"/{name}", [INT, TERM])
        assert not process.communicate()[1]
    finally:
        process.kill()
        process.wait()


def test_a_signal_between_any_two_steps_of_python_is_heard():
    """A handler that takes a lock hangs when a second signal comes while the first is in it."""
    code = """
        import os, signal, sys, threading
        from depthclip_ros.ros.run import _wake_up
        for _ in range(2000):
            with _wake_up() as (_, wait):
                sender = threading.Thread(target=lambda: [os.kill(os.getpid(), n) for n in (2, 15, 2, 15)])
                sender.start()
                wait()
                sender.join()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run(command, check=False, timeout=60, cwd=Path(__file__).parent).returncode == 0


def test_a_callback_that_outlives_the_node_ends_in_silence(ros_environment, tmp_path):
    """On a busy machine the node's thread is left behind; when it comes to its end nobody waits for it any more."""
    code = """
        import os, signal, threading, time
        from rclpy.node import Node
        from depthclip_ros.ros.run import run

        def make():
            node = Node("slow")
            node.create_timer(0.01, callback)
            return node

        def callback():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(3.0)

        assert run(make) == 0
        left = [thread for thread in threading.enumerate() if thread.name == "executor"]
        assert left, "it was waited for"
        left[0].join()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(
        command, cwd=tmp_path, env=ros_environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def refused(ros_environment, tmp_path, *arguments, **environment):
    """What a node says that ROS does not let start; it ends with 1 and without a traceback."""
    log = tmp_path / "log.txt"
    command = [str(processes.package_prefix() / "lib" / "depthclip_ros" / "depth_node"), "--ros-args", *arguments]
    with log.open("w") as file:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**ros_environment, **environment},
            stdout=file,
            stderr=file,
            timeout=60,
            check=False,
        )
    assert "Traceback" not in log.read_text()
    assert done.returncode == 1
    (line,) = [line for line in log.read_text().splitlines() if "[FATAL]" in line]
    return line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--params-file", "broken.yaml"], "Couldn't parse params file: '--params-file broken.yaml'"),
        (["--params-file", "none.yaml"], "Error opening YAML file"),
        (["--nonsense"], "--nonsense"),
        (["-p", "model.weights"], "Couldn't parse parameter override rule"),
        (["--enclave", "no_slash"], "Enclave name is not valid"),
    ],
)
def test_arguments_that_ros_refuses_are_one_sentence(ros_environment, tmp_path, arguments, words):
    (tmp_path / "broken.yaml").write_text("a: [")
    line = refused(ros_environment, tmp_path, *arguments)
    assert words in line
    assert "/project/src" not in line


def test_enclave_keystore_and_strategy_reach_ros(ros_environment, tmp_path):
    """As docs/security.md tells to start it: without its enclave a node does not start, and says what it looked for."""
    security = {"ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_STRATEGY": "Enforce"}
    security["ROS_SECURITY_KEYSTORE"] = str(tmp_path)
    line = refused(ros_environment, tmp_path, "--enclave", "/depthclip", **security)
    assert f"SECURITY ERROR: directory '{tmp_path}/enclaves/depthclip' does not exist" in line
    line = refused(ros_environment, tmp_path, ROS_SECURITY_ENCLAVE_OVERRIDE="/other", **security)
    assert f"{tmp_path}/enclaves/other" in line
