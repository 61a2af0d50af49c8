# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Global semantic context: what kind of place the image shows, as one vector."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip_ros.core.model.contract import full_precision


class AverageContext(nn.Module):
    """One constant vector: the average of the normalised prompt embeddings, as published.

    Args:
        prompts: [S, D], L2-normalised.
    """

    prompts: Tensor

    def __init__(self, prompts: Tensor) -> None:
        super().__init__()
        self.width = prompts.shape[1]
        self.register_buffer("prompts", prompts)

    def forward(self, embedding: Tensor) -> tuple[Tensor, None]:
        """The context [B, D] for image embeddings [B, any], and no weights."""
        return self.prompts.mean(dim=0).expand(embedding.shape[0], -1).to(embedding.dtype), None


class SceneContext(nn.Module):
    """Scene vectors weighted by how well each fits the image: softmax(scale * cosine(image, scene)).

    Args:
        scenes: [S, D]: fixed prompt embeddings, or the start of learned prototypes.
        scale: factor before the softmax (CLIP's own for prompts).
        query_width: None where image embeddings are in the scenes' own space (CLIP) and nothing here is trained;
            else a learned projection from this width leads there, and scenes and scale are learned too.
    """

    scenes: Tensor
    log_scale: Tensor

    def __init__(self, scenes: Tensor, scale: float, query_width: int | None = None) -> None:
        super().__init__()
        self.width = scenes.shape[1]
        log_scale = torch.tensor(math.log(scale))
        if query_width is None:
            self.query: nn.Module = nn.Identity()
            self.register_buffer("scenes", scenes)
            self.register_buffer("log_scale", log_scale)
        else:
            self.query = nn.Linear(query_width, self.width)
            self.scenes = nn.Parameter(scenes)
            self.log_scale = nn.Parameter(log_scale)

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """The context [B, D] and the weights float32 [B, S] for image embeddings [B, query width]."""
        query = self.query(embedding)
        with full_precision(query):
            scenes = F.normalize(self.scenes.float(), dim=-1)
            cosine = F.normalize(query.float(), dim=-1) @ scenes.T  # [B, S]
            weights = (self.log_scale.float().exp() * cosine).softmax(dim=-1)
            return (weights @ scenes).to(embedding.dtype), weights


class Modulation(nn.Module):
    """FiLM: x * (1 + gain) + shift per channel, both linear in the context. Starts as the identity."""

    def __init__(self, context_width: int, channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(context_width, 2 * channels)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Modulate [B, channels, h, w] by a context [B, context_width]."""
        gain, shift = self.project(context)[:, :, None, None].chunk(2, dim=1)  # [B, channels, 1, 1]
        modulated: Tensor = x * (1 + gain) + shift
        return modulated
