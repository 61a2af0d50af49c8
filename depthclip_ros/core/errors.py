# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The package's own exceptions. Each message is one sentence: the bad value, what is allowed, what to do next."""

import sys


class DepthClipError(Exception):
    """Base of all errors that a caller of this package may want to handle."""


class InputError(DepthClipError):
    """An image, its intrinsics or a message cannot be used; the next one may."""


class ConfigError(DepthClipError):
    """A setting, a parameter or a model configuration is not allowed."""


class WeightsError(DepthClipError):
    """A weights file is missing, broken, of another format, or does not fit its model."""


class DeviceError(DepthClipError):
    """The runtime or device asked for is absent, out of memory, or gone."""


class OutOfDeviceMemoryError(DeviceError):
    """The batch does not fit into the device's memory; a smaller one may."""


class NotReadyError(DepthClipError):
    """The network for images of this size is being compiled; they have to wait, others need not."""


def missing_package(error: ModuleNotFoundError) -> str:
    """One sentence on a package that is not there, for the edge that handles it; most often nothing is activated.

    ROS's packages and our own come with a sourced workspace, torch and others with a virtual environment.
    """
    name = (error.name or str(error)).partition(".")[0]
    what = 'activate the environment: . venv/bin/activate in the workspace (README, "On a robot with ROS 2")'
    if name in ("rclpy", "depthclip_ros") or name.endswith(("_msgs", "_interfaces")):
        what = "source the workspace: . /opt/ros/$ROS_DISTRO/setup.sh, build it, . install/setup.sh"
    return f"{error.name or error} is not installed for {sys.executable}; {what}, and start again"
