# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a node was given at its start: misspelt parameters, a file for another node, whole numbers without a point."""

from __future__ import annotations

import difflib
import itertools
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

RCLPY_OWN = re.compile(r"use_sim_time|start_type_description_service|qos_overrides\..*")
FILE_OPTION = "--params-file"


def warn_of_unused(node: Any, known: Collection[str]) -> None:
    """Log a warning for all that an rclpy node was given and does not use; `known` are the names of its parameters."""
    given = getattr(node, "_parameter_overrides", {})
    for sentence in (*unused_overrides(given, known), *unused_files(sys.argv, node.get_fully_qualified_name())):
        node.get_logger().warning(sentence)


def widened(parameters: Iterable[Any], floats: Collection[str]) -> list[Any]:
    """The rclpy parameters, with whole numbers as floats where `floats` names the parameter.

    `scale.factor: 2` is an integer to YAML and to `ros2 param set`, and rclpy would refuse it.
    """
    return [
        type(one)(one.name, value=float(one.value)) if one.name in floats and type(one.value) is int else one
        for one in parameters
    ]


def widen_overrides(node: Any, floats: Collection[str]) -> None:
    """Do to an rclpy node's overrides what `widened` does, before its parameters are declared."""
    given = getattr(node, "_parameter_overrides", {})
    given.update({one.name: one for one in widened(given.values(), floats)})


def unused_overrides(given: Collection[str], known: Collection[str]) -> Iterator[str]:
    """One sentence for each parameter that the node was given and does not have.

    Args:
        given: names of the overrides.
        known: names of the node's parameters.
    """
    for name in given:
        if name not in known and not RCLPY_OWN.fullmatch(name):
            # `scale_factor` is nearest to `scale.factor`, whatever the case.
            near = difflib.get_close_matches(_plain(name), [_plain(one) for one in known], 1)
            meant = next((one for one in known if near and _plain(one) == near[0]), None)
            hint = f"did you mean {meant}?" if meant else f"known: {', '.join(known)}"
            yield f"there is no parameter {name}, and its value is not used; {hint}"


def unused_files(arguments: Sequence[str], node: str) -> Iterator[str]:
    """One sentence for each parameter file of a command line that says nothing to this node.

    Args:
        arguments: of the command line.
        node: full name of the node, e.g. /front/depth_node.
    """
    for option, path in itertools.pairwise(arguments):
        if option != FILE_OPTION:
            continue
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue  # rcl has read it, or has said what is wrong
        names = list(_nodes(content, ""))
        if names and not any(_matches(name, node) for name in names):
            near = difflib.get_close_matches(node, names, 1, 0.0)[0]
            yield f"{path} has parameters for {', '.join(names)} but none for {node}; did you mean {node} by {near}?"


def _plain(name: str) -> str:
    return re.sub(r"[._-]", "", name).lower()


def _nodes(content: Any, above: str) -> Iterator[str]:
    """Names of the nodes in a parameter file, namespaces nested or not, with a slash in front."""
    for name, below in content.items() if isinstance(content, Mapping) else ():
        path = f"{above}/{str(name).strip('/')}"
        if isinstance(below, Mapping) and "ros__parameters" in below:
            yield path
        else:
            yield from _nodes(below, path)


def _matches(pattern: str, node: str) -> bool:
    """By rcl's rules: `*` is one name, `**` any number of them."""
    parts = [{"**": r"(/[^/]+)*", "*": r"/[^/]+"}.get(part, "/" + re.escape(part)) for part in pattern[1:].split("/")]
    return re.fullmatch("".join(parts), node) is not None
