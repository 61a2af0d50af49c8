"""Keys of a configuration: overrides from the command line, and each key checked beside the dataclass it is for."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Sequence
from typing import Any

import yaml

from depthclip_ros.core.errors import ConfigError


def parse_overrides(arguments: Sequence[str]) -> list[tuple[str, Any]]:
    """(dotted key, value) of each `--key value` or `--key=value`; values are read as YAML.

    Raises:
        ConfigError: an argument that is no override, or one without a value.
    """
    found = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--"):
            raise ConfigError(f"argument {argument!r} is not understood; overrides look like --loop.steps 100")
        key, equals, value = argument[2:].partition("=")
        if not equals:
            if not rest:
                raise ConfigError(f"--{key} has no value")
            value = rest.pop(0)
        found.append((key, yaml.safe_load(value)))
    return found


def lay_over(mapping: dict[str, Any], dotted_key: str, value: Any) -> None:
    """Sets one value deep in nested dictionaries, making those that are missing."""
    *parents, last = dotted_key.split(".")
    for parent in parents:
        child = mapping.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--{dotted_key}: {parent} is a value, not a section")
        mapping = child
    mapping[last] = value


def check_keys(mapping: Any, kind: Any, place: str = "") -> None:
    """Walks a mapping beside the dataclass it is meant for.

    Raises:
        ConfigError: a key without a field; the message names the nearest field.
    """
    if dataclasses.is_dataclass(kind):
        if not isinstance(mapping, dict):
            raise ConfigError(f"{place or 'the configuration'} is {mapping!r}; it must be a section of keys")
        hints = typing.get_type_hints(kind)
        for key, value in mapping.items():
            if key not in hints:
                raise ConfigError(f"{place}{'.' if place else ''}{key} is not a key; {nearest(str(key), list(hints))}")
            check_keys(value, hints[key], f"{place}.{key}" if place else str(key))
    elif typing.get_origin(kind) is dict and isinstance(mapping, dict):
        for key, value in mapping.items():
            check_keys(value, typing.get_args(kind)[1], f"{place}.{key}")
    elif typing.get_origin(kind) is types.UnionType:
        for option in typing.get_args(kind):
            if dataclasses.is_dataclass(option) and isinstance(mapping, dict):
                check_keys(mapping, option, place)


def nearest(key: str, allowed: Sequence[str]) -> str:
    """A sentence part that names the nearest of `allowed`, or all of them."""
    close = difflib.get_close_matches(key, allowed, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(allowed)}"
