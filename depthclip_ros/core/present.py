# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What is installed, found out without importing it: torch takes seconds and hundreds of megabytes."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

from depthclip_ros.core.errors import ConfigError


def install(*packages: str) -> str:
    """How to install packages from PyPI, as a part of a sentence; this package itself is not there."""
    return f"pip install {' '.join(packages)} (in a checkout without ROS: make setup)"


INSTALL_TORCH = install("torch", "torchvision", "open-clip-torch")
GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/nvmap", "/dev/dxg", "/dev/kfd")
"""Of NVIDIA's driver: on a computer, on Jetsons, under WSL 2; and of AMD's, which torch calls cuda too."""


def is_installed(package: str) -> bool:
    """Whether a package can be imported."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # half of it is there, or somebody has put a stand-in
        return False


def require_torch(what: str) -> None:
    """Refuse what needs torch where it is not installed.

    Raises:
        ConfigError: names `what`, and the command that installs it.
    """
    if not is_installed("torch"):
        raise ConfigError(f"{what}: this needs torch, which is not installed; {INSTALL_TORCH}")


@functools.lru_cache(maxsize=1)
def has_cuda() -> bool:
    """Whether torch can use a CUDA device; it is imported only where there is a driver to ask."""
    if not is_installed("torch") or not any(Path(device).exists() for device in GPU_DEVICES):
        return False
    import torch

    return torch.cuda.is_available()
