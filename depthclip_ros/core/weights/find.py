# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""From what a user calls weights to a weights file: shipped, a path, a preset, a YAML file, a Hugging Face id."""

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
from depthclip_ros.core.hub import hub_file, is_hub_id
from depthclip_ros.core.model.contract import ModelConfig
from depthclip_ros.core.model.registry import PRESETS, build_model, preset
from depthclip_ros.core.model.transformers_network import CONFIG_FILE, fetch, is_folder
from depthclip_ros.core.weights.converted import converted
from depthclip_ros.core.weights.weights_file import FORMAT_VERSION, save_weights

SHIPPED_FOLDER = Path(__file__).resolve().parents[2] / "data"
SHIPPED = ("default", "fast")
"""Names of the weights that come with the package, the better and slower first."""
HUB_FILE = "model.safetensors"  # what is read from a Hugging Face repository
PRESET_PREFIX = "preset:"
YAML_SUFFIXES = (".yaml", ".yml")

_BUILD_VERSION = 1  # raise it when the same configuration gives other tensors


def resolve(name_or_path: str | Path) -> Path:
    """Find a weights file.

    Args:
        name_or_path: "default" or "fast" (shipped); a path; "preset:NAME", a system that needs no training; a YAML
            file with such a `preset` and what is changed in it; a folder in transformers' layout; or a Hugging Face id
            "org/name" of either kind, "org/name@revision" to pin it. Only a Hugging Face id and the pretrained base of
            a preset are downloaded, and only where they are not yet on this machine.

    Raises:
        WeightsError: nothing there, or a preset that has to be trained first.
    """
    name = str(name_or_path)
    if name in SHIPPED:
        shipped = SHIPPED_FOLDER / f"{name}.safetensors"
        if not shipped.is_file():
            raise WeightsError(
                f"the {name} weights {shipped} are not in this installation; make them with depthclip-train "
                "and depthclip-export, or name another weights file"
            )
        return shipped
    if name.startswith(PRESET_PREFIX):
        return _built(name.removeprefix(PRESET_PREFIX), {})
    path = Path(name).expanduser()
    if path.is_file():
        return _built_from_yaml(path) if path.suffix in YAML_SUFFIXES else path
    if is_folder(path):
        return converted(path, str(path.resolve()), cache_folder())
    is_text = isinstance(name_or_path, str)
    if is_text and is_hub_id(name) and path.suffix != ".safetensors" and not path.parent.exists():
        return _download(name)
    kind = f"is a folder without {CONFIG_FILE}" if path.is_dir() else "does not exist"
    raise WeightsError(
        f"weights {name!r}: {kind}; allowed: {', '.join(SHIPPED)}, a .safetensors file, preset:NAME, a .yaml file "
        "that names a preset, a folder of transformers (config.json, model.safetensors), or a Hugging Face id "
        "org/name or org/name@revision"
    )


def faster_than(path: Path) -> str:
    """Name of the shipped weights that take less time than the shipped weights at `path`; "" where there are none."""
    return "fast" if path == SHIPPED_FOLDER / "default.safetensors" else ""


def _built_from_yaml(path: Path) -> Path:
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
    return _built(values["preset"], changed)


def _built(name: str, changed: dict[str, Any]) -> Path:
    """The weights file of a preset that needs no training, made on first use."""
    try:
        config = preset(name, **changed)
        if not config.ready_made:
            ready = ", ".join(PRESET_PREFIX + other for other, one in PRESETS.items() if one.ready_made)
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


def _download(repository: str) -> Path:
    path = hub_file(repository, HUB_FILE)
    if path is None:
        raise WeightsError(f"{repository!r} on Hugging Face has no {HUB_FILE}; pickles are never loaded")
    return path if tensor_file.has_our_metadata(path) else converted(fetch(repository), repository, cache_folder())
