# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Pictures of a scene with exact depth: one at a time for a camera, in batches for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.scene.camera import random_camera
from depthclip_ros.scene.furnishing.materials import papered
from depthclip_ros.scene.furnishing.rooms import random_scene
from depthclip_ros.scene.lens import PLAIN, Look, develop
from depthclip_ros.scene.ranges import SceneRanges
from depthclip_ros.scene.tracing.primitives import Scene, SceneBatch
from depthclip_ros.scene.tracing.shade import shade
from depthclip_ros.scene.tracing.soften import tile, untile
from depthclip_ros.scene.tracing.textures import TEXELS
from depthclip_ros.scene.tracing.trace import TILE_PX, visible

_IMAGES_AT_ONCE = {"cpu": 1, "cuda": 32}


def render(
    scene: Scene,
    pose: Tensor | NDArray[np.float32],
    intrinsics: Intrinsics,
    *,
    photometric: bool = True,
    seed: int = 0,
    distortion: Sequence[float] = (),
) -> tuple[Tensor, Tensor]:
    """What one camera sees.

    Args:
        scene: the room; the camera must be inside it.
        pose: camera to world [4, 4], optical frame (z forward, x right, y down), metres.
        intrinsics: of the picture.
        photometric: a random camera's exposure, white balance, blur, noise and JPEG; False develops plainly.
        seed: of that camera and of its noise.
        distortion: plumb_bob coefficients (k1, k2, p1, p2, k3) of the lens; depth stays the depth along the optical
            axis of what each distorted pixel sees. Empty for a rectified picture.

    Returns:
        image uint8 [H, W, 3] RGB and depth_m float32 [H, W], on the scene's device. Depth is finite and positive.

    Raises:
        InputError: a pose that is not [4, 4], or more than five coefficients.
    """
    matrix = torch.as_tensor(pose, dtype=torch.float32, device=scene.primitives.device)
    if matrix.shape != (4, 4):
        raise InputError(f"camera pose has shape {list(matrix.shape)}; it must be 4x4, camera to world")
    rays = pixel_rays(intrinsics, distortion).to(matrix.device)
    look = Look.random(np.random.default_rng(seed % (1 << 63)), intrinsics.width_px) if photometric else PLAIN
    images, depth_m = _pictures([scene], matrix[None], rays[None], [intrinsics], [look], [seed])
    return images[0], depth_m[0]


def render_batch(
    seeds: Sequence[int],
    width_px: int,
    height_px: int,
    ranges: SceneRanges | None = None,
    device: str | torch.device = "cpu",
    *,
    photometric: bool = True,
    photographs: Tensor | None = None,
) -> tuple[Tensor, Tensor, list[Intrinsics]]:
    """A random room seen by a random camera for every seed; picture i depends on seed i (and the photographs) only.

    Args:
        seeds: any integers.
        width_px: of the pictures.
        height_px: of the pictures.
        ranges: what is drawn from; the preset "mixed" if None.
        device: where the work is done.
        photometric: a random camera's faults on each picture.
        photographs: as `textures.photograph_bank` gives them; a random share of each room's surfaces shows them.

    Returns:
        images uint8 [B, H, W, 3] RGB, depth_m float32 [B, H, W] along the optical axis, and each picture's intrinsics.
    """
    ranges = ranges or SceneRanges.preset("mixed")
    where = torch.device(device)
    at_once = _IMAGES_AT_ONCE.get(where.type, 1)
    bank = None if photographs is None else photographs.to(where)
    images, depths, cameras = [], [], []
    for first in range(0, len(seeds), at_once):
        part = seeds[first : first + at_once]
        scenes, poses, looks = [], [], []
        for seed in part:
            scene = random_scene(seed, ranges)
            if bank is not None:
                paper_rng = np.random.default_rng((seed % (1 << 63), 2))  # the room itself stays as it is
                scene = replace(scene, materials=papered(scene.materials, len(bank) // TEXELS, paper_rng))
            rng = np.random.default_rng((seed % (1 << 63), 1))
            pose, intrinsics = random_camera(scene, rng, ranges, width_px, height_px)
            scenes.append(scene.to(where))
            poses.append(pose)
            cameras.append(intrinsics)
            looks.append(Look.random(rng, width_px) if photometric else PLAIN)
        used = cameras[first:]
        rays = torch.stack([pixel_rays(i) for i in used]).to(where)
        image, depth_m = _pictures(scenes, torch.stack(poses).to(where), rays, used, looks, part, bank)
        images.append(image)
        depths.append(depth_m)
    return torch.cat(images), torch.cat(depths), cameras


def _pictures(
    scenes: list[Scene],
    poses: Tensor,
    rays: Tensor,
    intrinsics: Sequence[Intrinsics],
    looks: Sequence[Look],
    seeds: Sequence[int],
    photographs: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    height, width = intrinsics[0].height_px, intrinsics[0].width_px
    padded_height, padded_width = rays.shape[1:3]
    batch = SceneBatch.stack(scenes, photographs)
    tiles = tile(rays.permute(3, 0, 1, 2)).permute(1, 2, 3, 0).contiguous()  # [B, T, S, 2]
    depth, primitive = visible(batch, poses, tiles)
    footprint = torch.tensor([1 / i.fx_px for i in intrinsics], device=poses.device)
    light = shade(batch, poses, tiles, depth, primitive, footprint, padded_width, padded_height)
    depth_m = untile(depth, padded_height, padded_width)[:, :height, :width].contiguous()
    images = [
        develop(light[:, k, :height, :width], look, seed)
        for k, (look, seed) in enumerate(zip(looks, seeds, strict=True))
    ]
    return torch.stack(images), depth_m


def pixel_rays(intrinsics: Intrinsics, distortion: Sequence[float] = ()) -> Tensor:
    """x/z and y/z of the pixels' rays, float32 [H', W', 2], both sides padded to whole tiles by repeating the border.

    Raises:
        InputError: more than five plumb_bob coefficients.
    """
    if len(distortion) > 5:
        raise InputError(f"{len(distortion)} distortion coefficients; plumb_bob has five: k1, k2, p1, p2, k3")
    width, height = (-(-n // TILE_PX) * TILE_PX for n in (intrinsics.width_px, intrinsics.height_px))
    u = torch.arange(width, dtype=torch.float64).clamp_max(intrinsics.width_px - 1)
    v = torch.arange(height, dtype=torch.float64).clamp_max(intrinsics.height_px - 1)
    x = ((u - intrinsics.cx_px) / intrinsics.fx_px).expand(height, width)
    y = ((v - intrinsics.cy_px) / intrinsics.fy_px)[:, None].expand(height, width)
    if any(distortion):
        x, y = _undistort(x, y, [*distortion, *[0.0] * (5 - len(distortion))])
    return torch.stack([x, y], 2).float()


def _undistort(x: Tensor, y: Tensor, coefficients: list[float]) -> tuple[Tensor, Tensor]:
    """Inverse of the plumb_bob model by fixed-point iteration (as OpenCV does it, but until it stands still)."""
    k1, k2, p1, p2, k3 = coefficients
    a, b = x, y
    for _ in range(60):
        r2 = a * a + b * b
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        dx = 2 * p1 * a * b + p2 * (r2 + 2 * a * a)
        dy = p1 * (r2 + 2 * b * b) + 2 * p2 * a * b
        a, b = (x - dx) / radial, (y - dy) / radial
    return a, b
