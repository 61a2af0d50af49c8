# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Training checkpoints: everything that continuing takes. Not a weights file; `export.py` makes one of it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depthclip_ros.core.errors import InputError, WeightsError
from depthclip_ros.core.files import replaced
from depthclip_trainer.pickles import read_pickle

FORMAT = "depthclip-checkpoint-1"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replaces a checkpoint in one step, so that a full disk or a kill leaves the old one whole.

    `state` holds tensors, numbers, strings, lists and dictionaries only: it is read back without executing anything.

    Raises:
        WeightsError: the disk is full or not writable; the old file is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as file:
            torch.save({"format": FORMAT, **state}, file)
    except (OSError, RuntimeError) as error:  # torch turns some of the system's errors into its own
        left = f"{path} is still the one before" if path.is_file() else "there is none before it"
        raise WeightsError(f"the checkpoint {path} could not be written ({error}); {left}; free some space") from error


def remove_partial(folder: Path) -> None:
    """Removes what a killed training had half written."""
    for path in folder.glob(".*.ckpt.*.tmp"):
        path.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads what `save_checkpoint` wrote, onto the CPU.

    Raises:
        ConfigError: a torch that is not safe with it, see `read_pickle`.
        WeightsError: a file that is missing, broken or of another kind.
    """
    try:
        state = read_pickle(path)
    except InputError as error:
        raise WeightsError(f"{path} does not read as a checkpoint: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise WeightsError(f"{path} is no training checkpoint of format {FORMAT}")
    return state


def random_state() -> dict[str, Any]:
    """The state of every global generator, as tensors and plain values."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002
    version, internal, gauss = random.getstate()
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
        "python": [version, torch.tensor(internal, dtype=torch.int64), gauss],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Undoes whatever was drawn since `random_state`."""
    torch.set_rng_state(state["torch"])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
