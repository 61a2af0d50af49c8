# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import itertools
import threading
import time

import pytest
import torch
from depthclip_trainer.data.augment import AugmentConfig
from depthclip_trainer.data.mixture import Mixture
from depthclip_trainer.data.prefetch import Prefetch
from depthclip_trainer.data.sample import Batch
from depthclip_trainer.data.store.rooms import RoomStream, render_pool

CPU = torch.device("cpu")


def batches(mixture):
    return (mixture.batch(step) for step in itertools.count())


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_batches_are_the_same_however_many_lie_ready():
    pools = [render_pool("rooms", 4, 48, 32, 3, CPU), RoomStream("stream", 8, 4, 48, 32, 5, CPU)]
    mixture = Mixture(pools, [1, 1], 3, 48, 32, AugmentConfig(), seed=1, device=CPU)
    taken = []
    for ahead in (0, 1, 3):
        with Prefetch(batches(mixture), CPU, ahead) as source:
            taken.append([next(source) for _ in range(4)])
        assert not threads()
    for other in taken[1:]:
        for one, same in zip(taken[0], other, strict=True):
            assert one.paths == same.paths
            assert torch.equal(one.images, same.images)
            assert torch.equal(one.depth_m, same.depth_m)


def test_no_more_than_asked_for_is_made_ahead():
    made = []

    def source():
        for step in itertools.count():
            made.append(step)
            nothing = torch.zeros(0)
            yield Batch(nothing, nothing, nothing, nothing, [str(step)])

    with Prefetch(source(), CPU, 2) as ready:
        assert [next(ready).paths for _ in range(2)] == [["0"], ["1"]]
        time.sleep(0.1)  # for a thread that does not stop to run away
        assert len(made) <= 5  # two taken, two ready, one in the thread's hand


@pytest.mark.parametrize("ahead", [0, 2])
def test_what_goes_wrong_in_the_thread_is_raised_at_the_step_that_wants_the_batch(ahead):
    nothing = torch.zeros(0)

    def source():
        yield Batch(nothing, nothing, nothing, nothing, ["good"])
        raise OSError("the disk is gone")

    with Prefetch(source(), CPU, ahead) as ready:
        assert next(ready).paths == ["good"]
        with pytest.raises(OSError, match="the disk is gone"):
            next(ready)
    assert not threads()
