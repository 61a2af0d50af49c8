# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import cv2
import numpy as np
import pytest
from depthclip_trainer.config import SourceConfig
from depthclip_trainer.data.readers.tum import TumSequence
from depthclip_trainer.data.sources import frame_set, kind_of, part_names

from depthclip_ros.core.errors import ConfigError, InputError


@pytest.fixture
def make_tum(tmp_path):
    """A sequence as published: lists with a comment head, depth 12 ms behind the images, one image without depth."""

    def make(name="rgbd_dataset_freiburg3_office", frames=9):
        folder = tmp_path / name
        for part in ("rgb", "depth"):
            (folder / part).mkdir(parents=True)
        rows = {"rgb": ["# color images", "# timestamp filename"], "depth": ["# depth maps"]}
        for i in range(frames):
            stamp = 1305031102.175304 + 0.1 * i
            image = np.full((48, 64, 3), 10 * i, np.uint8)
            cv2.imwrite(str(folder / "rgb" / f"{stamp:.6f}.png"), image)
            rows["rgb"].append(f"{stamp:.6f} rgb/{stamp:.6f}.png")
            if i == 4:
                continue  # the camera dropped this one; neighbours are 0.1 s away
            late = stamp + 0.012
            cv2.imwrite(str(folder / "depth" / f"{late:.6f}.png"), np.full((48, 64), 5000 + 500 * i, np.uint16))
            rows["depth"].append(f"{late:.6f} depth/{late:.6f}.png")
        for part, lines in rows.items():
            (folder / f"{part}.txt").write_text("\n".join(lines) + "\n")
        return folder

    return make


def test_images_are_paired_with_depth_in_time_at_5000_a_metre(make_tum):
    folder = make_tum()
    assert kind_of(folder) == "tum"
    frames = TumSequence(folder)
    assert len(frames.frame_names) == 8
    assert frames.frame_names[0] == "1305031102.175304"
    assert frames.times_s[5] - frames.times_s[0] == pytest.approx(0.6, abs=1e-5)  # number 4 has no depth
    sample = frames.read(frames.frame_names[5])
    assert sample.depth_m[0, 0] == pytest.approx(1.6)
    assert sample.image[0, 0, 0] == 60
    camera = sample.intrinsics
    assert (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px) == (535.4, 539.2, 320.1, 247.6)
    assert not sample.assumed_intrinsics


def test_intrinsics_by_sequence_by_file_and_by_config(make_tum):
    folder = make_tum("desk_of_mine")
    guessed = TumSequence(folder).read(TumSequence(folder).frame_names[0])
    assert guessed.assumed_intrinsics
    assert guessed.intrinsics.fx_px == 525.0
    (folder / "calibration.txt").write_text("# fx fy cx cy d0\n70.5 71 31 23 0.1\n")
    assert TumSequence(folder).read("1305031102.175304").intrinsics.fy_px == 71.0
    source = SourceConfig(kind="tum", path=str(folder), intrinsics=[80, 81, 30, 20])
    given = frame_set(source, "/").read("1305031102.175304")
    assert (given.intrinsics.fx_px, given.assumed_intrinsics) == (80.0, False)
    (folder / "calibration.txt").write_text("70.5 seventy\n")
    with pytest.raises(InputError, match="it takes fx fy cx cy"):
        TumSequence(folder)
    with pytest.raises(ConfigError, match="takes fx, fy, cx, cy"):
        SourceConfig(kind="tum", intrinsics=[1.0])


def test_one_recording_is_cut_in_time(make_tum):
    folder = make_tum()
    frames = TumSequence(folder)
    test = part_names(frames, SourceConfig(kind="tum", part="test", split="time"))
    assert test == list(frames.frame_names[-2:])
    with pytest.raises(ConfigError, match="split: time"):
        part_names(frames, SourceConfig(kind="tum", part="train"))


def test_lists_that_do_not_read_or_never_meet_are_refused(make_tum):
    folder = make_tum()
    stamps = (folder / "depth.txt").read_text()
    (folder / "depth.txt").write_text(stamps.replace("13050311", "13050411"))
    with pytest.raises(InputError, match=r"no image and depth within 0\.02 s"):
        TumSequence(folder)
    (folder / "depth.txt").write_text("soon depth/1.png\n")
    with pytest.raises(InputError, match=r"depth\.txt:1 is 'soon"):
        TumSequence(folder)
    (folder / "depth.txt").unlink()
    with pytest.raises(InputError, match=r"rgb\.txt and depth\.txt"):
        TumSequence(folder)


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("rgbd_dataset_freiburg1_xyz", (517.3, 516.5, 318.6, 255.3)),
        ("rgbd_dataset_freiburg2_desk", (520.9, 521.0, 325.1, 249.7)),
        ("rgbd_dataset_freiburg3_long_office", (535.4, 539.2, 320.1, 247.6)),
        ("a_room_of_mine", (525.0, 525.0, 319.5, 239.5)),
    ],
)
def test_each_of_the_three_cameras_has_the_lens_that_the_data_sets_page_states(make_tum, name, camera):
    frames = TumSequence(make_tum(name, 2))
    found = frames.read(frames.frame_names[0]).intrinsics
    assert (found.fx_px, found.fy_px, found.cx_px, found.cy_px) == camera
