# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""From a folder in transformers' layout to a weights file of ours, made on first use and kept."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

from depthclip_ros.core.errors import ConfigError, WeightsError
from depthclip_ros.core.model.depth_anything_config import config_of_folder
from depthclip_ros.core.model.registry import build_model
from depthclip_ros.core.present import install
from depthclip_ros.core.weights.weights_file import save_weights

_CONVERSION = 1  # raise it when the same folder gives another file


def converted(folder: Path, name: str, cache: Path) -> Path:
    """The weights file of a folder, in float32: the same numbers.

    Args:
        folder: config.json, model.safetensors and, where it has one, preprocessor_config.json.
        name: how the user calls it: the folder, or a Hugging Face id; the file names it as its base.
        cache: where the file is kept; another state of the folder gives another file.

    Raises:
        WeightsError: a folder of another layout or network, a pickle, damaged tensors, no transformers, no room.
    """
    try:
        config = config_of_folder(folder, name)
        path = cache / f"{config.system}-{_digest(folder, name)}.safetensors"
        if not path.is_file():
            model = build_model(config_of_folder(folder, str(folder)))
            model.base_name, model.config = name, config
            cache.mkdir(parents=True, exist_ok=True)
            training = {"converted from": name, "training": "none here; see its publisher's card and licence"}
            save_weights(path, model, training=training, metrics={}, dtype="float32")
    except ConfigError as error:
        raise WeightsError(f"{name}: {error}") from error
    except OSError as error:
        raise WeightsError(f"could not write into {cache} ({error}); set XDG_CACHE_HOME") from error
    return path


def _digest(folder: Path, name: str) -> str:
    """Of everything that the file depends on; large files by size and time of change, not by content."""

    def parts() -> Iterator[str]:
        yield str(_CONVERSION)
        yield name
        try:
            yield importlib.metadata.version("transformers")  # names of tensors may change with it
        except importlib.metadata.PackageNotFoundError as error:
            raise ConfigError(f"it needs the library transformers; {install('torch', 'transformers')}") from error
        for path in sorted((*folder.glob("*.json"), *folder.glob("*.safetensors"))):
            stat = path.stat()
            yield f"{path.name} {stat.st_size} {stat.st_mtime_ns}"

    return hashlib.sha256("\n".join(parts()).encode()).hexdigest()[:12]
