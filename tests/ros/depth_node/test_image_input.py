# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS installation, or the package's extra `ros`")

import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.ros.depth_node.image_input import ImageInput, comes_rectified


def ignore(message):
    """A callback: rclpy looks at its signature, which a builtin has none of in Python 3.10."""


@pytest.fixture
def make_node(ros_environment):
    """A node in a namespace with remappings: `make_node({from: to})`."""
    yield from _nodes()


@pytest.fixture
def make_sender(ros_environment):
    """As `make_node`, by another participant: one alone cannot have two types on one topic."""
    yield from _nodes()


def _nodes():
    context = rclpy.Context()
    rclpy.init(context=context)
    nodes = []

    def make(remaps):
        arguments = [argument for name, to in remaps.items() for argument in ("-r", f"{name}:={to}")]
        nodes.append(rclpy.create_node("eye", namespace="/robot", context=context, cli_args=["--ros-args", *arguments]))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context, uninstall_handlers=False)


@pytest.mark.parametrize(
    ("remaps", "image", "camera_info"),
    [
        ({}, "/robot/image", "/robot/camera_info"),
        ({"image": "front/image_raw"}, "/robot/front/image_raw", "/robot/front/camera_info"),
        ({"image": "/cam/image_raw"}, "/cam/image_raw", "/cam/camera_info"),
        ({"image": "/cam/image_raw", "camera_info": "/calib/info"}, "/cam/image_raw", "/calib/info"),
        ({"camera_info": "/calib/info"}, "/robot/image", "/calib/info"),
        ({"image": "/image_raw"}, "/image_raw", "/camera_info"),
    ],
)
def test_camera_info_is_the_sibling_of_the_image_unless_it_is_remapped(make_node, remaps, image, camera_info):
    node = make_node(remaps)
    assert topics(node, "raw") == (image, camera_info)
    assert topics(node, "compressed") == (f"{image}/compressed", camera_info)


def topics(node, transport, prefix=""):
    """Topics of the two subscriptions, as the graph has them."""
    source = ImageInput(node, transport, "reliable", ignore, ignore, prefix)
    found = source.image.topic, source.camera_info.topic
    source.destroy()
    return found


@pytest.mark.parametrize("infos", [False, True])
def test_two_cameras_exchanged_by_remapping_keep_their_own_calibration(make_node, infos):
    remaps = {"front/image": "left/image", "left/image": "front/image"}
    if infos:
        remaps |= {"front/camera_info": "left/camera_info", "left/camera_info": "front/camera_info"}
    node = make_node(remaps)
    assert topics(node, "raw", "front/") == ("/robot/left/image", "/robot/left/camera_info")
    assert topics(node, "compressed", "front/") == ("/robot/left/image/compressed", "/robot/left/camera_info")
    assert topics(node, "raw", "left/") == ("/robot/front/image", "/robot/front/camera_info")


def test_a_remapped_compressed_topic_has_its_own_sibling(make_node):
    node = make_node({"image/compressed": "/cam/image_raw/compressed"})
    assert topics(node, "compressed") == ("/cam/image_raw/compressed", "/cam/camera_info")


def test_a_remapping_may_name_the_compressed_topic_itself(make_node):
    node = make_node({"image": "/cam/image_raw/compressed"})
    assert topics(node, "compressed") == ("/cam/image_raw/compressed", "/cam/camera_info")


@pytest.mark.parametrize(
    ("image", "transport", "sent", "told"),
    [
        ("/cam/image_raw", "raw", "compressed", "images come compressed, on /cam/image_raw/compressed: set "
         "input.transport to compressed (launch: transport:=compressed)"),
        ("/cam/image_raw", "compressed", "raw", "images come raw, on /cam/image_raw: set input.transport to raw "
         "(launch: transport:=raw)"),
        ("/cam/image_raw/compressed", "raw", "compressed", "images come compressed, on /cam/image_raw/compressed: set "
         "input.transport to compressed (launch: transport:=compressed)"),
        ("/cam/image_raw", "raw", "raw", ""),
        ("/cam/image_raw", "raw", "raw and compressed", ""),
        ("/cam/image_raw", "compressed", "raw and compressed", ""),
    ],
)  # fmt: skip
def test_images_that_come_by_the_other_transport_are_told_of(make_node, make_sender, image, transport, sent, told):
    node, sender = make_node({"image": image}), make_sender({})
    source = ImageInput(node, transport, "auto", ignore, ignore)
    assert source.other_transport == "", "nobody sends"
    topics = {"raw": (Image, "/cam/image_raw"), "compressed": (CompressedImage, "/cam/image_raw/compressed")}
    for one in sent.split(" and "):
        sender.create_publisher(*topics[one], 1)
        end_s = time.monotonic() + 20
        while not node.count_publishers(topics[one][1]):
            assert time.monotonic() < end_s, "never discovered"
            time.sleep(0.02)
    assert source.other_transport == told
    source.destroy()


