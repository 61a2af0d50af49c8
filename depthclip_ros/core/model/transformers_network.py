# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Networks of the transformers library: their configurations as text, their folders on the disk, their parts.

The library itself is imported only where a network is built: it takes a second, and it is an optional extra.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from depthclip_ros.core.errors import ConfigError, WeightsError
from depthclip_ros.core.hub import hub_file
from depthclip_ros.core.present import install

CONFIG_FILE, PROCESSOR_FILE, TENSORS_FILE = "config.json", "preprocessor_config.json", "model.safetensors"
DISPARITY, DEPTH = "disparity", "depth"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)

INSTALL = install("torch", "transformers")
# Neither says anything about the network's shape; auto_map names code to run, which is never done.
_NOT_SHAPE = (
    *("_name_or_path", "architectures", "auto_map", "dtype", "torch_dtype", "transformers_version"),
    *("id2label", "label2id", "use_pretrained_backbone"),
)


@dataclass(frozen=True)
class Family:
    """What is known of a `model_type` of transformers.

    Attributes:
        patches: the input's sides are multiples of so many patches.
        side_px: of the square that the published ones were trained on.
        mean, std: of its normalisation, where the folder does not say.
        encoder: where the encoder's parameters may lie, by prefix of their names.
    """

    patches: int
    side_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    encoder: tuple[str, ...]


FAMILIES = {
    "depth_anything": Family(1, 518, IMAGENET_MEAN, IMAGENET_STD, ("backbone.",)),
    "dpt": Family(2, 384, HALF, HALF, ("dpt.", "backbone.")),
    "zoedepth": Family(2, 384, HALF, HALF, ("backbone.",)),
}


@dataclass(frozen=True)
class FolderInfo:
    """What a folder says of its network.

    Attributes:
        network: configuration as JSON, see `shape_text`.
        mean, std: of RGB in 0..1.
        side_px: side of the square that its preprocessing aims at.
        keeps_aspect: whether that keeps the image's aspect (the shorter side then gets `side_px`).
    """

    network: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    side_px: int
    keeps_aspect: bool


def family_of(network: Mapping[str, Any]) -> Family:
    """The family of a configuration.

    Raises:
        ConfigError: a `model_type` that is not a row of FAMILIES, or DPT on DINOv2.
    """
    kind = network.get("model_type")
    if kind == "dpt" and (network.get("backbone_config") or {}).get("model_type") == "dinov2":
        raise ConfigError(
            "the configuration of a DPT on DINOv2 does not say whether it gives metres or disparity, and to which "
            "range: it is not read; take preset:depth-anything-v2-indoor-small, the same encoder with metres"
        )
    if kind not in FAMILIES:
        raise ConfigError(f"model_type {kind!r} is no network of depth; allowed: {', '.join(FAMILIES)}")
    return FAMILIES[str(kind)]


def stride_of(network: Mapping[str, Any]) -> int:
    """Sides of the input are multiples of it."""
    patch = network.get("patch_size") or (network.get("backbone_config") or {}).get("patch_size") or 16
    return family_of(network).patches * int(patch[0] if isinstance(patch, list | tuple) else patch)


def takes_squares_only(network: Mapping[str, Any]) -> bool:
    """Whether the network reads its tokens back into a square: DPT on an encoder of its own."""
    return network["model_type"] == "dpt" and (not network.get("backbone_config") or bool(network.get("is_hybrid")))


def output_of(network: Mapping[str, Any]) -> str:
    """DISPARITY (up to scale and shift) or DEPTH (metres).

    DPT's configuration does not say; the published ones are MiDaS 3, whose output is disparity.
    """
    kind = network["model_type"]
    if kind == "depth_anything":
        return DEPTH if network.get("depth_estimation_type") == "metric" else DISPARITY
    return DEPTH if kind == "zoedepth" else DISPARITY


def farthest_m(network: Mapping[str, Any], otherwise: float = 10.0) -> float:
    """Depth at which a metric network's output ends."""
    if network["model_type"] == "zoedepth":
        heads = network.get("bin_configurations") or [{}]
        return float(max(head.get("max_depth", otherwise) for head in heads))
    return float(network.get("max_depth") or otherwise)


def shape_text(network: Mapping[str, Any]) -> str:
    """A configuration as JSON with sorted keys, without what says nothing about the network's shape."""
    return json.dumps(_shape(network), sort_keys=True)


def _shape(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _shape(item) for key, item in value.items() if key not in _NOT_SHAPE and item is not None}
    return value


