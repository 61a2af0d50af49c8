# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Which stream a graph is recorded on. That replaying is right: `test_torch_runtime.py`, where there is a GPU."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch

from depthclip_ros.core.runtimes import cuda_graph
from depthclip_ros.core.runtimes.cuda_graph import STREAMS, own_stream

GPU = torch.device("cuda:0")


@pytest.fixture(autouse=True)
def streams_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch gives out the same 32 streams again and again."""
    handles = itertools.cycle(range(1000, 1000 + STREAMS))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: SimpleNamespace(cuda_stream=next(handles)))
    monkeypatch.setattr(cuda_graph, "_recorded_on", set())


def test_no_two_graphs_share_a_stream() -> None:
    streams = [own_stream(GPU).cuda_stream for _ in range(STREAMS - 1)]
    cuda_graph._recorded_on.remove((GPU, streams[4]))  # that graph is gone
    others = [own_stream(GPU).cuda_stream for _ in range(2)]
    assert streams[4] in others
    assert len({*streams, *others}) == STREAMS


def test_each_device_has_its_own() -> None:
    for _ in range(STREAMS):
        own_stream(GPU)
    own_stream(torch.device("cuda:1"))


def test_a_graph_too_many_is_not_recorded() -> None:
    for _ in range(STREAMS):
        own_stream(GPU)
    with pytest.raises(RuntimeError, match="32 CUDA graphs are there"):
        own_stream(GPU)
