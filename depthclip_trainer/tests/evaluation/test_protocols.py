# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from depthclip_trainer.cli import eval_main
from depthclip_trainer.evaluation.evaluate import evaluate
from depthclip_trainer.evaluation.protocols import PROTOCOLS, eigen_crop, frames_of, protocol_for

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.types import Depth


class Constant:
    """An engine that says one depth everywhere, and remembers what it was shown."""

    def __init__(self, depth_m):
        self.depth_m, self.sizes = depth_m, []
        self.config = SimpleNamespace(metric=True)
        self.info = SimpleNamespace(path="constant", sha256="0" * 64, config={"input_pixels": 0})
        self.runtime = self.device = self.precision = "none"

    def infer(self, images, intrinsics, limits=None):
        self.sizes.append((images.shape[1:3], intrinsics[0]))
        shape = images.shape[:3]
        return Depth(np.full(shape, self.depth_m, np.float32), np.ones(shape, np.float32), [1.0])


def expected(truths, depth_m):
    """Mean over images of AbsRel, RMSE and delta1 of a constant, straight from the definitions."""
    rows = []
    for truth in truths:
        g = truth.astype(np.float64)
        ratio = np.maximum(g / depth_m, depth_m / g)
        rows.append((np.mean(np.abs(g - depth_m) / g), math.sqrt(np.mean((g - depth_m) ** 2)), np.mean(ratio < 1.25)))
    return np.mean(rows, axis=0)


def test_kitti_shows_the_benchmark_crop_and_scores_garg_of_the_whole_frame(make_kitti):
    root = make_kitti()
    assert protocol_for(root).name == "kitti"
    engine = Constant(20.0)
    report = evaluate(engine, frames_of(PROTOCOLS["kitti"], root), PROTOCOLS["kitti"])
    assert [size for size, _ in engine.sizes] == [(352, 1216)] * 2
    assert engine.sizes[0][1].cx_px == pytest.approx(609.5593 - 13)

    truths = []
    for path in sorted(root.glob("data_depth_annotated/*/**/*.png"))[:]:
        if "drive_0002" in str(path) or "drive_0003" in str(path):
            g = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32) / 256
            g = g[153:371, 44:1197]  # .40810811 * 375, .99189189 * 375; .03594771 * 1242, .96405229 * 1242
            truths.append(g[(g > 1e-3) & (g < 80)])
    assert sum(len(t) for t in truths) == sum(len(f.truth.all_m()) for f in report.frames)
    row = report.rows["model"]["all"]
    assert (row["abs_rel"], row["rmse"], row["delta1"]) == pytest.approx(expected(truths, 20.0), rel=1e-6)
    assert row["frames"] == 2
    assert report.rows["best constant"]["all"]["delta1"] > row["delta1"]


def test_garg_is_cut_from_the_whole_frame_not_from_what_is_shown():
    whole = np.full((375, 1242), 5.0, np.float32)
    counted = PROTOCOLS["kitti"].valid(whole)
    rows, columns = np.nonzero(counted)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (153, 370, 44, 1196)
    assert PROTOCOLS["kitti"].in_range(np.array([[1e-3, 0.01, 79.9, 80.0]], np.float32)).tolist() == [
        [False, True, True, False]
    ]


