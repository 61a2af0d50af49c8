from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS installation, or the package's extra `ros`")

import rclpy

from depthclip_ros.ros.depth_node.image_input import comes_rectified, topics


@pytest.fixture
def make_node(ros_environment):
    """A node in a namespace with remappings: `make_node({from: to})`."""
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
    assert comes_rectified(make_node({"image": image})) is rectified
