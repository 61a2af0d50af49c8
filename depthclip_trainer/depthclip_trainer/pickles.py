# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The one place where a pickle is read: by torch's restricted unpickler, for tensors and plain containers only.

Even that one had holes: CVE-2025-32434 before torch 2.6, CVE-2026-24747 (GHSA-63cw-57p8-fm3p) before 2.10.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from depthclip_ros.core.errors import ConfigError, InputError

SAFE_SINCE = (2, 10)


def read_pickle(path: Path) -> Any:
    """What a file of `torch.save` holds, on the CPU, without running any code that is in it.

    Raises:
        ConfigError: a torch whose restricted unpickler can be broken.
        InputError: a file that cannot be read, is damaged, or holds more than tensors and plain containers.
    """
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    if (major, minor) < SAFE_SINCE:
        raise ConfigError(
            f"{path} is a pickle, and a crafted one can run code in torch {torch.__version__} even as weights alone "
            "(CVE-2026-24747); install torch 2.10 or later: pip install 'torch>=2.10'"
        )
    try:
        if zipfile.is_zipfile(path) and any(n.endswith("constants.pkl") for n in zipfile.ZipFile(path).namelist()):
            raise InputError(
                f"{path} is a TorchScript archive, which holds code and is never loaded; OpenAI's CLIP is on Hugging "
                "Face as safetensors: base_weights: openai, or the path of its open_clip_model.safetensors"
            )
        return torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # torch raises a dozen kinds on a broken file
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path} is truncated, damaged or no plain state dict ({reason}); fetch it again") from error


def state_dict_of(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, also where it keeps them below `state_dict` or with DataParallel's prefix.

    Raises:
        ConfigError, InputError: see `read_pickle`; also a file that holds no state dict.
    """
    state = read_pickle(path)
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    tensors = {str(n): t for n, t in state.items() if isinstance(t, Tensor)} if isinstance(state, dict) else {}
    if not tensors or len(tensors) != len(state):
        raise InputError(f"{path} holds no plain state dict of tensors")
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
