"""Parts of one recording that are contiguous in time, with a gap between them, so that no neighbour is in two parts."""

from __future__ import annotations

from collections.abc import Sequence

from depthclip_ros.core.errors import InputError

TEST_SHARE, VALIDATION_SHARE = 0.25, 0.15
GAP_SHARE = 0.05
MIN_FRAMES = 8


def time_parts(positions: Sequence[float]) -> dict[str, list[int]]:
    """Indices of the frames of each part: the last quarter tests, what lies before it validates, the first 60 % train.

    Args:
        positions: of the frames, ascending: stamps in seconds, or their numbers. Frames within 5 % of the whole span
            before the next part are in none.

    Raises:
        InputError: fewer than 8 frames.
    """
    count = len(positions)
    if count < MIN_FRAMES:
        raise InputError(f"{count} frames cannot be split in time; at least {MIN_FRAMES} are needed")
    first_test = count - max(2, round(TEST_SHARE * count))
    first_validation = first_test - max(1, round(VALIDATION_SHARE * count))
    gap = GAP_SHARE * (positions[-1] - positions[0])
    return {
        "train": _before_gap(positions, range(first_validation), positions[first_validation] - gap),
        "validation": _before_gap(positions, range(first_validation, first_test), positions[first_test] - gap),
        "test": list(range(first_test, count)),
    }


def _before_gap(positions: Sequence[float], members: range, end: float) -> list[int]:
    """Members that end before the gap; where it would swallow them all, the first of them."""
    kept = [i for i in members if positions[i] <= end]
    return kept or [members[0]]
