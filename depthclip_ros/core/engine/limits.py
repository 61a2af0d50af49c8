# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What limits on depth mean something."""

from __future__ import annotations

import math

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.types import DepthLimits
from depthclip_ros.core.uncertainty import check_level


def check_limits(limits: DepthLimits) -> None:
    """Refuse limits that mean nothing.

    Raises:
        ConfigError: names the limit, its value and what is allowed.
    """
    rules = (
        ("scale_factor", 0 < limits.scale_factor < math.inf, "above 0"),
        ("confidence_threshold", 0 <= limits.confidence_threshold <= 1, "0..1"),
        ("edge_threshold", 0 <= limits.edge_threshold < math.inf, "0 or more"),
        ("min_depth_m", 0 <= limits.min_depth_m < math.inf, "0 or more"),
        ("max_depth_m", limits.max_depth_m > limits.min_depth_m, f"above min_depth_m, {limits.min_depth_m}"),
        ("exponent", 0 < limits.exponent < math.inf, "above 0"),
        ("pivot_m", 0 < limits.pivot_m < math.inf, "above 0"),
        ("width", 0 < limits.width < math.inf, "above 0"),
        ("log_scale_sd", limits.log_scale_sd is None or 0 <= limits.log_scale_sd < math.inf, "0 or more, or none"),
    )
    for name, holds, allowed in rules:
        if not holds:
            raise ConfigError(f"{name} is {getattr(limits, name)}; allowed: {allowed}")
    check_level(limits.level)
