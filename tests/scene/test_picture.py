# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Batches of random rooms: the same from the same seed, whole, and in the ranges asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.scene import SceneRanges, picture, random_scene, render, render_batch
from depthclip_ros.scene.camera import FreeSpace, random_camera
from depthclip_ros.scene.tracing.patterns import SIDE
from depthclip_ros.scene.tracing.textures import photograph_bank

SEEDS = [3, 4, 11, 2**40 + 1, -5]


def test_same_seed_same_pixels_and_others_differ():
    a, depth_a, cameras_a = render_batch(SEEDS, 96, 80)
    b, depth_b, cameras_b = render_batch(SEEDS, 96, 80)
    assert torch.equal(a, b)
    assert torch.equal(depth_a, depth_b)
    assert cameras_a == cameras_b
    for i in range(len(SEEDS) - 1):
        assert not torch.equal(depth_a[i], depth_a[i + 1])


def test_a_picture_does_not_depend_on_its_batch(monkeypatch):
    monkeypatch.setitem(picture._IMAGES_AT_ONCE, "cpu", 3)
    images, depth, cameras = render_batch(SEEDS, 100, 70)
    for i in (4, 1):
        image, alone, camera = render_batch([SEEDS[i]], 100, 70)
        assert camera == [cameras[i]]
        torch.testing.assert_close(alone[0], depth[i], rtol=0, atol=1e-5)
        assert (image[0].int() - images[i].int()).abs().float().mean() < 0.05


def test_photographs_change_what_surfaces_look_like_and_nothing_else():
    green = np.zeros((3, SIDE // 2, SIDE // 2, 3), np.uint8)
    green[..., 1] = 200
    plain, depth, cameras = render_batch(SEEDS, 96, 80, photometric=False)
    papered, depth_papered, cameras_papered = render_batch(
        SEEDS, 96, 80, photometric=False, photographs=photograph_bank(green)
    )
    assert torch.equal(depth, depth_papered)
    assert cameras == cameras_papered
    changed = (plain.int() - papered.int()).abs().amax(-1) > 30
    assert 0.1 < changed.float().mean() < 0.9  # some surfaces, not all
    shown = papered[changed].float()
    assert ((shown[:, 1] > 1.5 * shown[:, 0]) & (shown[:, 1] > 1.5 * shown[:, 2])).float().mean() > 0.7


def test_types_shapes_and_values():
    images, depth, cameras = render_batch([1, 2], 90, 66)
    assert images.shape == (2, 66, 90, 3)
    assert images.dtype == torch.uint8
    assert depth.shape == (2, 66, 90)
    assert depth.dtype == torch.float32
    assert [(c.width_px, c.height_px) for c in cameras] == [(90, 66)] * 2
    for image in images:
        assert image.float().std() > 5
        assert 15 < image.float().mean() < 240


def test_rays_always_hit_something_ahead():
    _, depth, _ = render_batch(range(20, 44), 64, 48, photometric=False)
    assert torch.isfinite(depth).all()
    assert (depth > 0.05).all()
    assert (depth < 20).all()


@pytest.mark.parametrize(
    ("preset", "low", "high"),
    [("rooms", 1.3, 3.5), ("tabletop", 0.4, 1.3), ("floor", 1.0, 3.0), ("hall", 1.6, 4.5), ("mixed", 0.9, 3.2)],
)
def test_depths_are_those_of_a_robots_view(preset, low, high):
    _, depth, cameras = render_batch(range(30), 64, 48, SceneRanges.preset(preset), photometric=False)
    assert low < float(depth.flatten(1).median(1).values.median()) < high
    ranges = SceneRanges.preset(preset)
    if not ranges.mix:
        for camera in cameras:
            assert ranges.hfov_deg[0] - 1e-6 <= camera.hfov_deg <= ranges.hfov_deg[1] + 1e-6


@pytest.mark.parametrize("preset", ["rooms", "tabletop", "floor", "hall"])
def test_rooms_keep_their_ranges_and_cameras_stand_free(preset):
    ranges = SceneRanges.preset(preset)
    for seed in range(12):
        scene = random_scene(seed, ranges)
        for size, (low, high) in zip(
            scene.room_size_m, (ranges.room_width_m, ranges.room_length_m, ranges.room_height_m), strict=True
        ):
            assert low - 1e-5 <= size <= high + 1e-5
        pose, _ = random_camera(scene, np.random.default_rng(seed), ranges, 64, 48)
        assert FreeSpace(scene).distance(pose[None, :3, 3].numpy().astype(np.float64))[0] > 0.1
        turn = pose[:3, :3].double()
        torch.testing.assert_close(turn @ turn.T, torch.eye(3, dtype=torch.float64), atol=1e-6, rtol=0)
        assert torch.linalg.det(turn) == pytest.approx(1)


def test_photometric_seed_changes_the_picture_and_never_the_depth():
    scene = random_scene(5, SceneRanges.preset("rooms"))
    pose, _ = random_camera(scene, np.random.default_rng(0), SceneRanges.preset("rooms"), 96, 64)
    camera = Intrinsics.from_hfov(70, 96, 64)
    first, depth = render(scene, pose, camera, seed=1)
    second, same = render(scene, pose, camera, seed=2)
    assert torch.equal(depth, same)
    assert not torch.equal(first, second)


def test_bad_ranges_are_refused():
    with pytest.raises(ConfigError, match="room_width_m"):
        SceneRanges(room_width_m=(5.0, 3.0))
    with pytest.raises(ConfigError, match="'attic' is unknown"):
        SceneRanges.preset("attic")
    with pytest.raises(ConfigError, match="'attic' is unknown"):
        SceneRanges(mix=(("attic", 1.0),))


@pytest.mark.cuda
def test_cuda_sees_what_the_cpu_sees():
    host, depth, cameras = render_batch(SEEDS, 128, 96, photometric=False)
    images, far, same = render_batch(SEEDS, 128, 96, device="cuda", photometric=False)
    assert cameras == same
    difference = (far.cpu() - depth).abs()
    assert (difference < 1e-4).float().mean() > 0.999  # a ray may fall on the other side of an edge
    assert (images.cpu().int() - host.int()).abs().float().mean() < 0.5
