# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The contract of every data source: one frame, many frames of one source in memory, one training batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthclip_ros.core.types import Intrinsics

MIN_VALID_DEPTH_M = 0.1
MAX_VALID_DEPTH_M = 10.0

METRIC, CANONICAL, AFFINE = "metric", "canonical", "affine"
TARGETS = (METRIC, CANONICAL, AFFINE)
"""What a depth map is: measured metres, a teacher's canonical depth, or depth up to the scale and shift of 1/depth."""


@dataclass(frozen=True)
class Sample:
    """One frame as a reader gives it, at the size it was recorded.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        depth_m: float32 [H, W], metres along the optical axis, 0 where there is no reading.
        valid: bool [H, W], where `depth_m` is a reading.
        intrinsics: the camera at this size.
        path: names the frame in messages and tables.
        assumed_intrinsics: the source published no intrinsics; `intrinsics` is a guess.
    """

    image: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    valid: NDArray[np.bool_]
    intrinsics: Intrinsics
    path: str
    assumed_intrinsics: bool = False


@dataclass
class RawBatch:
    """Frames of one source on one canvas, before augmentation.

    Attributes:
        images: uint8 [N, 3, H, W]; a frame fills the canvas from the top left.
        depth_m: float16 [N, H, W], 0 where there is no reading.
        intrinsics: float32 [N, 4]: fx, fy, cx, cy in pixels of the canvas.
        sizes: float32 [N, 2]: width, height of each frame on the canvas.
        paths: N names.
        confidence: uint8 [N, H, W], 255 for 1.0, of labels that a teacher gave; None for measured depth.
    """

    images: Tensor
    depth_m: Tensor
    intrinsics: Tensor
    sizes: Tensor
    paths: list[str]
    confidence: Tensor | None = None

    def to(self, device: torch.device) -> RawBatch:
        """The same frames on a device."""
        moved = (t.to(device, non_blocking=True) for t in (self.images, self.depth_m, self.intrinsics, self.sizes))
        confidence = None if self.confidence is None else self.confidence.to(device, non_blocking=True)
        return RawBatch(*moved, self.paths, confidence)


@dataclass
class Batch:
    """What the training step sees.

    Attributes:
        images: float32 [B, 3, h, w] RGB, 0..1.
        depth_m: float32 [B, h, w], 0 where invalid.
        valid: bool [B, h, w].
        intrinsics: float32 [B, 4]: fx, fy, cx, cy in pixels of this batch.
        paths: B names.
        confidence: float32 [B, h, w], 0..1, 1 where depth was measured; None where all of it was.
        targets: int64 [B], what `depth_m` is, by its place in `TARGETS`; None where all of it is measured metres. It
            stays on the CPU, so that no choice makes a GPU's queue run empty.
        region: bool [B, h, w], where another picture was pasted in (`data/cutmix.py`); None where none was.
        mixed: int64 [n], on the CPU: the rows of `region` that have any.
    """

    images: Tensor
    depth_m: Tensor
    valid: Tensor
    intrinsics: Tensor
    paths: list[str]
    confidence: Tensor | None = None
    targets: Tensor | None = None
    region: Tensor | None = None
    mixed: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        moved = (t.to(device, non_blocking=True) for t in (self.images, self.depth_m, self.valid, self.intrinsics))
        confidence, region = (
            None if t is None else t.to(device, non_blocking=True) for t in (self.confidence, self.region)
        )
        return Batch(*moved, self.paths, confidence, self.targets, region, self.mixed)

    def rows_of(self, *kinds: str) -> Tensor:
        """Rows whose depth is of one of the `TARGETS` named, int64 [n], on the CPU."""
        if self.targets is None:
            return torch.arange(len(self.paths) if METRIC in kinds else 0)
        return torch.isin(self.targets, torch.tensor([TARGETS.index(kind) for kind in kinds])).nonzero().flatten()

    def canonical_depth(self, canonical_focal_px: float | None) -> Tensor:
        """Target in the network's units: float32 [B, h, w].

        `depth_m * canonical_focal_px / f_net`, f_net the geometric mean of fx and fy at this size; metres where the
        system has no canonical focal length.
        """
        if canonical_focal_px is None:
            return self.depth_m
        focal_px = (self.intrinsics[:, 0] * self.intrinsics[:, 1]).sqrt()  # [B]
        return self.depth_m * (canonical_focal_px / focal_px)[:, None, None]