def test_a_sibling_that_would_be_remapped_a_second_time_is_refused(make_node):
    remaps = {"front/image": "left/image", "left/image": "front/image", "left/camera_info": "front/camera_info"}
    with pytest.raises(ConfigError, match="/robot/left/camera_info is what"):
        topics(make_node(remaps), "raw", "front/")


def test_an_input_that_cannot_be_made_leaves_nothing_behind(make_node, monkeypatch):
    node = make_node({})
    count = len(list(node.subscriptions)), len(list(node.guards))
    create, made = node.create_subscription, []

    def fail(*args, **kwargs):
        if made:
            raise RuntimeError("no second one")
        made.append(create(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(node, "create_subscription", fail)
    with pytest.raises(RuntimeError, match="no second one"):
        ImageInput(node, "raw", "reliable", ignore, ignore)
    assert (len(list(node.subscriptions)), len(list(node.guards))) == count


@pytest.mark.parametrize(
    ("image", "rectified"),
    [
        ("/cam/image_rect", True),
        ("/cam/image_rect_color", True),
        ("/cam/image_raw", False),
        ("/rect/image_raw", False),
        ("/cam/direct_image", False),
    ],
)
def test_rectified_images_are_told_by_image_procs_names(make_node, image, rectified):
    assert comes_rectified(make_node({"image": image}), "raw") is rectified


RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def test_a_subscription_is_made_again_only_where_its_publishers_ask_for_it(make_node, monkeypatch):
    node = make_node({})
    offers, said = [], []
    monkeypatch.setattr(
        node, "get_publishers_info_by_topic", lambda name: [SimpleNamespace(qos_profile=offer) for offer in offers]
    )
    monkeypatch.setattr(node, "get_logger", lambda: SimpleNamespace(info=said.append))
    count = len(list(node.subscriptions)), len(list(node.guards))
    source = ImageInput(node, "raw", "auto", ignore, ignore)
    first = source.image._subscription
    assert source.image.qos.reliability == ReliabilityPolicy.RELIABLE
    source.follow()
    assert source.image._subscription is first, "nobody publishes"
    offers[:] = [RELIABLE]
    source.follow()
    assert source.image._subscription is first, "as it is asked for"
    offers[:] = [RELIABLE, BEST_EFFORT]
    source.follow()
    assert source.image._subscription is not first
    assert source.image.qos.reliability == source.camera_info.qos.reliability == ReliabilityPolicy.BEST_EFFORT
    assert said == [f"/robot/{name}: subscribing as best_effort, was reliable" for name in ("image", "camera_info")]
    assert len(list(node.subscriptions)) == count[0] + 2, "the old ones are gone"
    assert source.image.publishers == 0
    source.destroy()
    assert (len(list(node.subscriptions)), len(list(node.guards))) == count
    source.follow()
    assert len(list(node.subscriptions)) == count[0], "nothing is made again after the end"


def test_a_reliability_that_is_asked_for_is_kept_to(make_node, monkeypatch):
    node = make_node({})
    monkeypatch.setattr(node, "get_publishers_info_by_topic", lambda name: [SimpleNamespace(qos_profile=BEST_EFFORT)])
    source = ImageInput(node, "raw", "reliable", ignore, ignore)
    first = source.image._subscription
    source.follow()
    assert source.image._subscription is first
    assert source.image.qos.reliability == ReliabilityPolicy.RELIABLE
    source.destroy()
