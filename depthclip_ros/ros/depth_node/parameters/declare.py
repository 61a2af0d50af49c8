# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The parameter table as a ROS node declares it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.parameter import Parameter

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.ros.depth_node.parameters.parameter import NEXT_START
from depthclip_ros.ros.depth_node.parameters.table import BY_NAME, FLOATS, TABLE
from depthclip_ros.ros.overrides import widen_overrides

ARRAYS = {str: Parameter.Type.STRING_ARRAY, float: Parameter.Type.DOUBLE_ARRAY}


def refuse_deletion(changed: Iterable[Parameter]) -> None:
    """Hold on to the table: rclpy lets go of a parameter whose type may change, and refuses it ever after.

    Raises:
        ConfigError: one of the table is to be deleted.
    """
    for parameter in changed:
        if parameter.name in BY_NAME and parameter.type_ == Parameter.Type.NOT_SET:
            raise ConfigError(f"{parameter.name} cannot be deleted; set it to what is wanted, a list to []")


def declare_parameters(node: Any) -> None:
    """Declare the whole table on an rclpy node, with descriptions and ranges, values from its overrides."""
    widen_overrides(node, FLOATS)
    for parameter in TABLE:
        descriptor = ParameterDescriptor(
            name=parameter.name,
            description=f"{parameter.description} Takes effect {parameter.effect}.",
            read_only=parameter.effect == NEXT_START,
        )
        low, high = parameter.minimum or 0, parameter.maximum or 0
        kind = type(parameter.default)
        if kind is str or parameter.zero:  # a range of ROS has no value beside it
            descriptor.additional_constraints = f"allowed: {parameter.allowed}"
        elif kind is int:
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=parameter.step)]
        elif kind is float:
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
        if parameter.element is None:
            node.declare_parameter(parameter.name, parameter.default, descriptor)
            continue
        # An empty list has no type for rclpy, and no value in YAML: the table checks what is set.
        descriptor.dynamic_typing = True
        descriptor.additional_constraints = f"allowed: {parameter.allowed}"
        if not node.declare_parameter(parameter.name, parameter.default, descriptor).value:
            node.set_parameters([Parameter(parameter.name, ARRAYS[parameter.element], [])])
