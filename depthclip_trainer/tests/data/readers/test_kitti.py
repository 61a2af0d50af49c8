# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import logging

import cv2
import numpy as np
import pytest
import torch
from depthclip_trainer.config import SourceConfig
from depthclip_trainer.data.frames import read_frames
from depthclip_trainer.data.readers.kitti import KittiFrames, kb_crop, read_calibration
from depthclip_trainer.data.sources import frame_set, kind_of, open_source, part_names

from depthclip_ros.core.errors import InputError


def test_lists_depth_and_calibration_are_read_and_none_is_left_out(make_kitti, caplog):
    root = make_kitti()
    assert kind_of(root) == kind_of(root / "eigen_test_files_with_gt.txt") == "kitti"
    with caplog.at_level(logging.WARNING):
        test = KittiFrames(root, part="test")
    assert test.frame_names == (
        "2011_09_26_drive_0002_sync/image_02/0000000002",
        "2011_09_28_drive_0003_sync/image_02/0000000003",
    )
    assert test.without_depth == 1
    assert "1 lines without depth" in caplog.text
    calibrated, listed = (test.read(name) for name in test.frame_names)
    assert calibrated.image.shape == (375, 1242, 3)
    assert calibrated.depth_m.max() == pytest.approx(72.0, abs=1 / 256)
    assert 0.15 < calibrated.valid.mean() < 0.25
    assert (calibrated.intrinsics.cx_px, calibrated.intrinsics.cy_px) == (609.5593, 172.854)
    assert (listed.intrinsics.fx_px, listed.intrinsics.cx_px, listed.intrinsics.cy_px) == (721.5377, 620.5, 187.0)


@pytest.mark.parametrize(
    ("size", "left", "top"), [((375, 1242), 13, 23), ((370, 1226), 5, 18), ((376, 1241), 12, 24), ((352, 1216), 0, 0)]
)
def test_the_benchmark_crop_is_at_the_bottom_in_the_middle(size, left, top):
    assert kb_crop(*size) == (left, top, 1216, 352)


def test_a_smaller_frame_than_the_crop_is_refused():
    with pytest.raises(InputError, match="1200x375; the KITTI crop takes 1216x352"):
        kb_crop(375, 1200)


def test_a_training_source_is_cropped_and_keeps_depth_to_80_m(make_kitti, plain_batches):
    root = make_kitti()
    source = SourceConfig(kind="kitti", path=str(root), longest_px=1216, max_depth_m=80.0)
    frames = frame_set(source, "/")
    whole, cut = KittiFrames(root).read(frames.frame_names[0]), frames.read(frames.frame_names[0])
    assert np.array_equal(cut.image, whole.image[23:, 13:1229])
    assert np.array_equal(cut.depth_m, whole.depth_m[23:, 13:1229])
    assert cut.intrinsics.cx_px == pytest.approx(609.5593 - 13)
    assert cut.intrinsics.cy_px == pytest.approx(172.854 - 23)
    pool = open_source("kitti", source, "/", (608, 176), torch.device("cpu")).pool
    depth_m = pool.gather(torch.tensor([0])).depth_m
    assert depth_m.max() > 60
    (batch,) = plain_batches(pool, 2, 608, 176)
    assert batch.depth_m.max() > 60
    assert batch.valid.float().mean() > 0.1
    near = open_source("kitti", SourceConfig(kind="kitti", path=str(root)), "/", (608, 176), torch.device("cpu")).pool
    assert near.gather(torch.tensor([0])).depth_m.max() <= 10
    validation = part_names(frames, SourceConfig(kind="kitti", part="validation"))
    assert validation == ["2011_09_28_drive_0001_sync/image_02/0000000001"]  # whole drives


def test_missing_truncated_and_mismatched_files_are_named(make_kitti, caplog):
    root = make_kitti()
    frames = KittiFrames(root)
    image = next(root.glob("raw/*/*0000_sync/image_02/data/*.png"))
    image.write_bytes(image.read_bytes()[:-400])
    depth = next(root.glob("data_depth_annotated/*0001_sync/**/*.png"))
    cv2.imwrite(str(depth), np.full((352, 1216), 2560, np.uint16))
    with caplog.at_level(logging.WARNING), pytest.raises(InputError, match="no frame with a valid depth"):
        list(read_frames(frames))
    assert "its end is missing" in caplog.text
    assert "depth is 1216x352, its image 1242x375" in caplog.text
    depth.unlink()
    with pytest.raises(InputError, match=r"0000000001\.png is missing below"):
        frames.read(frames.frame_names[1])


def test_a_depth_of_another_kind_and_a_broken_calibration_are_refused(make_kitti):
    root = make_kitti()
    depth = next(root.glob("data_depth_annotated/*0001_sync/**/*.png"))
    cv2.imwrite(str(depth), np.full((375, 1242, 3), 9, np.uint8))
    frames = KittiFrames(root)
    with pytest.raises(InputError, match="3 channels of 8 bits; depth is a one-channel 16-bit PNG"):
        frames.read(frames.frame_names[1])
    calibration = root / "raw" / "2011_09_26" / "calib_cam_to_cam.txt"
    calibration.write_text("P_rect_02: 7.2e+02 zero 6.1e+02\n")
    with pytest.raises(InputError, match="12 numbers"):
        read_calibration(calibration)


def test_depth_in_the_wrong_unit_is_refused_with_a_hint(make_kitti):
    root = make_kitti()
    for png in root.glob("data_depth_annotated/**/*.png"):
        cv2.imwrite(str(png), cv2.imread(str(png), cv2.IMREAD_UNCHANGED) // 2560)
    with pytest.raises(InputError, match=r"median depth of 0\.0.*256 KITTI"):
        list(read_frames(KittiFrames(root)))
