# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
from depthclip_trainer.cli import train_main
from depthclip_trainer.config import SourceConfig
from depthclip_trainer.data.augment import AugmentConfig
from depthclip_trainer.data.frames import read_frames
from depthclip_trainer.data.mixture import Mixture
from depthclip_trainer.data.readers.rgbd_folder import open_folder
from depthclip_trainer.data.readers.shards import ShardSet, write_shards
from depthclip_trainer.data.readers.unlabelled import ImageFolder
from depthclip_trainer.data.sources import frame_set, kind_of, open_source
from depthclip_trainer.data.split import part_names
from depthclip_trainer.recipe import compose

from depthclip_ros.core.errors import ConfigError, InputError

CPU = torch.device("cpu")


@pytest.fixture
def shards(make_folder, tmp_path):
    """Six frames of a folder in three shards of two, images as PNG."""
    folder = open_folder(make_folder())
    out = tmp_path / "shards"
    count = write_shards(
        read_frames(folder), out, source=folder.name, licence=folder.licence, per_shard=2, lossless=True
    )
    assert count == 6
    return out


def test_frames_come_back_as_they_were_in_any_order(shards, make_folder, tmp_path):
    folder = open_folder(tmp_path / "walk")
    frames = ShardSet(shards)
    assert kind_of(shards) == "shards"
    assert (frames.name, frames.licence) == ("walk", "made by the tests")
    assert len(frames.frame_names) == 6
    assert len(list(shards.glob("*.tar"))) == 3
    for name, original in reversed(list(zip(frames.frame_names, folder.frame_names, strict=True))):
        one, other = frames.read(name), folder.read(original)
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.depth_m, other.depth_m)
        assert np.array_equal(one.valid, other.valid)
        assert (one.intrinsics, one.path) == (other.intrinsics, other.path)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves its tars open
def test_webdataset_itself_reads_them(shards):
    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert len(samples) == 6
    assert json.loads(samples[3]["json"])["intrinsics"] == [50.0, 50.0, 31.5, 23.5]
    assert {"png", "depth.png", "json"} <= set(samples[0])


def test_depth_beyond_65_m_takes_coarser_steps(make_folder, tmp_path):
    sample = next(read_frames(open_folder(make_folder(units=256.0))))
    far = type(sample)(sample.image, sample.depth_m * 30, sample.valid, sample.intrinsics, sample.path)
    write_shards([far], tmp_path / "far", source="far", licence="none")
    frames = ShardSet(tmp_path / "far")
    back = frames.read(frames.frame_names[0])
    assert far.depth_m.max() > 65.535
    assert np.abs(back.depth_m - far.depth_m).max() <= 1 / 256


def test_a_step_holds_the_same_frames_for_one_process_and_for_two_and_after_a_restart(shards):
    def mixture():
        source = SourceConfig(kind="shards", path=str(shards), keep="disk", longest_px=64)
        return Mixture([open_source("s", source, "/", (32, 24), CPU).pool], [1.0], 8, 32, 24, AugmentConfig(), 5)

    running, restarted = mixture(), mixture()
    running.batch(0)
    whole, later = running.batch(1), restarted.batch(1)
    assert whole.paths == later.paths
    assert len(set(whole.paths)) > 1
    assert torch.equal(whole.images, later.images)
    parts = [restarted.batch(1, first, 4) for first in (0, 4)]
    assert parts[0].paths + parts[1].paths == whole.paths
    assert torch.equal(torch.cat([part.depth_m for part in parts]), whole.depth_m)


def test_validation_takes_whole_shards_of_one_recording(shards):
    names = part_names(ShardSet(shards), SourceConfig(kind="shards", part="validation"))
    assert [name.partition("/")[0] for name in names] == ["frames-000001"] * 2


def test_shards_of_another_writer_are_cut_whole_whatever_their_keys_are(shards, tmp_path):
    """Keys that start again in each shard, and nothing that says what the frames were called."""
    other = tmp_path / "other"
    other.mkdir()
    for shard in sorted(shards.glob("*.tar")):
        with tarfile.open(shard) as given, tarfile.open(other / shard.name, "w") as made:
            keys = {}
            for member in given:
                key, _, suffix = member.name.partition(".")
                data = given.extractfile(member).read()
                if suffix == "json":
                    data = json.dumps({k: v for k, v in json.loads(data).items() if k != "name"}).encode()
                member.name, member.size = f"{keys.setdefault(key, len(keys)):06d}.{suffix}", len(data)
                made.addfile(member, io.BytesIO(data))
    frames = ShardSet(other)
    parts = {part: part_names(frames, SourceConfig(kind="shards", part=part)) for part in ("train", "validation")}
    assert {name.partition("/")[0] for name in parts["validation"]} == {"frames-000001"}
    assert len(parts["train"]) == 4
    assert not set(parts["train"]) & set(parts["validation"])


