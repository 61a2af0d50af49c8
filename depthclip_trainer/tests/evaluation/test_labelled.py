# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import argparse

import pytest
from depthclip_trainer.evaluation.labelled import parse_fitting


def paths(data, *more: str) -> list[str]:
    options = parse_fitting(argparse.ArgumentParser(), ["--data", str(data), "--out", "x.safetensors", *more], 3)
    return [sample.path for sample in options.samples]


def test_nothing_is_fitted_to_an_official_test_part(make_nyu_folder, make_nyu_mat, make_kitti, capsys):
    nyu = make_nyu_folder()
    assert [path[-5:] for path in paths(nyu)] == ["00000", "00001", "00002", "00003"]
    assert f"{nyu}, part train: 4 frames" in capsys.readouterr().out
    assert [path[-5:] for path in paths(nyu, "--part", "validation")] == ["00002"]
    assert [path[-4:] for path in paths(make_nyu_mat())] == ["0000", "0001", "0003"]
    assert [path.partition("/")[0] for path in paths(make_kitti())] == ["kitti_eigen_train_files_with_gt"] * 2
    with pytest.raises(SystemExit):
        paths(nyu, "--part", "test")


def test_frames_without_an_official_split_are_all_taken(make_folder, capsys):
    folder = make_folder()
    assert len(paths(folder)) == 6
    assert f"{folder}, part all: 6 frames" in capsys.readouterr().out
