# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import torch

from depthclip_ros.core.model.towers.tower import Block


@torch.no_grad()
def test_gains_of_a_block_fold_into_weights_and_biases():
    torch.manual_seed(0)
    block = Block(8, 2, layer_scale=True)
    for parameter in block.parameters():
        parameter.normal_(0, 0.5)
    tokens = torch.randn(2, 5, 8)
    before = block(tokens)
    block.fold()
    assert block.scale_attention is None
    assert block.scale_perceptron is None
    torch.testing.assert_close(block(tokens), before)
