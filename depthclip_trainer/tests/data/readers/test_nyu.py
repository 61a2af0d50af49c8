# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import logging

import cv2
import h5py
import numpy as np
import pytest
import torch
from depthclip_trainer.config import SourceConfig
from depthclip_trainer.data.frames import read_frames
from depthclip_trainer.data.readers.nyu import NyuFolder, NyuMat
from depthclip_trainer.data.sources import frame_set, kind_of, part_names

from depthclip_ros.core.errors import ConfigError, InputError


def test_the_mat_is_read_in_matlabs_order_with_the_official_parts(make_nyu_mat):
    folder = make_nyu_mat()
    train, test = NyuMat(folder), NyuMat(folder / "nyu_depth_v2_labeled.mat", "test")
    assert train.frame_names == ("0000", "0001", "0003")  # 1-based in splits.mat
    assert test.frame_names == ("0002", "0004", "0005")
    sample = test.read("0004")
    assert sample.image.shape == (480, 640, 3)
    assert sample.depth_m.dtype == np.float32
    assert sample.depth_m[0, 5] == pytest.approx(5.0)  # 1 + 0.25 * 4 + 3 at the top
    assert sample.depth_m[479, 600] == pytest.approx(2.0)
    assert sample.image[100, 100, 2] == 30  # RGB
    assert (sample.image[:8] == 255).all()
    assert sample.image.flags.c_contiguous
    assert sample.depth_m.flags.c_contiguous
    camera = sample.intrinsics
    assert (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px) == (518.8579, 519.4696, 325.5824, 253.7362)


def test_a_training_source_never_holds_official_test_frames(make_nyu_mat):
    folder = make_nyu_mat()
    assert kind_of(folder) == kind_of(folder / "nyu_depth_v2_labeled.mat") == "nyu_mat"
    source = SourceConfig(kind="nyu_mat", path=str(folder))
    frames = frame_set(source, "/")
    assert part_names(frames, source) == ["0000", "0001", "0003"]
    assert part_names(frames, SourceConfig(kind="nyu_mat", part="validation")) == ["0003"]  # the run behind the gap


