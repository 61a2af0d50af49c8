# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""From what a user calls weights to a weights file: shipped, a path, a preset, a YAML file, a Hugging Face id."""

from __future__ import annotations

from pathlib import Path

from depthclip_ros.core.errors import WeightsError
from depthclip_ros.core.hub import is_hub_id
from depthclip_ros.core.present import require_torch
from depthclip_ros.core.weights.info import WeightsInfo, read_file_info

SHIPPED_FOLDER = Path(__file__).resolve().parents[2] / "data"
SHIPPED = ("default", "fast")
"""Names of the weights that come with the package, the better and slower first."""
PRESET_PREFIX = "preset:"
YAML_SUFFIXES = (".yaml", ".yml")

FOLDER_FILE = "config.json"  # which a folder in transformers' layout has


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
        require_torch(f"weights {name}")
        from depthclip_ros.core.weights.made import of_preset

        return of_preset(name.removeprefix(PRESET_PREFIX), {})
    path = Path(name).expanduser()
    if path.is_file() and path.suffix not in YAML_SUFFIXES:
        return path
    is_text = isinstance(name_or_path, str)
    on_hub = is_text and is_hub_id(name) and path.suffix != ".safetensors" and not path.parent.exists()
    if path.is_file() or (path / FOLDER_FILE).is_file() or on_hub:
        require_torch(f"weights {name}")
        from depthclip_ros.core.weights import made

        if path.is_file():
            return made.of_yaml(path)
        return made.of_hub(name) if on_hub else made.of_folder(path)
    kind = f"is a folder without {FOLDER_FILE}" if path.is_dir() else "does not exist"
    raise WeightsError(
        f"weights {name!r}: {kind}; allowed: {', '.join(SHIPPED)}, a .safetensors file, preset:NAME, a .yaml file "
        "that names a preset, a folder of transformers (config.json, model.safetensors), or a Hugging Face id "
        "org/name or org/name@revision"
    )


def faster_than(path: Path) -> str:
    """Name of the shipped weights that take less time than the shipped weights at `path`; "" where there are none."""
    return "fast" if path == SHIPPED_FOLDER / "default.safetensors" else ""


def read_info(name_or_path: str | Path) -> WeightsInfo:
    """Read a weights file's metadata, without its tensors.

    Raises:
        WeightsError: as `load_weights`, as far as the metadata shows it.
    """
    return read_file_info(resolve(name_or_path))
