# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What every depth system's configuration has; known without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from depthclip_ros.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What every system's configuration has; each system adds its own fields.

    Attributes:
        system: the row of `registry.SYSTEMS` that reads this configuration.
        metric: depth has a scale; False for systems of relative depth.
        canonical_focal_px: focal length at network resolution for which depth is predicted; a camera of focal length f
            at network resolution sees depth * f / canonical_focal_px metres. None: the network's output is metres.
        canonical_pixels: width times height of the input that `canonical_focal_px` is meant for; an input of another
            size shows the same view, and gives the same depth. None: a focal length in pixels is what counts, whatever
            the size, and weights are right at the size of their training alone.
        min_depth_m, max_depth_m: what the system is made for.
        input_pixels: width times height of the network's input, about.

    Raises:
        ConfigError: a value outside its range.
    """

    system: str
    metric: bool = True
    canonical_focal_px: float | None = 300.0
    canonical_pixels: int | None = None
    min_depth_m: float = 0.1
    max_depth_m: float = 10.0
    input_pixels: int = 49152

    def __post_init__(self) -> None:
        require(0 < self.min_depth_m < math.inf, "min_depth_m", self.min_depth_m, "above 0")
        deeper = self.min_depth_m < self.max_depth_m < math.inf
        require(deeper, "max_depth_m", self.max_depth_m, f"above min_depth_m, {self.min_depth_m}")
        focal_px = self.canonical_focal_px
        require(focal_px is None or 0 < focal_px < math.inf, "canonical_focal_px", focal_px, "above 0, or none")
        pixels = self.canonical_pixels
        require(pixels is None or pixels >= 1024, "canonical_pixels", pixels, "1024 or more, or none")
        require(1024 <= self.input_pixels <= 4_194_304, "input_pixels", self.input_pixels, "1024..4194304")

    def focal_px_at(self, width_px: int, height_px: int) -> float | None:
        """Focal length at this size of the input for which depth is predicted; None where the output is metres."""
        if self.canonical_focal_px is None or self.canonical_pixels is None:
            return self.canonical_focal_px
        return self.canonical_focal_px * math.sqrt(width_px * height_px / self.canonical_pixels)

    def network_size(self, width_px: int, height_px: int, stride: int) -> tuple[int, int]:
        """Input size (width, height) for an image: about `input_pixels`, its aspect to the nearest stride."""
        scale = math.sqrt(self.input_pixels / (width_px * height_px))
        width = max(1, round(width_px * scale / stride)) * stride
        height = max(1, round(height_px * scale / stride)) * stride
        return width, height

    @property
    def ready_made(self) -> bool:
        """Whether the model is of use as soon as it is built, without any training (`weights.resolve`)."""
        return False


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Refuse a configuration value.

    Raises:
        ConfigError: when the condition does not hold; repeats the value and says what is allowed.
    """
    if not condition:
        raise ConfigError(f"{name} is {value!r}; allowed: {allowed}")
