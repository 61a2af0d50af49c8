# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The weights file: one safetensors file, the model's description in its metadata. Nothing is ever unpickled."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save

from depthclip_ros.core import tensor_file
from depthclip_ros.core.errors import WeightsError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.uncertainty import Uncertainty
from depthclip_ros.core.weights.info import FORMAT_VERSION

_DTYPES = {"float16": torch.float16, "float32": torch.float32}


def save_weights(
    path: str | Path,
    model: DepthModel,
    *,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    adapter_only: bool = False,
    dtype: Literal["float16", "float32"] = "float16",
    uncertainty: Uncertainty | None = None,
) -> None:
    """Write a model's weights; an older file of that name survives any failure.

    Args:
        path: of the file.
        model: what to save.
        training: JSON values: data, steps, seeds.
        metrics: JSON values: figures and their protocol.
        adapter_only: leave out what training does not change; a model on a random tower has no base that could be
            named, and is saved in full all the same.
        dtype: of matrices and kernels; vectors (biases, statistics) stay float32, they weigh nothing.
        uncertainty: how far off its depth may be; None: it was not calibrated.

    Raises:
        WeightsError: a tensor that is not finite or too large for float16, metadata that is not JSON, no room.
    """
    path = Path(path)
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    base_name = _base_of(model, set(state) - model.trainable_names())
    adapter_only = adapter_only and base_name is not None
    held = model.trainable_names() if adapter_only else set(state)
    tensors = {name: tensor_file.stored(name, state[name], _DTYPES[dtype]) for name in sorted(held)}
    base_sha256 = tensor_file.hash_tensors(state, set(state) - held) if adapter_only else None
    metadata = {
        "format_version": FORMAT_VERSION,
        "system": model.config.system,
        "config": _json("config", dataclasses.asdict(model.config)),
        "adapter_only": _json("adapter_only", adapter_only),
        "trained_groups": _json("trained_groups", model.trained_groups),
        "base_name": _json("base_name", base_name if adapter_only else model.base_name),
        "base_sha256": _json("base_sha256", base_sha256),
        "min_depth_m": _json("min_depth_m", model.config.min_depth_m),
        "max_depth_m": _json("max_depth_m", model.config.max_depth_m),
        "canonical_focal_px": _json("canonical_focal_px", model.config.canonical_focal_px),
        "training": _json("training", dict(training)),
        "metrics": _json("metrics", dict(metrics)),
        "commit": _json("commit", _commit()),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "parameters_total": str(sum(parameter.numel() for parameter in model.parameters())),
        "parameters_trained": str(sum(p.numel() for group in model.parameter_groups().values() for p in group)),
    }
    if uncertainty is not None:
        metadata["uncertainty"] = _json("uncertainty", uncertainty.as_mapping())
    tensor_file.write_whole(path, save(tensors, metadata))


def _base_of(model: DepthModel, left_out: set[str]) -> str | None:
    """Where the tensors that an adapter-only file leaves out can be found again."""
    return next((name for name, held in reversed(model.sources) if left_out & held), model.base_name)


def _json(name: str, value: object) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{name} cannot be written as JSON: {error}") from error


def _commit() -> str | None:
    """Commit of the checkout that this code runs from, None outside one."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
