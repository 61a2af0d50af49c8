# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""DINOv2 ViT-S as a tower: the vision transformer that can be had without CLIP (arXiv 2304.07193)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthclip_ros.core.model.towers.tower import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Adapters,
    Block,
    PositionGrid,
    Tower,
    TowerOutput,
    read_base,
    walk_blocks,
)

WIDTH, BASE_BLOCKS, HEADS = 384, 12, 6
BLOCKS = 11
"""Blocks that are kept: the twelfth is made for the class token, and partly collapsed in the file that PyPI carries."""
PATCH_PX, BASE_PATCH_PX = 16, 14
GRID = 37
"""Rows and columns of the learned positions: 518 pixels in patches of 14."""


class Dinov2Tower(Tower):
    """ViT-S/14 with patches of 16 pixels, so that its levels are halves like those of every other tower.

    The patch embedding is brought to 16 pixels by `resized_patches`: an image enlarged by 16/14 then gives nearly the
    tokens that the published network gives for the image itself. The image embedding is the class token.
    """

    image_mean = IMAGENET_MEAN
    image_std = IMAGENET_STD

    def __init__(self) -> None:
        super().__init__()
        self.width = self.embedding_width = WIDTH
        self.stride = PATCH_PX
        self.blocks = BLOCKS
        self.patches = nn.Conv2d(3, WIDTH, PATCH_PX, PATCH_PX)
        self.class_token = nn.Parameter(torch.randn(1, 1, WIDTH) * 0.02)
        self.class_position = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.positions = nn.Parameter(torch.randn(1, WIDTH, GRID, GRID) * 0.02)
        self.transformer = nn.ModuleList(Block(WIDTH, HEADS, layer_scale=True, norm_eps=1e-6) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self._grid = PositionGrid()

    def forward(self, images: Tensor, adapters: Adapters, taps: Sequence[int]) -> TowerOutput:
        """See `Tower.forward`; adapters act on all tokens, the class token's too; the embedding is [B, WIDTH]."""
        patches = self.patches(images)  # [B, WIDTH, rows, columns]
        rows, columns = patches.shape[-2:]
        patches = patches + self._grid.resize(self.positions, rows, columns).to(patches.dtype)
        first = (self.class_token + self.class_position).to(patches.dtype).expand(images.shape[0], -1, -1)
        tokens = torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1)  # [B, 1 + N, WIDTH]
        tokens, maps = walk_blocks(tokens, self.transformer, self.norm, adapters, taps, (rows, columns))
        return TowerOutput(maps, [], self.norm(tokens[:, 0]))

    def last_parameters(self, count: int) -> list[nn.Parameter]:
        """See `Tower.last_parameters`."""
        modules = [*self.transformer[self.blocks - min(count, self.blocks) :], self.norm] if count else []
        return [parameter for module in modules for parameter in module.parameters()]

    def frozen_parameters(self) -> list[nn.Parameter]:
        """Patches and positions: few frames can only spoil them."""
        return [*self.patches.parameters(), self.class_token, self.class_position, self.positions]


def resized_patches(kernels: Tensor, side_px: int) -> Tensor:
    """Patch kernels [width, 3, p, p] at another side: the best answer to an image enlarged alike.

    With R the matrix of bilinear enlargement, the new kernel is pinv(R)^T k: its product with an enlarged patch R x is
    k x, so that the token stays (FlexiViT, arXiv 2212.08013, section 3.4).
    """
    side = kernels.shape[-1]
    basis = torch.eye(side * side, dtype=torch.float64).view(-1, 1, side, side)
    enlarged = F.interpolate(basis, size=(side_px, side_px), mode="bilinear", align_corners=False)
    matrix = enlarged.flatten(1).T  # [side_px^2, side^2]
    new = kernels.double().flatten(2) @ torch.linalg.pinv(matrix)  # [width, 3, side_px^2]
    resized: Tensor = new.view(*kernels.shape[:2], side_px, side_px).to(kernels.dtype)
    return resized


def load_dinov2(tower: Dinov2Tower, path: Path) -> None:
    """Fill a tower from a safetensors file with transformers' names of a DINOv2 ViT-S/14.

    Raises:
        WeightsError: a file that is missing, of another format, or of another network.
    """
    t = read_base(path, expected_tensors())
    positions = t["embeddings.position_embeddings"]  # [1, 1 + GRID^2, WIDTH]
    state = {
        "patches.weight": resized_patches(t["embeddings.patch_embeddings.projection.weight"], PATCH_PX),
        "patches.bias": t["embeddings.patch_embeddings.projection.bias"],
        "class_token": t["embeddings.cls_token"],
        "class_position": positions[:, :1],
        "positions": positions[:, 1:].transpose(1, 2).reshape(1, WIDTH, GRID, GRID),
        "norm.weight": t["layernorm.weight"],
        "norm.bias": t["layernorm.bias"],
    }
    for index in range(BLOCKS):
        theirs, ours = f"encoder.layer.{index}", f"transformer.{index}"
        for part in ("weight", "bias"):
            qkv = [t[f"{theirs}.attention.attention.{name}.{part}"] for name in ("query", "key", "value")]
            state[f"{ours}.qkv.{part}"] = torch.cat(qkv)
            for own, other in _RENAMED.items():
                state[f"{ours}.{own}.{part}"] = t[f"{theirs}.{other}.{part}"]
        state[f"{ours}.scale_attention"] = t[f"{theirs}.layer_scale1.lambda1"]
        state[f"{ours}.scale_perceptron"] = t[f"{theirs}.layer_scale2.lambda1"]
    tower.load_state_dict(state)


_RENAMED = {
    "norm_attention": "norm1",
    "out": "attention.output.dense",
    "norm_perceptron": "norm2",
    "perceptron.0": "mlp.fc1",
    "perceptron.2": "mlp.fc2",
}


def expected_tensors() -> dict[str, Tensor]:
    """Names and shapes of transformers' DINOv2 ViT-S/14, on no device."""
    meta = torch.device("meta")

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, device=meta)

    expected = {
        "embeddings.cls_token": empty(1, 1, WIDTH),
        "embeddings.position_embeddings": empty(1, 1 + GRID * GRID, WIDTH),
        "embeddings.patch_embeddings.projection.weight": empty(WIDTH, 3, BASE_PATCH_PX, BASE_PATCH_PX),
        "embeddings.patch_embeddings.projection.bias": empty(WIDTH),
        "layernorm.weight": empty(WIDTH),
        "layernorm.bias": empty(WIDTH),
    }
    for index in range(BASE_BLOCKS):
        layer = f"encoder.layer.{index}"
        for name, outputs, inputs in (
            *((f"attention.attention.{part}", WIDTH, WIDTH) for part in ("query", "key", "value")),
            ("attention.output.dense", WIDTH, WIDTH),
            ("mlp.fc1", 4 * WIDTH, WIDTH),
            ("mlp.fc2", WIDTH, 4 * WIDTH),
        ):
            expected[f"{layer}.{name}.weight"], expected[f"{layer}.{name}.bias"] = (
                empty(outputs, inputs),
                empty(outputs),
            )
        for name in ("norm1", "norm2"):
            expected[f"{layer}.{name}.weight"], expected[f"{layer}.{name}.bias"] = empty(WIDTH), empty(WIDTH)
        for name in ("layer_scale1", "layer_scale2"):
            expected[f"{layer}.{name}.lambda1"] = empty(WIDTH)
    return expected
