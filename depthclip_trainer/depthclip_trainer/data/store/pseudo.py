# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Pseudo-labelled pictures: a picture, what a teacher says of it, and how sure it is, in WebDataset shards.

A shard is a tar (`shard-NNNNNN.tar`) with four files a picture:

    KEY.jpg             the picture, at most as large as asked for when it was labelled
    KEY.label.npy       float16 [h, w] on the teacher's own grid: canonical depth, or disparity with a median of 1
    KEY.confidence.png  uint8 [h, w] on the same grid, 255 is 1.0
    KEY.json            name, target, intrinsics of the picture, whether they were assumed, the teacher's input size

**Why canonical depth needs no lens.** A metric teacher predicts depth c for a focal length of f_c at its input. Read
with any focal length f of the picture, depth is D = c * f_net / f_c metres, f_net = f * (input width / picture width).
A student that sees a crop enlarged by z has the focal length z * f_net at its input and is asked for
D * f_c / (z * f_net) = c / z: f is gone. So the assumed lens stands in the file, and does no harm.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import scale_intrinsics
from depthclip_ros.core.types import Intrinsics
from depthclip_trainer.data.sample import AFFINE, CANONICAL, MemoryPool, RawBatch, intrinsics_row
from depthclip_trainer.data.store.pools import DiskPool
from depthclip_trainer.data.store.tar import index_shard, read_sample

INDEX_NAME = "index.json"
JPEG_QUALITY = 95
LARGEST_DEPTH_M = 6e4
"""What float16 holds; disparity 0 (the sky) is read as this depth."""


@dataclass(frozen=True)
class PseudoFrame:
    """One labelled picture.

    Attributes:
        name: of the picture, as its folder or shard names it.
        image: uint8 [H, W, 3] RGB.
        target: `canonical` or `affine`, what `label` is.
        label: float16 [h, w], canonical depth or disparity; 0 where there is none.
        confidence: uint8 [h, w], 255 for 1.0.
        intrinsics: of `image`.
        assumed_intrinsics: they are a guess.
        network_size: (width, height) of the teacher's input.
        canonical_focal_px: the teacher's; None where its output is metres.
        key: in its shard.
    """

    name: str
    image: NDArray[np.uint8]
    target: str
    label: NDArray[np.float16]
    confidence: NDArray[np.uint8]
    intrinsics: Intrinsics
    assumed_intrinsics: bool
    network_size: tuple[int, int]
    canonical_focal_px: float | None
    key: str

    def depth_m(self) -> NDArray[np.float32]:
        """The label as depth float32 [h, w] seen through `intrinsics` (for `affine` in no unit), 0 where none."""
        label = self.label.astype(np.float32)
        if self.target == AFFINE:
            has = np.isfinite(label) & (label >= 0)
            return np.where(has, 1 / np.clip(label, 1 / LARGEST_DEPTH_M, None), 0).astype(np.float32)
        scale = 1.0
        if self.canonical_focal_px is not None:
            small = scale_intrinsics(self.intrinsics, *self.network_size)
            scale = float((small.fx_px * small.fy_px) ** 0.5) / self.canonical_focal_px
        has = np.isfinite(label) & (label > 0)
        return np.where(has, np.clip(label * scale, 0, LARGEST_DEPTH_M), 0).astype(np.float32)


def encode(frame: PseudoFrame) -> dict[str, Any]:
    """The files of one picture, as `webdataset.TarWriter` takes them."""
    label = io.BytesIO()
    np.save(label, frame.label, allow_pickle=False)
    _, picture = cv2.imencode(
        ".jpg", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    _, confidence = cv2.imencode(".png", frame.confidence)
    about = {
        "name": frame.name,
        "target": frame.target,
        "intrinsics": intrinsics_row(frame.intrinsics),
        "assumed_intrinsics": frame.assumed_intrinsics,
        "width_px": frame.intrinsics.width_px,
        "height_px": frame.intrinsics.height_px,
        "network_size": list(frame.network_size),
        "canonical_focal_px": frame.canonical_focal_px,
    }
    return {
        "__key__": frame.key,
        "jpg": picture.tobytes(),
        "label.npy": label.getvalue(),
        "confidence.png": confidence.tobytes(),
        "json": json.dumps(about).encode(),
    }


def decode(files: Mapping[str, Any]) -> PseudoFrame:
    """The inverse of `encode`.

    Raises:
        InputError: a file is missing or broken; names the picture.
    """
    key = str(files.get("__key__"))
    try:
        about = json.loads(files["json"])
        bgr = cv2.imdecode(np.frombuffer(files["jpg"], np.uint8), cv2.IMREAD_COLOR)
        confidence = cv2.imdecode(np.frombuffer(files["confidence.png"], np.uint8), cv2.IMREAD_GRAYSCALE)
        label = np.load(io.BytesIO(files["label.npy"]), allow_pickle=False).astype(np.float16)
        if (
            bgr is None
            or confidence is None
            or about["target"] not in (CANONICAL, AFFINE)
            or label.shape != confidence.shape
        ):
            raise ValueError("a picture, a label and its confidence are needed, of one size")
        fx, fy, cx, cy = (float(v) for v in about["intrinsics"])
        return PseudoFrame(
            name=str(about["name"]),
            image=cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB),
            target=about["target"],
            label=label,
            confidence=confidence,
            intrinsics=Intrinsics(fx, fy, cx, cy, int(about["width_px"]), int(about["height_px"])),
            assumed_intrinsics=bool(about["assumed_intrinsics"]),
            network_size=(int(about["network_size"][0]), int(about["network_size"][1])),
            canonical_focal_px=about["canonical_focal_px"],
            key=key,
        )
    except (KeyError, ValueError, TypeError, EOFError) as error:
        shard = files.get("__url__", "a shard")
        raise InputError(f"{shard}, {key} is no pseudo-labelled picture: {error!r}") from error


