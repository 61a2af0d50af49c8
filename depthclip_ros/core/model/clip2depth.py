# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""CLIP2Depth: a frozen CLIP whose text tower reads a learned mirror in place of words, and a compact decoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip_ros.core.model.context import Modulation
from depthclip_ros.core.model.contract import ADAPTERS, LAST_BLOCKS, TOWER, DepthModel, Prediction, full_precision
from depthclip_ros.core.model.convolutions import PreciseProjection
from depthclip_ros.core.model.model_config import ModelConfig, require
from depthclip_ros.core.model.towers.tower import Block

if TYPE_CHECKING:
    from depthclip_ros.core.model.towers.clip_text import FrozenText


@dataclass(frozen=True, kw_only=True)
class Clip2DepthConfig(ModelConfig):
    """CLIP2Depth, "CLIP Can Understand Depth" (arXiv 2402.03251).

    Published: CLIP is frozen altogether; 64 learned vectors take the place of word embeddings (the mirror); the text
    tower's vector modulates image features by FiLM; a compact deconvolutional decoder. Layer numbers, widths, units
    and the confidence are ours.

    Attributes:
        tower: a vision transformer of open_clip by name.
        base_weights: a pretrained tag of open_clip (downloaded), the path of a safetensors file, or None for random
            weights.
        mirror_tokens: learned vectors, each as wide as a word embedding.
        tap_layers: blocks (from 0, shallow to deep) that the decoder reads.
        decoder_width, decoder_heads: of the decoder's transformer blocks, one for each tap.
        deconvolutions: channels behind each transposed convolution; each doubles the resolution.
        depth_low, depth_high: range of the output, in canonical units.
        prior_depth: where the untrained decoder starts, in canonical units.
    """

    system: str = "clip2depth"
    input_pixels: int = 352 * 352
    tower: str = "ViT-B-16-quickgelu"
    base_weights: str | None = "openai"
    mirror_tokens: int = 64
    tap_layers: tuple[int, ...] = (2, 5, 8, 11)
    decoder_width: int = 64
    decoder_heads: int = 4
    deconvolutions: tuple[int, ...] = (64, 48, 32)
    depth_low: float = 0.045
    depth_high: float = 30.0
    prior_depth: float = 3.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.system == "clip2depth", "system", self.system, "clip2depth")
        require(self.mirror_tokens >= 1, "mirror_tokens", self.mirror_tokens, "1 or more")
        taps = self.tap_layers
        require(len(taps) >= 1 and min(taps) >= 0, "tap_layers", taps, "at least one block, 0 or more")
        require(list(taps) == sorted(set(taps)), "tap_layers", taps, "ascending")
        heads = self.decoder_heads
        require(heads >= 1 and self.decoder_width % heads == 0, "decoder_heads", heads, "a divisor of decoder_width")
        require(len(self.deconvolutions) >= 1, "deconvolutions", self.deconvolutions, "at least one")
        require(min(self.deconvolutions) >= 4, "deconvolutions", self.deconvolutions, "4 channels or more each")
        require(0 < self.depth_low < self.depth_high < math.inf, "depth_low", self.depth_low, "0 < low < high")
        inside = self.depth_low < self.prior_depth < self.depth_high
        require(inside, "prior_depth", self.prior_depth, "between depth_low and depth_high")


PRESETS = {"clip2depth-vitb16": Clip2DepthConfig()}


