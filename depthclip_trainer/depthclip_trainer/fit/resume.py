# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Going on where a checkpoint stopped."""

from __future__ import annotations

from pathlib import Path

from depthclip_ros.core.errors import ConfigError, WeightsError
from depthclip_ros.core.model.registry import config_from_dict
from depthclip_trainer.fit.checkpoint import load_checkpoint, restore_random_state
from depthclip_trainer.fit.training import Training, training_state


def resume(path: Path, training: Training) -> None:
    """Continues where a checkpoint stopped; without one there is nothing to do.

    Raises:
        ConfigError: the checkpoint belongs to other settings, weights or data, or not every process sees it.
        WeightsError: the checkpoint is broken.
    """
    fabric, there = training.fabric, path.is_file()
    if there != fabric.broadcast(there):
        raise ConfigError(f"{path} is not the same on every machine; loop.out must be a folder that all of them share")
    if not there:
        return
    state = load_checkpoint(path)
    needed = training_state(training).keys() - {"base_name"}  # 0.1.0 did not keep it, and goes on without
    if missing := sorted(needed - state.keys()):
        raise WeightsError(f"{path} is of another version (without {', '.join(missing)}); use another loop.out")
    if (made := config_from_dict(state["model_config"])) != training.model.config:
        raise ConfigError(f"{path} holds another model ({made}); use another loop.out, or loop.resume false")
    was, now = state["depends_on"], training.depends_on
    for key in sorted({*was, *now}):
        if was.get(key) != now.get(key):
            raise ConfigError(
                f"{path} was made with another {key.partition('.')[0]!r}: {key} was {was.get(key)!r} and is "
                f"{now.get(key)!r}; use another loop.out, or loop.resume false"
            )
    training.model.load_state_dict(state["model"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.ema.load_state_dict(state["ema"])
    for name, value in state["progress"].items():
        setattr(training.progress, name, value)
    restore_random_state(state["random"])
    fabric.barrier()
