# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Light: shadow, ambient occlusion, patterns."""

from __future__ import annotations

import math

import numpy as np
import torch

from depthclip_ros.core.types import Intrinsics
from depthclip_ros.scene import pose_matrix, render
from depthclip_ros.scene.furnishing.builder import Part
from depthclip_ros.scene.tracing.patterns import FAMILIES, SIDE
from depthclip_ros.scene.tracing.primitives import BOX
from depthclip_ros.scene.tracing.textures import TEXELS, bank, lookup, photograph_bank, sample

DOWN = pose_matrix((1.5, 0.0, 2.9), 0.0, -math.pi / 2)
CAMERA = Intrinsics.from_hfov(80, 160, 128)


def grey(scene) -> np.ndarray:
    return render(scene, DOWN, CAMERA, photometric=False)[0].numpy().mean(2)


def test_a_board_darkens_the_floor_behind_it(make_scene):
    board = Part((0.5, 0.0, 0.5), (0.02, 0.5, 0.4), 0, BOX)
    lit, shaded = grey(make_scene()), grey(make_scene(board))

    # straight below the camera, 1 m beyond the board as seen from the lamp, its shadow's end is passed
    # the lamp is at x = 0, z = 2.8; the board's top at x = .5, z = .9: shadow reaches x = .5 * 2.8 / 1.9 = .737
    def at(image, x):  # the camera looks down with its up along world x
        return image[round(CAMERA.cy_px - CAMERA.fy_px * (x - 1.5) / 2.9), 78:83].mean()

    assert at(shaded, 0.66) < 0.75 * at(shaded, 0.95)
    assert abs(at(lit, 0.66) / at(lit, 0.95) - 1) < 0.15


def test_corners_receive_less_ambient_light(make_scene):
    scene = make_scene(lamp=(0.0, 0.0, 2.8))
    scene.lights.zero_()
    image = grey(scene)
    x, y = 3.95, 0.0
    row = round(CAMERA.cy_px - CAMERA.fy_px * (x - 1.5) / 2.9)
    assert row < 0 or image[max(row, 0), 80] < image[64, 80]
    corner = render(scene, pose_matrix((3.0, y, 1.0), 0.0, -0.6), CAMERA, photometric=False)[0].numpy().mean(2)
    depth = render(scene, pose_matrix((3.0, y, 1.0), 0.0, -0.6), CAMERA, photometric=False)[1].numpy()
    edge = int(depth[:, 80].argmax())  # where floor and wall meet
    assert corner[edge, 80] < 0.85 * corner[-1, 80]


def test_every_family_has_patterns_and_the_bank_holds_them():
    last = max(rows.stop for rows in FAMILIES.values())
    assert bank("cpu").shape == (last * TEXELS,)
    assert all(len(rows) >= 2 for rows in FAMILIES.values())


def test_patterns_repeat_and_blur_with_distance():
    u = torch.rand(500)
    v = torch.rand(500)
    pattern = torch.full((500,), FAMILIES["checker"].start, dtype=torch.int32)
    near, _ = sample(pattern, u, v, torch.full((500,), 1e-4))
    again, _ = sample(pattern, u + 3, v - 2, torch.full((500,), 1e-4))
    far, _ = sample(pattern, u, v, torch.full((500,), 10.0))
    assert (near - again).abs().max() < 2e-2
    assert near.std() > 0.3
    assert far.std() < 0.1


def test_a_photograph_is_found_again_texel_by_texel_and_mirrored_beyond_its_border():
    crops = np.random.default_rng(0).integers(0, 256, (2, SIDE // 2, SIDE // 2, 3), dtype=np.uint8)
    photographs = photograph_bank(crops)
    assert photographs.shape == (2 * TEXELS,)
    rows, columns = torch.meshgrid(torch.arange(SIDE // 2), torch.arange(SIDE // 2), indexing="ij")

    def seen(which: int, y: torch.Tensor, x: torch.Tensor) -> np.ndarray:
        u, v = ((at.flatten() + 0.5) / SIDE for at in (x, y))
        picture = torch.full(u.shape, which, dtype=torch.int32)
        rgb = lookup(photographs, 3, picture, u, v, torch.full(u.shape, 1e-4))
        return (torch.stack(rgb, 1).view(SIDE // 2, SIDE // 2, 3) * 255).numpy()

    for which in (0, 1):
        np.testing.assert_allclose(seen(which, rows, columns), crops[which], atol=0.5)
        np.testing.assert_allclose(seen(which, SIDE - 1 - rows, columns), crops[which], atol=0.5)
        np.testing.assert_allclose(seen(which, rows, columns + SIDE)[:, ::-1], crops[which][:, ::-1], atol=0.5)
