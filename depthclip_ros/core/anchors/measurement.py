# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What every anchor is given and gives: a predicted depth image in, ln(true / predicted) with a variance out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import nearest_pixels
from depthclip_ros.core.types import Intrinsics

Points = NDArray[np.float64]

SHAPE_SD = 0.15
"""Standard deviation of ln depth about an image's own scale, of a network that nothing more is known of."""
SHAPE_WORTH = 4.0  # so many regions of an image does SHAPE_SD count for, beside what they are seen to differ
REGIONS = (6, 8)  # rows and columns: what a network gets wrong it gets wrong for a region, not for a pixel
MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class Prediction:
    """The network's depth of one frame, before any anchor's correction.

    Attributes:
        depth_m: float32 [H, W]; NaN unknown, infinite out of range: neither is looked at.
        intrinsics: of the image.
        shape_sd: standard deviation of ln(true / predicted) about its mean over an image.

    Raises:
        InputError: sizes that differ.
    """

    depth_m: NDArray[np.float32]
    intrinsics: Intrinsics
    shape_sd: float = SHAPE_SD

    def __post_init__(self) -> None:
        expected = (self.intrinsics.height_px, self.intrinsics.width_px)
        if self.depth_m.shape != expected:
            raise InputError(f"depth is {self.depth_m.shape} and its intrinsics {expected} (rows, columns)")

    def at(self, pixels: Points) -> Points:
        """Depth [N] at the pixels [N, 2] (u, v) nearest to these; NaN outside the image and where it is unknown."""
        inside, columns, rows = nearest_pixels(pixels, self.intrinsics)
        found = np.full(len(pixels), np.nan)
        found[inside] = self.depth_m[rows, columns]
        found[~(np.isfinite(found) & (found > 0))] = np.nan
        return found

    def regions(self, pixels: Points) -> NDArray[np.int64]:
        """Number [N] of the region of the image (`REGIONS`) that each pixel inside it lies in."""
        rows, columns = REGIONS
        row = np.clip(pixels[:, 1] * rows / self.intrinsics.height_px, 0, rows - 1).astype(np.int64)
        return row * columns + np.clip(pixels[:, 0] * columns / self.intrinsics.width_px, 0, columns - 1).astype(
            np.int64
        )


@dataclass(frozen=True)
class Measurement:
    """What one reading says of the scale.

    Attributes:
        log_ratio: ln(true depth / predicted depth).
        place_variance: of what stays while camera and scene stand still: how far the pixels that were looked at are
            from the image's own scale, how the sensor was mounted. Many readings of one place do not average it out.
        noise_variance: of what every reading draws anew.
    """

    log_ratio: float
    place_variance: float
    noise_variance: float

    @property
    def variance(self) -> float:
        """Of `log_ratio` as a measurement of the image's scale."""
        return self.place_variance + self.noise_variance


def weighted_median(values: Points, weights: Points) -> float:
    """The value with half of the weight on either side; the mean of two where they share it."""
    order = np.argsort(values)
    values, share = values[order], np.cumsum(weights[order])
    half = share[-1] / 2
    low, high = np.searchsorted(share, [half * (1 - 1e-12), half * (1 + 1e-12)])
    return float(values[low] + values[high]) / 2


def from_pairs(
    prediction: Prediction,
    pixels: Points,
    true_m: Points,
    noise_variance: Points | float,
    common_variance: float = 0.0,
    *,
    least: int = 1,
) -> Measurement:
    """One measurement of many true depths: ln of the scale that makes their mean relative error least.

    Of |true - scale * predicted| / true that is the median of true / predicted with weights predicted / true.

    The regions' own spread tells how far the network's shape is off, with `prediction.shape_sd` in place of what few of
    them cannot tell. What is wrong is wrong for a row of regions or for a column: one row of many columns is worth
    little more than two regions (the harmonic mean of rows and columns counts). The variance of a median of n normal
    values is pi / 2 of that of their mean.

    Args:
        prediction: to compare with.
        pixels: [N, 2] (u, v).
        true_m: [N], metres along the optical axis.
        noise_variance: of ln true_m, of each or of all, without what they have in common.
        common_variance: of what is the same for all of them: mounting, baseline, height.
        least: so many depths are needed.

    Raises:
        InputError: fewer depths that lie in the image where depth is known.
    """
    predicted = prediction.at(pixels)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(true_m / predicted)
    known = np.isfinite(ratio)
    count = int(np.count_nonzero(known))
    if count < least:
        raise InputError(
            f"{count} of its {len(pixels)} depths lie in the image where depth is known; {least} are needed"
        )
    ratio, noise = ratio[known], np.broadcast_to(np.asarray(noise_variance, np.float64), known.shape)[known]
    regions = prediction.regions(pixels[known])
    _, index, sizes = np.unique(regions, return_inverse=True, return_counts=True)
    certainty = 1 / (noise + prediction.shape_sd**2)
    # a reading that is far too long weighs next to nothing; one that is far too short must not weigh all
    heaviness = np.exp(np.clip(weighted_median(ratio, certainty) - ratio, -1.0, 1.0))
    middle = weighted_median(ratio, certainty * heaviness)
    by_region = certainty / sizes[index]  # their spread is that of regions, not of where most readings are
    spread = MAD_TO_SD * weighted_median(np.abs(ratio - middle), by_region)
    rows, columns = (len(np.unique(one)) for one in np.divmod(regions, REGIONS[1]))
    areas = 2 / (1 / rows + 1 / columns)
    shape = (SHAPE_WORTH * prediction.shape_sd**2 + areas * spread**2) / (SHAPE_WORTH + areas)
    of_median = math.pi / 2 if areas > 2 else 1.0
    return Measurement(
        middle, of_median * shape / areas + common_variance, float(of_median * np.mean(noise) / max(count, 1))
    )
