"""The two subscriptions of depth_node, image and camera_info, and how they follow what publishers offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depthclip_ros.ros.qos import incompatible_qos_callbacks, input_qos, name_of, same_request


class FollowingSubscription:
    """A subscription that is made again when its publishers offer something that its QoS would not hear, or hear worse.

    Nothing is made again while the offers ask for the same QoS, so no frame is lost for nothing.
    """

    def __init__(self, node: Node, message: Any, topic: str, reliability: str, callback: Callable[[Any], None]) -> None:
        self._node = node
        self._message = message
        self._reliability = reliability
        self._callback = callback
        # The event comes while the executor works on the subscription: leave it before unmaking that.
        self._follow_soon = node.create_guard_condition(self.follow)
        self._subscription: Any = None
        self.topic = topic
        self.topic = self._subscribe(input_qos(reliability, self._offers()))

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
        wanted = input_qos(self._reliability, offers)
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
        return [info.qos_profile for info in self._node.get_publishers_info_by_topic(self.topic)]

    def _subscribe(self, qos: QoSProfile) -> str:
        self._qos = qos
        self._subscription = self._node.create_subscription(
            self._message,
            self.topic,
            self._callback,
            qos,
            event_callbacks=incompatible_qos_callbacks(self._follow_soon.trigger),
        )
        return str(self._subscription.topic_name)


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
        image_topic, camera_info_topic = topics(node, transport, prefix)
        message = CompressedImage if transport == "compressed" else Image
        self.image = FollowingSubscription(node, message, image_topic, reliability, on_image)
        self.camera_info = FollowingSubscription(node, CameraInfo, camera_info_topic, reliability, on_camera_info)

    def follow(self) -> None:
        """Follow the publishers' QoS."""
        self.image.follow()
        self.camera_info.follow()

    def destroy(self) -> None:
        """Unsubscribe from both."""
        self.image.destroy()
        self.camera_info.destroy()


def topics(node: Node, transport: str, prefix: str = "") -> tuple[str, str]:
    """Topics of the image and of its camera_info, which is its sibling unless `camera_info` itself is remapped.

    Args:
        node: what they are resolved and remapped for.
        transport: raw or compressed.
        prefix: before both names, e.g. "front/".
    """
    image = node.resolve_topic_name(f"{prefix}image")
    camera_info = node.resolve_topic_name(f"{prefix}camera_info")
    if camera_info == node.resolve_topic_name(f"{prefix}camera_info", only_expand=True):
        camera_info = image.rpartition("/")[0] + "/camera_info"
    return (f"{image}/compressed" if transport == "compressed" else image), camera_info


def comes_rectified(node: Node, prefix: str = "") -> bool:
    """Whether the image topic is named as image_proc names rectified images (image_rect, image_rect_color).

    The camera_info beside such a topic still holds the distortion of the raw image; P describes the rectified one.
    """
    return "rect" in node.resolve_topic_name(f"{prefix}image").rpartition("/")[2].split("_")
