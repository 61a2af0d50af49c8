# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What crosses every joint of the package: a camera's intrinsics, its image on the way in, its depth on the way out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole camera of a rectified image.

    Pixel centres lie at integer coordinates: the top left pixel's centre is (0, 0), as in OpenCV and ROS CameraInfo.
    `geometry.scale_intrinsics` and `geometry.crop_intrinsics` are the only places that rely on it.

    Raises:
        InputError: a focal length that is not finite and positive, a principal point that is not finite, an empty size.
    """

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        for name in ("fx_px", "fy_px"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value}; a focal length must be finite and above 0 pixels")
        for name in ("cx_px", "cy_px"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise InputError(f"{name} is {value}; the principal point must be finite")
        if self.width_px < 1 or self.height_px < 1:
            raise InputError(f"image size is {self.width_px}x{self.height_px}; both sides must be at least 1 pixel")

    @classmethod
    def from_hfov(cls, hfov_deg: float, width_px: int, height_px: int) -> Intrinsics:
        """Square pixels and a centred principal point at a horizontal field of view in degrees (0 < hfov < 180).

        Raises:
            InputError: a field of view outside 0..180 degrees or an empty size.
        """
        if not 0 < hfov_deg < 180:
            raise InputError(f"horizontal field of view is {hfov_deg} degrees; it must lie between 0 and 180")
        focal_px = width_px / 2 / math.tan(math.radians(hfov_deg) / 2)
        return cls(focal_px, focal_px, (width_px - 1) / 2, (height_px - 1) / 2, width_px, height_px)

    @property
    def hfov_deg(self) -> float:
        """Horizontal field of view in degrees."""
        return math.degrees(2 * math.atan(self.width_px / 2 / self.fx_px))


@dataclass(frozen=True)
class DepthLimits:
    """What is done to metric depth before it leaves the engine; every field may change from frame to frame.

    Attributes:
        min_depth_m: nearer depth becomes -Inf (REP-117: too near to measure).
        max_depth_m: farther depth becomes +Inf (REP-117: no return).
        confidence_threshold: depth of lower confidence (0..1) becomes NaN; 0 keeps all.
        edge_threshold: pixels on a depth step become NaN (flying pixels): the step between neighbours as a share of
            the nearer depth, e.g. 0.05; 0 keeps all.
        scale_factor: multiplies depth, for a camera whose scale was calibrated.
        level: rate 0..1 at which the intervals of `ViewDepth.half_width` should hold.
        log_scale_sd: standard deviation of ln `scale_factor` where anchors measured it; None where nothing did.
        exponent: depth d becomes pivot_m (d / pivot_m)^exponent, after the scale: what anchors found of its shape.
        pivot_m: the depth that an exponent leaves as it is.
        width: multiplies half-widths, where anchors measured how wide they are.
    """

    min_depth_m: float = 0.0
    max_depth_m: float = math.inf
    confidence_threshold: float = 0.0
    edge_threshold: float = 0.0
    scale_factor: float = 1.0
    level: float = 0.9
    log_scale_sd: float | None = None
    exponent: float = 1.0
    pivot_m: float = 1.0
    width: float = 1.0


@dataclass
class Depth:
    """Metric depth of a batch of images, at the images' size.

    Attributes:
        depth_m: float32 [B, H, W], metres along the optical axis; NaN unknown, +Inf beyond the maximum, -Inf too near.
        confidence: float32 [B, H, W], 0..1.
        half_width: float32 [B, H, W] of ln depth, see `ViewDepth`; None where the weights have no uncertainty.
        scale: float [B], metres per unit of the network's output (focal ratio times `scale_factor`).
        scene_labels: the scene prompts' names, empty where the system has none.
        scene_weights: float32 [B, len(scene_labels)], each row sums to 1.
        timings_ms: `preprocess`, `network`, `postprocess`, wall time of this batch.
    """

    depth_m: NDArray[np.float32]
    confidence: NDArray[np.float32]
    scale: list[float]
    scene_labels: tuple[str, ...] = ()
    scene_weights: NDArray[np.float32] | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)
    half_width: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class CloudRequest:
    """What a point cloud is to be made of; see `geometry.organised_cloud`.

    Attributes:
        stride: every stride-th pixel of both axes becomes a point.
        max_range_m: farthest depth that becomes a point.
        color: points carry the image's colour.
        uncertainty: points carry the larger side of their interval, metres (`uncertainty.uncertainty_m`).
        edge_threshold: pixels on a larger depth step become no point (see `DepthLimits.edge_threshold`); 0 keeps all.
    """

    stride: int = 1
    max_range_m: float = math.inf
    color: bool = True
    uncertainty: bool = False
    edge_threshold: float = 0.0


@dataclass(frozen=True)
class View:
    """One camera's image on its way into the engine.

    Attributes:
        rgb: uint8 [H, W, 3], rectified.
        intrinsics: of `rgb`.
        limits: what is done to its depth.
        cloud: ask for the cloud as well, where the device makes it faster than the CPU would (`ViewDepth.cloud`).
        flying: ask for `ViewDepth.flying` at this edge threshold, for rays that are made on the CPU; 0: do not.
    """

    rgb: NDArray[np.uint8]
    intrinsics: Intrinsics
    limits: DepthLimits = DepthLimits()
    cloud: CloudRequest | None = None
    flying: float = 0.0


@dataclass
class ViewDepth:
    """Metric depth of one view, at its image's size.

    Attributes:
        depth_m, confidence: float32 [H, W], as in `Depth`. The arrays are the caller's own.
        half_width: h, float32 [H, W]: the true depth lies in [d e^-h, d e^h] at the rate of the limits' `level`; None
            where the weights were made without (`core/uncertainty.py`).
        flying: bool [H, W], pixels on a depth step, which the cloud asked for should leave out; None where the device
            has left them out and the view did not ask for them, or nothing was asked.
        scale: metres per unit of the network's output.
        scene_labels, scene_weights: names and float32 [S]; empty and None where the system has none.
        cloud: structured [h, w] (`geometry.CLOUD_XYZRGB` or `CLOUD_XYZ`) where the view asked for it and the device
            made it; None: make it with `geometry.organised_cloud`.
        batch_size: images that the network saw at once.
        timings_ms: `preprocess`, `network`, `postprocess`, wall time of this batch.
    """

    depth_m: NDArray[np.float32]
    confidence: NDArray[np.float32]
    scale: float
    scene_labels: tuple[str, ...] = ()
    scene_weights: NDArray[np.float32] | None = None
    cloud: NDArray[np.void] | None = None
    batch_size: int = 1
    timings_ms: dict[str, float] = field(default_factory=dict)
    half_width: NDArray[np.float32] | None = None
    flying: NDArray[np.bool_] | None = None
