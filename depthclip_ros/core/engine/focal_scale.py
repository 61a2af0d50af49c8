# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Where scale meets focal length: metres per unit of the network's output, written once."""

from __future__ import annotations

from depthclip_ros.core.geometry import scale_intrinsics
from depthclip_ros.core.types import Intrinsics


def focal_at_network_px(intrinsics: Intrinsics, network_size: tuple[int, int]) -> float:
    """Focal length at the network's input size (width, height): the geometric mean of both axes."""
    small = scale_intrinsics(intrinsics, *network_size)
    return float((small.fx_px * small.fy_px) ** 0.5)


def metres_per_unit(
    intrinsics: Intrinsics,
    network_size: tuple[int, int],
    canonical_focal_px: float | None,
    scale_factor: float,
) -> float:
    """depth_m = depth * f / f_canonical * scale_factor, f the camera's focal length at the network's input size.

    Args:
        intrinsics: of the image.
        network_size: (width, height) that the image is shrunk to.
        canonical_focal_px: focal length that the network predicts depth for at this size (`ModelConfig.focal_px_at`);
            None where its output is metres.
        scale_factor: the user's own correction.
    """
    if canonical_focal_px is None:
        return scale_factor
    return scale_factor * focal_at_network_px(intrinsics, network_size) / canonical_focal_px
