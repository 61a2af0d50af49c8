# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""CLIP's text tower, frozen, fed with learned vectors in place of words."""

from __future__ import annotations

from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from depthclip_ros.core.model.model_config import require


class FrozenText(nn.Module):
    """From a sequence of vectors where words would stand to the one vector that CLIP makes of a text.

    The sequence is framed as a text is, by CLIP's start and end tokens, and read at the end token. What would follow
    the end is left out: attention is causal, so it plays no part. Of the word embeddings only those two are kept.

    Args:
        clip: an open_clip model.
        name: of it, for its tokenizer.

    Raises:
        ConfigError: a text tower of another kind than CLIP's own.
    """

    frame: Tensor
    mask: Tensor

    def __init__(self, clip: Any, name: str) -> None:
        super().__init__()
        text: Any = getattr(clip, "text", clip)
        causal = isinstance(getattr(text, "attn_mask", None), Tensor)
        linear = isinstance(getattr(text, "text_projection", None), nn.Parameter)
        require(causal and linear, "tower", name, "a model of open_clip with CLIP's own text tower, as ViT-B-16")
        self.transformer = text.transformer
        # open_clip before 2.25 keeps tokens as [N, B, width]
        attention = getattr(text.transformer.resblocks[0], "attn", None)
        self._batch_first = getattr(text.transformer, "batch_first", getattr(attention, "batch_first", True))
        self.positional_embedding = text.positional_embedding
        self.ln_final = text.ln_final
        self.text_projection = text.text_projection
        self.width, self.embedding_width = text.text_projection.shape
        words: Tensor = text.token_embedding.weight.detach()
        tokenizer = open_clip.get_tokenizer(name)
        ends = torch.tensor([tokenizer.sot_token_id, tokenizer.eot_token_id])
        self.register_buffer("frame", words[ends].clone())  # [2, width]: start, end
        self.register_buffer("mask", text.attn_mask.clone(), persistent=False)

    @property
    def longest(self) -> int:
        """How many vectors a text can have between its ends."""
        return len(self.positional_embedding) - 2

    def forward(self, words: Tensor) -> Tensor:
        """The text vector [D] of a sequence [N, width]."""
        start, end = self.frame.to(words.dtype)
        tokens = torch.cat([start[None], words, end[None]])  # [N + 2, width]
        length = len(tokens)
        batch = 0 if self._batch_first else 1
        tokens = (tokens + self.positional_embedding[:length].to(tokens.dtype)).unsqueeze(batch)
        tokens = self.transformer(tokens, attn_mask=self.mask[:length, :length]).squeeze(batch)
        vector: Tensor = self.ln_final(tokens[-1]) @ self.text_projection
        return vector
