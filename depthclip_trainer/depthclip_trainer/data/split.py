# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Parts of a set, cut so that nothing is in two of them: by runs of frames or folders, or one recording in time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_trainer.config import SourceConfig
from depthclip_trainer.data.frames import FrameSet

PARTS = ("all", "train", "validation")

TEST_SHARE, VALIDATION_SHARE = 0.25, 0.15
GAP_SHARE = 0.05
MIN_FRAMES = 8


def part_names(frames: FrameSet, config: SourceConfig) -> list[str]:
    """Names of the frames of the source's part.

    Raises:
        ConfigError: an unknown part.
        InputError: too few frames to cut in time.
    """
    names = list(frames.frame_names)
    if config.split != "time":
        names = _part_of_set(frames, config.part)
        return [names[i] for i in spread(len(names), config.count)]
    chosen = spread(len(names), config.count)
    times_s: Sequence[float] = getattr(frames, "times_s", range(len(names)))
    if config.part != "all":
        parts = time_parts([times_s[i] for i in chosen])
        if config.part not in parts:
            raise ConfigError(f"data part is {config.part!r}; allowed with a split in time: all, {', '.join(parts)}")
        chosen = [chosen[i] for i in parts[config.part]]
    return [names[i] for i in chosen]


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` of the numbers 0..count, ascending and evenly over the whole; all for 0 or where there are fewer."""
    if not 0 < wanted < count:
        return list(range(count))
    return [round(i * (count - 1) / max(1, wanted - 1)) for i in range(wanted)]


def index_runs(frame_names: Sequence[str]) -> list[list[str]]:
    """Groups frames whose numbers follow each other without a gap.

    The labelled NYU set is ordered by scene and its official split is by scene, so a gap in the training indices is
    a scene boundary, and a run is one or more whole scenes.
    """
    runs: list[list[str]] = []
    previous: int | None = None
    for name in sorted(frame_names, key=int):
        if previous is None or int(name) != previous + 1:
            runs.append([])
        runs[-1].append(name)
        previous = int(name)
    return runs


def folder_runs(frame_names: Sequence[str]) -> list[list[str]]:
    """Groups frames by the first folder of their names: scenes, drives, shards.

    NYU's raw recordings of one room are numbered together and told apart by a letter (`kitchen_0028a`, `..._0028b`),
    so the letter does not count.
    """
    runs: dict[str, list[str]] = {}
    for name in frame_names:
        runs.setdefault(re.sub(r"(?<=\d)[a-z]$", "", name.partition("/")[0]), []).append(name)
    return [runs[folder] for folder in sorted(runs)]


def places_of(frames: Sequence[tuple[str, str]]) -> list[str]:
    """The place of each (source, path): its folder, or the run of numbers that follow each other, or its source."""
    places, previous = [], ("", -2, "")
    for source, path in sorted(frames):
        *folders, name = path.rpartition(".")[0].split("/") if "." in path else path.split("/")
        number = int(name) if re.fullmatch(r"\d+", name) else None
        folder = "/".join((source, *folders))
        if number is None:
            place = folder
        else:
            follows = previous[0] == folder and number - previous[1] <= 1
            place = previous[2] if follows else f"{folder}/{name}"
            previous = (folder, number, place)
        places.append(place)
    by_frame = dict(zip(sorted(frames), places, strict=True))
    return [by_frame[frame] for frame in frames]


def part_of(frame_names: Sequence[str], part: str, every: int = 8, offset: int = 1) -> list[str]:
    """Frames of one part: every `every`-th run (of indices, or folder) is validation, the others training.

    Raises:
        ConfigError: an unknown part, or names that are neither numbers nor in folders.
    """
    if part not in PARTS:
        raise ConfigError(f"data part is {part!r}; allowed: {', '.join(PARTS)}")
    if part == "all":
        return list(frame_names)
    runs = _runs(frame_names)
    if not runs:
        raise ConfigError(
            f"frames such as {frame_names[0]!r} have no number and no folder to cut parts by; split: time"
        )
    wanted = part == "validation"
    return [name for i, run in enumerate(runs) if (i % every == offset % every) == wanted for name in run]


def _runs(frame_names: Sequence[str]) -> list[list[str]]:
    """Of numbers, or of folders; none where the names are neither."""
    if all("/" in name for name in frame_names):
        return folder_runs(frame_names)
    return index_runs(frame_names) if all(name.isdecimal() for name in frame_names) else []


def _part_of_set(frames: FrameSet, part: str) -> list[str]:
    """Frames of one part. Those of shards go where the set that they were written from has them.

    So a drive is on one side whatever order its frames were written in, and on the same side for shards and the set.
    """
    names = list(frames.frame_names)
    recorded_names: Callable[[], list[str]] | None = getattr(frames, "recorded_names", None)
    if recorded_names is None or part == "all":
        return part_of(names, part)
    recorded = recorded_names()
    if len(_runs(recorded)) < 2 or len(set(recorded)) < len(recorded):  # one recording, or names that tell nothing
        return part_of(names, part)
    chosen = set(part_of(recorded, part))
    return [name for name, was in zip(names, recorded, strict=True) if was in chosen]


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
