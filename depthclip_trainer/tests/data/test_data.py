# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import json
import logging
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from depthclip_trainer.config import SourceConfig
from depthclip_trainer.data.frames import cropped, read_frames
from depthclip_trainer.data.readers.rgbd_folder import open_folder
from depthclip_trainer.data.readers.shards import write_shards
from depthclip_trainer.data.sources import open_source
from depthclip_trainer.data.split import index_runs, part_of
from depthclip_trainer.data.store import rooms
from depthclip_trainer.evaluation.protocols import PROTOCOLS
from depthclip_trainer.recipe import compose

from depthclip_ros.core.errors import ConfigError, InputError

CPU = torch.device("cpu")
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("units", [1000.0, 5000.0, 256.0])
def test_metres_follow_the_units_of_the_folder(make_folder, units):
    sample = open_folder(make_folder(units=units)).read("0002")
    assert sample.depth_m[-1, 5] == pytest.approx(0.8, abs=1 / units)
    assert not sample.valid[:, 0].any()
    assert sample.valid[:, 1:].all()
    assert sample.image.shape == (48, 64, 3)
    assert sample.image[0, 0, 2] == 40  # blue of frame 2: red and blue are not exchanged
    assert (sample.intrinsics.fx_px, sample.intrinsics.cx_px) == (50.0, 31.5)
    assert sample.path == "walk/0002"


def test_crop_moves_image_depth_and_principal_point(make_folder):
    folder = open_folder(make_folder())
    whole = folder.read("0001")
    part = cropped(whole, [10, 8, 40, 30])
    assert np.array_equal(part.image, whole.image[8:38, 10:50])
    assert np.array_equal(part.depth_m, whole.depth_m[8:38, 10:50])
    assert (part.intrinsics.cx_px, part.intrinsics.cy_px) == (21.5, 15.5)
    assert (part.intrinsics.width_px, part.intrinsics.height_px) == (40, 30)


def test_intrinsics_per_frame_win_and_null_intrinsics_are_marked_as_assumed(make_folder):
    camera = {"fx": 70.0, "fy": 71.0, "cx": 30.0, "cy": 20.0}
    none = dict.fromkeys(camera)
    folder = open_folder(make_folder(intrinsics=none, per_frame={"0001": camera}))
    assert folder.read("0001").intrinsics.fy_px == 71.0
    assert not folder.read("0001").assumed_intrinsics
    guessed = folder.read("0002")
    assert guessed.assumed_intrinsics
    assert guessed.intrinsics.hfov_deg == pytest.approx(60.0)


def test_broken_frames_are_named_counted_and_skipped(make_folder, caplog):
    path = make_folder()
    (path / "depth" / "0001.png").write_bytes(b"no png")
    (path / "rgb" / "0003.png").unlink()
    cv2.imwrite(str(path / "rgb" / "0004.png"), np.zeros((10, 10, 3), np.uint8))
    with caplog.at_level(logging.WARNING):
        names = [s.path for s in read_frames(open_folder(path))]
    assert names == ["walk/0000", "walk/0002", "walk/0005"]
    for fault in ("depth/0001.png", "0003", "64x48, its image 10x10", "3 broken frames"):
        assert fault in caplog.text


def test_no_valid_pixel_and_wrong_units_are_refused(make_folder):
    path = make_folder("wrong", units=1000.0)
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps({**meta, "depth_units_per_metre": 1.0}))
    with pytest.raises(InputError, match=r"median depth.*depth_units_per_metre"):
        list(read_frames(open_folder(path)))
    empty = make_folder("empty")
    for png in (empty / "depth").iterdir():
        cv2.imwrite(str(png), np.zeros((48, 64), np.uint16))
    with pytest.raises(InputError, match="no frame with a valid depth pixel"):
        list(read_frames(open_folder(empty)))


def test_what_is_no_rgbd_folder_is_refused(tmp_path, make_folder):
    with pytest.raises(InputError, match=r"meta\.json"):
        open_folder(tmp_path)
    with pytest.raises(InputError, match="above 0"):
        open_folder(make_folder(depth_units_per_metre=0))


@pytest.mark.parametrize("kind", ["rgbd_folder", "shards", "pseudo"])
def test_what_is_never_trained_on_is_refused_by_place_and_by_name_whatever_reads_it(kind, tmp_path, make_folder):
    path = make_folder("kept/mine", source="walk")
    if kind == "shards":
        path = path.rename(tmp_path / "kept" / "frames")
        write_shards(read_frames(open_folder(path)), tmp_path / "kept" / "mine", source="walk", licence="none")
        path = tmp_path / "kept" / "mine"
    config = SourceConfig(kind=kind, path=str(path))
    if kind == "pseudo":
        index = {"data": "walk", "folder": str(path), "teacher": "x", "licence": "none"}
        (tmp_path / "labels").mkdir()
        (tmp_path / "labels" / "index.json").write_text(json.dumps(index))
        config = SourceConfig(kind=kind, path=str(tmp_path / "labels"))
    for never in ("walk", str(path), str(tmp_path / "kept"), "elsewhere/walk"):
        with pytest.raises(ConfigError, match=f"is not trained on: data.never_train_on lists {never}"):
            open_source("x", config, "/", (64, 48), CPU, ["other", never])
    if kind != "pseudo":
        assert open_source("x", config, "/", (64, 48), CPU, ["other", str(tmp_path / "kep")]).name == "x"


