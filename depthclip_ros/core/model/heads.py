# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Depth heads: a distribution over bins, a direct regression, their fusion, and the confidence that the bins give."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip_ros.core.model.config import MoaDepthClipConfig
from depthclip_ros.core.model.contract import Prediction, full_precision
from depthclip_ros.core.model.convolutions import ConvNorm, PreciseProjection

PRIOR_SPREAD = 0.7
"""Standard deviation, in log depth, of the distribution that untrained bins give."""
REGRESSION_MARGIN = 1.0
"""Log depth that the regression may go beyond the bins on either side."""


def bin_centres(config: MoaDepthClipConfig) -> Tensor:
    """Centres of the bins, float64 [K]: arithmetic means of uniform edges, geometric means of log-spaced edges."""
    if config.bin_spacing == "uniform":
        edges = torch.linspace(config.bin_low, config.bin_high, config.bins + 1, dtype=torch.float64)
        return (edges[1:] + edges[:-1]) / 2
    log_edges = torch.linspace(
        math.log(config.bin_low), math.log(config.bin_high), config.bins + 1, dtype=torch.float64
    )
    return ((log_edges[1:] + log_edges[:-1]) / 2).exp()


class DepthHeads(nn.Module):
    """From decoder features to depth and confidence.

    The bins are read at their own, coarser grid as moments of their distribution (expected value; expected log depth
    and its square), which are then upsampled: the same as upsampling the probabilities, for 3 channels in place of K.
    Uniform bins work in depth, log-spaced bins in log depth, for expectation, regression and fusion alike.

    Confidence is 1 / (1 + (s / s0)^2) with s^2 = sum_k p_k (ln c_k - ln d)^2, the spread of the bins around the fused
    depth d, and s0 the buffer `confidence_scale`, which training calibrates.

    Args:
        config: bins, fusion, prior.
        bin_channels: channels of the features that the bins are read from.
        fine_channels: channels of the features that regression and gate are read from.
    """

    moment_table: Tensor
    confidence_scale: Tensor

    def __init__(self, config: MoaDepthClipConfig, bin_channels: int, fine_channels: int) -> None:
        super().__init__()
        self.config = config
        self.logarithmic = config.bin_spacing == "log"
        self.bins = nn.Conv2d(bin_channels, config.bins, 1)
        self.fine = ConvNorm(fine_channels, fine_channels)
        self.gated = config.fusion == "gate"
        self.regression = PreciseProjection(fine_channels, 2 if self.gated else 1)
        if not self.gated:
            self.fusion_logit = nn.Parameter(torch.zeros(()))
        self.register_buffer("confidence_scale", torch.tensor(0.25))
        self.register_buffer("moment_table", self._moment_table(), persistent=False)
        self._start_at_prior()

    def _moment_table(self) -> Tensor:
        centres = bin_centres(self.config)
        log_centres = centres.log()
        value = log_centres if self.logarithmic else centres
        return torch.stack([value, log_centres, log_centres.square()], dim=1).float()  # [K, 3]

    def _start_at_prior(self) -> None:
        log_prior = math.log(self.config.prior_depth)
        with torch.no_grad():
            nn.init.normal_(self.bins.weight, std=0.01)
            self.bins.bias = nn.Parameter(-0.5 * ((self.moment_table[:, 1] - log_prior) / PRIOR_SPREAD).square())
            if self.logarithmic:
                self.regression.bias[0] = log_prior
            else:
                share = self.config.prior_depth / self.config.bin_high
                self.regression.bias[0] = math.log(share / (1 - share))

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> DepthHeads:
        # The bins' centres must not be rounded when the model is cast to half precision.
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.moment_table = self._moment_table().to(self.moment_table.device)
        return self

    @property
    def centres(self) -> Tensor:
        """Centres of the bins, float32 [K]."""
        log_centres = self.moment_table[:, 1]
        return log_centres.exp() if self.logarithmic else self.moment_table[:, 0]

    def forward(self, bin_features: Tensor, fine_features: Tensor) -> Prediction:
        """Read features [B, bin_channels, hb, wb] and [B, fine_channels, h, w]; depth comes at (h, w)."""
        return self.read(*self.see(bin_features, fine_features))

    def see(self, bin_features: Tensor, fine_features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the bins [B, K, hb, wb] and what regression and gate are read from [B, fine_channels, h, w]."""
        return self.bins(bin_features), self.fine(fine_features)

    def read(self, logits: Tensor, fine: Tensor) -> Prediction:
        """Depth from what `see` gives, in float32: the moments are differences of large numbers."""
        with full_precision(fine):
            logits = logits.float()
            raw = self.regression(fine)  # float32 [B, 1 or 2, h, w]
            moments = logits.permute(0, 2, 3, 1).softmax(dim=-1) @ self.moment_table  # [B, hb, wb, 3]
            moments = moments.permute(0, 3, 1, 2)
            moments = F.interpolate(moments, size=raw.shape[-2:], mode="bilinear", align_corners=False)
            from_bins, log_mean, log_square = moments.unbind(dim=1)  # [B, h, w] each
            from_regression = self._bounded(raw[:, 0])
            share = raw[:, 1].sigmoid() if self.gated else self.fusion_logit.float().sigmoid()
            fused = share * from_bins + (1 - share) * from_regression
            log_depth = fused if self.logarithmic else fused.log()
            spread = (log_square - 2 * log_depth * log_mean + log_depth.square()).clamp_min(0)  # s^2
            return Prediction(
                depth=fused.exp() if self.logarithmic else fused,
                confidence=1 / (1 + spread / self.confidence_scale.float().square()),
                bin_logits=logits,
                regression=from_regression.exp() if self.logarithmic else from_regression,
            )

    def _bounded(self, raw: Tensor) -> Tensor:
        if not self.logarithmic:
            return self.config.bin_high * raw.sigmoid()
        low = math.log(self.config.bin_low) - REGRESSION_MARGIN
        return raw.clamp(low, math.log(self.config.bin_high) + REGRESSION_MARGIN)
