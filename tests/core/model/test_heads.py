# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import math

import pytest
import torch

from depthclip_ros.core.model.heads import DepthHeads, bin_centres
from depthclip_ros.core.model.registry import preset


def heads_of(name: str, **overrides) -> DepthHeads:
    return DepthHeads(preset(name, **overrides), 16, 8).eval()


def test_uniform_bins():
    centres = bin_centres(preset("paper-vitb32", bin_low=0.0, bin_high=10.0, bins=4))
    assert centres.tolist() == [1.25, 3.75, 6.25, 8.75]


def test_log_bins_are_equally_wide_in_log_depth():
    centres = bin_centres(preset("nano")).log()
    step = math.log(45.0 / 0.07) / 128
    torch.testing.assert_close(centres.diff(), torch.full((127,), step, dtype=torch.float64))
    assert centres[0].item() == pytest.approx(math.log(0.07) + step / 2)


@pytest.mark.parametrize("name", ["nano", "paper-vitb32"])
def test_untrained_heads_start_at_the_prior(name):
    heads = heads_of(name)
    prediction = heads(torch.rand(2, 16, 6, 8), torch.rand(2, 8, 12, 16))
    assert prediction.depth.shape == (2, 12, 16)
    assert prediction.bin_logits.shape == (2, 128, 6, 8)
    prior = heads.config.prior_depth
    assert prior * 0.7 < prediction.depth.mean().item() < prior * 1.4
    torch.testing.assert_close(prediction.regression.mean(), torch.tensor(prior), rtol=0.05, atol=0)


@pytest.mark.parametrize("name", ["nano", "paper-vitb32"])
def test_depth_and_confidence_are_what_the_docstring_says(name):
    heads = heads_of(name)
    torch.nn.init.normal_(heads.bins.weight)
    torch.nn.init.normal_(heads.regression.weight, std=0.3)
    coarse, fine = torch.randn(1, 16, 5, 7), torch.randn(1, 8, 5, 7)  # one grid: nothing is interpolated
    prediction = heads(coarse, fine)
    centres = bin_centres(heads.config).float()
    p = prediction.bin_logits.softmax(1)
    raw = heads.regression(heads.fine(fine))
    if name == "nano":
        gate = torch.sigmoid(raw[:, 1])
        from_bins = (p * centres.log()[None, :, None, None]).sum(1)
        depth = torch.exp(gate * from_bins + (1 - gate) * prediction.regression.log())
    else:
        from_bins = (p * centres[None, :, None, None]).sum(1)
        depth = (from_bins + prediction.regression) / 2
    torch.testing.assert_close(prediction.depth, depth, rtol=1e-4, atol=1e-5)
    s = (p * (centres.log()[None, :, None, None] - depth.log()[:, None]) ** 2).sum(1).sqrt()
    torch.testing.assert_close(prediction.confidence, 1 / (1 + (s / 0.25) ** 2), rtol=1e-3, atol=1e-4)


def test_bins_that_agree_with_the_depth_are_sure():
    heads = heads_of("nano")
    with torch.no_grad():
        heads.bins.weight.zero_()
        heads.bins.bias.fill_(-50).index_fill_(0, torch.tensor([64]), 50.0)
        heads.regression.weight.zero_()
        heads.regression.bias[0] = heads.centres[64].log()
    prediction = heads(torch.zeros(1, 16, 2, 2), torch.zeros(1, 8, 4, 4))
    torch.testing.assert_close(prediction.depth, heads.centres[64].expand(1, 4, 4))
    assert prediction.confidence.min() > 0.999
    with torch.no_grad():
        heads.regression.bias[0] += 2.0
    assert heads(torch.zeros(1, 16, 2, 2), torch.zeros(1, 8, 4, 4)).confidence.max() < 0.1


def test_casting_to_half_precision_keeps_the_bins_exact():
    heads = heads_of("nano")
    before = heads.centres.clone()
    heads.to(torch.bfloat16)
    assert heads.moment_table.dtype == torch.float32
    assert torch.equal(heads.centres, before)
    prediction = heads(torch.rand(1, 16, 2, 2).bfloat16(), torch.rand(1, 8, 4, 4).bfloat16())
    assert prediction.depth.dtype == prediction.confidence.dtype == torch.float32


def test_autocast_does_not_round_the_depth():
    heads = heads_of("nano")
    torch.nn.init.normal_(heads.regression.weight, std=0.1)
    coarse, fine = torch.randn(1, 16, 24, 32), torch.randn(1, 8, 48, 64)
    with torch.autocast("cpu", torch.bfloat16):
        depth = heads(coarse, fine).depth
    assert depth.dtype == torch.float32
    assert depth.log().unique().numel() > 1000  # bfloat16 has some 100 values here


def test_depth_stays_finite_whatever_the_features_say():
    for name in ("nano", "paper-vitb32"):
        heads = heads_of(name)
        torch.nn.init.normal_(heads.regression.weight, std=1e4)
        prediction = heads(torch.randn(1, 16, 2, 2) * 1e4, torch.randn(1, 8, 4, 4) * 1e4)
        assert torch.isfinite(prediction.depth).all()
        assert (prediction.depth > 0).all()
        assert ((prediction.confidence >= 0) & (prediction.confidence <= 1)).all()