def test_our_recipes_never_train_on_the_rooms_that_are_scored(shared_data, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    never = compose("nano")["data"]["never_train_on"]
    scored = [p.parent for p in (shared_data / "rgbd_more").glob("*/meta.json")]
    scored += [shared_data / "rgbd" / name for name in PROTOCOLS["rgbd"].groups["rooms"]]
    for path in scored:
        with pytest.raises(ConfigError, match="never_train_on"):
            open_source("x", SourceConfig(path=str(path), count=1), "/", (64, 48), CPU, never)
    table_top = SourceConfig(path=str(shared_data / "rgbd" / "mosd_pcl"), count=1)
    assert len(open_source("x", table_top, "/", (64, 48), CPU, never).pool) == 1


def test_parts_cut_at_gaps_of_the_index():
    names = [f"{i:04d}" for i in (*range(2, 8), *range(9, 13), *range(18, 20))]
    assert [len(run) for run in index_runs(names)] == [6, 4, 2]
    train, held_out = part_of(names, "train", 3, 1), part_of(names, "validation", 3, 1)
    assert held_out == names[6:10]
    assert sorted(train + held_out) == names
    with pytest.raises(ConfigError, match="allowed: all, train, validation"):
        part_of(names, "test")


def test_nyu_parts_share_no_run_and_keep_a_good_tenth_for_validation(shared_data):
    names = open_folder(shared_data / "train" / "nyuv2_train").frame_names
    train, held_out = part_of(names, "train"), part_of(names, "validation")
    assert len(train) + len(held_out) == 783
    assert 70 <= len(held_out) <= 120
    gaps = {abs(int(a) - int(b)) for a in train for b in held_out}
    assert min(gaps) >= 2


def test_source_keeps_depth_inside_the_trained_range(make_folder):
    path = make_folder()
    far = np.full((48, 64), 30_000, np.uint16)
    far[:, :32] = 4000
    cv2.imwrite(str(path / "depth" / "0000.png"), far)
    source = open_source("walk", SourceConfig(path="walk", longest_px=32, count=1), path.parent, (32, 24), CPU)
    depth_m = source.pool.gather(torch.tensor([0])).depth_m
    assert set(depth_m.unique().tolist()) == {0.0, 4.0}
    assert source.licence == "made by the tests"


def test_frames_are_shrunk_as_they_are_read(make_folder):
    path = make_folder(frames=20)
    for file in path.glob("*/*.png"):
        small = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(file), cv2.resize(small, (640, 480), interpolation=cv2.INTER_NEAREST))
    config = SourceConfig(path="walk", longest_px=32)
    open_source("walk", config, path.parent, (32, 24), CPU)  # what is imported and kept for ever
    tracemalloc.start()
    try:
        source = open_source("walk", config, path.parent, (32, 24), CPU)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(source.pool) == 20
    assert peak_bytes < 5 * 640 * 480 * 8, "one frame is 8 bytes a pixel: 3 of colour, 4 of depth, 1 of validity"


def test_room_cache_restarts_and_equals_rooms_made_on_the_spot(tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "SHARD", 3)
    rooms.render_cache(tmp_path, 3, 5, 32, 24, "rooms", CPU)
    first = (tmp_path / "000000_image.npy").stat().st_mtime_ns
    (tmp_path / "000001_image.npy").write_bytes(b"cut off")  # a kill between the arrays of a shard
    rooms.render_cache(tmp_path, 5, 5, 32, 24, "rooms", CPU)
    assert (tmp_path / "000000_image.npy").stat().st_mtime_ns == first
    cache = rooms.RoomCache("rooms", tmp_path)
    assert len(cache) == 6
    fresh = rooms.render_pool("rooms", 6, 32, 24, 5, CPU, "rooms")
    order = torch.tensor([4, 0, 5])
    one, other = cache.gather(order), fresh.gather(order)
    for name in ("images", "depth_m", "intrinsics", "sizes"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert (one.depth_m > 0).all()
    with pytest.raises(ConfigError, match="another folder"):
        rooms.render_cache(tmp_path, 3, 6, 32, 24, "rooms", CPU)


def test_an_empty_cache_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match="render-rooms"):
        rooms.RoomCache("rooms", tmp_path)


def test_a_cache_without_its_meta_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "SHARD", 1)
    rooms.render_cache(tmp_path, 1, 5, 32, 24, "rooms", CPU)
    (tmp_path / "meta.json").unlink()
    with pytest.raises(InputError, match=r"no rendered rooms with their meta\.json"):
        rooms.RoomCache("rooms", tmp_path)
