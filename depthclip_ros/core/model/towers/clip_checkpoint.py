# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Where the weights of an open_clip model come from: safetensors on the disk or on Hugging Face, and nothing else.

Whatever else there is, a torch state dict or OpenAI's TorchScript archive, is a pickle. open_clip would unpickle it.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import safetensors
from safetensors.torch import load_file
from torch import nn

from depthclip_ros.core.errors import ConfigError, WeightsError
from depthclip_ros.core.hub import hub_file

SAFE_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
"""Files that open_clip's publishers keep on Hugging Face beside their pickles, the usual one first."""
CONFIG_FILE = "open_clip_config.json"
CONVERT = "depthclip-train convert-checkpoint GIVEN OUT.safetensors"


def fetch_checkpoint(name: str, tag: str) -> Path:
    """The safetensors of a pretrained tag, from Hugging Face or its cache on this machine.

    Args:
        name: of the model in open_clip.
        tag: one of open_clip's tags for it, or `TAG@REVISION` for a branch, tag or commit of its repository.

    Raises:
        ConfigError: an unknown tag, or one whose weights have the other activation.
        WeightsError: the weights cannot be fetched, or are published as a pickle only.
    """
    tag, at, revision = tag.partition("@")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        raise ConfigError(f"base_weights is {tag!r}: no such file, and not of {name}'s tags: {', '.join(tags)}")
    published: Mapping[str, Any] = open_clip.get_pretrained_cfg(name, tag)
    refuse_other_activation(name, bool(published.get("quick_gelu", tag == "openai")), f"the weights {tag!r}")
    organisation, _, rest = str(published.get("hf_hub") or "").partition("/")
    repository = f"{organisation}/{rest.partition('/')[0]}{at}{revision}"
    unreachable = []

    def find(file: str) -> Path | None:
        try:
            return hub_file(repository, file)
        except WeightsError as error:
            unreachable.append(error)
            return None

    path = next((found for file in SAFE_NAMES if rest and (found := find(file)) is not None), None)
    if path is not None:
        return path
    if unreachable:
        raise WeightsError(f"{unreachable[0]}; without network, give the path of that file as base_weights")
    raise WeightsError(
        f"{name}'s weights {tag!r} are published as a pickle only, which could run code and is never loaded; convert "
        f"it once: {CONVERT}"
    )


def refuse_other_activation(name: str, quick: bool, whose: str) -> None:
    """Weights trained with QuickGELU give another network under GELU, close enough to be taken for a bad one.

    Raises:
        ConfigError: the tower `name` has the other activation than `whose` weights.
    """
    settings = open_clip.get_model_config(name)
    if bool(settings.get("quick_gelu", False)) == quick:
        return
    here, there = ("GELU", "QuickGELU") if quick else ("QuickGELU", "GELU")
    other = f"{name}-quickgelu" if quick else name.removesuffix("-quickgelu")
    raise ConfigError(
        f"tower is {name!r}, whose activation is {here}; {whose} were trained with {there}: take {other!r}"
    )


def load_checkpoint(clip: nn.Module, name: str, path: Path) -> None:
    """Fill a CLIP model from a safetensors file.

    Args:
        clip: the model.
        name: of it in open_clip.
        path: the file; the `open_clip_config.json` of its publisher, where it lies beside, is held against `name`.

    Raises:
        ConfigError: weights of the other activation.
        WeightsError: a file of another format, damaged, or of another model.
    """
    _refuse_pickles(path)
    beside = path.with_name(CONFIG_FILE)
    if path.name in SAFE_NAMES and beside.is_file():
        try:
            quick = bool(json.loads(beside.read_text())["model_cfg"].get("quick_gelu", False))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise WeightsError(f"{beside} does not read ({error!r}); fetch it again") from error
        refuse_other_activation(name, quick, f"the weights {path}")
    try:
        state = {re.sub(r"^module\.", "", key): value for key, value in load_file(path).items()}
        clip.load_state_dict(state)
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
    except RuntimeError as error:
        raise WeightsError(f"{path} does not fit {type(clip).__name__}: {error}") from error


def _refuse_pickles(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(9)
        archive = zipfile.is_zipfile(path)
        names = zipfile.ZipFile(path).namelist() if archive else []
    except (OSError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
    if start[8:9] == b"{":  # a safetensors header behind its length
        return
    if any(entry.endswith("constants.pkl") for entry in names):
        raise WeightsError(
            f"{path} is a TorchScript archive, as OpenAI published CLIP: it holds code and is never loaded; the same "
            f"weights are on Hugging Face as safetensors: base_weights: openai, or the path of their {SAFE_NAMES[0]}"
        )
    raise WeightsError(
        f"{path} is no safetensors file; a PyTorch checkpoint could run code and is never loaded here: convert it "
        f"once with {CONVERT}"
    )
