# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from depthclip_trainer.data.augment import DRAWS, NO_AUGMENT, AugmentConfig, change_colours, draw_affine
from depthclip_trainer.data.mixture import Mixture, assemble
from depthclip_trainer.data.sample import MemoryPool, RawBatch, Sample, pool_from_samples

from depthclip_ros.core.engine.preprocess import network_pixels
from depthclip_ros.core.types import Intrinsics

GEOMETRY = dataclasses.replace(NO_AUGMENT, whole=0.0, min_scale=0.5, flip=0.5, roll_deg=15.0)
PLANE = np.array([0.25, 0.6, 1.0])  # n . X = 2 m: a floor that rises to one side


def plane_pool(width_px: int = 320, height_px: int = 240) -> MemoryPool:
    """Exact depth of a plane, with the ray's x/z and y/z painted into red and green."""
    camera = Intrinsics(300.0, 300.0, 150.0, 131.0, width_px, height_px)
    v, u = np.mgrid[:height_px, :width_px].astype(np.float64)
    x, y = (u - camera.cx_px) / camera.fx_px, (v - camera.cy_px) / camera.fy_px
    depth_m = (2.0 / (PLANE[0] * x + PLANE[1] * y + PLANE[2])).astype(np.float32)
    image = np.stack([(x + 1) * 100, (y + 1) * 100, np.zeros_like(x)], -1).round().astype(np.uint8)
    sample = Sample(image, depth_m, depth_m > 0, camera, "plane")
    return pool_from_samples("plane", [sample], longest_px=400)


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_moved_intrinsics_keep_a_plane_a_plane(seed, flipped):
    draws = torch.rand(1, DRAWS, generator=torch.Generator().manual_seed(seed))
    draws[:, 5] = 0.1 if flipped else 0.9
    batch = assemble([plane_pool()], torch.zeros(1, dtype=torch.long), torch.zeros(1), draws, [0], (128, 96), GEOMETRY)
    fx, fy, cx, cy = batch.intrinsics[0].double().tolist()
    v, u = torch.meshgrid(torch.arange(96.0), torch.arange(128.0), indexing="ij")
    z = batch.depth_m[0].double()
    points = torch.stack([(u - cx) / fx * z, (v - cy) / fy * z, z], -1)[batch.valid[0]].numpy()
    assert len(points) > 0.9 * 96 * 128
    # The camera rolled about its axis and maybe mirrored: the plane's normal turned by exactly that.
    roll = math.radians((2 * float(draws[0, 4]) - 1) * GEOMETRY.roll_deg)
    turn = np.array([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
    mirror = np.diag([-1.0, 1.0]) if flipped else np.eye(2)
    normal = np.array([*((turn @ mirror).T @ PLANE[:2]), PLANE[2]])
    distances = points @ normal
    # nearest depth may come from half a source pixel away, and is kept as float16
    assert np.abs(distances / 2.0 - 1).max() < 5e-3
    assert distances.mean() == pytest.approx(2.0, abs=1e-3)


def test_image_and_depth_move_together():
    draws = torch.rand(1, DRAWS, generator=torch.Generator().manual_seed(5))
    draws[:, 5] = 0.9
    config = dataclasses.replace(GEOMETRY, roll_deg=0.0)
    batch = assemble([plane_pool()], torch.zeros(1, dtype=torch.long), torch.zeros(1), draws, [0], (128, 96), config)
    fx, fy, cx, cy = batch.intrinsics[0].tolist()
    x = batch.images[0, 0] * 255 / 100 - 1  # painted x/z
    y = batch.images[0, 1] * 255 / 100 - 1
    u, v = torch.arange(128.0), torch.arange(96.0)
    assert (x - ((u - cx) / fx)[None, :]).abs().max() < 0.012
    assert (y - ((v - cy) / fy)[:, None]).abs().max() < 0.012


def test_crop_narrows_the_field_of_view_and_so_the_canonical_depth(plain_batches):
    whole = plain_batches(plane_pool(), 1, 128, 96)[0]
    draws = torch.full((1, DRAWS), 0.5)
    draws[:, 1] = 0.0  # the smallest crop
    args = (torch.zeros(1, dtype=torch.long), torch.zeros(1), draws, [0], (128, 96))
    half = assemble([plane_pool()], *args, dataclasses.replace(NO_AUGMENT, whole=0.0, min_scale=0.5))
    assert float(half.intrinsics[0, 0]) == pytest.approx(2 * float(whole.intrinsics[0, 0]), rel=1e-5)
    middle = (0, 48, 64)
    metres = float(half.depth_m[middle])
    assert metres == pytest.approx(float(whole.depth_m[middle]), rel=0.02)
    focal = math.sqrt(float(half.intrinsics[0, 0] * half.intrinsics[0, 1]))
    assert float(half.canonical_depth(300.0)[middle]) == pytest.approx(metres * 300 / focal, rel=1e-5)
    assert float(half.canonical_depth(None)[middle]) == metres


def test_missing_depth_never_mixes_into_valid_depth():
    depth_m = np.full((48, 64), 3.0, np.float32)
    depth_m[::2, ::3] = 0
    camera = Intrinsics(60, 60, 31.5, 23.5, 64, 48)
    sample = Sample(np.zeros((48, 64, 3), np.uint8), depth_m, depth_m > 0, camera, "holes")
    pool = pool_from_samples("holes", [sample], longest_px=40)
    draws = torch.rand(8, DRAWS, generator=torch.Generator().manual_seed(1))
    zeros = torch.zeros(8, dtype=torch.long)
    batch = assemble([pool], zeros, zeros.float(), draws, [0] * 8, (32, 24), GEOMETRY)
    assert set(batch.depth_m.unique().tolist()) == {0.0, 3.0}
    assert torch.equal(batch.valid, batch.depth_m > 0)


def test_frames_of_several_sizes_share_a_canvas_and_keep_their_edges(plain_batches):
    samples = []
    for width, height in ((64, 48), (48, 48)):
        depth_m = np.full((height, width), 2.0, np.float32)
        camera = Intrinsics(50, 50, (width - 1) / 2, (height - 1) / 2, width, height)
        image = np.full((height, width, 3), 200, np.uint8)
        samples.append(Sample(image, depth_m, depth_m > 0, camera, f"{width}x{height}"))
    pool = pool_from_samples("sizes", samples, 64)
    for batch in plain_batches(pool, 2, 32, 24):
        assert batch.valid.all()
        assert float(batch.images.min()) == pytest.approx(200 / 255, abs=1e-3)
        assert batch.intrinsics[:, 2].tolist() == pytest.approx([15.5, 15.5])


def test_colour_stays_in_range_and_leaves_other_samples_alone():
    config = AugmentConfig(jpeg=0.5, erase=0.5, blur=0.5)
    images = torch.rand(8, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    draws = torch.rand(8, DRAWS, generator=torch.Generator().manual_seed(1))
    seeds = list(range(8))
    together = change_colours(images.clone(), draws, seeds, config)
    assert together.min() >= 0
    assert together.max() <= 1
    assert not torch.allclose(together, images, atol=0.05)
    alone = torch.cat([change_colours(images[i : i + 1].clone(), draws[i : i + 1], [i], config) for i in range(8)])
    assert torch.allclose(alone, together, atol=1e-5)


def random_pool(name: str, frames: int, seed: int) -> MemoryPool:
    g = torch.Generator().manual_seed(seed)
    return MemoryPool(
        name,
        RawBatch(
            torch.randint(0, 256, (frames, 3, 24, 32), dtype=torch.uint8, generator=g),
            (torch.rand(frames, 24, 32, generator=g) + 1).half(),
            torch.tensor([[30.0, 30.0, 15.5, 11.5]]).repeat(frames, 1),
            torch.tensor([[32.0, 24.0]]).repeat(frames, 1),
            [f"{name}/{i}" for i in range(frames)],
        ),
    )


def test_a_step_is_a_function_of_seed_and_number_and_slices_make_the_whole():
    pools = [random_pool("a", 5, 0), random_pool("b", 7, 1)]
    config = AugmentConfig(jpeg=0.2, erase=0.2)
    mixture = Mixture(pools, [0.7, 0.3], 8, 32, 24, config, seed=3)
    whole = mixture.batch(11)
    again = Mixture(pools, [0.7, 0.3], 8, 32, 24, config, seed=3).batch(11)
    assert torch.equal(whole.images, again.images)
    first, second = mixture.batch(11, 0, 4), mixture.batch(11, 4, 4)
    assert whole.paths == first.paths + second.paths
    assert torch.allclose(whole.images, torch.cat([first.images, second.images]), atol=1e-6)
    assert torch.equal(whole.depth_m, torch.cat([first.depth_m, second.depth_m]))
    assert mixture.batch(12).paths != whole.paths


def test_each_step_draws_one_of_the_sizes_and_all_its_parts_have_it():
    mixture = Mixture([random_pool("a", 5, 0)], [1], 4, 32, 24, NO_AUGMENT, seed=3, more_sizes_px=[[48, 32], [64, 32]])
    sizes = [tuple(mixture.batch(step).images.shape[-2:]) for step in range(20)]
    assert set(sizes) == {(24, 32), (32, 48), (32, 64)}
    assert [tuple(mixture.batch(step, 2, 2).depth_m.shape[-2:]) for step in range(20)] == sizes
    wide = next(step for step, size in enumerate(sizes) if size == (32, 64))
    assert mixture.batch(wide).intrinsics[0, :3].tolist() == pytest.approx([60, 60, 31.5])  # 32 columns became 64


def test_shares_are_kept():
    mixture = Mixture([random_pool("a", 5, 0), random_pool("b", 7, 1)], [3, 1], 400, 32, 24, NO_AUGMENT, seed=0)
    paths = mixture.batch(0).paths
    assert 0.7 < sum(p.startswith("a") for p in paths) / 400 < 0.8
    assert len({p for p in paths if p.startswith("b")}) == 7


def test_a_source_may_be_cropped_deeper_than_the_others():
    config = AugmentConfig(min_scale=1.0, whole=0.0, roll_deg=0.0, aspect=0.0)
    pools = [random_pool("near", 5, 0), random_pool("far", 7, 1)]
    batch = Mixture(pools, [1, 1], 200, 32, 24, config, seed=0, min_scales=[0.4, 0.0]).batch(0)
    near = torch.tensor([path.startswith("near") for path in batch.paths])
    fx_px = batch.intrinsics[:, 0]
    assert fx_px[~near].unique().numel() == 1  # whole, as the strengths say
    ratio = fx_px[near] / fx_px[~near][0]
    assert 1.0 <= ratio.min() < 1.1
    assert 2.2 < ratio.max() <= 2.5  # 1 / 0.4


def pool_of(image, depth_m, longest_px=1000):
    height, width = depth_m.shape
    camera = Intrinsics(width, width, (width - 1) / 2, (height - 1) / 2, width, height)
    return pool_from_samples("one", [Sample(image, depth_m, depth_m > 0, camera, "one")], longest_px)


def test_a_shrunk_frame_is_what_the_engine_makes_of_it(plain_batches):
    """Fine stripes: sampled without antialias they turn into a moire that the node never sees."""
    stripes = np.where((np.arange(160) // 2) % 2, 255, 0).astype(np.uint8)
    image = np.broadcast_to(stripes[None, :, None], (120, 160, 3)).copy()
    (batch,) = plain_batches(pool_of(image, np.ones((120, 160), np.float32)), 1, 64, 48)
    wanted = torch.from_numpy(network_pixels(image, (64, 48)).copy()).permute(2, 0, 1).float() / 255
    assert (batch.images[0] - wanted).abs()[:, 2:-2, 2:-2].max() < 0.08
    assert wanted.std() < 0.15  # the stripes are finer than the network's pixels


def test_sparse_readings_survive_the_shrinking(plain_batches):
    depth_m = np.zeros((96, 128), np.float32)
    depth_m[5::8, 2::8] = 3.0  # one in each 8 x 8, never in the middle of an output pixel's footprint
    (batch,) = plain_batches(pool_of(np.zeros((96, 128, 3), np.uint8), depth_m), 1, 64, 48)
    assert int(batch.valid.sum()) == int((depth_m > 0).sum())


def test_a_share_of_the_frames_is_shown_whole():
    config = AugmentConfig(min_scale=0.5, max_scale=0.6, whole=0.4)
    draws = torch.rand(400, DRAWS, generator=torch.Generator().manual_seed(3))
    sizes = torch.tensor([[128.0, 96.0]]).expand(400, 2)
    affine = draw_affine(draws, sizes, 64, 48, dataclasses.replace(config, flip=0.0))
    whole = affine[:, 0, 0] == 2.0
    assert whole.float().mean() == pytest.approx(0.4, abs=0.07)
    upright = torch.tensor([[2.0, 0.0, 0.5], [0.0, 2.0, 0.5]])
    assert torch.allclose(affine[whole], upright.expand(int(whole.sum()), 2, 3))
    assert (affine[~whole][:, :, :2].norm(dim=1) < 1.35).all()
    everything = Mixture([plane_pool()], [1.0], 8, 64, 48, config, seed=0).batch(0, whole=True)
    assert everything.intrinsics[:, 0].unique().numel() == 1
