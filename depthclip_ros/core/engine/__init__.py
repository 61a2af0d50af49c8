# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Images and intrinsics in, metric depth out; one file per runtime."""

from depthclip_ros.core.engine.depth_engine import DepthEngine

__all__ = ["DepthEngine"]
