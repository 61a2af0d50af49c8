# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Weights: one safetensors file that rebuilds its own model, found by name or path."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from depthclip_ros.core import tensor_file
from depthclip_ros.core.errors import ConfigError, WeightsError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.model.model_config import ModelConfig
from depthclip_ros.core.model.registry import build_model, config_from_dict
from depthclip_ros.core.weights.find import SHIPPED, read_info, resolve
from depthclip_ros.core.weights.info import WeightsInfo, read_file_info

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedWeights:
    """A model in evaluation mode (CPU, float32), and what its file says."""

    model: DepthModel
    info: WeightsInfo


def load_weights(name_or_path: str | Path, *, base: str | Path | None = None) -> LoadedWeights:
    """Rebuild the model of a weights file.

    Args:
        name_or_path: see `resolve`.
        base: for an adapter-only file, where its base lies: a weights file, a CLIP checkpoint or a pretrained tag of
            open_clip. Without it the base that the file names is used, which open_clip may download.

    Raises:
        WeightsError: a file that is missing, broken, of another format or version, or does not fit its model or base.
    """
    path = resolve(name_or_path)
    info = read_file_info(path)
    try:
        config = config_from_dict(info.config)
        _check_size(path, info, config)
        model = _base_model(path, info, config, base) if info.adapter_only else build_model(config, load_base=False)
        model.select_trained(info.trained_groups)
    except ConfigError as error:
        raise WeightsError(f"{path} does not rebuild its model: {error}") from error
    tensors = tensor_file.read_tensors(path)
    state = model.state_dict()
    expected = model.trainable_names() if info.adapter_only else set(state)
    tensor_file.check_tensors(path, tensors, {name: state[name] for name in expected})
    if info.adapter_only:
        found = tensor_file.hash_tensors(state, set(state) - expected)
        if found != info.base_sha256:
            raise WeightsError(
                f"{path} was trained on the base {info.base_name!r} (tensors {info.base_sha256}), but the base given "
                f"has tensors {found}; load it with its own base"
            )
    model.load_state_dict(tensors, strict=not info.adapter_only)
    model.base_name = model.base_name if info.adapter_only else info.base_name
    model.sources = (*model.sources, (str(name_or_path), frozenset(tensors)))
    return LoadedWeights(model.eval(), info)


def _check_size(path: Path, info: WeightsInfo, config: ModelConfig) -> None:
    """Hold the shapes in the file's header against the model's, before memory is taken for either."""
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers without channels: they are refused below
            sketch = build_model(config, load_base=False)
            sketch.select_trained(info.trained_groups)
    except RuntimeError:  # it computes while it is built: one of open_clip's, whose sizes are open_clip's own
        return
    expected = sketch.trainable_names() if info.adapter_only else set(sketch.state_dict())
    shapes = {name: tuple(tensor.shape) for name, tensor in sketch.state_dict().items() if name in expected}
    tensor_file.check_shapes(path, tensor_file.read_shapes(path), shapes)


def _base_model(path: Path, info: WeightsInfo, config: ModelConfig, base: str | Path | None) -> DepthModel:
    """The model that an adapter-only file sits on, with the base's tensors in it."""
    chosen = str(base if base is not None else info.base_name).removeprefix(f"{getattr(config, 'tower', '')}:")
    beside = path.parent / Path(chosen).name
    own_file = next((place for place in (Path(chosen), beside) if place.is_file() and place != path), None)
    if chosen in SHIPPED and own_file is None:  # its name may have gone to other weights since
        chosen = next((name for name in SHIPPED if _is_ours(name) and read_info(name).config == info.config), chosen)
    if chosen in SHIPPED or (own_file is not None and _is_ours(own_file)):
        loaded = load_weights(chosen if own_file is None else own_file).model
        model = build_model(config, load_base=False)
        try:
            model.load_state_dict(loaded.state_dict())
        except RuntimeError as error:
            raise WeightsError(f"{path} does not fit its base {chosen!r}: {error}") from error
        model.base_name, model.sources = loaded.base_name, loaded.sources
        return model
    if not hasattr(config, "base_weights"):
        raise WeightsError(
            f"the base {chosen!r} of {path} does not exist; give the weights file that it was trained on"
        )
    tag = chosen if own_file is None else str(own_file)
    _log.info("building %s on the base %s", path, tag)
    return build_model(dataclasses.replace(config, base_weights=tag))  # type: ignore[call-arg]


def _is_ours(path: str | Path) -> bool:
    try:
        read_info(path)
    except WeightsError:
        return False
    return True