def read_index(folder: Path) -> dict[str, Any]:
    """What `pseudo-label` says of a folder of shards.

    Raises:
        InputError: no index there, or one that does not read.
    """
    path = folder / INDEX_NAME
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} does not read ({error}); it is written by depthclip-train pseudo-label") from error


def pseudo_pool(
    name: str, folder: Path, longest_px: int, count: int = 0, keep: str = "memory"
) -> MemoryPool | DiskPool[Packed]:
    """A folder of shards: pictures, labels as depth, confidence, on one canvas.

    Args:
        name: of the source.
        folder: with shards.
        longest_px: pictures are shrunk until their longest side is this; the label is brought to the picture's size.
        count: frames to take, 0 for all.
        keep: `memory`, or `disk`: a picture is read when it is drawn, and 24 bytes of each stay in memory.

    Raises:
        InputError: no shards, a broken one, or labels of two kinds.
    """
    shards = sorted(folder.glob("shard-*.tar"))
    with ThreadPoolExecutor(4) as readers:
        found = readers.map(index_shard, shards)
        spans = [(s, place.start, place.end) for s, places in enumerate(found) for place in places]
    places = np.array(spans[: count or None], dtype=np.int64).reshape(-1, 3)
    if not len(places):
        raise InputError(f"{folder} holds no labelled picture; make some: depthclip-train pseudo-label --out {folder}")

    def read(index: int) -> PseudoFrame:
        shard, start, end = (int(n) for n in places[index])
        return decode(read_sample(shards[shard], start, end))

    if keep == "disk":
        target = one_target(folder, {read(i).target for i in (0, len(places) - 1)})
        return DiskPool(name, len(places), lambda i: pack(read(i), longest_px), on_canvas, target, threads=4)
    packed, targets = [], set()
    for i in range(len(places)):
        frame = read(i)
        packed.append(pack(frame, longest_px))
        targets.add(frame.target)
    return MemoryPool(name, on_canvas(packed), target=one_target(folder, targets))


def one_target(folder: Path, targets: set[str]) -> str:
    """The kind of all labels of a folder.

    Raises:
        InputError: they are of two kinds.
    """
    if len(targets) > 1:
        raise InputError(
            f"{folder} holds labels of two kinds, {' and '.join(sorted(targets))}; give each its own folder"
        )
    return next(iter(targets))


@dataclass(frozen=True)
class Packed:
    """A picture at a pool's size: image uint8 [3, H, W], depth float16 [H, W], confidence uint8 [H, W]."""

    image: torch.Tensor
    depth_m: torch.Tensor
    confidence: torch.Tensor
    intrinsics: list[float]
    name: str


def on_canvas(packed: Sequence[Packed]) -> RawBatch:
    """Pictures of any sizes on one canvas, each from the top left."""
    width_px, height_px = max(p.image.shape[2] for p in packed), max(p.image.shape[1] for p in packed)
    n = len(packed)
    images = torch.zeros(n, 3, height_px, width_px, dtype=torch.uint8)
    depth_m = torch.zeros(n, height_px, width_px, dtype=torch.float16)
    confidence = torch.zeros(n, height_px, width_px, dtype=torch.uint8)
    for i, p in enumerate(packed):
        _, h, w = p.image.shape
        images[i, :, :h, :w], depth_m[i, :h, :w], confidence[i, :h, :w] = p.image, p.depth_m, p.confidence
    sizes = torch.tensor([[p.image.shape[2], p.image.shape[1]] for p in packed], dtype=torch.float32)
    intrinsics = torch.tensor([p.intrinsics for p in packed], dtype=torch.float32)
    return RawBatch(images, depth_m, intrinsics, sizes, [p.name for p in packed], confidence)


def pack(frame: PseudoFrame, longest_px: int) -> Packed:
    """A picture shrunk until its longest side is `longest_px`, its label brought to the same size."""
    height_px, width_px = frame.image.shape[:2]
    ratio = min(1.0, longest_px / max(height_px, width_px))
    size = max(1, round(width_px * ratio)), max(1, round(height_px * ratio))
    image = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
    depth_m = frame.depth_m()
    # A teacher's map is smooth and whole, so it is enlarged smoothly; a hole in it keeps its hard edge.
    larger = cv2.resize(depth_m, size, interpolation=cv2.INTER_LINEAR)
    if (depth_m <= 0).any():
        nearest = cv2.resize(depth_m, size, interpolation=cv2.INTER_NEAREST_EXACT)
        whole = cv2.resize((depth_m > 0).astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.999
        larger = np.where(whole, larger, nearest)
    confidence = cv2.resize(frame.confidence, size, interpolation=cv2.INTER_LINEAR)
    row = intrinsics_row(scale_intrinsics(frame.intrinsics, *size))
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    depth = torch.from_numpy(larger.astype(np.float16))
    return Packed(pixels, depth, torch.from_numpy(confidence), row, frame.name)
