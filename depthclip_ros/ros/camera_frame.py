# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Start a program that must be told the camera's frame, as soon as an image or its camera_info says it.

    with_camera_frame OPTION PROGRAM ARGUMENTS… [--ros-args …]
    becomes           PROGRAM ARGUMENTS… OPTION FRAME [--ros-args …]

Only what the camera sends tells which frame_id it gives its images. The launch file starts RViz and a transform so.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depthclip_ros.ros.depth_node.image_input import camera_info_name, image_name
from depthclip_ros.ros.run import end_process, run

USAGE = "usage: with_camera_frame OPTION PROGRAM [ARGUMENT ...] [--ros-args ...]"
REMINDER_S = 5.0


class FrameFinder(Node):
    """Listens to `image`, `image/compressed` and the camera_info beside them until one of them names its frame.

    Attributes:
        frame_id: "" until then.
    """

    def __init__(self, option: str, program: str) -> None:
        super().__init__("camera_frame_finder", enable_rosout=False, start_parameter_services=False)
        self.frame_id = ""
        self._waiting = f"{Path(program).name} {option}"
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # listens to every publisher
        self._topics = []
        for message, transport in ((Image, "raw"), (CompressedImage, "compressed")):
            heard = self.create_subscription(message, image_name(self, transport), self._on_message, qos)
            self._topics.append(heard.topic_name)
        info = camera_info_name(self, self._topics[0])
        self.create_subscription(CameraInfo, info, self._on_message, qos)
        self.create_timer(REMINDER_S, self._remind)

    @property
    def finished(self) -> bool:
        """Whether the frame is known."""
        return bool(self.frame_id)

    def _on_message(self, message: Any) -> None:
        self.frame_id = message.header.frame_id
        if not self.frame_id:
            text = "the camera's images have no frame_id; set the driver's parameter for it (frame_id, camera_frame_id)"
            self.get_logger().warning(text, throttle_duration_sec=REMINDER_S)

    def _remind(self) -> None:
        self.get_logger().info(
            f"{self._waiting} waits for the first image on {self._topics[0]}, which names the camera's frame",
            throttle_duration_sec=6 * REMINDER_S,
        )


def main(argv: list[str] | None = None) -> NoReturn:
    """Wait, then become the program; exit code 0 where a signal comes first."""
    words = sys.argv[1:] if argv is None else argv
    own = words.index("--ros-args") if "--ros-args" in words else len(words)
    if own < 2:
        sys.exit(USAGE)
    option, program, *arguments = words[:own]
    found: list[FrameFinder] = []

    def make() -> FrameFinder:
        found.append(FrameFinder(option, program))
        return found[0]

    code = run(make, ["with_camera_frame", *words[own:]])
    frame_id = found[0].frame_id if found else ""
    if code or not frame_id:
        end_process(code)
    sys.stdout.flush()
    try:
        os.execvp(program, [program, *arguments, option, frame_id, *words[own:]])
    except OSError as error:
        sys.exit(f"{program} cannot be started: {error.strerror}")
