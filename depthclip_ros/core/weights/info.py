# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a weights file says of itself, read without its tensors and without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors

from depthclip_ros.core import tensor_file
from depthclip_ros.core.errors import ConfigError, WeightsError
from depthclip_ros.core.files import hash_file
from depthclip_ros.core.uncertainty import Uncertainty

FORMAT_VERSION = "1"


@dataclass(frozen=True)
class WeightsInfo:
    """What a weights file says about itself.

    Attributes:
        path, sha256: the file, and the hash of its bytes.
        format_version: of the metadata.
        system, config: of the model, see `registry`.
        adapter_only: the file holds only `trained_groups` and needs its base.
        base_name, base_sha256: what the model was built on (None for a random tower), and, for an adapter-only file,
            the hash of the base's tensors.
        min_depth_m, max_depth_m, canonical_focal_px: see `ModelConfig`.
        training, metrics: as the trainer wrote them.
        commit, created: of the code that saved the file (None where unknown), and when (ISO 8601, UTC).
        parameters_total, parameters_trained: counts.
        uncertainty: how far off its depth may be; None in files made without.
    """

    path: Path
    sha256: str
    format_version: str
    system: str
    config: dict[str, Any]
    adapter_only: bool
    trained_groups: tuple[str, ...]
    base_name: str | None
    base_sha256: str | None
    min_depth_m: float
    max_depth_m: float
    canonical_focal_px: float | None
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    commit: str | None = None
    created: str = ""
    parameters_total: int = 0
    parameters_trained: int = 0
    uncertainty: Uncertainty | None = None


def read_file_info(path: Path) -> WeightsInfo:
    """Read a weights file's metadata, without its tensors.

    Raises:
        WeightsError: a file that is missing, broken, or of another format or version.
    """
    tensor_file.refuse_other_formats(path)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is truncated or damaged ({error}); fetch it again") from error
    version = metadata.get("format_version")
    if version is None or "config" not in metadata:
        raise WeightsError(
            f"{path} is a safetensors file without depthclip_ros metadata; make one with depthclip-export, or give the "
            "whole folder of a network of transformers"
        )
    if version != FORMAT_VERSION:
        raise WeightsError(
            f"{path} has format version {version!r}; this version of depthclip_ros reads {FORMAT_VERSION!r}"
        )
    try:
        return WeightsInfo(
            path=path,
            sha256=hash_file(path),
            format_version=version,
            system=metadata["system"],
            config=json.loads(metadata["config"]),
            adapter_only=json.loads(metadata["adapter_only"]),
            trained_groups=tuple(json.loads(metadata["trained_groups"])),
            base_name=json.loads(metadata["base_name"]),
            base_sha256=json.loads(metadata["base_sha256"]),
            min_depth_m=float(metadata["min_depth_m"]),
            max_depth_m=float(metadata["max_depth_m"]),
            canonical_focal_px=json.loads(metadata["canonical_focal_px"]),
            training=json.loads(metadata["training"]),
            metrics=json.loads(metadata["metrics"]),
            commit=json.loads(metadata["commit"]),
            created=metadata["created"],
            parameters_total=int(metadata["parameters_total"]),
            parameters_trained=int(metadata["parameters_trained"]),
            uncertainty=Uncertainty.from_mapping(json.loads(found)) if (found := metadata.get("uncertainty")) else None,
        )
    except (ConfigError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} has damaged metadata ({error!r}); fetch it again") from error
