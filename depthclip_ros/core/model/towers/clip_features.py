# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What CLIP's image tower sees at each place of the picture, in the width of its text embeddings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import open_clip
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from depthclip_ros.core.model.model_config import require
from depthclip_ros.core.model.towers.clip_tower import ClipTower

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class SpatialFeatures(nn.Module, ABC):
    """An image tower that gives one vector per place.

    Attributes:
        width: of the vectors, that of CLIP's text embeddings.
        stride: pixels between places.
        image_mean, image_std: normalisation that the tower expects.
    """

    width: int
    stride: int
    image_mean: tuple[float, float, float] = open_clip.OPENAI_DATASET_MEAN
    image_std: tuple[float, float, float] = open_clip.OPENAI_DATASET_STD

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Vectors [B, width, h / stride, w / stride] of normalised images [B, 3, h, w]."""

    def fold(self) -> None:
        """Make inference cheaper without changing its output."""


def spatial_features(visual: Any, projected: bool) -> SpatialFeatures:
    """The features of an open_clip image tower.

    Args:
        visual: of an open_clip model: a ResNet, or a plain vision transformer (projected features only).
        projected: or raw, see `ResNetFeatures`.

    Raises:
        ConfigError: a tower of another kind, or raw features of a vision transformer.
    """
    if isinstance(visual, ModifiedResNet):
        return ResNetFeatures(visual, projected)
    allowed = "a ResNet (RN50) or a plain vision transformer (ViT-B-16) of open_clip"
    require(isinstance(visual, VisionTransformer), "tower", type(visual).__name__, allowed)
    require(projected, "features", "raw", "projected, with a vision transformer")
    return VitFeatures(visual)


class ResNetFeatures(SpatialFeatures):
    """The last map of CLIP's ResNet, one vector per 32 x 32 pixels.

    Projected: each position passes through the value and output projection of CLIP's attention pool, which is what the
    pool would give if it looked at this position alone (MaskCLIP, arXiv 2112.01071); image and text share a space then.

    Raw: as DepthCLIP's code has it (arXiv 2207.01077). The 2,048 channels are L2-normalised and brought to the 1,024 of
    the text by nearest neighbour, which keeps every second one; the attention pool is not used, the vectors are not
    normalised again, and images are normalised with ImageNet's statistics rather than CLIP's.
    """

    stride = 32

    def __init__(self, visual: ModifiedResNet, projected: bool) -> None:
        super().__init__()
        pool: Any = visual.attnpool
        self.width = visual.output_dim
        self.projected = projected
        if projected:
            self.value, self.out = pool.v_proj, pool.c_proj
        else:
            self.image_mean, self.image_std = IMAGENET_MEAN, IMAGENET_STD
            inputs = pool.v_proj.in_features
            channels = torch.arange(self.width) * inputs // self.width  # nearest neighbour, torch's rounding
            self.register_buffer("channels", channels, persistent=False)
        visual.attnpool = nn.Identity()
        self.visual: Any = visual

    def forward(self, images: Tensor) -> Tensor:
        """See `SpatialFeatures.forward`."""
        seen: Tensor = self.visual(images)  # [B, C, rows, columns]
        if self.projected:
            places = self.out(self.value(seen.permute(0, 2, 3, 1)))
            return F.normalize(places.float(), dim=-1).permute(0, 3, 1, 2)
        return F.normalize(seen.float(), dim=1).index_select(1, self.get_buffer("channels"))

    def fold(self) -> None:
        """Fold the batch normalisations into the convolutions before them (evaluation mode only)."""
        for module in self.visual.modules():
            children = dict(module.named_children())
            pairs = [(name, name.replace("conv", "bn")) for name in children if name.startswith("conv")]
            for conv, norm in [*pairs, ("0", "1")]:  # "0", "1": convolution and norm of a shortcut
                if isinstance(children.get(norm), nn.BatchNorm2d):
                    setattr(module, conv, fuse_conv_bn_eval(children[conv], children[norm]))
                    setattr(module, norm, nn.Identity())


class VitFeatures(SpatialFeatures):
    """Patches of CLIP's vision transformer in the space of its texts, projected as `ResNetFeatures` does.

    In the last block each token looks at itself alone, that is, attention gives its own value (MaskCLIP, arXiv
    2112.01071); then come the block's perceptron, the last norm and CLIP's projection.
    """

    def __init__(self, visual: VisionTransformer) -> None:
        super().__init__()
        self.tower = ClipTower(visual)
        self.width, self.stride = self.tower.embedding_width, self.tower.stride
        attention = getattr(visual.transformer.resblocks[-1], "attn", None)
        plain = isinstance(attention, nn.MultiheadAttention) and self.tower.blocks > 1
        require(plain, "tower", type(attention).__name__, "a plain vision transformer of open_clip, as ViT-B-16")

    def forward(self, images: Tensor) -> Tensor:
        """See `SpatialFeatures.forward`."""
        visual = self.tower.visual
        block = visual.transformer.resblocks[-1]
        tokens = self.tower(images, {}, (self.tower.blocks - 2,)).taps[0].permute(0, 2, 3, 1)  # [B, rows, columns, C]
        weight, bias = block.attn.in_proj_weight.chunk(3)[2], block.attn.in_proj_bias.chunk(3)[2]
        tokens = tokens + block.ls_1(block.attn.out_proj(F.linear(block.ln_1(tokens), weight, bias)))
        tokens = tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
        places = visual.ln_post(tokens) @ visual.proj
        return F.normalize(places.float(), dim=-1).permute(0, 3, 1, 2)
