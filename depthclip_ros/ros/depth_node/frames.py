# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A frame on its way through the node: the image that is ready for the engine, and its depth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.anchors.estimator import NO_SCALE, ScaleEstimate
from depthclip_ros.core.clearing import clearing_cloud, ray_pixels
from depthclip_ros.core.geometry import CLOUD_XYZ, cloud_dtype, organised_cloud
from depthclip_ros.core.level_scan import LevelScan, ScanLimits, level_scan
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.core.uncertainty import uncertainty_m
from depthclip_ros.ros.depth_node.parameters.values import Settings

MEDIAN_PIXELS = 80_000  # the median is taken over about this many pixels of a regular grid


@dataclass(frozen=True)
class Frame:
    """An image that is ready for the engine.

    Attributes:
        rgb: uint8 [H, W, 3], rectified.
        intrinsics: of `rgb`; where `focal_assumed`, those of the assumed field of view.
        valid: bool [H, W], False where rectification shows what the camera did not see; None: all True.
        focal_assumed: there was no CameraInfo, or that of an uncalibrated camera.
        uncalibrated: it was the latter.
        prepare_ms: time that decoding and rectifying took.
        settings: those of the moment when the frame was prepared, for all that is done to it.
        offset_m: see `conversions.stereo_offset_m`.
        scale: what the anchors knew of the scale when the frame was prepared; its depth is multiplied by it.
        stamp_s: of the image.
    """

    rgb: NDArray[np.uint8]
    intrinsics: Intrinsics
    valid: NDArray[np.bool_] | None
    focal_assumed: bool
    prepare_ms: float
    settings: Settings
    offset_m: tuple[float, float] = (0.0, 0.0)
    scale: ScaleEstimate = NO_SCALE
    stamp_s: float = 0.0
    uncalibrated: bool = False

    @property
    def has_camera(self) -> bool:
        """Whether rays are known, from a CameraInfo or a field of view that the user gave: else there is no cloud."""
        return not self.focal_assumed or self.settings.input_assumed_hfov > 0


