# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Which topic of a recording is what the camera sees; recordings that are made up, so that only this is at work."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from depthclip_ros.core.errors import InputError
from depthclip_ros.ros.bag.image_topic import find_image_topic

RAW, COMPRESSED, INFO = (f"sensor_msgs/msg/{name}" for name in ("Image", "CompressedImage", "CameraInfo"))


def image(encoding):
    return SimpleNamespace(encoding=encoding, header=None)


class Recording:
    """`topics`: name to (type, count, first message)."""

    def __init__(self, **topics):
        self.topics = {name.replace("__", "/"): value for name, value in topics.items()}
        self.connections = [
            SimpleNamespace(topic=topic, msgtype=kind, msgcount=count)
            for topic, (kind, count, _) in self.topics.items()
        ]

    def first(self, topic):
        return self.topics[topic][2]


RGB = (RAW, 5, image("rgb8"))


def test_a_topic_that_is_named_is_taken_raw_or_compressed():
    recording = Recording(__a=RGB, __b__compressed=(COMPRESSED, 3, None), __c=(INFO, 9, None))
    assert find_image_topic(recording, "/a") == "/a"
    assert find_image_topic(recording, "/b") == "/b/compressed"
    assert find_image_topic(recording, "/b/compressed") == "/b/compressed"
    both = Recording(__a=RGB, __a__compressed=(COMPRESSED, 3, None))
    assert find_image_topic(both, "/a") == "/a"
    for wrong in ("/c", "/d"):
        with pytest.raises(InputError, match=rf"the bag has no image topic '{wrong}'; it has .*/a"):
            find_image_topic(recording, wrong)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"__z__image": RGB, "__z__camera_info": (INFO, 5, None)}, {"__a__image": (RAW, 50, image("rgb8"))}),
        ({"__z__image": RGB}, {"__a__image": (RAW, 50, image("mono8"))}),
        ({"__z__image": (RAW, 6, image("bgr8"))}, {"__a__image": RGB}),
        ({"__z__image": RGB}, {"__a__image": (RAW, 0, image("rgb8"))}),
        ({"__z__image": RGB}, {"__a__depth__image": (RAW, 50, image("rgb8"))}),
        ({"__z__image": RGB}, {"__a__image": (RAW, 50, image("16UC1"))}),
    ],
    ids=["with camera_info", "colour", "most messages", "not empty", "not named depth", "not depth"],
)
def test_of_two_the_likelier_is_taken_whichever_comes_first(better, worse):
    wanted = next(iter(better)).replace("__", "/")
    assert find_image_topic(Recording(**better, **worse)) == wanted
    assert find_image_topic(Recording(**worse, **better)) == wanted


@pytest.mark.parametrize(
    "name",
    ["/depth_cam/rgb/image_raw", "/infrastructure/cam/image_raw", "/masked_robot/image", "/Depth/eye/image/compressed"],
)
def test_a_robot_or_a_camera_may_be_named_like_what_is_no_colour(name):
    kind = COMPRESSED if name.endswith("compressed") else RAW
    message = SimpleNamespace(format="jpeg", header=None) if kind == COMPRESSED else image("rgb8")
    assert find_image_topic(Recording(**{name: (kind, 5, message)})) == name


@pytest.mark.parametrize(
    "name",
    ["/camera/aligned_depth_to_color/image_raw", "/cam/infra1/image_rect_raw", "/cam/infrared", "/a/ground_truth/image",
     "/Depth/picture", "/masks", "/cam/depth_registered/image"],
)  # fmt: skip
def test_what_is_named_as_no_colour_is_refused_with_the_option_that_names_the_camera(name):
    with pytest.raises(InputError, match=rf"it has {name} \(Image\); .* name it: --image-topic"):
        find_image_topic(Recording(**{name: RGB}))


def test_a_topic_written_by_two_counts_both_and_none_is_refused_with_what_there_is():
    twice = Recording(__a=(RAW, 4, image("rgb8")), __b=(RAW, 6, image("rgb8")))
    twice.connections.append(SimpleNamespace(topic="/a", msgtype=RAW, msgcount=3))
    assert find_image_topic(twice) == "/a"
    with pytest.raises(InputError, match=r"the bag has no colour image topic; it has .*/confidence"):
        find_image_topic(Recording(__confidence=RGB, __info=(INFO, 3, None)))
