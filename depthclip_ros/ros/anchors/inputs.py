# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The subscriptions of the anchors: their topics, and /tf and /tf_static for all cameras of a node."""

from __future__ import annotations

import math
import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, Imu, LaserScan, PointCloud2, Range

from depthclip_ros.core.calibration import stamp_ns_of
from depthclip_ros.core.transforms import Transforms
from depthclip_ros.ros.anchors.watch import AnchorWatch
from depthclip_ros.ros.depth_node.image_input import FollowingSubscription
from tf2_msgs.msg import TFMessage

TOPICS: dict[str, Any] = {"range": Range, "scan": LaserScan, "points": PointCloud2, "depth": Image}
# Several sensors may share a topic and speak at once: of small messages so many are kept, of others the newest.
KEPT = {"range": 16, "scan": 4, "odometry": 16}
IMU = "imu"  # no anchor, but the floor's attitude
HISTORY_S = 10.0
MOST_GAP_S = 1.0
SILENT_S = 5.0
SETTLED_S = 2.0  # DDS takes up to a second to find who publishes


class LiveTransforms:
    """/tf and /tf_static from `listen` to `close`; the static ones are kept. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tree = Transforms(max_gap_s=MOST_GAP_S, history_s=HISTORY_S)
        self._subscriptions: list[Any] = []
        self._since_s = math.inf

    @property
    def settled(self) -> bool:
        """Whether what /tf_static holds must have come: what is missing is missing."""
        return time.monotonic() - self._since_s > SETTLED_S

    def listen(self, node: Node) -> None:
        """Subscribe, as tf2 does; once, whoever asks."""
        if self._subscriptions:
            return
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        for topic, is_static, qos in (("/tf", False, QoSProfile(depth=100)), ("/tf_static", True, latched)):
            self._subscriptions.append(
                node.create_subscription(TFMessage, topic, partial(self._add, is_static=is_static), qos)
            )
        self._since_s = time.monotonic()

    def close(self, node: Node) -> None:
        """Unsubscribe."""
        self._since_s = math.inf
        while self._subscriptions:
            node.destroy_subscription(self._subscriptions.pop())

    def between(
        self, source: str, source_ns: int, target: str, target_ns: int, *, patient: bool = False
    ) -> NDArray[np.float64]:
        """See `Transforms.between`."""
        with self._lock:
            return self._tree.between(source, source_ns, target, target_ns, patient=patient)

    def forget(self) -> None:
        """The clock jumped: what moved is known of another time."""
        with self._lock:
            self._tree.forget()

    def add_odometry(self, message: Odometry) -> None:
        """A pose of the wheels is a transform too; where /tf has it as well, it is the same one."""
        from geometry_msgs.msg import TransformStamped

        one = TransformStamped(header=message.header, child_frame_id=message.child_frame_id)
        position = message.pose.pose.position
        translation = one.transform.translation
        translation.x, translation.y, translation.z = position.x, position.y, position.z
        one.transform.rotation = message.pose.pose.orientation
        self._add(TFMessage(transforms=[one]), is_static=False)

    def _add(self, message: TFMessage, *, is_static: bool) -> None:
        with self._lock:
            self._tree.add(message, is_static=is_static)


class AnchorInputs:
    """Subscribes to the topics `anchors/NAME` of one camera's anchors."""

    def __init__(
        self, node: Node, watch: AnchorWatch, names: tuple[str, ...], transforms: LiveTransforms, prefix: str
    ) -> None:
        self._node = node
        self._watch = watch
        self._subscriptions: dict[str, FollowingSubscription] = {}
        self._heard: set[str] = set()
        self._seconds = 0
        with ExitStack() as made:
            made.callback(self.destroy)
            if "ground" in names:
                self._subscriptions[IMU] = FollowingSubscription(
                    node, Imu, f"{prefix}anchors/{IMU}", "auto", self._on_imu
                )
            for name in names:
                if name in TOPICS or name == "odometry":
                    callback = partial(self._on_reading, name)
                    if name == "odometry":
                        callback = partial(self._on_odometry, transforms)
                    message = TOPICS.get(name, Odometry)
                    self._subscriptions[name] = FollowingSubscription(
                        node, message, f"{prefix}anchors/{name}", "auto", callback, KEPT.get(name, 1)
                    )
            made.pop_all()

    def follow(self) -> None:
        """Follow the publishers' QoS, and name a topic on which nothing comes; once a second."""
        self._seconds += 1
        for name, subscription in self._subscriptions.items():
            subscription.follow()
            # odometry may come by /tf alone, and the floor needs no IMU
            if name not in self._heard and name not in ("odometry", IMU) and self._seconds >= SILENT_S:
                self._watch.complain(
                    name,
                    f"nothing has come on {subscription.topic} for {SILENT_S:g} s: {subscription.publishers} "
                    f"publishers; start the sensor, or remap `anchors/{name}` to its topic",
                )

    def destroy(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions.values():
            subscription.destroy()
        self._subscriptions = {}

    def _on_reading(self, name: str, message: Any) -> None:
        self._heard.add(name)
        self._watch.on_reading(name, message, stamp_ns_of(message.header.stamp))

    def _on_imu(self, message: Imu) -> None:
        self._watch.on_imu(message, stamp_ns_of(message.header.stamp))

    def _on_odometry(self, transforms: LiveTransforms, message: Odometry) -> None:
        transforms.add_odometry(message)