class FramePool(Protocol):
    """Frames of one source, ready to be gathered by index; `target` is one of `TARGETS`.

    A pool of metric depth may have `max_depth_m`, beyond which readings are none; without, it is 10 m.
    """

    name: str
    target: str

    def __len__(self) -> int:
        """Number of frames."""
        ...

    def gather(self, indices: Tensor) -> RawBatch:
        """Frames at `indices` (int64 [N], cpu)."""
        ...


class MemoryPool:
    """A `FramePool` that holds its frames as tensors on one device."""

    def __init__(
        self, name: str, frames: RawBatch, target: str = METRIC, max_depth_m: float = MAX_VALID_DEPTH_M
    ) -> None:
        self.name = name
        self.target = target
        self.max_depth_m = max_depth_m
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames.paths)

    def gather(self, indices: Tensor) -> RawBatch:
        """Frames at `indices` (int64 [N], cpu), on the pool's device."""
        rows = indices.to(self.frames.images.device)
        return RawBatch(
            self.frames.images[rows],
            self.frames.depth_m[rows],
            self.frames.intrinsics[rows],
            self.frames.sizes[rows],
            [self.frames.paths[i] for i in indices.tolist()],
            None if self.frames.confidence is None else self.frames.confidence[rows],
        )

    def to(self, device: torch.device) -> MemoryPool:
        """The same frames on another device."""
        return MemoryPool(self.name, self.frames.to(device), self.target, self.max_depth_m)


def samples_of(pool: FramePool) -> Iterator[Sample]:
    """The frames of a pool one by one, each cut out of its canvas."""
    for index in range(len(pool)):
        frame = pool.gather(torch.tensor([index]))
        width_px, height_px = (int(side) for side in frame.sizes[0])
        image = frame.images[0, :, :height_px, :width_px].permute(1, 2, 0).contiguous().cpu().numpy()
        depth_m = frame.depth_m[0, :height_px, :width_px].float().cpu().numpy()
        intrinsics = Intrinsics(*frame.intrinsics[0].tolist(), width_px, height_px)
        yield Sample(image, depth_m, depth_m > 0, intrinsics, frame.paths[0])


def intrinsics_row(intrinsics: Intrinsics) -> list[float]:
    """fx, fy, cx, cy as `RawBatch.intrinsics` holds them."""
    return [intrinsics.fx_px, intrinsics.fy_px, intrinsics.cx_px, intrinsics.cy_px]


def pool_from_samples(
    name: str, samples: Iterable[Sample], longest_px: int, max_depth_m: float = MAX_VALID_DEPTH_M
) -> MemoryPool:
    """Shrinks frames until their longest side is `longest_px` (never enlarges) and packs them on one canvas.

    Colour is averaged over the area; depth takes the nearest reading, so that no invented depth arises at an edge.
    Samples are taken one by one and none is kept at its own size.
    """
    import cv2

    from depthclip_ros.core.geometry import scale_intrinsics

    sizes, images, depths, rows, paths = [], [], [], [], []
    for sample in samples:
        height_px, width_px = sample.depth_m.shape
        ratio = min(1.0, longest_px / max(height_px, width_px))
        w, h = max(1, round(width_px * ratio)), max(1, round(height_px * ratio))
        v = ((np.arange(h) + 0.5) * height_px / h).astype(int)
        u = ((np.arange(w) + 0.5) * width_px / w).astype(int)
        images.append(cv2.resize(sample.image, (w, h), interpolation=cv2.INTER_AREA))
        depths.append(np.where(sample.valid, sample.depth_m, 0)[v[:, None], u[None, :]].astype(np.float16))
        rows.append(intrinsics_row(scale_intrinsics(sample.intrinsics, w, h)))
        sizes.append((w, h))
        paths.append(sample.path)
    canvas_w, canvas_h = max(w for w, _ in sizes), max(h for _, h in sizes)
    image_canvas = torch.zeros(len(paths), 3, canvas_h, canvas_w, dtype=torch.uint8)
    depth_canvas = torch.zeros(len(paths), canvas_h, canvas_w, dtype=torch.float16)
    for i, (w, h) in enumerate(sizes):
        image_canvas[i, :, :h, :w] = torch.from_numpy(images[i]).permute(2, 0, 1)
        depth_canvas[i, :h, :w] = torch.from_numpy(depths[i])
    frames = RawBatch(
        image_canvas,
        depth_canvas,
        torch.tensor(rows, dtype=torch.float32),
        torch.tensor(sizes, dtype=torch.float32),
        paths,
    )
    return MemoryPool(name, frames, max_depth_m=max_depth_m)