class Decoder(nn.Module):
    """Taps from deep to shallow, each reduced and added, then a transformer block; then transposed convolutions.

    The text vector modulates the deepest tap (FiLM), so that everything after depends on it.

    Args:
        taps: how many.
        tap_width: channels of a tap.
        text_width: of the text vector.
        config: widths and range.
    """

    def __init__(self, taps: int, tap_width: int, text_width: int, config: Clip2DepthConfig) -> None:
        super().__init__()
        width = config.decoder_width
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(tap_width), nn.Linear(tap_width, width)) for _ in range(taps)
        )
        self.film = Modulation(text_width, width)
        # From zero, as `Modulation` starts, no gradient would reach the text vector at first.
        nn.init.normal_(self.film.project.weight, std=0.1 / math.sqrt(text_width))
        self.blocks = nn.ModuleList(Block(width, config.decoder_heads) for _ in range(taps))
        layers: list[nn.Module] = [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        inputs = width
        for channels in config.deconvolutions:
            layers += [nn.ConvTranspose2d(inputs, channels, 4, stride=2, padding=1), nn.ReLU()]
            inputs = channels
        self.deconvolve = nn.Sequential(*layers)
        for layer in self.deconvolve:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                overlap = 4 if isinstance(layer, nn.ConvTranspose2d) else 9  # kernel elements that meet in a pixel
                nn.init.normal_(layer.weight, std=math.sqrt(2 / (overlap * layer.in_channels)))
        self.head = PreciseProjection(inputs, 2)

    def forward(self, taps: list[Tensor], text: Tensor) -> Tensor:
        """What `head` reads, [B, channels, h', w'], of taps [B, tap_width, h, w], shallow to deep, and the text [D]."""
        rows, columns = taps[0].shape[-2:]
        x: Tensor | None = None
        for tap, reduce, block in zip(reversed(taps), reversed(self.reduce), self.blocks, strict=True):
            reduced = reduce(tap.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            x = self.film(reduced, text[None].to(reduced.dtype)) if x is None else x + reduced
            x = block(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(-1, (rows, columns))
        deconvolved: Tensor = self.deconvolve(x)
        return deconvolved


class Clip2Depth(DepthModel):
    """See `Clip2DepthConfig`. Depth comes at 2^n times the grid of the patches, n transposed convolutions.

    Depth is exp of a value between ln depth_low and ln depth_high, in canonical units. There are no bins; the second
    output is ln s, how far off in log depth the first one may be, and confidence is 1 / (1 + (s / s0)^2), s0 the
    buffer `confidence_scale`. The loss term "confidence" trains it.

    The text vector does not depend on the image. While training it is computed once a step, because the mirror moves;
    `prepare_inference` computes it once for all and lets go of the text tower.

    Args:
        config: what to build.
        load_base: read `config.base_weights`; False builds the same tensors for a weights file to fill.

    Raises:
        ConfigError: a tower, a pretrained tag or block numbers that do not exist, or more mirror tokens than a text
            may have.
        WeightsError: base weights that cannot be read.
    """

    config: Clip2DepthConfig
    confidence_scale: Tensor
    text_vector: Tensor | None

    def __init__(self, config: Clip2DepthConfig, *, load_base: bool = True) -> None:
        super().__init__(config)
        # open_clip takes a second to import: only where one of its models is built
        from depthclip_ros.core.model.towers.clip_text import FrozenText
        from depthclip_ros.core.model.towers.clip_tower import ClipTower, open_clip_model

        clip, self.base_name = open_clip_model(config.tower, config.base_weights, load_base=load_base, with_text=True)
        self.tower = ClipTower(clip.visual)
        self.text: FrozenText | None = FrozenText(clip, config.tower)
        self.tower.check_layers("tap_layers", config.tap_layers)
        longest = self.text.longest
        require(config.mirror_tokens <= longest, "mirror_tokens", config.mirror_tokens, f"at most {longest}")
        self.image_mean, self.image_std = self.tower.image_mean, self.tower.image_std
        self.stride = self.tower.stride
        self.mirror = nn.Parameter(torch.randn(config.mirror_tokens, self.text.width) * 0.02)  # as words are made
        self.decoder = Decoder(len(config.tap_layers), self.tower.width, self.text.embedding_width, config)
        self._log_low, self._log_high = math.log(config.depth_low), math.log(config.depth_high)
        share = (math.log(config.prior_depth) - self._log_low) / (self._log_high - self._log_low)
        self.register_buffer("confidence_scale", torch.tensor(0.25))
        self.register_buffer("text_vector", None, persistent=False)
        with torch.no_grad():
            self.decoder.head.bias.copy_(torch.tensor([math.log(share / (1 - share)), math.log(0.25)]))
        self.select_trained([ADAPTERS])

    def read_text(self) -> Tensor:
        """The text tower's vector of the mirror, [D], of length sqrt(D): about 1 in each channel."""
        if self.text_vector is not None:
            return self.text_vector
        assert self.text is not None
        with full_precision(self.mirror):
            vector = self.text(self.mirror)
            return F.normalize(vector.float(), dim=-1) * math.sqrt(vector.shape[-1])

    def see(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `DepthModel.see`: the decoder's own last map."""
        taps = self.tower(images, {}, self.config.tap_layers).taps
        return (self.decoder(taps, self.read_text()),)

    def read(self, *seen: Tensor) -> Prediction:
        """See `DepthModel.read`."""
        raw = self.decoder.head(seen[0])
        with full_precision(raw):
            log_depth = self._log_low + (self._log_high - self._log_low) * raw[:, 0].sigmoid()
            # 1 / (1 + (s / s0)^2) with ln s = raw[:, 1]
            confidence = (2 * (self.confidence_scale.float().log() - raw[:, 1])).sigmoid()
            return Prediction(depth=log_depth.exp(), confidence=confidence)

    def all_groups(self) -> dict[str, list[nn.Parameter]]:
        """See `DepthModel.all_groups`; the adapters are the mirror and the decoder."""
        frozen = list(self.tower.parameters()) + ([] if self.text is None else list(self.text.parameters()))
        adapters = [self.mirror, *self.decoder.parameters()]
        return {ADAPTERS: adapters, LAST_BLOCKS: [], TOWER: frozen}

    def prepare_inference(self) -> Clip2Depth:
        """See `DepthModel.prepare_inference`: the text vector is kept, the text tower is not."""
        super().prepare_inference()
        if self.text is not None:
            with torch.no_grad():
                self.text_vector = self.read_text()
            self.text = None
        return self
