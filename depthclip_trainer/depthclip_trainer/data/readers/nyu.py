# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Readers of NYU Depth v2: the labelled `.mat` with its `splits.mat`, and folders with file lists.

The .mat (1449 frames, dense in-painted depth in metres) is a MATLAB 7.3 file, that is HDF5, whose arrays have their
axes in reverse: `images` uint8 [N, 3, W, H], `depths` float32 [N, W, H]. `splits.mat` is of the older MATLAB format
and numbers frames from 1. Folder form, as BTS and AdaBins use it: `SCENE/rgb_NNNNN.jpg`, `SCENE/sync_depth_NNNNN.png`
in millimetres, and lists of them (`file_list.py`).
"""

from __future__ import annotations

import logging
import weakref
from pathlib import Path

import h5py
import numpy as np
import scipy.io

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.types import Intrinsics
from depthclip_trainer.data.readers.file_list import Entry, Roots, find_list, open_list
from depthclip_trainer.data.readers.image_files import frame_of, read_colour, read_depth
from depthclip_trainer.data.sample import Sample

log = logging.getLogger(__name__)

LICENCE = "NYU Depth v2: research use"
MAT_NAME, SPLITS_NAME = "nyu_depth_v2_labeled.mat", "splits.mat"
SPLITS = {"train": "trainNdxs", "test": "testNdxs"}
UNITS_PER_METRE = 1000.0
LISTS = {
    "train": ("nyudepthv2_train_files_with_gt.txt", "nyu_train.txt"),
    "test": ("nyudepthv2_test_files_with_gt.txt", "nyu_test.txt"),
}
"""Usual names of the lists, in the folder of the data."""

IMAGE_ROOTS = ("", "sync", "official_splits/train", "official_splits/test", "train", "test")

WIDTH_PX, HEIGHT_PX = 640, 480
CAMERA = Intrinsics(518.8579, 519.4696, 325.5824, 253.7362, WIDTH_PX, HEIGHT_PX)
"""The colour camera, `camera_params.m` of the toolbox; lens distortion (1 % at the corners) is left as it is."""


class NyuMat:
    """Frames of the labelled .mat; a `FrameSet`.

    Attributes:
        name: with the part.
        frame_names: indices from 0, four digits: the place in the file, so that a gap is a scene boundary.

    Args:
        path: the .mat, or the folder that it lies in.
        part: `train` or `test` of `splits.mat` beside it (795 and 654 frames), or `all`.

    Raises:
        InputError: a file is missing, truncated or of another kind, or an index lies outside.
        ConfigError: an unknown part.
    """

    licence = LICENCE

    def __init__(self, path: str | Path, part: str = "train") -> None:
        file = Path(path)
        self.path = file / MAT_NAME if file.is_dir() else file
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise InputError(f"{self.path} is missing, truncated or no labelled NYU file (HDF5): {error}") from error
        weakref.finalize(self, self._file.close)
        try:
            self._images, self._depths = self._file["images"], self._file["depths"]
        except KeyError as error:
            raise InputError(f"{self.path} lacks images or depths; it is not {MAT_NAME}") from error
        images, depths = self._images.shape, self._depths.shape
        if len(images) != 4 or images[1] != 3 or depths != (images[0], *images[2:]):
            raise InputError(f"{self.path} has images {images} and depths {depths}; [N, 3, W, H] and [N, W, H] go")
        self.name = "nyu_depth_v2" if part == "all" else f"nyu_depth_v2_{part}"
        self.frame_names = tuple(f"{i:04d}" for i in self._indices(part))

    def read(self, name: str) -> Sample:
        """One frame.

        Raises:
            InputError: the file does not hold it, or not whole.
        """
        try:
            image = np.ascontiguousarray(self._images[int(name)].transpose(2, 1, 0))  # [3, W, H] → [H, W, 3]
            depth_m = np.ascontiguousarray(self._depths[int(name)].T, dtype=np.float32)  # [W, H] → [H, W]
        except (OSError, ValueError, IndexError) as error:
            raise InputError(f"{self.path} frame {name} does not read; the file is truncated: {error}") from error
        return frame_of(image, depth_m, camera_of(image.shape[1], image.shape[0]), f"{self.name}/{name}")

    def _indices(self, part: str) -> list[int]:
        count = self._images.shape[0]
        if part == "all":
            return list(range(count))
        if part not in SPLITS:
            raise ConfigError(f"part of {self.path.name} is {part!r}; allowed: all, {', '.join(SPLITS)}")
        splits = self.path.parent / SPLITS_NAME
        try:
            numbers = scipy.io.loadmat(splits, variable_names=[SPLITS[part]])[SPLITS[part]].ravel()
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"{splits} does not give {SPLITS[part]} ({error!r}); it is published beside {MAT_NAME}"
            ) from error
        indices = sorted(int(n) - 1 for n in numbers)
        if not indices or indices[0] < 0 or indices[-1] >= count:
            raise InputError(f"{splits} numbers frames outside 1..{count}, what {self.path} has")
        return indices


class NyuFolder:
    """Frames of a file list; a `FrameSet`.

    Attributes:
        name: with the list's.
        frame_names: `SCENE/rgb_NNNNN`.

    Args:
        path: the folder of the data, or the list itself.
        file_list: name of the list, relative to the folder; empty takes a usual one.
        part: which of the usual lists.

    Raises:
        InputError: no list, or one that does not read.
    """

    licence = LICENCE

    def __init__(self, path: str | Path, file_list: str = "", part: str = "train") -> None:
        base = Path(path)
        found, entries, _ = open_list(base, file_list, LISTS.get(part, ()))
        self.name = f"nyu_depth_v2_{found.stem}"
        base = found.parent if base.is_file() else base
        self._roots = Roots(base, IMAGE_ROOTS)
        self._entries: dict[str, Entry] = {str(Path(e.image).with_suffix("")): e for e in entries}
        self.frame_names = tuple(self._entries)

    def read(self, name: str) -> Sample:
        """One frame.

        Raises:
            InputError: a file is missing or broken, image and depth differ in size.
        """
        entry = self._entries[name]
        image = read_colour(self._roots.find(entry.image))
        depth_m = read_depth(self._roots.find(entry.depth), UNITS_PER_METRE)
        return frame_of(image, depth_m, camera_of(image.shape[1], image.shape[0]), f"{self.name}/{name}")


def camera_of(width_px: int, height_px: int) -> Intrinsics:
    """The Kinect of NYU at the size of a frame.

    Raises:
        InputError: not 640x480, so that nothing is known of how the frame was cut.
    """
    if (width_px, height_px) != (WIDTH_PX, HEIGHT_PX):
        raise InputError(f"a frame of NYU Depth v2 is {width_px}x{height_px}; it must be {WIDTH_PX}x{HEIGHT_PX}")
    return CAMERA


def is_nyu_mat(path: Path) -> bool:
    """Whether a path is the labelled .mat, or a folder with it."""
    return (path.is_file() and path.suffix == ".mat") or (path / MAT_NAME).is_file()


def is_nyu_folder(path: Path) -> bool:
    """Whether a path is a file list of NYU, or a folder with one of the usual lists."""
    found = find_list(path, "", [name for names in LISTS.values() for name in names])
    return found is not None and "sync_depth" in _head(found)


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(400).decode(errors="replace")
