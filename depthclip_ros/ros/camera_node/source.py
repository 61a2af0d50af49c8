# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What every source gives: frames, with what is known about each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass
class Frame:
    """One picture and what is known about it.

    Attributes:
        rgb: uint8 [H, W, 3].
        camera: a CameraInfo-like object (`CameraFields` or a message from a bag); None where no intrinsics are known.
        depth_m: float32 [H, W], exact or measured depth in metres, NaN where unknown; None where there is none.
        stamp_ns: when the picture was taken; None where the source does not say.
        name: for people: file name or frame number.
        pose: camera to world, [4, 4], optical frame, of a world with z up and its floor at 0; None where not known.
    """

    rgb: NDArray[np.uint8]
    camera: Any | None
    depth_m: NDArray[np.float32] | None
    stamp_ns: int | None
    name: str
    pose: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class SourceOptions:
    """What a source may be told. Sizes, `seed` and `frames` are the room's; the topics are a bag's ("" finds them)."""

    width_px: int = 640
    height_px: int = 480
    seed: int = 12  # a furnished room whose way is ten metres long
    frames: int = 180
    image_topic: str = ""
    camera_info_topic: str = ""
    depth_topic: str = ""
    progress: Callable[[int, int], None] = field(default=lambda done, total: None, compare=False)

    @classmethod
    def of(cls, parameters: Mapping[str, Any], progress: Callable[[int, int], None]) -> SourceOptions:
        """From camera_node's parameters; those that are not named stay as they are."""
        names = {"width": "width_px", "height": "height_px"}
        own = ("seed", "frames", "image_topic", "camera_info_topic", "depth_topic")
        names |= dict(zip(own, own, strict=True))
        return cls(**{name: parameters[key] for key, name in names.items() if key in parameters}, progress=progress)


class Source(Protocol):
    """Frames in order; iterating again starts again.

    Attributes:
        kind: the row of `KINDS` that made it.
        rate_hz: frames per second of the recording; None where it has no rate of its own.
        skipped: one line for each frame that could not be read in the last pass.
    """

    kind: str
    rate_hz: float | None
    skipped: list[str]

    def __iter__(self) -> Iterator[Frame]: ...
