# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import sys

import pytest

from depthclip_ros.core.errors import missing_package


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("rclpy.node", "source the workspace"),
        ("depthclip_ros.msg", "source the workspace"),
        ("sensor_msgs", "source the workspace"),
        ("rcl_interfaces.msg", "source the workspace"),
        ("torch", "activate the environment"),
        ("my_msgs_tools", "activate the environment"),
    ],
)
def test_a_missing_package_is_named_with_what_brings_it(name, advice):
    said = missing_package(ModuleNotFoundError("No module", name=name))
    assert said.startswith(f"{name} is not installed for {sys.executable}; {advice}")
    assert said.endswith("and start again")


def test_a_package_without_a_name_is_told_by_its_error():
    assert missing_package(ModuleNotFoundError("No module named 'x'")).startswith(
        "No module named 'x' is not installed"
    )
