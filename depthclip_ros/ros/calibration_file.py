"""A camera's calibration from a YAML file: as camera_calibration writes it, or a CameraInfo message as printed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.rectify import CameraModel

# What camera_calibration calls a field of CameraInfo.
_FILE_NAMES = {
    "width": "image_width",
    "height": "image_height",
    "k": "camera_matrix",
    "d": "distortion_coefficients",
    "r": "rectification_matrix",
    "p": "projection_matrix",
}


def read_calibration(path: Path) -> CameraModel:
    """Read a calibration file.

    Raises:
        ConfigError: names the file, and what is missing or wrong in it.
    """
    import yaml

    try:
        # A message printed by `ros2 topic echo` ends with the separator of the next document.
        documents = [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one is not None]
    except OSError as error:
        raise ConfigError(f"camera info {path} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"camera info {path} is not YAML: {str(error).splitlines()[0]}") from error
    values = documents[0] if documents else None
    if not isinstance(values, Mapping):
        raise ConfigError(f"camera info {path} holds no calibration; camera_matrix and image_width are expected")
    try:
        return CameraModel.from_numbers(
            int(_field(values, "width")),
            int(_field(values, "height")),
            _field(values, "k"),
            _field(values, "d", ()),
            str(values.get("distortion_model", "")),
            _field(values, "r", None),
            _field(values, "p", None),
        )
    except KeyError as error:
        raise ConfigError(f"camera info {path} has no {error.args[0]}") from error
    except (TypeError, ValueError, InputError) as error:
        raise ConfigError(f"camera info {path} cannot be used: {error}") from error


_REQUIRED = object()


def _field(values: Mapping[str, Any], name: str, default: Any = _REQUIRED) -> Any:
    """A field by either of its names; matrices without the rows and columns around their data."""
    file_name = _FILE_NAMES[name]
    value = values.get(file_name, values.get(name, default))
    if value is _REQUIRED:
        raise KeyError(file_name)
    return value["data"] if isinstance(value, Mapping) else value
