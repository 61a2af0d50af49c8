# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Training losses: pure functions of tensors, and the weighted sum that the config names.

All depths are in the network's units. Every loss is one number an image, a mean over its valid pixels; `composite`
takes the mean over images, so that processes with equal batches average to what one process with their joint batch
computes. `valid` is bool, or float with the weight of each pixel, 0 where there is no target.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.contract import Prediction

EPS = 1e-6


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of [B, h, w] over each image's valid pixels (weighted where `valid` is float), [B]; 0 without any."""
    weight = valid.to(values.dtype)
    return (values * weight).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1)


def log_ratio(depth: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Ln depth - ln target, [B, h, w]; 0 where invalid, so that nothing non-finite enters a gradient."""
    return torch.where(valid > 0, depth.clamp_min(EPS).log() - target.clamp_min(EPS).log(), 0.0)


def l1(depth: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean |d - g|."""
    return masked_mean((depth - target).abs(), valid)


def log_l1(depth: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean |ln d - ln g|: a relative error that treats near and far alike."""
    return masked_mean(log_ratio(depth, target, valid).abs(), valid)


def silog(depth: Tensor, target: Tensor, valid: Tensor, alpha: float = 10.0, lam: float = 0.85) -> Tensor:
    """Alpha * sqrt(mean e^2 - lam * (mean e)^2), e = ln d - ln g (Eigen et al. 2014, as BTS scales it)."""
    e = log_ratio(depth, target, valid)
    variance = masked_mean(e**2, valid) - lam * masked_mean(e, valid) ** 2
    return alpha * (variance.clamp_min(0) + EPS).sqrt()


def gradient_matching(depth: Tensor, target: Tensor, valid: Tensor, scales: int = 4) -> Tensor:
    """Mean |grad e| of the log error over `scales` halvings (MiDaS, in log depth): sharp edges, flat planes."""
    return _gradients(log_ratio(depth, target, valid), valid, scales)


def affine_invariant(depth: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean |d^ - g^| in disparity, each with its median taken off and divided by its mean deviation.

    Depth Anything (arXiv 2401.10891), equation 2: for labels whose scale and shift are unknown.
    """
    return masked_mean((normalised_disparity(depth, valid) - normalised_disparity(target, valid)).abs(), valid)


def affine_gradient_matching(depth: Tensor, target: Tensor, valid: Tensor, scales: int = 4) -> Tensor:
    """Mean |grad e| of the error of the normalised disparities over `scales` halvings.

    Depth Anything V2 (arXiv 2406.09414) puts it beside the affine-invariant term, at twice its weight.
    """
    error = normalised_disparity(depth, valid) - normalised_disparity(target, valid)
    return _gradients(error, valid, scales)


def bin_cross_entropy(logits: Tensor, target: Tensor, valid: Tensor, centres: Tensor) -> Tensor:
    """Cross-entropy with a soft label on the two bins around the target, linear in log depth.

    Every reading counts: it is compared with the cell of the bins' grid that it lies in.

    Args:
        logits: [B, K, h, w].
        target: [B, H, W], at the bins' grid or finer.
        valid: [B, H, W].
        centres: [K], ascending, in the units of `target`; a target outside takes the end bin.
    """
    log_centres = centres.to(target.dtype).clamp_min(EPS).log()
    position = target.clamp_min(EPS).log().clamp(log_centres[0], log_centres[-1]).contiguous()
    upper = torch.searchsorted(log_centres, position).clamp(1, len(centres) - 1)  # [B, h, w]
    lower = upper - 1
    share = (position - log_centres[lower]) / (log_centres[upper] - log_centres[lower])
    # Bins last: in the channels-last memory of the network that is no copy, and many times faster on a CPU.
    log_probability = F.log_softmax(logits.float().permute(0, 2, 3, 1), -1).flatten(1)  # [B, h * w * K]
    cells = _cells(target.shape[-2:], logits.shape[-2:], target.device) * len(centres)  # [H, W]
    at_lower = log_probability.gather(1, (cells + lower).flatten(1)).view_as(target)
    at_upper = log_probability.gather(1, (cells + upper).flatten(1)).view_as(target)
    return masked_mean(-((1 - share) * at_lower + share * at_upper), valid)


def _cells(fine: torch.Size, coarse: torch.Size, device: torch.device) -> Tensor:
    """Which cell of a coarse grid each pixel of a finer one lies in, counted by rows: int64 [H, W]."""
    row, column = (
        (torch.arange(n, device=device) * m).div(n, rounding_mode="floor") for n, m in zip(fine, coarse, strict=True)
    )
    return row[:, None] * coarse[1] + column


def confidence_likelihood(confidence: Tensor, depth: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy of confidence as the probability that depth is within a factor of 1.25 of the truth, [B].

    Depth itself gets no gradient. For systems whose confidence comes from an output of its own rather than from bins.
    """
    right = log_ratio(depth.detach().float(), target, valid).abs() < math.log(1.25)
    probability = confidence.float().clamp(EPS, 1 - EPS)
    return masked_mean(-torch.where(right, probability, 1 - probability).log(), valid)


DEPTH_TERMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "log_l1": log_l1,
    "silog": silog,
    "gradient_matching": gradient_matching,
    "affine_invariant": affine_invariant,
    "affine_gradient_matching": affine_gradient_matching,
}
AFFINE_TERMS = ("affine_invariant", "affine_gradient_matching")
"""Those that a target up to scale and shift of its disparity can be compared by."""
TERMS = (*DEPTH_TERMS, "bin_cross_entropy", "regression_l1", "regression_log_l1", "confidence")


POINTWISE_TERMS = frozenset({"l1", "log_l1", "bin_cross_entropy", "regression_l1", "regression_log_l1", "confidence"})
"""Means of something that each pixel has by itself; the others compare pixels of one picture with each other."""


def composite(
    prediction: Prediction, target: Tensor, valid: Tensor, bin_centres: Tensor | None, weights: Mapping[str, float]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of the named terms, and each term unweighted and detached.

    A term whose head the system does not have (bins, regression) is left out. Each head is brought to the target's
    grid, as the engine brings depth to the image's, so that every reading counts where it is.

    Raises:
        ConfigError: a weight for a term that does not exist, or no term that applies to this system.
    """
    names = [name for name, weight in weights.items() if weight != 0]
    check_terms(weights)
    terms = {n: term.mean() for n, term in image_terms(prediction, target, valid, bin_centres, names).items()}
    if not terms:
        raise ConfigError(f"none of the loss terms {', '.join(weights) or '(none given)'} applies to this system")
    total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    return total, {name: term.detach() for name, term in terms.items()}


def check_terms(names: Iterable[str]) -> None:
    """Refuses names that are no terms.

    Raises:
        ConfigError: names the first, and those that there are.
    """
    if unknown := set(names) - set(TERMS):
        raise ConfigError(f"loss term {sorted(unknown)[0]!r} does not exist; there are {', '.join(TERMS)}")


def image_terms(
    prediction: Prediction, target: Tensor, valid: Tensor, bin_centres: Tensor | None, names: Iterable[str]
) -> dict[str, Tensor]:
    """Each named term that applies to this system, [B]: one number an image."""
    size = target.shape[-2:]
    terms: dict[str, Tensor] = {}
    depth = enlarged(prediction.depth, size)
    for name in names:
        if name in DEPTH_TERMS:
            terms[name] = DEPTH_TERMS[name](depth, target, valid)
        elif name == "confidence":
            terms[name] = confidence_likelihood(enlarged(prediction.confidence, size), depth, target, valid)
        elif name == "bin_cross_entropy" and prediction.bin_logits is not None and bin_centres is not None:
            terms[name] = bin_cross_entropy(prediction.bin_logits, target, valid, bin_centres)
        elif name.startswith("regression_") and prediction.regression is not None:
            loss = DEPTH_TERMS[name.removeprefix("regression_")]
            terms[name] = loss(enlarged(prediction.regression, size), target, valid)
    return terms


def normalised_disparity(depth: Tensor, valid: Tensor) -> Tensor:
    """1 / depth [B, h, w], each image's median taken off, divided by its mean deviation; 0 where invalid."""
    disparity = 1 / depth.clamp_min(EPS)
    has = valid > 0
    hidden = torch.where(has, disparity, torch.nan).flatten(1)
    median = hidden.nanmedian(1).values.nan_to_num()[:, None, None]
    centred = torch.where(has, disparity - median, 0.0)
    return centred / masked_mean(centred.abs(), valid).clamp_min(EPS)[:, None, None]


def _gradients(error: Tensor, valid: Tensor, scales: int) -> Tensor:
    """Mean |differences| between neighbours both of which are valid, summed over `scales` halvings, [B]."""
    total = error.new_zeros(len(error))
    for level in range(scales):
        step = 2**level
        e, mask = error[:, ::step, ::step], valid[:, ::step, ::step]
        if min(e.shape[1:]) < 2:
            break
        total = total + masked_mean((e[:, :, 1:] - e[:, :, :-1]).abs(), mask[:, :, 1:] * mask[:, :, :-1])
        total = total + masked_mean((e[:, 1:] - e[:, :-1]).abs(), mask[:, 1:] * mask[:, :-1])
    return total


def enlarged(values: Tensor, size: torch.Size) -> Tensor:
    """What a head says [B, h, w] at the target's size, float32: bilinear, as the engine does it."""
    if values.shape[-2:] == size:
        return values.float()
    return F.interpolate(values.float()[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]
