# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""MoA-DepthCLIP: a CLIP tower with mixtures of adapters, prompt context, bins and regression."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from depthclip_ros.core.model.adapters import MixtureOfAdapters
from depthclip_ros.core.model.config import DINOV2_TOWER, HYBRID_TOWER, PLAIN_STEM, MoaDepthClipConfig
from depthclip_ros.core.model.context import AverageContext, SceneContext
from depthclip_ros.core.model.contract import ADAPTERS, LAST_BLOCKS, TOWER, DepthModel, Prediction
from depthclip_ros.core.model.convolutions import fold_norms
from depthclip_ros.core.model.decoder import DenseDecoder, DetailStem
from depthclip_ros.core.model.heads import DepthHeads
from depthclip_ros.core.model.model_config import require
from depthclip_ros.core.model.towers.dinov2_tower import Dinov2Tower, load_dinov2
from depthclip_ros.core.model.towers.hybrid_tower import HybridTower
from depthclip_ros.core.model.towers.mobile_encoder import load_encoder
from depthclip_ros.core.model.towers.tower import Block, Tower

BIN_STRIDE = 4
"""The bins are read from the decoder's stage at this stride."""


class MoaDepthClip(DepthModel):
    """The system behind the presets of `config`, which say what each chooses.

    Args:
        config: what to build.
        load_base: read `config.base_weights` and embed the prompts; False builds the same tensors for a weights file
            to fill, without download or text tower.

    Raises:
        ConfigError: a tower, a pretrained tag or block numbers that do not exist.
        WeightsError: base weights that cannot be read.
    """

    config: MoaDepthClipConfig

    def __init__(self, config: MoaDepthClipConfig, *, load_base: bool = True) -> None:
        super().__init__(config)
        self.tower, self.context = self._build_tower(config, load_base)
        self.tower.check_layers("adapter_layers", config.adapter_layers)
        self.tower.check_layers("tap_layers", config.tap_layers)
        require(
            config.tap_layers[-1] == self.tower.blocks - 1,
            "tap_layers",
            config.tap_layers,
            f"ends with the tower's last block, {self.tower.blocks - 1}",
        )
        self.image_mean, self.image_std = self.tower.image_mean, self.tower.image_std
        self.stride = self.tower.stride
        self.scene_labels = config.scenes if config.context == "prompts" else ()
        self.adapters = nn.ModuleDict(
            {
                str(layer): MixtureOfAdapters(
                    self.tower.width,
                    config.adapter_experts,
                    config.adapter_width,
                    config.gate_width,
                    config.gate_temperature,
                )
                for layer in config.adapter_layers
            }
        )
        self.detail = DetailStem() if config.detail_stem else None
        self.decoder = self._build_decoder(config)
        bin_stage = self.decoder.strides.index(BIN_STRIDE)
        self.heads = DepthHeads(config, self.decoder.channels[bin_stage], self.decoder.channels[-1])
        self._bin_stage = bin_stage
        if config.train_tower:
            self.select_trained([ADAPTERS, LAST_BLOCKS, TOWER])
        else:
            self.select_trained([ADAPTERS, LAST_BLOCKS] if config.last_blocks else [ADAPTERS])

    def _build_tower(self, config: MoaDepthClipConfig, load_base: bool) -> tuple[Tower, AverageContext | SceneContext]:
        if config.tower in (HYBRID_TOWER, DINOV2_TOWER):
            tower = self._build_small_tower(config, load_base)
            prototypes = torch.randn(len(config.scenes), tower.embedding_width)
            return tower, SceneContext(prototypes, scale=5.0, query_width=tower.embedding_width)
        from depthclip_ros.core.model.towers.clip_tower import build_clip

        clip = build_clip(config.tower, config.base_weights, config.scenes, load_base=load_base)
        self.base_name = clip.base_name
        if config.context == "average":
            return clip.tower, AverageContext(clip.prompts)
        if config.context == "prompts":
            return clip.tower, SceneContext(clip.prompts, scale=clip.logit_scale)
        width = clip.tower.embedding_width
        return clip.tower, SceneContext(torch.randn(len(config.scenes), width), scale=5.0, query_width=width)

    def _build_small_tower(self, config: MoaDepthClipConfig, load_base: bool) -> Tower:
        base = Path(config.base_weights) if load_base and config.base_weights is not None else None
        if base is not None:
            self.base_name = f"{config.tower}:{base}"
        if config.tower == DINOV2_TOWER:
            tower = Dinov2Tower()
            if base is not None:
                load_dinov2(tower, base)
            return tower
        hybrid = HybridTower(
            config.tower_width,
            config.tower_blocks,
            config.tower_heads,
            config.stem_channels,
            config.stem_blocks,
            config.position_grid,
            None if config.stem == PLAIN_STEM else config.stem,
        )
        if base is not None:
            load_encoder(hybrid, base)
        return hybrid

    def _build_decoder(self, config: MoaDepthClipConfig) -> DenseDecoder:
        stages = len(config.decoder_channels)
        finest = self.stride >> (stages - 1)
        require(
            finest in (2, BIN_STRIDE) and self.stride % finest == 0,
            "decoder_channels",
            config.decoder_channels,
            f"as many stages as lead from stride {self.stride} to 4 or 2",
        )
        require(len(config.tap_layers) <= stages, "tap_layers", config.tap_layers, f"at most {stages}, one a stage")
        concatenated = config.context == "average"
        taps = [self.tower.width] * len(config.tap_layers)
        taps[-1] += self.context.width if concatenated else 0
        skips = self.detail.skips if self.detail is not None else self.tower.skips
        skips = tuple(skip for skip in skips if skip[1] >= finest)
        return DenseDecoder(
            self.stride, config.decoder_channels, taps, skips, None if concatenated else self.context.width
        )

    def see(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `DepthModel.see`: what the heads read, and the scene weights where there are labels for them."""
        seen = self.tower(
            images, {int(layer): adapter for layer, adapter in self.adapters.items()}, self.config.tap_layers
        )
        context, weights = self.context(seen.embedding)
        taps = seen.taps
        if isinstance(self.context, AverageContext):
            constant = context[:, :, None, None].expand(-1, -1, *taps[-1].shape[-2:])
            taps = [*taps[:-1], torch.cat([taps[-1], constant], dim=1)]
        skips = self.detail(images) if self.detail is not None else seen.skips
        maps = self.decoder(taps, skips[: len(self.decoder.skip_strides)], context)
        logits, fine = self.heads.see(maps[self._bin_stage], maps[-1])
        return (logits, fine, weights) if self.scene_labels and weights is not None else (logits, fine)

    def read(self, *seen: Tensor) -> Prediction:
        """See `DepthModel.read`. Depth comes at 1/2 of the input (1/4 for the paper's preset), bins at 1/4."""
        logits, fine, *weights = seen
        prediction: Prediction = self.heads.read(logits, fine)
        prediction.scene_weights = weights[0] if weights else None
        return prediction

    def joints(self) -> list[nn.Module]:
        """The modules whose outputs are all that transformer and decoder see of the stem of a hybrid tower.

        Raises:
            ConfigError: another tower, which has no stem.
        """
        require(isinstance(self.tower, HybridTower), "tower", self.config.tower, HYBRID_TOWER)
        tower = cast(HybridTower, self.tower)
        return [tower.to_tokens, *(stage.skip for stage in self._with_skip())]

    def enter(self, images: Tensor) -> list[Tensor]:
        """Outputs of `joints` for normalised images [B, 3, h, w], without the rest of the network."""
        levels, grid = cast(HybridTower, self.tower).look(images)
        skips = levels[::-1][: len(self.decoder.skip_strides)]
        return [grid, *(stage.skip(level) for stage, level in zip(self._with_skip(), skips, strict=True))]

    def _with_skip(self) -> list[Any]:
        return [stage for stage in self.decoder.stages if stage.skip is not None]

    @property
    def bin_centres(self) -> Tensor:
        """See `DepthModel.bin_centres`."""
        return self.heads.centres

    def all_groups(self) -> dict[str, list[nn.Parameter]]:
        """See `DepthModel.all_groups`; "last_blocks" holds the last `config.last_blocks` blocks of the tower."""
        last = self.tower.last_parameters(self.config.last_blocks)
        known = {id(parameter) for parameter in (*last, *self.tower.frozen_parameters())}
        rest = [parameter for parameter in self.tower.parameters() if id(parameter) not in known]
        in_tower = {id(parameter) for parameter in self.tower.parameters()}
        adapters = [parameter for parameter in self.parameters() if id(parameter) not in in_tower]
        return {ADAPTERS: adapters, LAST_BLOCKS: last, TOWER: rest}

    def prepare_inference(self) -> MoaDepthClip:
        """See `DepthModel.prepare_inference`: normalisations and gains go into the layers beside them."""
        super().prepare_inference()
        fold_norms(self)
        for module in self.modules():
            if isinstance(module, Block):
                module.fold()
        return self
