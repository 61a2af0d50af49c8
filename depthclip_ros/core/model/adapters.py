# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Mixture of adapters: small experts beside a frozen block, mixed per token by a learned gate."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip_ros.core.model.contract import full_precision


class MixtureOfAdapters(nn.Module):
    """x + sum_k g_k * E_k(x) with E_k(x) = W2_k GELU(W1_k x + b1_k) + b2_k (arXiv 2604.01118).

    The gate g is softmax(logits / temperature) of a two-layer network per token: dense, no top-k, no noise, no balance
    loss. The experts lie side by side in one matrix each way, which is the same sum in two products. W2 and b2 start at
    zero, so an untrained mixture is the identity.

    Args:
        width: channels of a token.
        experts: K.
        expert_width: hidden channels of an expert.
        gate_width: hidden channels of the gate.
        temperature: of the gate's softmax.
    """

    def __init__(self, width: int, experts: int, expert_width: int, gate_width: int, temperature: float) -> None:
        super().__init__()
        self.experts = experts
        self.expert_width = expert_width
        self.temperature = temperature
        self.gate = nn.Sequential(nn.Linear(width, gate_width), nn.ReLU(), nn.Linear(gate_width, experts))
        self.expert_in = nn.Linear(width, experts * expert_width)
        self.expert_out = nn.Linear(experts * expert_width, width, bias=False)
        self.expert_bias = nn.Parameter(torch.zeros(experts, width))
        nn.init.zeros_(self.expert_out.weight)

    def gates(self, tokens: Tensor) -> Tensor:
        """Share of each expert per token: [B, N, K] for tokens [B, N, width]; sums to 1."""
        logits = self.gate(tokens)
        with full_precision(logits):
            gates: Tensor = (logits.float() / self.temperature).softmax(dim=-1).to(tokens.dtype)
            return gates

    def forward(self, tokens: Tensor) -> Tensor:
        """Adapt tokens [B, N, width]."""
        gates = self.gates(tokens)  # [B, N, K]
        hidden: Tensor = F.gelu(self.expert_in(tokens))
        hidden = hidden.view(*hidden.shape[:-1], self.experts, self.expert_width)  # [B, N, K, h]
        mixed = (hidden * gates.unsqueeze(-1)).flatten(-2)  # [B, N, K * h]
        correction: Tensor = self.expert_out(mixed) + gates @ self.expert_bias
        return tokens + correction
