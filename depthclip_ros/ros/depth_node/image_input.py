# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The two subscriptions of depth_node, image and camera_info, and how they follow what publishers offer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depthclip_ros.core.calibration import base_topic, is_rectified_by_name, sibling_camera_info
from depthclip_ros.core.errors import ConfigError
from depthclip_ros.ros.qos import incompatible_qos_callbacks, input_qos, name_of, same_request


class FollowingSubscription:
    """A subscription that is made again when its publishers offer something that its QoS would not hear, or hear worse.

    Nothing is made again while the offers ask for the same QoS, so no frame is lost for nothing.
    """

    def __init__(
        self,
        node: Node,
        message: Any,
        name: str,
        reliability: str,
        callback: Callable[[Any], None],
        depth: int = 1,
    ) -> None:
        self._node = node
        self._depth = depth  # messages kept: more than one where several senders share the topic
        self.message = message
        self._reliability = reliability
        self._callback = callback
        # The event comes while the executor works on the subscription: leave it before unmaking that.
        self._follow_soon = node.create_guard_condition(self.follow)
        self._subscription: Any = None
        self._name = name  # not yet remapped: rclpy does that, for each subscription and each question for its offers
        try:
            self.topic = self._subscribe(input_qos(reliability, self._offers(), depth))
        except BaseException:
            self.destroy()
            raise

    @property
    def publishers(self) -> int:
        """How many publishers the topic has."""
        return int(self._node.count_publishers(self.topic))

    @property
    def qos(self) -> QoSProfile:
        """What is asked of them."""
        return self._qos

    def follow(self) -> None:
        """Subscribe anew if the present publishers ask for another QoS."""
        offers = self._offers()
        if self._subscription is None or not offers:
            return
        wanted = input_qos(self._reliability, offers, self._depth)
        if same_request(wanted, self._qos):
            return
        self._node.get_logger().info(f"{self.topic}: subscribing as {name_of(wanted)}, was {name_of(self._qos)}")
        old = self._subscription
        self._subscribe(wanted)
        self._node.destroy_subscription(old)

    def destroy(self) -> None:
        """Unsubscribe."""
        self._node.destroy_guard_condition(self._follow_soon)
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _offers(self) -> list[QoSProfile]:
        return [info.qos_profile for info in self._node.get_publishers_info_by_topic(self._name)]

    def _subscribe(self, qos: QoSProfile) -> str:
        self._qos = qos
        self._subscription = self._node.create_subscription(
            self.message,
            self._name,
            self._callback,
            qos,
            event_callbacks=incompatible_qos_callbacks(self._follow_soon.trigger),
        )
        return str(self._subscription.topic_name)


COMPRESSED = "/compressed"  # what image_transport adds to a topic's name


class ImageInput:
    """Subscribes to the image and the camera_info that belongs to it."""

    def __init__(
        self,
        node: Node,
        transport: str,
        reliability: str,
        on_image: Callable[[Any], None],
        on_camera_info: Callable[[CameraInfo], None],
        prefix: str = "",
    ) -> None:
        message = CompressedImage if transport == "compressed" else Image
        self._node = node
        with ExitStack() as made:
            name = image_name(node, transport, prefix)
            self.image = FollowingSubscription(node, message, name, reliability, on_image)
            made.callback(self.image.destroy)
            name = camera_info_name(node, self.image.topic, prefix)
            self.camera_info = FollowingSubscription(node, CameraInfo, name, reliability, on_camera_info)
            made.pop_all()

    @property
    def other_transport(self) -> str:
        """What to set where only the other transport of these images has publishers; empty where that is not so."""
        topic = self.image.topic
        plain = base_topic(topic)
        if self.image.message is CompressedImage:
            transport, other = "raw", plain
        else:
            transport, other = "compressed", plain + COMPRESSED
        # The same topic, where `image` was remapped to a compressed one.
        if (self.image.publishers and other != topic) or self._node.count_publishers(other) == 0:
            return ""
        return (
            f"images come {transport}, on {other}: set input.transport to {transport} (launch: transport:={transport})"
        )

    def follow(self) -> None:
        """Follow the publishers' QoS."""
        self.image.follow()
        self.camera_info.follow()

    def destroy(self) -> None:
        """Unsubscribe from both."""
        self.image.destroy()
        self.camera_info.destroy()


def image_name(node: Node, transport: str, prefix: str = "") -> str:
    """What to subscribe to for images: rclpy remaps it.

    Args:
        node: whose remappings count.
        transport: raw or compressed.
        prefix: before the name, e.g. "front/".

    Raises:
        ConfigError: see `_as_it_is`.
    """
    name = f"{prefix}image"
    if transport != "compressed":
        return name
    # A remapping of `image` is meant for `image/compressed` too, and may name the compressed topic itself.
    resolved = node.resolve_topic_name(name)
    plain = resolved == node.resolve_topic_name(name, only_expand=True)
    return f"{name}{COMPRESSED}" if plain else _as_it_is(node, base_topic(resolved) + COMPRESSED)


def camera_info_name(node: Node, image_topic: str, prefix: str = "") -> str:
    """What to subscribe to for camera_info: the sibling of the images' topic unless `camera_info` itself is remapped.

    Raises:
        ConfigError: see `_as_it_is`.
    """
    name = f"{prefix}camera_info"
    if node.resolve_topic_name(name) != node.resolve_topic_name(name, only_expand=True):
        return name
    return _as_it_is(node, sibling_camera_info(image_topic))


def comes_rectified(node: Node, transport: str, prefix: str = "") -> bool:
    """Whether the image topic is named as image_proc names rectified images (image_rect, image_rect_color).

    The camera_info beside such a topic still holds the distortion of the raw image; P describes the rectified one.
    """
    return is_rectified_by_name(node.resolve_topic_name(image_name(node, transport, prefix)))


def _as_it_is(node: Node, topic: str) -> str:
    """The topic; rclpy would remap it a second time where a rule is for this very name.

    Raises:
        ConfigError: it would.
    """
    other = node.resolve_topic_name(topic)
    if other != topic:
        raise ConfigError(
            f"{topic} is what the remapping of an image leads to, and is itself remapped to {other}; remap each "
            "camera's image (or image/compressed) and its camera_info by name"
        )
    return topic
