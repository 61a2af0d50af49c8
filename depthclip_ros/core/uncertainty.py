# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""How far off depth may be: an interval for each pixel that holds at a stated rate, and the confidence that follows it.

The error of ln depth has one part common to the image (its scale) and one of each pixel (its shape). With c the
network's own confidence, which tells the spread of its depth bins:

    s_shape^2 = floor^2 + gain^2 (1 / c - 1)         s^2 = s_shape^2 + s_scale^2         h = q s

and the true depth lies in [d e^-h, d e^h] at the rate that was asked for. The factors q are quantiles of
|ln(true / d)| / s on held-out frames, by band of depth (split-conformal prediction with normalised scores: Lei et al.,
arXiv 1604.04173, section 5.2), with the place as the unit: frames of one room say the same thing again.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import ConfigError

LEVEL = 0.9
"""Of the intervals where nothing else is asked for; the confidence goes by them."""
Table = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Uncertainty:
    """What `depthclip-train calibrate` found; part of a weights file's metadata.

    Attributes:
        floor, gain: of s_shape, in ln depth; see above.
        scale_sd: s_scale without an anchor: root mean square of the images' ln(true / predicted) over held-out places.
        levels: rates for which there are factors, ascending, each 0..1.
        depths_m: middle of each band of predicted depth, ascending, metres.
        free: q by level and band, where nothing but the network knows the scale.
        anchored: q by level and band, where an anchor knows it.
        even_odds: half-width at `LEVEL` at which a pixel is as likely within 25 % of the truth as not.
        places, frames: that it was calibrated on.
        data: what they were.
    """

    floor: float
    gain: float
    scale_sd: float
    levels: tuple[float, ...]
    depths_m: tuple[float, ...]
    free: Table
    anchored: Table
    even_odds: float
    places: int
    frames: int
    data: str = ""

    def __post_init__(self) -> None:
        shape = (len(self.levels), len(self.depths_m))
        tables = (*np.ravel(self.free), *np.ravel(self.anchored))
        numbers = np.array([self.floor, self.gain, self.scale_sd, self.even_odds, *tables], np.float64)
        ascending = all(list(row) == sorted(set(row)) and len(row) > 0 for row in (self.levels, self.depths_m))
        fits = ascending and np.shape(self.free) == shape and np.shape(self.anchored) == shape
        if not (fits and np.isfinite(numbers).all() and self.even_odds > 0 and self.depths_m[0] > 0):
            raise ConfigError(f"the uncertainty table {self} does not fit together")

    def as_mapping(self) -> dict[str, Any]:
        """For JSON; `from_mapping` reads it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Uncertainty:
        """From JSON.

        Raises:
            ConfigError, TypeError, ValueError: a table that does not fit together.
        """
        rows = {name: tuple(values[name]) for name in ("levels", "depths_m")}
        tables = {name: tuple(tuple(row) for row in values[name]) for name in ("free", "anchored")}
        return cls(**{**values, **rows, **tables})

    def factors(self, level: float, log_scale_sd: float | None) -> tuple[NDArray[np.float64], float]:
        """Q of each band at a rate, and s_scale.

        Between a scale that an anchor knows well and one that nothing knows, q goes from one table to the other.

        Args:
            level: 0..1; beyond the lowest and highest of `levels` those are taken.
            log_scale_sd: standard deviation of ln scale that the anchors leave; None: there is none.
        """
        scale_sd = self.scale_sd if log_scale_sd is None else min(log_scale_sd, self.scale_sd)
        share = 1.0 if log_scale_sd is None or self.scale_sd <= 0 else scale_sd / self.scale_sd
        q = [
            share * np.interp(level, self.levels, [row[band] for row in self.free])
            + (1 - share) * np.interp(level, self.levels, [row[band] for row in self.anchored])
            for band in range(len(self.depths_m))
        ]
        return np.array(q), scale_sd

    def share(self, level: float, of_level: float, log_scale_sd: float | None = None) -> float:
        """Half-width at one rate as a share of that at another: the median over the bands; see `factors`."""
        asked, usual = (self.factors(one, log_scale_sd)[0] for one in (level, of_level))
        return float(np.median(asked / usual))

    def even_odds_at(self, level: float) -> float:
        """`even_odds` for half-widths of another level, so that the confidence does not depend on it."""
        return self.even_odds * self.share(level, LEVEL)


def uncertainty_m(depth_m: NDArray[np.float32], half_width: NDArray[np.float32]) -> NDArray[np.float32]:
    """The interval's larger side d (e^h - 1) in metres, of the shape of both; NaN where depth is not finite."""
    larger = np.asarray(cv2.exp(half_width), np.float32).reshape(half_width.shape)
    larger -= 1
    with np.errstate(invalid="ignore"):
        larger *= depth_m
    larger[~np.isfinite(depth_m)] = np.nan
    return larger


def check_level(level: float) -> None:
    """Refuse a rate that is none.

    Raises:
        ConfigError: not between 0 and 1.
    """
    if not (math.isfinite(level) and 0 < level < 1):
        raise ConfigError(f"uncertainty level is {level}; allowed: above 0, below 1, e.g. 0.9")
