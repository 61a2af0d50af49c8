# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from depthclip_trainer.data.augment import DRAWS, NO_AUGMENT
from depthclip_trainer.data.mixture import assemble
from depthclip_trainer.data.sample import AFFINE, CANONICAL, TARGETS
from depthclip_trainer.data.store.pseudo import PseudoFrame, decode, encode, pseudo_pool
from depthclip_trainer.data.store.tar import write_shard

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics


def frame(target=CANONICAL, hfov_deg=60.0, label=None, key="000000-000000", canonical_focal_px=300.0):
    rows = np.linspace(40, 200, 48, dtype=np.uint8)[:, None, None]
    if label is None:
        label = np.linspace(1, 3, 24 * 32).reshape(24, 32)
    return PseudoFrame(
        name=f"room/{key}.jpg",
        image=np.broadcast_to(rows, (48, 64, 3)).copy(),
        target=target,
        label=np.asarray(label, np.float16),
        confidence=np.full((24, 32), 200, np.uint8),
        intrinsics=Intrinsics.from_hfov(hfov_deg, 64, 48),
        assumed_intrinsics=True,
        network_size=(64, 48),
        canonical_focal_px=canonical_focal_px,
        key=key,
    )


def whole_pictures(pool, size_px=(64, 48), scale=1.0):
    n = len(pool)
    place = (torch.arange(n).double() + 0.5) / n
    augment = NO_AUGMENT if scale == 1 else type(NO_AUGMENT)(**{**vars(NO_AUGMENT), "min_scale": scale})
    draws = torch.full((n, DRAWS), 0.5)
    draws[:, 1] = 0.0  # the smallest crop
    return assemble([pool], torch.zeros(n, dtype=torch.int64), place, draws, [0] * n, size_px, augment)


def test_a_frame_comes_back_from_its_files():
    one = frame(hfov_deg=71.0)
    again = decode(encode(one))
    for name, value in vars(one).items():
        if name == "image":
            assert np.abs(again.image.astype(int) - value).max() <= 3  # JPEG
        elif isinstance(value, np.ndarray):
            assert np.array_equal(getattr(again, name), value)
            assert getattr(again, name).dtype == value.dtype
        else:
            assert getattr(again, name) == value, name


@pytest.mark.parametrize("size_px", [(64, 48), (32, 24)])
def test_canonical_labels_do_not_depend_on_the_lens_that_was_assumed(tmp_path, size_px):
    asked = []
    for hfov_deg in (40.0, 95.0):
        folder = tmp_path / str(hfov_deg)
        write_shard(folder / "shard-000000.tar", map(encode, [frame(hfov_deg=hfov_deg, label=np.full((24, 32), 2.0))]))
        batch = whole_pictures(pseudo_pool("p", folder, 384), size_px)
        assert batch.valid.all()
        asked.append(batch.canonical_depth(300.0))
    assert torch.allclose(asked[0], asked[1], rtol=2e-3)
    # Half the size at the network's input is half the focal length: the same wall has twice the canonical depth.
    assert torch.allclose(asked[0], torch.full_like(asked[0], 2.0 * 64 / size_px[0]), rtol=2e-3)


def test_a_crop_enlarged_by_two_halves_canonical_depth(tmp_path):
    write_shard(tmp_path / "shard-000000.tar", map(encode, [frame(label=np.full((24, 32), 2.0))]))
    batch = whole_pictures(pseudo_pool("p", tmp_path, 384), scale=0.5)
    assert torch.allclose(batch.canonical_depth(300.0), torch.ones(1, 48, 64), rtol=2e-3)


def test_a_label_belongs_to_the_size_at_which_the_teacher_saw_the_picture(tmp_path):
    seen_small = dataclasses.replace(frame(label=np.full((24, 32), 2.0)), network_size=(32, 24))
    write_shard(tmp_path / "shard-000000.tar", map(encode, [seen_small]))
    # The student's input is twice the teacher's, with twice the focal length: half the canonical depth.
    batch = whole_pictures(pseudo_pool("p", tmp_path, 384), (64, 48))
    assert torch.allclose(batch.canonical_depth(300.0), torch.ones(1, 48, 64), rtol=2e-3)


