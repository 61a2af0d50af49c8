# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The depth systems that the bench measures, and weights for them: random ones are as fast as trained ones."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from depthclip_ros.core.errors import ConfigError, WeightsError
from depthclip_ros.core.present import is_installed

DEFAULT = "moa_depthclip dino-small"
REFERENCE = "depth_anything V2-S"
PEER = "depth-anything-v2-indoor-small"  # the same network, of metres: a node publishes nothing else


@dataclass(frozen=True)
class System:
    """A row of the bench: what it is called, its preset and what is changed in it; `weights` where they are shipped."""

    label: str
    preset: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""


SYSTEMS = {
    system.label: system
    for system in (
        System(DEFAULT, "dino-small", weights="default"),
        System("moa_depthclip lite", "lite", weights="fast"),
        # The published network takes 352x480; the preset takes the image's own 640x480.
        System("moa_depthclip paper-vitb32", "paper-vitb32", {"input_pixels": 352 * 480}),
        System("moa_depthclip dense-vitb16", "dense-vitb16"),
        System("depthclip RN50", "depthclip-rn50"),
        System("clip2depth ViT-B/16", "clip2depth-vitb16"),
        System(REFERENCE, "depth-anything-v2-small"),
    )
}


def chosen(labels: tuple[str, ...], weights: str, quick: bool) -> list[System]:
    """The systems to measure; a file of the user's own comes first.

    Raises:
        ConfigError: a label that is not in the table.
    """
    if unknown := [label for label in labels if label not in SYSTEMS]:
        raise ConfigError(f"unknown system {unknown[0]!r}; allowed are {', '.join(SYSTEMS)}")
    own = [] if weights == "default" else [System(Path(weights).name, "", weights=weights)]
    if own and not labels:
        return own
    return own + [SYSTEMS[label] for label in labels or (list(SYSTEMS)[:1] if quick else list(SYSTEMS))]


def weights_of(system: System) -> str:
    """Weights that the engine loads: the shipped ones, or a file with random numbers.

    Such files stay in the cache, under a name that says what is in them: runtimes keep what they compiled for a file,
    and a second run of the bench finds it.
    """
    from depthclip_ros.core.weights.find import resolve

    if system.weights:
        try:
            return str(resolve(system.weights))
        except WeightsError:
            if not system.preset:
                raise
    return str(_random_weights(system.preset, dict(system.changes)))


def reference_weights(pixels: int) -> str:
    """Depth Anything V2-S with random weights whose network takes `pixels`, the area of another system's input."""
    return str(_random_weights(SYSTEMS[REFERENCE].preset, {"input_pixels": pixels}))


def peer_weights(weights: str) -> str | None:
    """Depth Anything V2-S for metres, with random weights, to run in a node beside `weights` as they run.

    Its network takes the same area. It has a graph where one can be made, so that torch is in neither of the two; a DPT
    traced at one size is no network of another, and then its start and memory hold torch. None where what makes it is
    not installed.
    """
    from depthclip_ros.core.weights.find import read_info
    from depthclip_ros.core.weights.graph import ABOUT, beside

    if not all(map(is_installed, ("torch", "transformers", "onnx"))):
        return None
    path = _random_weights(PEER, {"input_pixels": read_info(weights).config["input_pixels"]})
    if not beside(path, ABOUT).is_file():
        from depthclip_ros.core.runtimes.graph_export import write_graph

        with contextlib.suppress(ConfigError):
            write_graph(path)
    return str(path)


def _random_weights(preset_name: str, changes: dict[str, Any]) -> Path:
    import torch

    from depthclip_ros.core.files import cache_folder
    from depthclip_ros.core.model.registry import build_model, preset
    from depthclip_ros.core.weights.info import FORMAT_VERSION
    from depthclip_ros.core.weights.load import load_weights
    from depthclip_ros.core.weights.weights_file import save_weights

    config = preset(preset_name, **changes)
    said = json.dumps([dataclasses.asdict(config), FORMAT_VERSION, torch.__version__], sort_keys=True)
    digest = hashlib.sha256(said.encode()).hexdigest()
    path = cache_folder() / "bench" / f"{preset_name}-{digest[:12]}.safetensors"
    if path.is_file():
        try:
            load_weights(path)
            return path
        except WeightsError:  # of an older version of the network
            path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    save_weights(path, build_model(config, load_base=False), training={}, metrics={})
    return path
