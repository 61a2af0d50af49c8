# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Doubtful frame_ids are named once, good ones never."""

from __future__ import annotations

import pytest

from depthclip_ros.ros.frame_names import FrameNames


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["eye", "eye", "other", "other"], []),  # a driver that was started anew under another name
        (["", "", "eye", ""], ["have no frame_id"]),
        (["/eye", "/eye"], ["have the frame_id /eye, and tf2 knows no name that begins with /; set eye"]),
        (["left", "right", "left", "right", "left"], ["have the frame_ids right and left in turn: several cameras"]),
        ([str(number) for number in range(1000)], ["have another frame_id again and again, now 8"]),
        (["", "/eye", "left", "right", "left"], ["no frame_id", "frame_id /eye", "right and left"]),
    ],
)
def test_each_doubt_is_said_once(names, said):
    frame_names = FrameNames()
    doubts = [doubt for name in names if (doubt := frame_names.doubt(name))]
    assert len(doubts) == len(said)
    assert all(text in doubt for text, doubt in zip(said, doubts, strict=True))
