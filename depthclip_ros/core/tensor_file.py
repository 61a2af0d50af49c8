# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Safetensors on the disk: what is read, what is refused, and how a file is replaced. Torch comes with tensors only."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors

from depthclip_ros.core.errors import WeightsError
from depthclip_ros.core.files import replaced

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FP16_MAX = 65504.0


def stored(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor as it is written: matrices and kernels in `dtype`, vectors in float32, counters as they are.

    Raises:
        WeightsError: values that are not finite, or beyond float16.
    """
    import torch

    if not tensor.is_floating_point():
        return tensor.contiguous()
    if not torch.isfinite(tensor).all():
        raise WeightsError(f"tensor {name!r} holds values that are not finite; nothing was saved")
    if tensor.ndim < 2 or dtype == torch.float32:
        return tensor.float().contiguous()
    largest = tensor.abs().max().item() if tensor.numel() else 0.0
    if largest > FP16_MAX:
        raise WeightsError(f"tensor {name!r} reaches {largest:g}, beyond float16; save with dtype float32")
    return tensor.to(dtype).contiguous()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file, on the CPU.

    Raises:
        WeightsError: a file that is truncated or damaged.
    """
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is truncated or damaged ({error}); fetch it again") from error


def check_tensors(path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Compare what a file holds with what a model needs.

    Raises:
        WeightsError: names that are missing or unknown, another shape, values that are not finite.
    """
    import torch

    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    check_shapes(path, found, {name: tuple(tensor.shape) for name, tensor in expected.items()})
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{path}: tensor {name!r} holds values that are not finite")


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a file, by its header alone.

    Raises:
        WeightsError: a file that is truncated or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is truncated or damaged ({error}); fetch it again") from error


def check_shapes(path: Path, found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Compare what a file holds with what a model needs, by names and shapes.

    Raises:
        WeightsError: names that are missing or unknown, another shape.
    """
    missing, unknown = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or unknown:
        raise WeightsError(f"{path} does not fit its model; missing tensors: {missing}, unknown tensors: {unknown}")
    for name, shape in found.items():
        if shape != expected[name]:
            raise WeightsError(
                f"{path}: tensor {name!r} has shape {list(shape)}, the model needs {list(expected[name])}"
            )


def hash_tensors(state: Mapping[str, Tensor], names: set[str]) -> str:
    """SHA-256 over the named tensors in the order of their names: name, shape, float32 bytes."""
    digest = hashlib.sha256()
    for name in sorted(names):
        tensor = state[name].detach().cpu()
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def refuse_other_formats(path: Path) -> None:
    """Look at a file's first bytes, so that nothing but safetensors is ever read.

    Raises:
        WeightsError: a pickle, a Git LFS pointer, or anything else that is not safetensors.
    """
    with path.open("rb") as file:
        start = file.read(64)
    if start[8:9] == b"{":  # a safetensors header behind its length
        return
    if start.startswith(b"PK\x03\x04") or re.match(rb"\x80[\x02-\x05]", start):
        raise WeightsError(
            f"{path} is a PyTorch pickle, which could run code and is never loaded; export it as safetensors"
        )
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path} is a Git LFS pointer, not the file itself; run git lfs pull")
    raise WeightsError(f"{path} is not a safetensors file (it is empty, truncated or of another format)")


def has_our_metadata(path: Path) -> bool:
    """Whether a file is safetensors with a configuration of this package in it; False for any other file."""
    try:
        refuse_other_formats(path)
        with safetensors.safe_open(path, framework="np") as file:
            return "config" in (file.metadata() or {})
    except (safetensors.SafetensorError, OSError, WeightsError):
        return False


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file in one step: it is either the old one or the new one, whatever happens in between.

    Raises:
        WeightsError: it could not be written; the old file is untouched.
    """
    try:
        with replaced(path) as file:
            file.write(data)
    except OSError as error:
        raise WeightsError(f"could not write {path}: {error}") from error
