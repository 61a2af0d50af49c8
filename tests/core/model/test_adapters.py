# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import pytest
import torch
from torch.nn import functional as F

from depthclip_ros.core.model.adapters import MixtureOfAdapters


def test_has_the_published_number_of_parameters():
    mixture = MixtureOfAdapters(768, 4, 64, 128, 2.0)
    assert sum(parameter.numel() for parameter in mixture.parameters()) == 495_492


def test_untrained_is_the_identity():
    mixture = MixtureOfAdapters(24, 4, 8, 16, 2.0)
    tokens = torch.randn(2, 5, 24)
    assert torch.equal(mixture(tokens), tokens)


def test_is_the_gated_sum_of_its_experts():
    K, width, hidden, temperature = 3, 24, 8, 2.0
    mixture = MixtureOfAdapters(width, K, hidden, 16, temperature)
    for parameter in mixture.parameters():
        torch.nn.init.normal_(parameter)
    tokens = torch.randn(2, 5, width)

    first, _, second = mixture.gate
    logits = F.relu(tokens @ first.weight.T + first.bias) @ second.weight.T + second.bias
    gates = torch.exp(logits / temperature) / torch.exp(logits / temperature).sum(-1, keepdim=True)
    expected = tokens.clone()
    for k in range(K):
        rows = slice(k * hidden, (k + 1) * hidden)
        inner = F.gelu(tokens @ mixture.expert_in.weight[rows].T + mixture.expert_in.bias[rows])
        expert = inner @ mixture.expert_out.weight[:, rows].T + mixture.expert_bias[k]
        expected = expected + gates[..., k : k + 1] * expert

    torch.testing.assert_close(mixture(tokens), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gates_share_one(dtype):
    mixture = MixtureOfAdapters(24, 4, 8, 16, 2.0).to(dtype)
    gates = mixture.gates(torch.randn(2, 5, 24, dtype=dtype))
    assert gates.dtype == dtype
    torch.testing.assert_close(gates.float().sum(-1), torch.ones(2, 5), rtol=0, atol=1e-2)