@dataclass(frozen=True)
class FrameDepth:
    """Depth of a frame; arrays [H, W] at the image's size, metres and confidence as in `core.types.ViewDepth`.

    Attributes:
        cloud: structured [h, w] where the engine made it; None: it is made of `depth_m`.
        batch_size: images that the network saw at once.
        scenes: labels and weights, most likely first.
        half_width, flying: as in `core.types.ViewDepth`.
        clear_share: of `half_width` by which a ray of the clearing cloud ends before the depth.
        judged_share: of `half_width` that the anchors' points are held against.
        farthest_m: what is farther is +Inf: by `output.max_depth`, or beyond what the model can tell.
    """

    frame: Frame
    depth_m: NDArray[np.float32]
    confidence: NDArray[np.float32]
    scale: float
    timings_ms: dict[str, float]
    cloud: NDArray[np.void] | None = None
    batch_size: int = 1
    scenes: list[tuple[str, float]] = field(default_factory=list)
    half_width: NDArray[np.float32] | None = None
    flying: NDArray[np.bool_] | None = None
    clear_share: float = 1.0
    judged_share: float = 1.0
    farthest_m: float = math.inf

    @cached_property
    def uncertainty_m(self) -> NDArray[np.float32]:
        """The larger side of each pixel's interval, metres [H, W]; all NaN where the weights have no intervals."""
        if self.half_width is None:
            return np.full_like(self.depth_m, np.nan)
        return uncertainty_m(self.depth_m, self.half_width)

    @property
    def cloud_type(self) -> tuple[tuple[int, ...], np.dtype[np.void]]:
        """Shape and dtype of what `make_cloud` makes."""
        settings = self.frame.settings
        shape = tuple(-(-side // settings.cloud_stride) for side in self.depth_m.shape)
        return shape, cloud_dtype(settings.cloud_color, "uncertainty" in settings.cloud_fields)

    def make_cloud(self, out: NDArray[np.void] | None = None) -> NDArray[np.void]:
        """The organised cloud, structured [h, w]; `out`: see `geometry.organised_cloud`."""
        settings = self.frame.settings
        return organised_cloud(
            self.depth_m,
            self.frame.rgb if settings.cloud_color else None,
            self.frame.intrinsics,
            stride=settings.cloud_stride,
            max_range_m=settings.cloud_max_range_m,
            unknown=self.flying,
            uncertainty_m=self.uncertainty_m if "uncertainty" in settings.cloud_fields else None,
            out=out,
        )

    @property
    def clearing_cloud_type(self) -> tuple[tuple[int, ...], np.dtype[np.void]]:
        """Shape and dtype of what `make_clearing_cloud` makes."""
        stride = self.frame.settings.cloud_clear_stride
        return tuple(ray_pixels(side, stride).size for side in self.depth_m.shape), CLOUD_XYZ

    def make_clearing_cloud(self, out: NDArray[np.void] | None = None) -> NDArray[np.void]:
        """Ends of rays for maps to clear along, structured [h, w]; see `clearing.clearing_cloud`."""
        settings = self.frame.settings
        return clearing_cloud(
            self.depth_m,
            self.half_width,
            self.frame.intrinsics,
            stride=settings.cloud_clear_stride,
            share=self.clear_share,
            clear_range_m=min(settings.cloud_clear_range, self.farthest_m),  # +Inf says no more than this
            unknown=self.flying,
            out=out,
        )

    @property
    def scan_limits(self) -> ScanLimits:
        """What is an obstacle of the scan; it cannot reach farther than depth does."""
        limits = self.frame.settings.scan_limits
        return replace(limits, max_range_m=min(limits.max_range_m, self.farthest_m))

    def make_scan(self, to_scan: NDArray[np.float64]) -> LevelScan:
        """The nearest certain obstacle of each bearing; `to_scan`: see `level_scan.level_scan`."""
        settings = self.frame.settings
        certain = None if self.flying is None else ~self.flying
        if settings.scan_confidence_threshold > 0:
            sure = self.confidence >= settings.scan_confidence_threshold
            certain = sure if certain is None else certain & sure
        return level_scan(
            self.depth_m, self.frame.intrinsics, to_scan, self.scan_limits, certain, farthest_m=self.farthest_m
        )


def summary(result: FrameDepth) -> dict[str, Any]:
    """Statistics of one depth image, by the names of DepthStats' fields; NaN where no depth is finite."""
    depth_m = result.depth_m
    finite = np.isfinite(depth_m)
    valid = int(np.count_nonzero(finite))
    sample = depth_m[_grid(depth_m)]
    sample = sample[np.isfinite(sample)]
    if valid and not sample.size:
        sample = depth_m[finite]
    return {
        "depth_min_m": float(np.min(depth_m, where=finite, initial=np.inf)) if valid else float("nan"),
        "depth_median_m": float(np.median(sample)) if valid else float("nan"),
        "depth_max_m": float(np.max(depth_m, where=finite, initial=-np.inf)) if valid else float("nan"),
        "valid_ratio": valid / depth_m.size,
        "confidence_mean": float(np.mean(result.confidence)),
        "half_width_mean": _mean_half_width(result),
        "half_width_level": result.frame.settings.uncertainty_level,
        "scale": result.scale,
        "anchor_scale": result.frame.scale.factor,
        "anchor_scale_sd": float("nan") if result.frame.scale.log_scale_sd is None else result.frame.scale.log_scale_sd,
        "focal_assumed": result.frame.focal_assumed,
        "scene_labels": [label for label, _ in result.scenes],
        "scene_weights": [weight for _, weight in result.scenes],
    }


def _mean_half_width(result: FrameDepth) -> float:
    """Of ln depth, over about as many pixels as the median; NaN where there is none."""
    if result.half_width is None:
        return float("nan")
    grid = _grid(result.depth_m)
    known = np.isfinite(result.depth_m[grid])
    return float(result.half_width[grid][known].mean()) if known.any() else float("nan")


def _grid(depth_m: NDArray[np.float32]) -> tuple[slice, slice]:
    """About `MEDIAN_PIXELS` of an image."""
    every = slice(None, None, max(1, round((depth_m.size / MEDIAN_PIXELS) ** 0.5)))
    return every, every
