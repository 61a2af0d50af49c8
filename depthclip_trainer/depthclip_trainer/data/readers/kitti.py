# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Reader of KITTI with the file lists of the Eigen split, as BTS and AdaBins use them.

A line is `DATE/DRIVE/image_02/data/N.png DRIVE/proj_depth/groundtruth/image_02/N.png FOCAL`; depth is PNG, value / 256
metres, 0 no reading (LiDAR, about a sixth of the pixels of the improved truth). Images and depths may lie in one
folder or in the folders of the two downloads (`ROOTS`).
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics
from depthclip_trainer.data.frames import cropped
from depthclip_trainer.data.readers.file_list import Entry, Roots, find_list, open_list
from depthclip_trainer.data.readers.image_files import frame_of, read_colour, read_depth
from depthclip_trainer.data.sample import Sample

log = logging.getLogger(__name__)

LICENCE = "KITTI: CC BY-NC-SA 3.0"
UNITS_PER_METRE = 256.0
KB_WIDTH_PX, KB_HEIGHT_PX = 1216, 352
CALIBRATION = "calib_cam_to_cam.txt"
LISTS = {
    "train": ("eigen_train_files_with_gt.txt", "kitti_eigen_train_files_with_gt.txt"),
    "test": ("eigen_test_files_with_gt.txt", "kitti_eigen_test_files_with_gt.txt"),
}
"""Usual names of the lists, in the folder of the data."""

ROOTS = (
    "",
    "raw",
    "kitti_raw",
    "data_depth_annotated",
    "data_depth_annotated/train",
    "data_depth_annotated/val",
    "train",
    "val",
    "gts",
)


class KittiFrames:
    """Frames of a file list; a `FrameSet`. Lines whose depth is `None` are counted and left out.

    Attributes:
        name: with the list's.
        frame_names: `DRIVE/image_02/N`.
        without_depth: lines with `None`.

    Args:
        path: the folder of the data, or the list itself.
        file_list: name of the list, relative to the folder; empty takes a usual one.
        part: which of the usual lists.
        kb_crop: frames are cut to 1216x352 as for the benchmark of depth completion.

    Raises:
        InputError: no list, or one that does not read.
    """

    licence = LICENCE

    def __init__(self, path: str | Path, file_list: str = "", part: str = "train", kb_crop: bool = False) -> None:
        base = Path(path)
        found, entries, self.without_depth = open_list(base, file_list, LISTS.get(part, ()))
        if self.without_depth:
            log.warning("%s: %d lines without depth left out", found, self.without_depth)
        self.name = f"kitti_{found.stem}"
        base = found.parent if base.is_file() else base
        self._roots = Roots(base, ROOTS)
        self._kb_crop = kb_crop
        self._cameras: dict[Path, dict[str, list[float]]] = {}
        self._entries: dict[str, Entry] = {_frame_name(e.image): e for e in entries}
        self.frame_names = tuple(self._entries)

    def read(self, name: str) -> Sample:
        """One frame.

        Raises:
            InputError: a file is missing or broken, image and depth differ in size, or are smaller than the crop.
        """
        entry = self._entries[name]
        path = self._roots.find(entry.image)
        image = read_colour(path)
        depth_m = read_depth(self._roots.find(entry.depth), UNITS_PER_METRE)
        camera = self._camera(entry, path, image.shape[1], image.shape[0])
        sample = frame_of(image, depth_m, camera, f"{self.name}/{name}")
        return cropped(sample, kb_crop(*image.shape[:2])) if self._kb_crop else sample

    def _camera(self, entry: Entry, path: Path, width_px: int, height_px: int) -> Intrinsics:
        """Of `P_rect_0N` of the drive's date; else the list's focal length with the principal point in the middle."""
        camera = next((p for p in entry.image.split("/") if p.startswith("image_0")), "image_02")
        if path.parent not in self._cameras:
            found = next((p / CALIBRATION for p in list(path.parents)[:5] if (p / CALIBRATION).is_file()), None)
            self._cameras[path.parent] = read_calibration(found) if found else {}
        matrix = self._cameras[path.parent].get(f"P_rect_{camera[-2:]}")
        if matrix is not None:
            return Intrinsics(matrix[0], matrix[5], matrix[2], matrix[6], width_px, height_px)
        if not entry.focal_px:
            raise InputError(f"{entry.image} has no focal length: none in its list and no {CALIBRATION} above it")
        return Intrinsics(entry.focal_px, entry.focal_px, (width_px - 1) / 2, (height_px - 1) / 2, width_px, height_px)


def read_calibration(path: Path) -> dict[str, list[float]]:
    """The projection matrices `P_rect_0N` of a calib_cam_to_cam.txt, 12 numbers row by row.

    Raises:
        InputError: a matrix that does not read.
    """
    matrices = {}
    for line in path.read_text(errors="replace").splitlines():
        key, _, values = line.partition(":")
        if not key.startswith("P_rect_"):
            continue
        try:
            numbers = [float(value) for value in values.split()]
        except ValueError:
            numbers = []
        if len(numbers) != 12 or not np.isfinite(numbers).all():
            raise InputError(f"{path} has {key} {values.strip()[:60]!r}; a projection matrix has 12 numbers")
        matrices[key] = numbers
    return matrices


def kb_crop(height_px: int, width_px: int) -> tuple[int, int, int, int]:
    """Left, top, width, height of the benchmark's crop: 1216x352 at the bottom, in the middle.

    Raises:
        InputError: a smaller frame.
    """
    if height_px < KB_HEIGHT_PX or width_px < KB_WIDTH_PX:
        raise InputError(f"a frame is {width_px}x{height_px}; the KITTI crop takes {KB_WIDTH_PX}x{KB_HEIGHT_PX} of it")
    return (width_px - KB_WIDTH_PX) // 2, height_px - KB_HEIGHT_PX, KB_WIDTH_PX, KB_HEIGHT_PX


def is_kitti(path: Path) -> bool:
    """Whether a path is a file list of KITTI, or a folder with one of the usual lists."""
    found = find_list(path, "", [name for names in LISTS.values() for name in names])
    if found is None:
        return False
    with found.open("rb") as file:
        return b"_drive_" in file.read(400)


def _frame_name(image: str) -> str:
    parts = Path(image).with_suffix("").parts
    drive = next((p for p in parts if "_drive_" in p), parts[0])
    camera = next((p for p in parts if p.startswith("image_0")), "")
    return "/".join(part for part in (drive, camera, parts[-1]) if part)
