# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import numpy as np
import pytest
from depthclip_trainer.config import SourceConfig
from depthclip_trainer.data.split import part_names, places_of, time_parts

from depthclip_ros.core.errors import ConfigError, InputError


def test_parts_follow_each_other_with_a_gap():
    times_s = list(np.arange(0, 20, 0.1))  # 20 s at 10 Hz: the gap is 1 s
    parts = time_parts(times_s)
    assert parts["test"] == list(range(150, 200))
    ends = {name: (times_s[members[0]], times_s[members[-1]]) for name, members in parts.items()}
    assert ends["train"][0] == 0
    assert 0.95 < ends["validation"][0] - ends["train"][1] < 1.15
    assert 0.95 < ends["test"][0] - ends["validation"][1] < 1.15
    assert len(parts["train"]) > 100


def test_few_frames_are_split_and_fewer_are_refused():
    parts = time_parts(range(12))
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [7, 2, 3]
    with pytest.raises(InputError, match="7 frames cannot be split"):
        time_parts(range(7))


def test_a_pause_before_a_part_leaves_it_a_frame():
    parts = time_parts([0, 1, 2, 3, 4, 100.0, 100.1, 100.2, 100.3, 100.4])
    assert all(parts.values())
    members = [i for name in ("train", "validation", "test") for i in parts[name]]
    assert members == sorted(set(members))


class Frames:
    """Twenty frames, the last ten of which come quickly."""

    name, licence = "x", "none"
    frame_names = tuple(f"{i:06d}" for i in range(20))
    times_s = tuple([float(i) for i in range(10)] + [10 + 0.001 * i for i in range(10)])

    def read(self, name):
        raise AssertionError


def test_stamps_decide_where_a_set_has_them_and_count_spreads():
    config = SourceConfig(kind="bag", split="time", part="train")
    assert part_names(Frames(), config)[-1] == "000009"  # frame 10 is too near in time to the next part
    spread = part_names(Frames(), SourceConfig(kind="bag", split="time", count=3))
    assert spread == ["000000", "000010", "000019"]
    with pytest.raises(ConfigError, match="'held'; allowed with a split in time: all, train, validation, test"):
        part_names(Frames(), SourceConfig(kind="bag", split="time", part="held"))
    with pytest.raises(ConfigError, match="split is 'space'"):
        SourceConfig(split="space")


def test_places_are_folders_runs_of_numbers_or_the_source():
    frames = [("nyu", "nyu/0001"), ("nyu", "nyu/0002"), ("nyu", "nyu/0009"), ("kitti", "a/1.png"), ("kitti", "b/2.png")]
    assert len(set(places_of(frames))) == 4
    assert places_of(frames)[0] == places_of(frames)[1]
    assert places_of(frames[::-1]) == places_of(frames)[::-1]
    assert len(set(places_of([("bag", "image at 1.5 s"), ("bag", "image at 9.5 s")]))) == 1


@pytest.mark.parametrize(
    ("frames", "places"),
    [
        ([("s", "a/1"), ("s", "a/2"), ("s", "a/3")], 1),
        ([("s", "a/1"), ("s", "a/3")], 2),
        ([("s", "a/1"), ("s", "b/2")], 2),
        ([("s", "a/1"), ("t", "a/2")], 2),
        ([("s", "a/7.png"), ("s", "a/7.png")], 1),
        ([("s", "a/x.png"), ("s", "a/y.png"), ("s", "b/x.png")], 2),
    ],
)
def test_numbers_that_follow_each_other_are_one_place(frames, places):
    assert len(set(places_of(frames))) == places