def test_what_is_no_whole_mat_or_has_no_split_is_refused(make_nyu_mat, tmp_path):
    folder = make_nyu_mat()
    mat = folder / "nyu_depth_v2_labeled.mat"
    with pytest.raises(ConfigError, match="'val'; allowed: all, train, test"):
        NyuMat(folder, "val")
    (folder / "splits.mat").rename(tmp_path / "kept.mat")
    with pytest.raises(InputError, match=r"splits\.mat does not give trainNdxs"):
        NyuMat(folder)
    assert len(NyuMat(folder, "all").frame_names) == 6
    (folder / "splits.mat").write_bytes((tmp_path / "kept.mat").read_bytes()[:150])
    with pytest.raises(InputError, match=r"splits\.mat does not give"):
        NyuMat(folder)
    mat.write_bytes(mat.read_bytes()[: mat.stat().st_size // 2])
    with pytest.raises(InputError, match="truncated"):
        NyuMat(folder, "all")
    with pytest.raises(InputError, match="missing"):
        NyuMat(tmp_path / "none.mat", "all")
    with h5py.File(tmp_path / "other.mat", "w") as file:
        file["images"], file["depths"] = np.zeros((2, 3, 4, 5), np.uint8), np.zeros((2, 5, 4), np.float32)
    with pytest.raises(InputError, match=r"\[N, 3, W, H\]"):
        NyuMat(tmp_path / "other.mat", "all")


def test_splits_that_number_frames_outside_the_file_are_refused(make_nyu_mat):
    with pytest.raises(InputError, match=r"outside 1\.\.6"):
        NyuMat(make_nyu_mat(train=(1, 7)))


def test_folder_form_follows_its_lists(make_nyu_folder):
    folder = make_nyu_folder()
    assert kind_of(folder) == kind_of(folder / "nyudepthv2_test_files_with_gt.txt") == "nyu_folder"
    train, test = NyuFolder(folder), NyuFolder(folder, part="test")
    assert train.frame_names[1] == "kitchen_0028b/rgb_00001"
    assert test.frame_names == ("bathroom/rgb_00004", "cafe/rgb_00005")
    sample = test.read("cafe/rgb_00005")
    assert sample.depth_m[0, 0] == pytest.approx(5.25)
    assert abs(int(sample.image[100, 100, 2]) - 30) <= 4  # JPEG
    assert sample.intrinsics.fx_px == 518.8579
    named = NyuFolder(folder, "nyudepthv2_test_files_with_gt.txt")
    by_file = NyuFolder(folder / "nyudepthv2_test_files_with_gt.txt")
    assert named.frame_names == by_file.frame_names == test.frame_names
    assert by_file.read("cafe/rgb_00005").depth_m[0, 0] == pytest.approx(5.25)


def test_validation_takes_whole_rooms(make_nyu_folder):
    source = SourceConfig(kind="nyu_folder", path=str(make_nyu_folder()), part="validation")
    frames = frame_set(source, "/")
    held_out = part_names(frames, source)
    train = part_names(frames, SourceConfig(kind="nyu_folder", part="train"))
    assert held_out == ["office_0001a/rgb_00002"]
    assert sorted([*train, *held_out]) == sorted(frames.frame_names)  # both recordings of kitchen 28 train


def test_broken_frames_of_a_list_are_named_counted_and_skipped(make_nyu_folder, caplog):
    folder = make_nyu_folder()
    (folder / "sync" / "kitchen_0028a" / "rgb_00000.jpg").unlink()
    depth = folder / "sync" / "kitchen_0028b" / "sync_depth_00001.png"
    depth.write_bytes(depth.read_bytes()[:-40])
    image = folder / "sync" / "study_0003" / "rgb_00003.jpg"
    small = cv2.imread(str(image))[:300, :400]
    cv2.imwrite(str(image), small)
    with caplog.at_level(logging.WARNING):
        names = [sample.path for sample in read_frames(NyuFolder(folder))]
    assert names == ["nyu_depth_v2_nyudepthv2_train_files_with_gt/office_0001a/rgb_00002"]
    for fault in (
        "kitchen_0028a/rgb_00000.jpg is missing",
        "sync_depth_00001.png is no depth: PNG of ",
        "400x300",
        "3 broken",
    ):
        assert fault in caplog.text


def test_lists_and_units_that_are_wrong_are_refused(make_nyu_folder):
    folder = make_nyu_folder()
    listed = folder / "nyudepthv2_train_files_with_gt.txt"
    with pytest.raises(InputError, match=r"val\.txt does not exist"):
        NyuFolder(folder, "val.txt")
    for png in folder.glob("sync/*/sync_depth*.png"):
        metres = cv2.imread(str(png), cv2.IMREAD_UNCHANGED) // 1000
        cv2.imwrite(str(png), metres)  # metres in a file of millimetres
    with pytest.raises(InputError, match=r"median depth of 0\.00.*1000 is millimetres"):
        list(read_frames(NyuFolder(folder)))
    listed.write_text(listed.read_text() + "one two three four\n")
    with pytest.raises(InputError, match=r"gt\.txt:5 is 'one two.*IMAGE DEPTH FOCAL"):
        NyuFolder(folder)
    listed.write_text("a/b.jpg None 518.8\n")
    with pytest.raises(InputError, match=r"no frame with depth \(1 with None\)"):
        NyuFolder(folder)


def test_frames_on_disk_make_the_batches_that_frames_in_memory_make(make_nyu_folder, caplog):
    from depthclip_trainer.data.augment import AugmentConfig
    from depthclip_trainer.data.mixture import Mixture
    from depthclip_trainer.data.sources import open_source

    folder = make_nyu_folder()

    def mixture(keep):
        source = SourceConfig(kind="nyu_folder", path=str(folder), crop=[41, 45, 560, 426], longest_px=80, keep=keep)
        pool = open_source("nyu", source, "/", (64, 48), torch.device("cpu")).pool
        return Mixture([pool], [1.0], 4, 64, 48, AugmentConfig(), 3)

    memory, disk = mixture("memory"), mixture("disk")
    one, other = memory.batch(7), disk.batch(7)
    for name in ("images", "depth_m", "valid", "intrinsics"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    halves = [disk.batch(7, first, 2) for first in (0, 2)]  # as two processes take it
    assert torch.equal(torch.cat([half.images for half in halves]), one.images)

    (folder / "sync" / "office_0001a" / "rgb_00002.jpg").unlink()
    with caplog.at_level(logging.WARNING):
        paths = mixture("disk").pools[0].gather(torch.tensor([2, 2])).paths
    assert [path.rpartition("/")[2] for path in paths] == ["rgb_00003", "rgb_00003"]
    assert "rgb_00002.jpg is missing" in caplog.text