@pytest.mark.parametrize(("name", "size"), [("nyu", (480, 640)), ("nyu-cropped", (426, 560))])
def test_nyu_scores_the_official_test_part_of_the_mat_inside_eigens_crop(make_nyu_mat, name, size):
    folder = make_nyu_mat()
    assert protocol_for(folder).name == "nyu"
    engine = Constant(3.0)
    report = evaluate(engine, frames_of(PROTOCOLS[name], folder), PROTOCOLS[name])
    assert [shape for shape, _ in engine.sizes] == [size] * 3
    rows = np.linspace(1.0, 0.0, 480, dtype=np.float32)[:, None] * np.ones((1, 640), np.float32)
    truths = [(1.0 + 0.25 * i + 3.0 * rows)[45:471, 41:601] for i in (2, 4, 5)]
    row = report.rows["model"]["all"]
    assert (row["abs_rel"], row["rmse"], row["delta1"]) == pytest.approx(expected(truths, 3.0), rel=1e-6)
    assert [frame.path[-4:] for frame in report.frames] == ["0002", "0004", "0005"]
    by_place = report.rows["model"]["by place"]  # 4 and 5 follow each other: one room, which counts as much as 2 does
    of_places = [expected(truths[:1], 3.0), expected(truths[1:], 3.0)]
    assert (by_place["abs_rel"], by_place["rmse"], by_place["delta1"]) == pytest.approx(np.mean(of_places, 0), rel=1e-6)
    assert by_place["abs_rel"] != pytest.approx(row["abs_rel"], rel=1e-3)
    assert by_place["frames"] == 3
    assert report.rows["best constant"]["by place"]["delta1"] >= by_place["delta1"]
    assert report.options["places"] == 2


def test_eigens_crop_is_that_of_every_paper():
    """Eigen et al. 2014, as released: rows 45 to 470, columns 41 to 600."""
    left, top, width, height = eigen_crop(480, 640)
    assert (top, top + height, left, left + width) == (45, 471, 41, 601)


@pytest.mark.parametrize(("name", "most_m"), [("rgbd", 10), ("nyu", 10), ("nyu-cropped", 10), ("kitti", 80)])
def test_truth_counts_below_the_cap_that_the_field_compares_at(name, most_m):
    truth_m = np.array([most_m - 0.01, most_m, most_m + 0.5, np.inf], np.float32)
    assert PROTOCOLS[name].in_range(truth_m).tolist() == [True, False, False, False]


def test_parts_of_sets_with_an_official_split(make_nyu_folder, make_kitti):
    def paths(data, part):
        return [sample.path.rpartition("_")[2] for _, sample in frames_of(PROTOCOLS["frames"], data, part)]

    folder = make_nyu_folder()
    assert paths(folder, "") == paths(folder, "test") == ["00004", "00005"]
    assert paths(folder, "train") == ["00000", "00001", "00002", "00003"]
    assert paths(folder, "validation") == ["00002"]
    assert paths(folder / "nyudepthv2_train_files_with_gt.txt", "") == paths(folder, "train")
    assert len(paths(make_kitti(), "train")) == 2


def test_a_protocol_for_other_frames_and_data_of_no_kind_are_refused(make_folder, tmp_path, caplog):
    folder = make_folder()
    assert protocol_for(folder).name == "frames"
    with pytest.raises(InputError, match="no frame with a valid depth"):
        list(frames_of(PROTOCOLS["nyu"], folder))
    assert "64x48; the protocol nyu scores frames of 640x480" in caplog.text
    with pytest.raises(InputError, match="nothing that a reader knows; there are bag, rgbd_folder, nyu_mat, kitti"):
        list(frames_of(PROTOCOLS["frames"], tmp_path / "none"))
    with pytest.raises(ConfigError, match="allowed: all, train, validation"):
        list(frames_of(PROTOCOLS["frames"], folder, "best"))


def test_the_command_finds_layout_and_protocol(make_nyu_mat, tmp_path, capsys):
    from depthclip_ros.core.model.registry import build_model, preset
    from depthclip_ros.core.weights.weights_file import save_weights

    model = build_model(preset("nano", input_pixels=4096, tower_blocks=2, tap_layers=[1], adapter_layers=[1]))
    save_weights(tmp_path / "w.safetensors", model, training={}, metrics={})
    assert eval_main(["--weights", str(tmp_path / "w.safetensors"), "--data", str(make_nyu_mat())]) == 0
    shown = capsys.readouterr().out
    assert "Protocol nyu" in shown
    assert "nyu_depth_v2_test" in shown