def build_network(network: str) -> nn.Module:
    """A network with random weights.

    Raises:
        ConfigError: transformers is not installed, or cannot build this configuration.
    """
    values = json.loads(network)
    family_of(values)
    transformers = _library()
    try:
        config = transformers.AutoConfig.for_model(**values)
        built: nn.Module = transformers.AutoModelForDepthEstimation.from_config(config)
    except Exception as error:  # the library raises its own, TypeError, ValueError, KeyError, ...
        raise ConfigError(
            f"transformers cannot build this {values['model_type']} network: {_one_line(error)}"
        ) from error
    return built.float()


def load_network(folder: Path) -> nn.Module:
    """The network of a folder in transformers' layout, in float32; only safetensors are read.

    Raises:
        ConfigError: transformers is not installed.
        WeightsError: tensors that are missing, truncated, or do not fit the configuration.
    """
    check_folder(folder)
    transformers = _library()
    try:
        with _quiet(transformers):
            built, report = transformers.AutoModelForDepthEstimation.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except Exception as error:  # the library raises its own, safetensors', OSError, ValueError, ...
        raise WeightsError(f"{folder} does not load as a network of transformers: {_one_line(error)}") from error
    missing = sorted(report["missing_keys"])
    if missing or report["mismatched_keys"]:
        raise WeightsError(f"{folder} does not fit its {CONFIG_FILE}; missing or of another shape: {missing}")
    loaded: nn.Module = built
    return loaded.float()


def read_folder(folder: Path) -> FolderInfo:
    """What a folder in transformers' layout says of its network, without its tensors.

    Raises:
        WeightsError: no such layout, a pickle, or a configuration that is damaged or of another kind of network.
    """
    check_folder(folder)
    network = _read_json(folder / CONFIG_FILE)
    try:
        family = family_of(network)
    except ConfigError as error:
        raise WeightsError(f"{folder}: {error}") from error
    path = folder / PROCESSOR_FILE
    processor = _read_json(path) if path.is_file() else {}
    size = processor.get("size")
    side = min(size.values()) if isinstance(size, dict) and size else size
    return FolderInfo(
        network=shape_text(network),
        mean=_three(processor.get("image_mean"), family.mean),
        std=_three(processor.get("image_std"), family.std),
        side_px=side if isinstance(side, int) and side > 0 else family.side_px,
        keeps_aspect=bool(processor.get("keep_aspect_ratio", True)),
    )


def check_folder(folder: Path) -> None:
    """Refuse a folder without configuration or safetensors.

    Raises:
        WeightsError: what it lacks.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise WeightsError(f"{folder} has no {CONFIG_FILE}; a folder of transformers holds it and {TENSORS_FILE}")
    if any((folder / name).is_file() for name in (TENSORS_FILE, f"{TENSORS_FILE}.index.json")):
        return
    pickles = [path.name for path in (*folder.glob("*.bin"), *folder.glob("*.pt*"))]
    if pickles:
        raise WeightsError(
            f"{folder} holds {pickles[0]}, a PyTorch pickle, which could run code and is never loaded; take a "
            f"revision with {TENSORS_FILE}, or save one with save_pretrained(..., safe_serialization=True)"
        )
    raise WeightsError(f"{folder} has no {TENSORS_FILE} beside its {CONFIG_FILE}")


def fetch(repository: str) -> Path:
    """A Hugging Face repository's configuration and tensors as a folder; downloaded where not on this machine yet.

    Args:
        repository: `org/name`, or `org/name@revision`.

    Raises:
        WeightsError: it cannot be reached, or has no safetensors.
    """
    config, tensors = hub_file(repository, CONFIG_FILE), hub_file(repository, TENSORS_FILE)
    with contextlib.suppress(WeightsError):  # without network nobody knows whether there is one
        hub_file(repository, PROCESSOR_FILE)
    if config is None or tensors is None:
        raise WeightsError(
            f"{repository!r} on Hugging Face lacks {CONFIG_FILE} or {TENSORS_FILE} (pickles are never loaded)"
        )
    return config.parent


def _library() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(f"the system depth_anything needs the library transformers; {INSTALL}") from error
    return transformers


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without the library's progress bars."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} does not read: {error}") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{path} holds no mapping")
    return values


def _three(values: Any, otherwise: tuple[float, float, float]) -> tuple[float, float, float]:
    if not (isinstance(values, list) and len(values) == 3 and all(isinstance(v, int | float) for v in values)):
        return otherwise
    r, g, b = (float(value) for value in values)
    return r, g, b
