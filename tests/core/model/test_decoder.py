# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import pytest
import torch

from depthclip_ros.core.model.decoder import DenseDecoder, DetailStem, Reassemble


def test_one_map_per_stage_at_its_stride():
    decoder = DenseDecoder(16, (24, 16, 12, 8), taps=[32, 32], skips=[(6, 4), (5, 2)], context_width=10)
    taps = [torch.randn(2, 32, 3, 4) for _ in range(2)]
    skips = [torch.randn(2, 6, 12, 16), torch.randn(2, 5, 24, 32)]
    maps = decoder(taps, skips, torch.randn(2, 10))
    assert [tuple(x.shape) for x in maps] == [(2, 24, 3, 4), (2, 16, 6, 8), (2, 12, 12, 16), (2, 8, 24, 32)]


@pytest.mark.parametrize("changed", ["tap 0", "tap 1", "skip 0", "skip 1", "context"])
def test_every_input_reaches_the_finest_map(changed):
    decoder = DenseDecoder(16, (24, 16, 12, 8), taps=[32, 32], skips=[(6, 4), (5, 2)], context_width=10).eval()
    for stage in decoder.stages:
        torch.nn.init.normal_(stage.modulation.project.weight, std=0.1)
    inputs = {
        "tap 0": torch.randn(1, 32, 3, 4),
        "tap 1": torch.randn(1, 32, 3, 4),
        "skip 0": torch.randn(1, 6, 12, 16),
        "skip 1": torch.randn(1, 5, 24, 32),
        "context": torch.randn(1, 10),
    }

    def finest():
        taps, skips = [inputs["tap 0"], inputs["tap 1"]], [inputs["skip 0"], inputs["skip 1"]]
        return decoder(taps, skips, inputs["context"])[-1]

    with torch.no_grad():
        before = finest()
        inputs[changed] = inputs[changed] + torch.randn_like(inputs[changed])
        assert (finest() - before).abs().max() > 1e-3


def test_reassemble_unfolds_each_token_in_its_own_place():
    reassemble = Reassemble(8, 4, 4)
    tap = torch.zeros(1, 8, 3, 3)
    with torch.no_grad():
        before = reassemble(tap)
        tap[:, :, 1, 2] = torch.randn(8)
        changed = (reassemble(tap) - before).abs().sum(1)[0] > 0
    rows, columns = changed.nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 7, 8, 11)


def test_detail_stem_gives_the_maps_that_it_announces():
    maps = DetailStem()(torch.randn(1, 3, 32, 64))
    assert [(x.shape[1], 32 // x.shape[2]) for x in maps] == list(DetailStem.skips)