def test_a_pool_holds_picture_label_and_confidence_at_its_own_size(tmp_path):
    frames = [frame(key=f"000000-{i:06d}", label=np.full((24, 32), 1.0 + i)) for i in range(3)]
    write_shard(tmp_path / "shard-000000.tar", map(encode, frames[:2]))
    write_shard(tmp_path / "shard-000001.tar", map(encode, frames[2:]))
    pool = pseudo_pool("p", tmp_path, 32)
    assert len(pool) == 3
    assert pool.target == CANONICAL
    batch = whole_pictures(pool)
    assert batch.paths == [f.name for f in frames]
    assert batch.targets.tolist() == [TARGETS.index(CANONICAL)] * 3
    assert torch.allclose(batch.confidence, torch.full((3, 48, 64), 200 / 255))
    assert torch.allclose(batch.canonical_depth(300.0)[:, 0, 0], torch.tensor([1.0, 2.0, 3.0]), rtol=2e-3)
    assert len(pseudo_pool("p", tmp_path, 32, count=2)) == 2


def test_a_pool_on_disk_gives_what_one_in_memory_gives(tmp_path):
    frames = [frame(key=f"000000-{i:06d}", label=np.full((24, 32), 1.0 + i)) for i in range(5)]
    frames[3] = dataclasses.replace(frames[3], image=frames[3].image[:, :40], intrinsics=crop(frames[3].intrinsics))
    write_shard(tmp_path / "shard-000000.tar", map(encode, frames[:3]))
    write_shard(tmp_path / "shard-000001.tar", map(encode, frames[3:]))
    for longest_px in (384, 32):
        memory, disk = pseudo_pool("p", tmp_path, longest_px), pseudo_pool("p", tmp_path, longest_px, keep="disk")
        assert (len(disk), disk.target) == (len(memory), memory.target)
        for name, value in vars(memory.gather(torch.tensor([4, 0, 3, 3]))).items():
            found = getattr(disk.gather(torch.tensor([4, 0, 3, 3])), name)
            assert torch.equal(found, value) if isinstance(value, torch.Tensor) else found == value, name
    assert len(pseudo_pool("p", tmp_path, 32, count=2, keep="disk")) == 2
    (tmp_path / "shard-000001.tar").write_bytes(b"x" * 2000)
    with pytest.raises(InputError, match="shard-000001"):
        pseudo_pool("p", tmp_path, 32, keep="disk")
    with pytest.raises(InputError, match="pseudo-label"):
        pseudo_pool("p", tmp_path / "nowhere", 32, keep="disk")


def crop(intrinsics):
    return dataclasses.replace(intrinsics, width_px=40)


def test_affine_labels_become_depth_that_far_away_is_finite(tmp_path):
    disparity = np.full((24, 32), 0.5)
    disparity[:4] = 0.0
    write_shard(tmp_path / "shard-000000.tar", map(encode, [frame(AFFINE, label=disparity)]))
    batch = whole_pictures(pseudo_pool("p", tmp_path, 384))
    assert batch.valid.all()
    assert float(batch.depth_m[0, -1, -1]) == pytest.approx(2.0)
    assert 1e4 < float(batch.depth_m[0, 0, 0]) < 65504


def test_holes_of_a_label_stay_holes(tmp_path):
    label = np.full((24, 32), 2.0)
    label[:, :8] = 0
    label[0, 31] = np.nan
    write_shard(tmp_path / "shard-000000.tar", map(encode, [frame(label=label)]))
    batch = whole_pictures(pseudo_pool("p", tmp_path, 384))
    assert not batch.valid[0, :, :15].any()
    assert batch.valid[0, 4:, 18:].all()
    depth = batch.canonical_depth(300.0)[batch.valid]
    assert torch.allclose(depth, torch.full_like(depth, 2.0), rtol=2e-3)


def test_a_shard_is_whole_or_not_there(tmp_path):
    def breaking():
        yield frame()
        raise OSError(28, "No space left on device")

    path = tmp_path / "shard-000000.tar"
    with pytest.raises(OSError, match="No space"):
        write_shard(path, map(encode, breaking()))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / f".{path.name}.123.tmp").write_bytes(b"left by a killed process")
    assert write_shard(path, map(encode, [frame()])) == 1
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_broken_shards_are_refused(tmp_path):
    with pytest.raises(InputError, match="pseudo-label"):
        pseudo_pool("p", tmp_path, 32)
    files = encode(frame())
    for name, content in (("label.npy", b"x"), ("json", b"{}"), ("jpg", b"\xff\xd8")):
        with pytest.raises(InputError, match="000000-000000"):
            decode({**files, name: content})
    about = {**json.loads(files["json"]), "target": "metres"}
    with pytest.raises(InputError, match="000000-000000"):
        decode({**files, "json": json.dumps(about).encode()})
    write_shard(tmp_path / "shard-000000.tar", map(encode, [frame(), frame(AFFINE, key="000000-000001")]))
    with pytest.raises(InputError, match="affine and canonical"):
        pseudo_pool("p", tmp_path, 64)
