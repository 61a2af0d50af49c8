# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Weights files that are made on first use: of presets, YAML files, folders in transformers' layout, the hub."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from depthclip_ros.core import tensor_file
from depthclip_ros.core.errors import ConfigError, WeightsError
from depthclip_ros.core.files import cache_folder, hash_file
from depthclip_ros.core.hub import hub_file
from depthclip_ros.core.model.model_config import ModelConfig
from depthclip_ros.core.model.registry import PRESETS, build_model, preset
from depthclip_ros.core.model.transformers_network import fetch
from depthclip_ros.core.weights.converted import converted
from depthclip_ros.core.weights.info import FORMAT_VERSION
from depthclip_ros.core.weights.weights_file import save_weights

HUB_FILE = "model.safetensors"  # what is read from a Hugging Face repository

_BUILD_VERSION = 1  # raise it when the same configuration gives other tensors


def of_yaml(path: Path) -> Path:
    """The weights file of a preset and what a YAML file changes in it.

    Raises:
        WeightsError: a file that does not read, or names no preset that is ready.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WeightsError(f"{path} does not read: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get("preset"), str):
        raise WeightsError(f"{path} names no preset; it needs a line as `preset: depthclip-rn50`")
    changed = {str(key): value for key, value in values.items() if key != "preset"}
    base = changed.get("base_weights")
    if isinstance(base, str) and (path.parent / base).is_file():
        changed["base_weights"] = str((path.parent / base).resolve())
    return of_preset(values["preset"], changed)


def of_preset(name: str, changed: dict[str, Any]) -> Path:
    """The weights file of a preset that needs no training.

    Raises:
        WeightsError: an unknown preset, or one that has to be trained first.
    """
    try:
        config = preset(name, **changed)
        if not config.ready_made:
            ready = ", ".join(f"preset:{other}" for other, one in PRESETS.items() if one.ready_made)
            raise WeightsError(f"preset {name!r} has to be trained first (depthclip-train); without: {ready}")
        digest = hashlib.sha256(f"{FORMAT_VERSION} {_BUILD_VERSION} {_fingerprint(config)}".encode()).hexdigest()
        path = cache_folder() / f"{name}-{digest[:12]}.safetensors"
        if not path.is_file():
            model = build_model(config)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_weights(path, model, training={"preset": name, "training": "none"}, metrics={})
    except ConfigError as error:
        raise WeightsError(str(error)) from error
    except OSError as error:
        raise WeightsError(f"could not write into {cache_folder()} ({error}); set XDG_CACHE_HOME") from error
    return path


def _fingerprint(config: ModelConfig) -> str:
    """The configuration as text, with the content of a local base in place of its name alone."""
    base = Path(str(getattr(config, "base_weights", None)))
    content = hash_file(base) if base.is_file() else ""
    return json.dumps([dataclasses.asdict(config), content], sort_keys=True)


def of_folder(path: Path) -> Path:
    """The weights file of a folder in transformers' layout.

    Raises:
        WeightsError: as `converted`.
    """
    return converted(path, str(path.resolve()), cache_folder())


def of_hub(repository: str) -> Path:
    """The weights file of a Hugging Face id, downloaded where it is not on this machine.

    Raises:
        WeightsError: it cannot be had, or is of no kind that is read.
    """
    path = hub_file(repository, HUB_FILE)
    if path is None:
        raise WeightsError(f"{repository!r} on Hugging Face has no {HUB_FILE}; pickles are never loaded")
    return path if tensor_file.has_our_metadata(path) else converted(fetch(repository), repository, cache_folder())
