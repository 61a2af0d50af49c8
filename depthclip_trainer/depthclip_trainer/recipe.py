# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Recipes: YAML files that name a base and their differences, and `--section.key value` on top, made one configuration.

jsonargparse checks types and makes the dataclasses. Names are checked here: its errors do not say where a misspelt key
stands in a source, nor which key is nearest.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from depthclip_ros.core.errors import ConfigError
from depthclip_trainer.config import TrainConfig

SHIPPED = Path(__file__).with_name("recipes")


def read_config(recipe: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Composes a recipe and lays `--section.key value` (or `--section.key=value`) overrides on top.

    Args:
        recipe: the name of one that ships, e.g. `nano`, or a path.
        overrides: of the command line; values are read as YAML.

    Raises:
        ConfigError: a recipe that does not read, an unknown key (the nearest is named), a value of another type.
    """
    mapping = compose(recipe)
    for key, value in parse_overrides(overrides):
        lay_over(mapping, key, value)
    return config_from_mapping(mapping)


def compose(recipe: str | Path, folder: Path | None = None, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A recipe on top of its `base`, a name or a path or a list of such, each laid over those before it.

    Sections are merged key by key; null takes away what a base has.

    Args:
        recipe: name or path.
        folder: that a path is relative to; None is where the trainer was started.
        above: the recipes that led here.

    Raises:
        ConfigError: a recipe that does not read, or whose bases lead back to it.
    """
    path = find_recipe(recipe, folder)
    if path in above:
        raise ConfigError(f"{path} is its own base, through {' and '.join(p.name for p in above)}")
    try:
        own = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} does not read: {error}") from error
    if not isinstance(own, dict):
        raise ConfigError(f"{path} holds no mapping; --config nano --print-config shows one")
    bases = own.pop("base", [])
    whole: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        whole = merged(whole, compose(base, path.parent, (*above, path)))
    return merged(whole, own)


def find_recipe(recipe: str | Path, folder: Path | None = None) -> Path:
    """The file of a recipe: a path, or the name of one that ships.

    Raises:
        ConfigError: a name that none has; the nearest is given.
    """
    path = (folder or Path()) / recipe
    if path.is_file() or path.suffix or len(Path(recipe).parts) > 1:
        return path.resolve()
    names = sorted(p.stem for p in SHIPPED.glob("*.yaml"))
    if str(recipe) not in names:
        raise ConfigError(f"no recipe is called {str(recipe)!r}; {nearest(str(recipe), names)}")
    return SHIPPED / f"{recipe}.yaml"


def merged(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """Both; where both have a key, mappings are merged, null takes the key away, another value takes its place."""
    both = {key: value for key, value in upper.items() if key in lower}
    taken = {
        k: merged(lower[k], v) if isinstance(lower[k], dict) and isinstance(v, dict) else v for k, v in both.items()
    }
    whole = {**lower, **upper, **taken}
    return {key: value for key, value in whole.items() if value is not None or key not in both}


def parse_overrides(arguments: Sequence[str]) -> list[tuple[str, Any]]:
    """(dotted key, value) of each `--key value` or `--key=value`; values are read as YAML.

    Raises:
        ConfigError: an argument that is no override, one without a value, or a value that is no YAML.
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
        try:
            found.append((key, yaml.safe_load(value)))
        except yaml.YAMLError as error:
            raise ConfigError(f"--{key}: {value!r} is no YAML; put the whole value in quotes: '[a, b]'") from error
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


def config_from_mapping(mapping: dict[str, Any]) -> TrainConfig:
    """Checks every key and type, and makes the dataclasses.

    Raises:
        ConfigError: an unknown key (the nearest is named), a value of another type, a missing section.
    """
    check_keys(mapping, TrainConfig)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(TrainConfig)
    try:
        namespace: Namespace = parser.parse_object(copy.deepcopy(mapping))  # it writes into what it is given
        instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes  # the older name
        return TrainConfig(**vars(instantiate(namespace)))
    except (ArgumentError, TypeError, ValueError) as error:
        raise ConfigError(f"the configuration is not valid: {error}") from error


def as_mapping(config: TrainConfig) -> dict[str, Any]:
    """The config as plain dictionaries, lists, strings and numbers; `config_from_mapping` takes it."""
    return dataclasses.asdict(config)


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