def many_drives(root):
    """A list of sixteen drives of two frames, mixed as the published list is: all are the first drive's."""
    lists = root / "eigen_train_files_with_gt.txt"
    image, depth, focal = lists.read_text().split()[:3]
    drive = image.split("/")[1]
    lines = []
    for i in range(16):
        new = f"2011_09_26_drive_{100 + i:04d}_sync"
        for number in range(2):
            pair = [Path(place.replace(drive, new)).with_name(f"{number:010d}.png") for place in (image, depth)]
            for folder, place, was in zip(("raw", "data_depth_annotated"), pair, (image, depth), strict=True):
                (root / folder / place).parent.mkdir(parents=True, exist_ok=True)
                (root / folder / place).symlink_to(root / folder / was)
            lines.append(f"{pair[0]} {pair[1]} {focal}")
    np.random.default_rng(0).shuffle(lines)
    lists.write_text("\n".join(lines) + "\n")
    return root


def test_shards_train_on_other_drives_than_their_set_validates_on(make_kitti, tmp_path):
    root, out = many_drives(make_kitti((1216, 352))), tmp_path / "kitti_shards"
    command = ["write-shards", "--data", str(root), "--kind", "kitti", "--out", str(out), "--per-shard", "4"]
    assert train_main(command) == 0
    mapping = compose("kitti")["data"]
    mapping["train"]["kitti"] |= {"kind": "shards", "path": "kitti_shards"}
    drives = {}
    for part, source in (("train", "kitti"), ("validation", "kitti_held_out")):
        config = SourceConfig(**mapping[part][source])
        frames = frame_set(config, tmp_path)
        names = part_names(frames, config)
        drives[part] = {frames.read(name).path.split("/")[1] for name in names}
    assert not drives["train"] & drives["validation"]
    assert (len(drives["train"]), len(drives["validation"])) == (14, 2)


def test_truncated_compressed_incomplete_and_missing_shards_are_named(shards, tmp_path):
    first, second, third = sorted(shards.glob("*.tar"))
    first.write_bytes(first.read_bytes()[:1500])
    with pytest.raises(InputError, match=r"frames-000000\.tar does not read"):
        ShardSet(shards)
    first.unlink()
    with tarfile.open(second, "r:") as tar:
        member = tar.getmembers()[0]
        data = tar.extractfile(member).read()
    with tarfile.open(second, "w") as tar:
        (tmp_path / "alone").write_bytes(data)
        tar.add(tmp_path / "alone", member.name)
    with pytest.raises(InputError, match=r"frames-000001\.tar has 00000002 with"):
        ShardSet(shards)
    second.unlink()
    content = third.read_bytes()
    third.write_bytes(content.replace(b'"assumed_intrinsics"', b'"of_another_writer_"'))
    frames = ShardSet(third)
    assert not frames.read(frames.frame_names[0]).assumed_intrinsics, "who says nothing of it has measured them"
    third.write_bytes(content.replace(b'"units_per_metre"', b'"units_of_a_metr"'))
    frames = ShardSet(third)
    with pytest.raises(InputError, match="lacks what a frame needs: KeyError"):
        frames.read(frames.frame_names[0])
    third.unlink()
    with pytest.raises(InputError, match="write-shards"):
        ShardSet(shards)


def test_the_command_writes_shards_that_name_their_source(make_folder, tmp_path, capsys):
    folder = make_folder("walk")
    out = tmp_path / "out"
    assert train_main(["write-shards", "--data", str(folder), "--out", str(out)]) == 0
    assert "6 frames of walk" in capsys.readouterr().out
    assert train_main(["write-shards", "--data", str(folder), "--out", str(out)]) == 1
    assert "holds shards already" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="never_train_on lists walk"):
        frame_set(SourceConfig(kind="shards", path=str(out)), "/", ["walk"])  # shards say what they were written from


def test_plain_images_have_no_depth_and_an_assumed_lens(make_folder):
    folder = make_folder("rooms")
    (folder / "meta.json").unlink()
    assert kind_of(folder) == "images"
    frames = ImageFolder(folder, 90.0)
    assert frames.frame_names[0] == "rgb/0000.png"  # below, but not of a depth folder
    sample = frames.read("rgb/0000.png")
    assert not sample.valid.any()
    assert sample.intrinsics.hfov_deg == pytest.approx(90.0)
    assert sample.assumed_intrinsics
    (folder / "rgb" / "0001.png").write_bytes((folder / "rgb" / "0001.png").read_bytes()[:-30])
    with pytest.raises(InputError, match=r"0001\.png does not decode: PNG of 257 bytes is cut short"):
        frames.read("rgb/0001.png")
    with pytest.raises(InputError, match="between 0 and 180"):
        ImageFolder(folder, 180.0)
    with pytest.raises(ConfigError, match="pseudo-label"):
        open_source("x", SourceConfig(kind="images", path=str(folder)), "/", (32, 24), CPU)
