# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""camera_node: plays the rendered room, a folder of pictures, a video or a bag as if it were a camera.

Topics (relative): `image_raw`, `image_raw/compressed` (JPEG), `camera_info` with the same stamp, and
`ground_truth/depth/image` (32FC1 metres) where the source knows depth; of the rendered room also what its robot
measures: `range`, `scan`, `odom`, and /tf from `odom` to the camera. Stamps are the time of publication: to its
subscribers it is a live camera. What nobody listens to is not made.
"""

from __future__ import annotations

import array
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import cv2
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depthclip_ros.core.calibration import camera_model
from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.ros.camera_fields import copy_camera
from depthclip_ros.ros.camera_node.robot_topics import RobotTopics
from depthclip_ros.ros.camera_node.source import Frame, SourceOptions
from depthclip_ros.ros.camera_node.sources import open_source
from depthclip_ros.ros.conversions import assign, color_image, depth_image
from depthclip_ros.ros.overrides import warn_of_unused, widen_overrides
from depthclip_ros.ros.run import end_process, run

RATE_WINDOW_S = 5.0
SLOW = 0.9  # share of the rate below which the camera says that it cannot keep it
RELIABILITIES = {
    "reliable": QoSReliabilityPolicy.RELIABLE,
    "best_effort": QoSReliabilityPolicy.BEST_EFFORT,
}

# name: default, description, smallest and largest value of a number
PARAMETERS: dict[str, tuple[Any, str, tuple[float, float] | None]] = {
    "source": (
        "room",
        "`room`, or the path of a folder of pictures, a video, a rosbag2 folder, a .db3 or an .mcap",
        None,
    ),
    "rate_hz": (30.0, "frames per second; 0 takes the recording's own rate, or 30 where it has none", (0.0, 1000.0)),
    "loop": (True, "start again at the end; otherwise the node ends with its source", None),
    "reliability": ("reliable", "QoS reliability of the topics: reliable or best_effort", None),
    "frame_id": ("camera_optical_frame", "frame_id of every header", None),
    "jpeg_quality": (90, "of image_raw/compressed", (1, 100)),
    "width": (SourceOptions.width_px, "width of the rendered room's pictures in pixels", (16, 4096)),
    "height": (SourceOptions.height_px, "height of the rendered room's pictures in pixels", (16, 4096)),
    "seed": (SourceOptions.seed, "which room", (0, 2**31 - 1)),
    "frames": (SourceOptions.frames, "frames of the rendered room's closed loop", (2, 100_000)),
    "image_topic": ("", "image topic of a bag; empty finds it", None),
    "camera_info_topic": ("", "camera_info topic of a bag; empty takes the image topic's sibling", None),
    "depth_topic": ("", "topic of a bag with depth aligned to the image, published as ground truth", None),
}


class RateWatch:
    """Says when frames come slower than they should, looking at windows of RATE_WINDOW_S."""

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._began_s: float | None = None
        self._count = 0

    def tick(self, now_s: float) -> float | None:
        """Count a frame; the rate in Hz of a window that just ended too slow, else None."""
        if self._began_s is None:
            self._began_s = now_s
            return None
        self._count += 1
        # A slow rate needs a longer window, so that one frame more or less does not decide.
        if now_s - self._began_s < max(RATE_WINDOW_S, 20 / self._rate_hz):
            return None
        rate_hz = self._count / (now_s - self._began_s)
        self._began_s, self._count = now_s, 0
        return rate_hz if rate_hz < SLOW * self._rate_hz else None


class _StoppedError(Exception):
    """The node is to end while it renders."""


class CameraNode(Node):
    """Publishes one frame of its source per timer tick, from `begin` on, until it has `finished`."""

    finished = False

    def __init__(self) -> None:
        super().__init__("camera_node")
        self._stopping = False
        self._said_frames: int | None = None

    def begin(self) -> None:
        """Open the source.

        Raises:
            InputError: the source cannot be used.
            ConfigError: a parameter has a value that is not allowed.
        """
        widen_overrides(self, [name for name, (default, *_) in PARAMETERS.items() if type(default) is float])
        values = {name: self._declared(name) for name in PARAMETERS}
        warn_of_unused(self, PARAMETERS)
        if values["reliability"] not in RELIABILITIES:
            raise ConfigError(f"reliability is {values['reliability']!r}; allowed are {', '.join(RELIABILITIES)}")
        self._frame_id: str = values["frame_id"]
        self._loop: bool = values["loop"]
        self._source = open_source(values["source"], SourceOptions.of(values, self._progress))
        self._frames: Iterator[Frame] = iter(self._source)
        self._reported: set[str] = set()
        self._next = self._take()
        if self._next is None:
            raise InputError(f"no frame of {values['source']} can be read: {'; '.join(self._source.skipped[:3])}")
        # A few frames deep, so that a subscriber's hiccup costs latency before it costs frames.
        qos = QoSProfile(depth=5, reliability=RELIABILITIES[values["reliability"]])
        self._image_publisher = self.create_publisher(Image, "image_raw", qos)
        self._jpeg_publisher = self.create_publisher(CompressedImage, "image_raw/compressed", qos)
        self._jpeg_quality: int = values["jpeg_quality"]
        self._next_jpeg: array.array[int] | None = None
        self._info_publisher = self.create_publisher(CameraInfo, "camera_info", qos)
        self._depth_publisher = self.create_publisher(Image, "ground_truth/depth/image", qos)
        self._robot = None if self._next.pose is None else RobotTopics(self, self._frame_id)
        rate_hz = values["rate_hz"] or self._source.rate_hz or 30.0
        self._watch = RateWatch(rate_hz)
        self._rate_hz = rate_hz
        # An rcl timer counts its deadlines from its start, so that a late tick does not shift the later ones.
        self._timer = self.create_timer(1.0 / rate_hz, self._tick)
        self.get_logger().info(f"playing {values['source']} ({self._source.kind}) at {rate_hz:.6g} Hz")

    def _declared(self, name: str) -> Any:
        default, description, limits = PARAMETERS[name]
        descriptor = ParameterDescriptor(description=description, read_only=True)
        if limits and isinstance(default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=limits[0], to_value=limits[1])]
        elif limits:
            descriptor.integer_range = [IntegerRange(from_value=int(limits[0]), to_value=int(limits[1]), step=1)]
        return self.declare_parameter(name, default, descriptor).value

    def interrupt(self) -> None:
        """Give up rendering."""
        self._stopping = True

    def _progress(self, done: int, total: int) -> None:
        if self._stopping:
            raise _StoppedError
        tenth = max(1, total // 10)  # this is called many times a second
        said = self._said_frames
        if said is None or done >= said + tenth or (done == total and done > said):
            self._said_frames = done
            self.get_logger().info(f"rendering the room: {done} of {total} frames")

    def _take(self) -> Frame | None:
        """The next frame, at the end the first again when looping, else None. Names each skipped frame once."""
        frame = next(self._frames, None)
        if frame is None and self._loop:
            self._frames = iter(self._source)
            frame = next(self._frames, None)
        for skipped in self._source.skipped:
            if skipped not in self._reported:
                self._reported.add(skipped)
                self.get_logger().warning(f"skipped ({len(self._reported)} so far): {skipped}")
        return frame

    def _tick(self) -> None:
        frame = self._next
        if frame is None:
            self.finished = True
            return
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._frame_id)
        if self._image_publisher.get_subscription_count():
            self._image_publisher.publish(assign(Image(), header, color_image(frame.rgb)))
        if self._next_jpeg is not None:
            self._jpeg_publisher.publish(CompressedImage(header=header, format="jpeg", data=self._next_jpeg))
        if frame.camera is not None:
            info = CameraInfo(header=header)
            copy_camera(frame.camera, info)
            self._info_publisher.publish(info)
        if frame.depth_m is not None and self._depth_publisher.get_subscription_count():
            self._depth_publisher.publish(assign(Image(), header, depth_image(frame.depth_m)))
        if self._robot is not None and frame.camera is not None:
            shown = camera_model(frame.camera, frame.rgb.shape[1], frame.rgb.shape[0]).pinhole
            self._robot.publish(frame, shown, header.stamp)
        # Read and pack ahead after publishing: neither may delay the next frame's own stamp.
        self._next = self._take()
        self._next_jpeg = self._packed(self._next)
        if (rate_hz := self._watch.tick(time.monotonic())) is not None:
            self.get_logger().warning(
                f"publishes {rate_hz:.1f} frames per second instead of {self._rate_hz:.6g}: this machine is too slow "
                "or too busy for the rate, the size of the pictures or their decoding"
            )

    def _packed(self, frame: Frame | None) -> array.array[int] | None:
        """The frame as JPEG, if somebody listens to it."""
        if frame is None or not self._jpeg_publisher.get_subscription_count():
            return None
        bgr = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR)
        good, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, self._jpeg_quality])
        # rclpy takes array.array as it is; any other type it checks element by element.
        return array.array("B", data.tobytes()) if good else None


def main(args: list[str] | None = None) -> NoReturn:
    """Be the process of the node until it is told to end or, without `loop`, its source has ended."""
    end_process(run(CameraNode, args))
