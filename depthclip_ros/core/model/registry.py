# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The table of depth systems: a new system is a new file and a row here."""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Mapping
from typing import Any

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.clip2depth import PRESETS as CLIP2DEPTH_PRESETS
from depthclip_ros.core.model.clip2depth import Clip2Depth, Clip2DepthConfig
from depthclip_ros.core.model.config import PRESETS as MOA_DEPTHCLIP_PRESETS
from depthclip_ros.core.model.config import MoaDepthClipConfig
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.model.depth_anything import DepthAnything
from depthclip_ros.core.model.depth_anything_config import PRESETS as DEPTH_ANYTHING_PRESETS
from depthclip_ros.core.model.depth_anything_config import DepthAnythingConfig
from depthclip_ros.core.model.depthclip import PRESETS as DEPTHCLIP_PRESETS
from depthclip_ros.core.model.depthclip import DepthClip, DepthClipConfig
from depthclip_ros.core.model.moa_depthclip import MoaDepthClip
from depthclip_ros.core.model.model_config import ModelConfig

SYSTEMS: dict[str, tuple[type[ModelConfig], type[DepthModel]]] = {
    "moa_depthclip": (MoaDepthClipConfig, MoaDepthClip),
    "depthclip": (DepthClipConfig, DepthClip),
    "clip2depth": (Clip2DepthConfig, Clip2Depth),
    "depth_anything": (DepthAnythingConfig, DepthAnything),
}

PRESETS: dict[str, ModelConfig] = {
    **MOA_DEPTHCLIP_PRESETS,
    **DEPTHCLIP_PRESETS,
    **CLIP2DEPTH_PRESETS,
    **DEPTH_ANYTHING_PRESETS,
}


LARGEST_COUNT = 4096
"""Of blocks, widths, heads, bins: a file that says more is damaged, and building it would take all memory."""


def build_model(config: ModelConfig, *, load_base: bool = True) -> DepthModel:
    """Build a configuration's model on the CPU in float32.

    Args:
        config: of any system in `SYSTEMS`.
        load_base: read the pretrained base that the configuration names; False where a weights file fills the model.

    Raises:
        ConfigError: a configuration that cannot be built.
        WeightsError: base weights that cannot be read.
    """
    _, model_class = SYSTEMS[_known(config.system, SYSTEMS, "system")]
    build: Any = model_class  # each system's class takes its own configuration class
    model: DepthModel = build(config, load_base=load_base)
    return model


def preset(name: str, **overrides: Any) -> ModelConfig:
    """A named configuration with some fields changed.

    Raises:
        ConfigError: an unknown preset or field (names the nearest), or a value outside its range.
    """
    fields = dataclasses.asdict(PRESETS[_known(name, PRESETS, "preset")])
    return config_from_dict({**fields, **overrides})


def config_from_dict(values: Mapping[str, Any]) -> ModelConfig:
    """Rebuild a configuration from plain values, as JSON gives them (lists become tuples).

    Raises:
        ConfigError: no or an unknown system, an unknown key (names the nearest), a value of a wrong type or range.
    """
    if not isinstance(values, Mapping) or "system" not in values:
        raise ConfigError(f"the model configuration names no system; allowed: {', '.join(SYSTEMS)}")
    config_class, _ = SYSTEMS[_known(values["system"], SYSTEMS, "system")]
    hints = typing.get_type_hints(config_class)
    allowed = [field.name for field in dataclasses.fields(config_class)]
    for name in values:
        _known(name, allowed, "model setting")
    checked = {name: _typed(name, value, hints[name]) for name, value in values.items()}
    for name, value in checked.items():
        counts = [one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, int)]
        if not name.endswith(("pixels", "seed")) and any(abs(count) > LARGEST_COUNT for count in counts):
            raise ConfigError(f"{name} is {value!r}; nothing in a network is counted beyond {LARGEST_COUNT}")
    return config_class(**checked)


def _known(name: Any, allowed: Any, kind: str) -> str:
    if isinstance(name, str) and name in allowed:
        return name
    nearest = difflib.get_close_matches(str(name), allowed, n=1, cutoff=0)
    raise ConfigError(f"{kind} {name!r} is not known; the nearest is {nearest[0]!r}, allowed: {', '.join(allowed)}")


def _typed(name: str, value: Any, hint: Any) -> Any:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if typing.get_origin(option) is tuple and isinstance(value, list | tuple):
            return tuple(_typed(name, item, typing.get_args(option)[0]) for item in value)
        if option is str and isinstance(value, Mapping):  # a network's own configuration, kept as text
            return json.dumps(value, sort_keys=True)
        if option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        plain = (
            isinstance(option, type) and typing.get_origin(option) is None
        )  # Python 3.10 takes tuple[int, ...] for a type
        if plain and isinstance(value, option) and isinstance(value, bool) <= (option is bool):
            return value
    wanted = " or ".join(
        "none" if option is type(None) else getattr(option, "__name__", str(option)) for option in options
    )
    raise ConfigError(f"{name} is {value!r}; it must be {wanted}")
