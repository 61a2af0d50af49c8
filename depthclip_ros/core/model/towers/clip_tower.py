# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""CLIP's towers through open_clip: the vision transformer to walk through, the text tower to embed prompts once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.model_config import require
from depthclip_ros.core.model.towers.clip_checkpoint import fetch_checkpoint, load_checkpoint
from depthclip_ros.core.model.towers.tower import Adapters, PositionGrid, Tower, TowerOutput, walk_blocks

PROMPT = "a photo of a {}"


@dataclass
class Clip:
    """What is kept of a CLIP model.

    Attributes:
        tower: the vision tower.
        prompts: embeddings of the scene prompts, float32 [S, D], L2-normalised.
        logit_scale: CLIP's own factor on cosines before a softmax.
        base_name: "tower:weights" for pretrained weights, None for random ones.
    """

    tower: ClipTower
    prompts: Tensor
    logit_scale: float
    base_name: str | None


class ClipTower(Tower):
    """open_clip's `VisionTransformer`, block by block, at any input size. The image embedding is CLIP's own.

    Args:
        visual: the vision tower of an open_clip model.

    Raises:
        ConfigError: a vision tower that is not a plain vision transformer with a class token.
    """

    image_mean = open_clip.OPENAI_DATASET_MEAN
    image_std = open_clip.OPENAI_DATASET_STD

    def __init__(self, visual: Any) -> None:
        super().__init__()
        plain = isinstance(visual, VisionTransformer) and visual.attn_pool is None
        require(plain, "tower", type(visual).__name__, "a plain vision transformer of open_clip, as ViT-B-16")
        self.visual: Any = visual  # open_clip has no types
        self.width = visual.conv1.out_channels
        self.stride = visual.conv1.kernel_size[0]
        self.blocks = len(visual.transformer.resblocks)
        self.embedding_width = visual.proj.shape[1]
        self._grid = PositionGrid()
        # open_clip before 2.25 keeps tokens as [N, B, width]
        attention = getattr(visual.transformer.resblocks[0], "attn", None)
        self._batch_first = getattr(visual.transformer, "batch_first", getattr(attention, "batch_first", True))

    def forward(self, images: Tensor, adapters: Adapters, taps: Sequence[int]) -> TowerOutput:
        """See `Tower.forward`; adapters act on all tokens, the class token's too; the embedding is [B, D]."""
        patches = self.visual.conv1(images)  # [B, width, rows, columns]
        rows, columns = patches.shape[-2:]
        positions = self.visual.positional_embedding  # [1 + R * C, width]
        learned = positions[1:].T.unflatten(1, self.visual.grid_size)[None]
        patches = patches + self._grid.resize(learned, rows, columns).to(patches.dtype)
        first = (self.visual.class_embedding + positions[0]).to(patches.dtype).expand(images.shape[0], 1, -1)
        tokens = self.visual.ln_pre(torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1))  # [B, 1 + N, width]
        blocks = map(self._batch_first_block, self.visual.transformer.resblocks)
        tokens, maps = walk_blocks(tokens, blocks, self.visual.ln_post, adapters, taps, (rows, columns))
        return TowerOutput(maps, [], self.visual.ln_post(tokens[:, 0]) @ self.visual.proj)

    def _batch_first_block(self, block: Any) -> Callable[[Tensor], Tensor]:
        return block if self._batch_first else lambda tokens: block(tokens.transpose(0, 1)).transpose(0, 1)

    def last_parameters(self, count: int) -> list[nn.Parameter]:
        """See `Tower.last_parameters`; for ViT-B the last four blocks are 28.35 M parameters."""
        blocks = list(self.visual.transformer.resblocks)
        modules = [*blocks[self.blocks - min(count, self.blocks) :], self.visual.ln_post] if count else []
        return [parameter for module in modules for parameter in module.parameters()]


def build_clip(name: str, base_weights: str | None, scenes: Sequence[str], *, load_base: bool = True) -> Clip:
    """Make a CLIP model, embed the scene prompts, keep the vision tower and drop the text tower.

    Args:
        name: of the model in open_clip.
        base_weights: a pretrained tag of open_clip (downloaded where it is not cached; `TAG@REVISION` pins it), the
            path of a safetensors file, or None for random weights.
        scenes: names that fill the prompt.
        load_base: False leaves the weights random and the prompts zero, for a weights file to fill.

    Raises:
        ConfigError: an unknown model or tag.
        WeightsError: a checkpoint that cannot be read, or does not fit.
    """
    clip, base_name = open_clip_model(name, base_weights, load_base=load_base)
    tower = ClipTower(clip.visual)
    if not load_base:
        return Clip(tower, torch.zeros(len(scenes), tower.embedding_width), 1.0, None)
    prompts = embed_texts(clip, name, [PROMPT.format(scene) for scene in scenes])
    return Clip(tower, prompts, float(clip.logit_scale.detach().exp()), base_name)


def open_clip_model(
    name: str, base_weights: str | None, *, load_base: bool = True, with_text: bool = False
) -> tuple[Any, str | None]:
    """An open_clip model in evaluation mode, and "name:weights" of what is in it (None where it is random).

    Args:
        name: of the model in open_clip.
        base_weights: see `build_clip`.
        load_base: False leaves the weights random.
        with_text: make the whole text tower even so; else a random model gets one that is there in name only.

    Raises:
        ConfigError: an unknown model or tag.
        WeightsError: a checkpoint that cannot be read, or does not fit.
    """
    models = open_clip.list_models()
    if name not in models:
        nearest = difflib.get_close_matches(name, models, n=1, cutoff=0)[0]
        raise ConfigError(f"tower is {name!r}; open_clip's nearest is {nearest!r}, or 'hybrid' for the small tower")
    if not load_base:
        return _random(name, with_text=with_text).eval(), None
    return _create(name, base_weights).eval(), None if base_weights is None else f"{name}:{base_weights}"


@torch.no_grad()
def embed_texts(clip: Any, name: str, texts: Sequence[str]) -> Tensor:
    """Embeddings of texts by the tokenizer and text tower of an open_clip model: float32 [S, D], L2-normalised."""
    return F.normalize(clip.encode_text(open_clip.get_tokenizer(name)(list(texts))).float(), dim=-1)


def _create(name: str, base_weights: str | None) -> Any:
    if base_weights is None:
        return _random(name)
    given = Path(base_weights)
    path = given if given.is_file() else fetch_checkpoint(name, base_weights)
    clip = _random(name)
    load_checkpoint(clip, name, path)
    return clip


def _random(name: str, *, with_text: bool = True) -> Any:
    """A CLIP model with random weights, without the warning on the root logger that `create_model` gives."""
    settings = open_clip.get_model_config(name)
    if not with_text:
        settings["text_cfg"] = {"context_length": 1, "vocab_size": 2, "width": 64, "heads": 1, "layers": 1}
    custom = settings.pop("custom_text", False)
    try:
        return (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**settings)
    except TypeError as error:  # settings of CoCa and other relatives
        raise ConfigError(
            f"tower is {name!r}, which is not a plain CLIP model ({error}); take ViT-B-16-quickgelu"
        ) from error
