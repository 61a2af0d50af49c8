# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A program that must be told the camera's frame, over DDS."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

HELPER = Path(sys.prefix) / "lib" / "depthclip_ros" / "with_camera_frame"
SAY = [sys.executable, "-c", "import sys; print(sys.argv[1:])", "-d", "view"]


@pytest.fixture
def start(ros_environment):
    """Start the helper before a program that prints its arguments."""
    if not HELPER.exists():
        pytest.skip("the package is not installed beside this Python")
    started = []

    def begin(*words):
        process = subprocess.Popen(
            [str(HELPER), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ros_environment
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", ["Image", "CompressedImage", "CameraInfo"])
def test_the_frame_of_the_first_message_is_added_before_the_ros_arguments(start, client, kind):
    import sensor_msgs.msg
    from rclpy.qos import qos_profile_sensor_data

    message = getattr(sensor_msgs.msg, kind)()
    message.header.frame_id = "eye_optical"
    topic = {"Image": "/cam/image_raw", "CompressedImage": "/cam/image_raw/compressed"}.get(kind, "/cam/camera_info")
    publisher = client.node.create_publisher(type(message), topic, qos_profile_sensor_data)
    process = start("-f", *SAY, "--ros-args", "-r", "__ns:=/robot", "-r", "image:=/cam/image_raw")

    def ended():
        publisher.publish(message)
        return process.poll() is not None

    client.wait(ended, what="the program", pause_s=0.1)
    client.node.destroy_publisher(publisher)
    said = process.stdout.read()
    own = ["--ros-args", "-r", "__ns:=/robot", "-r", "image:=/cam/image_raw"]
    assert str(["-d", "view", "-f", "eye_optical", *own]) in said
    assert process.returncode == 0


def test_it_says_what_it_waits_for_and_ends_at_a_signal(start, client):
    process = start("--child-frame-id", "/opt/publisher", "--ros-args", "-r", "image:=/silent/image_raw")
    for line in process.stdout:
        if "publisher --child-frame-id waits for the first image on /silent/image_raw" in line:
            break
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def test_a_command_line_without_a_program_is_refused(start):
    process = start("-f")
    assert process.wait(60) == 1
    assert "usage: with_camera_frame OPTION PROGRAM" in process.stdout.read()
