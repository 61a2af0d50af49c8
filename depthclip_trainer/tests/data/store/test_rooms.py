# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import pytest
import torch
from depthclip_trainer.data.store import rooms
from depthclip_trainer.data.store.rooms import STREAM_BLOCK, RoomStream, render_frames

from depthclip_ros.core.errors import ConfigError

CPU = torch.device("cpu")


@pytest.fixture
def rendered(monkeypatch):
    """The first room of each block that was rendered, in order."""
    calls = []

    def render(first, count, *arguments):
        calls.append(first)
        return render_frames(first, count, *arguments)

    monkeypatch.setattr(rooms, "render_frames", render)
    return calls


def test_a_stream_replaces_its_oldest_rooms_and_nothing_else(rendered):
    stream = RoomStream("rooms", 12, fresh=4, width_px=32, height_px=24, seed=2, device=CPU)
    assert len(stream) == 16  # whole blocks
    stream.advance(0)
    stream.advance(1)
    assert rendered == [20_000_000, 20_000_008]
    before = stream.gather(torch.arange(16))
    stream.advance(2)
    assert rendered[2:] == [20_000_016]
    after = stream.gather(torch.arange(16))
    assert torch.equal(after.images[STREAM_BLOCK:], before.images[STREAM_BLOCK:])
    image, depth_m, intrinsics = render_frames(20_000_016, STREAM_BLOCK, 32, 24, "mixed", CPU)
    assert torch.equal(after.images[:STREAM_BLOCK], image)
    assert torch.equal(after.depth_m[:STREAM_BLOCK], depth_m)
    assert torch.equal(after.intrinsics[:STREAM_BLOCK], intrinsics)
    assert after.paths[0] == "rooms/2:16"


def test_what_a_step_sees_does_not_depend_on_the_steps_before():
    walked = RoomStream("rooms", 16, fresh=4, width_px=32, height_px=24, seed=2, device=CPU)
    for step in (0, 2, 4, 6):
        walked.advance(step)
    jumped = RoomStream("rooms", 16, fresh=4, width_px=32, height_px=24, seed=2, device=CPU)
    jumped.advance(6)
    one, other = walked.gather(torch.arange(16)), jumped.gather(torch.arange(16))
    assert one.paths == other.paths
    assert torch.equal(one.images, other.images)


def test_only_rooms_that_are_rendered_here_can_stream(make_config):
    for source in ({"kind": "rooms", "path": "cache"}, {"kind": "rgbd_folder", "path": "walk"}):
        with pytest.raises(ConfigError, match=r"stream does not apply to (rooms with a path|rgbd_folder)"):
            make_config(data__train={"one": {**source, "stream": 1}})
