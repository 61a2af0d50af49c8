"""Training and validation parts of one folder, cut so that no room is in both."""

from __future__ import annotations

import re
from collections.abc import Sequence

from depthclip_ros.core.errors import ConfigError

PARTS = ("all", "train", "validation")


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


def part_of(frame_names: Sequence[str], part: str, every: int = 8, offset: int = 1) -> list[str]:
    """Frames of one part: every `every`-th run (of indices, or folder) is validation, the others training.

    Raises:
        ConfigError: an unknown part, or names that are neither numbers nor in folders.
    """
    if part not in PARTS:
        raise ConfigError(f"data part is {part!r}; allowed: {', '.join(PARTS)}")
    if part == "all":
        return list(frame_names)
    if all("/" in name for name in frame_names):
        runs = folder_runs(frame_names)
    elif all(name.isdecimal() for name in frame_names):
        runs = index_runs(frame_names)
    else:
        raise ConfigError(
            f"frames such as {frame_names[0]!r} have no number and no folder to cut parts by; split: time"
        )
    wanted = part == "validation"
    return [name for i, run in enumerate(runs) if (i % every == offset % every) == wanted for name in run]
