# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Settles who owns the name `depthclip_trainer` before pytest names test modules after their paths.

For `depthclip_trainer/tests/...` pytest would make a module of the outer folder, which hides the package inside it.
"""

from __future__ import annotations

import contextlib
import sys

import pytest

# However a test imports openvino or nncf: both send to the network, of each conversion and from a copy of the process.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

with contextlib.suppress(ImportError):  # a ROS workspace has no trainer
    import depthclip_trainer  # noqa: F401


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `cuda` run where torch sees a GPU (`scripts/gpu_check.sh`)."""
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
