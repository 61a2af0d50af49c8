# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip-train convert-checkpoint GIVEN OUT.safetensors`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save

from depthclip_ros.core.errors import InputError, WeightsError
from depthclip_ros.core.files import replaced
from depthclip_trainer.pickles import state_dict_of


def convert_checkpoint_command(arguments: Sequence[str]) -> None:
    """Converts a PyTorch checkpoint, for `base_weights` of a CLIP tower: the node reads safetensors alone.

    Raises:
        ConfigError: torch before 2.10, whose restricted unpickler can be broken.
        InputError: no such file, or one that holds more than a state dict.
        WeightsError: `OUT` cannot be written.
    """
    parser = argparse.ArgumentParser(
        prog="depthclip-train convert-checkpoint",
        description="Write a PyTorch checkpoint (.pt, .pth, .bin: a state dict) as safetensors: the same tensors under "
        "the same names. Nothing in it is run; needs torch 2.10 or later.",
    )
    parser.add_argument("given", type=Path, help="the checkpoint")
    parser.add_argument("out", type=Path, help="the .safetensors to write: base_weights of a preset with a CLIP tower")
    options = parser.parse_args(arguments)
    if not options.given.is_file():
        raise InputError(f"{options.given} does not read: there is no such file")
    tensors = {name: tensor.clone().contiguous() for name, tensor in state_dict_of(options.given).items()}
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with replaced(options.out) as file:
            file.write(save(tensors))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"could not write {options.out}: {error}") from error
    print(f"{options.out}: {len(tensors)} tensors")
