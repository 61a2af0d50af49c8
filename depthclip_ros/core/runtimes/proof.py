# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A runtime proves itself before a robot rests on it: its depth of fixed pictures against torch's in float32.

A compiled network can be wrong without any error: axes exchanged, a scale lost, an operation of a new release that
rounds otherwise, or a scale that jumps from frame to frame. So the pictures go through it twice, in the batch that it
was compiled for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import DeviceError
from depthclip_ros.core.runtimes.network_output import NetworkOutput
from depthclip_ros.core.runtimes.shipped_rooms import PROOF, shipped_rooms

Run = Callable[[NDArray[np.uint8]], NetworkOutput]
"""From pixels uint8 [B, h, w, 3] to what the network says of them."""

PASSES = 2


class RefusedRuntimeError(DeviceError):
    """A runtime's depth is not that of the network; another runtime has to do the work."""


@dataclass(frozen=True)
class Limits:
    """How far depth may be from the reference, as shares of it: the median pixel, and all but one of a hundred."""

    median: float
    p99: float


LIMITS = {"int8": Limits(0.02, 0.08)}
USUAL_LIMITS = Limits(0.01, 0.05)
CONFIDENCE_LIMIT = 0.1  # mean absolute difference; confidence is an order of pixels, not a measure


@dataclass(frozen=True)
class Proof:
    """What a runtime's depth was off by: the worst picture of all passes.

    Attributes:
        median, p99: of |depth - reference| / reference over a picture's pixels.
        confidence: mean |confidence - reference| over a picture's pixels.
    """

    median: float
    p99: float
    confidence: float


@dataclass(frozen=True)
class Reference:
    """What is right for the fixed pictures.

    Attributes:
        pixels: uint8 [N, h, w, 3].
        depth, confidence: float32 [N, h', w'].
    """

    pixels: NDArray[np.uint8]
    depth: NDArray[np.float32]
    confidence: NDArray[np.float32]

    @classmethod
    def of(cls, run: Run, network_size: tuple[int, int]) -> Reference:
        """What a network says at an input of (width, height), which must be in float32: torch's, or a proved one."""
        pixels = shipped_rooms(PROOF, *network_size)
        parts = []
        for one in pixels:
            said = run(one[None])
            parts.append((said.depth.copy(), said.confidence.copy()))  # the next run may overwrite them
        depth, confidence = (np.concatenate([part[index] for part in parts]) for index in (0, 1))
        return cls(pixels, depth, confidence)

    @classmethod
    def recorded(
        cls, answers: tuple[NDArray[np.float32], NDArray[np.float32]], network_size: tuple[int, int]
    ) -> Reference:
        """What torch in float32 said when the weights' graph was made."""
        return cls(shipped_rooms(PROOF, *network_size), *answers)


def prove(run: Run, reference: Reference, name: str, precision: str, batch: int = 1) -> Proof:
    """Compare a runtime with the reference.

    Args:
        run: of the runtime, for this batch.
        reference: of the same network and input size.
        name: of the runtime, for the sentence.
        precision: chooses the limits.
        batch: images at a time; the pictures take their turns until every batch is full.

    Raises:
        RefusedRuntimeError: says the figures and the limits.
    """
    limits = LIMITS.get(precision, USUAL_LIMITS)
    count = len(reference.pixels)
    runs = -(-count * PASSES // batch)
    order = np.arange(runs * batch) % count
    worst = Proof(0.0, 0.0, 0.0)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        said = run(reference.pixels[chosen])
        depth, confidence = said.depth, said.confidence
        wanted = reference.depth[chosen]
        if depth.shape != wanted.shape:
            raise RefusedRuntimeError(
                f"{name} in {precision} gives depth of the shape {list(depth.shape)} where the network gives "
                f"{list(wanted.shape)}"
            )
        for index in range(batch):
            worst = _worse(worst, _compare(depth[index], wanted[index], confidence[index], reference, chosen[index]))
    if not (worst.median <= limits.median and worst.p99 <= limits.p99 and worst.confidence <= CONFIDENCE_LIMIT):
        raise RefusedRuntimeError(
            f"{name} in {precision} is not this network: its depth is off by {worst.median:.1%} (median) and "
            f"{worst.p99:.1%} (99 of 100 pixels), confidence by {worst.confidence:.2f}; allowed: {limits.median:.0%}, "
            f"{limits.p99:.0%} and {CONFIDENCE_LIMIT:g}"
        )
    return worst


def _compare(
    depth: NDArray[np.float32],
    wanted: NDArray[np.float32],
    confidence: NDArray[np.float32],
    reference: Reference,
    picture: int,
) -> Proof:
    error = np.abs(depth - wanted) / np.maximum(np.abs(wanted), 1e-6)
    off = np.abs(confidence - reference.confidence[picture]).mean()
    median, p99 = np.quantile(error, (0.5, 0.99))  # NaN where any pixel is
    return Proof(float(median), float(p99), float(off))


def _worse(a: Proof, b: Proof) -> Proof:
    """The larger of each figure; NaN is the worst."""
    median, p99, confidence = (float(np.maximum(*pair)) for pair in zip(_figures(a), _figures(b), strict=True))
    return Proof(median, p99, confidence)


def _figures(proof: Proof) -> tuple[float, float, float]:
    return proof.median, proof.p99, proof.confidence
