# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import csv
import dataclasses
import json
import signal

import cv2
import numpy as np
import pytest
import torch
import webdataset
from depthclip_trainer.data.sample import AFFINE, CANONICAL
from depthclip_trainer.data.store.pseudo import decode
from depthclip_trainer.data.store.tar import index_shard, read_sample
from depthclip_trainer.fit.loop import train
from depthclip_trainer.labelling import label_pictures as pseudo_label
from depthclip_trainer.labelling.label_pictures import LabelConfig, label_pictures

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.model.registry import build_model, preset
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.core.weights.weights_file import save_weights


def read_shards(folder):
    for path in sorted(folder.glob("shard-*.tar")):
        for place in index_shard(path):
            yield decode(read_sample(path, place.start, place.end))


@pytest.fixture
def teacher(make_config, tmp_path):
    """A tiny network whose depth depends on what it sees."""
    torch.manual_seed(0)
    model = build_model(preset("nano", **make_config().model.overrides))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("heads") and parameter.ndim == 4:
                parameter.copy_(torch.randn_like(parameter) * 0.5)
    path = tmp_path / "teacher.safetensors"
    save_weights(path, model.eval(), training={}, metrics={}, dtype="float32")
    return path


@pytest.fixture
def pictures(tmp_path):
    """Thirteen pictures of two sizes in two folders, two of them broken, and what is no picture."""
    folder = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for i in range(13):
        size = (60, 80, 3) if i % 3 else (64, 64, 3)
        coarse = rng.integers(0, 255, (4, 5, 3), np.uint8)
        path = folder / ("a" if i < 7 else "b/deeper") / f"{i:02d}.{'jpg' if i % 2 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_LINEAR))
    (folder / "a" / "03.jpg").write_bytes((folder / "a" / "03.jpg").read_bytes()[:-300])
    (folder / "a" / "04.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not a picture")
    (folder / "a" / "depth").mkdir()
    cv2.imwrite(str(folder / "a" / "depth" / "00.png"), np.ones((64, 64), np.uint16))
    return folder


WHOLE = sorted([f"a/{i:02d}.{'jpg' if i % 2 else 'png'}" for i in (0, 1, 2, 5, 6)] + [
    f"b/deeper/{i:02d}.{'jpg' if i % 2 else 'png'}" for i in range(7, 13)
])  # fmt: skip


@pytest.fixture
def config(teacher, pictures, tmp_path):
    return LabelConfig(
        str(teacher), pictures, tmp_path / "labels", shard=3, batch=2, device="cpu", precision="fp32", threads=2
    )


# Kills itself as `kill -9` does, in the middle of a shard.
KILLED = """
import signal, webdataset
written, real = 0, webdataset.TarWriter.write
def write(self, files):
    global written
    written += 1
    if written == 5:
        self.stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, files)
if os.environ["RANK"] == "0":
    webdataset.TarWriter.write = write
from depthclip_trainer.cli import train_main
sys.exit(train_main())
"""


def test_two_processes_label_each_picture_once_also_after_a_kill(config, start):
    arguments = ["--weights", config.weights, "--data", config.data, "--out", config.out, "--shard", "3"]
    arguments += ["--batch", "2", "--device", "cpu", "--precision", "fp32", "--runtime", "torch"]
    workers = [start(KILLED, "pseudo-label", *arguments, RANK=str(rank), WORLD_SIZE="2") for rank in (0, 1)]
    assert [worker.wait() for worker in workers] == [-signal.SIGKILL, 0], [worker.output for worker in workers]
    assert "worker 1 of 2: 4 pictures labelled in 2 shards" in workers[1].output
    # Worker 0 was in its second shard, 2; worker 1 wrote 1 and 3.
    assert sorted(p.name for p in config.out.glob("shard-*.tar")) == [f"shard-00000{i}.tar" for i in (0, 1, 3)]
    assert len(list(config.out.glob(".shard-000002.tar.*.tmp"))) == 1
    assert not (config.out / "manifest.json").exists()
    kept = {p.name: p.read_bytes() for p in config.out.glob("shard-*.tar")}

    again = [label_pictures(config, rank, 2) for rank in (0, 1)]
    assert [(c.found, c.shards) for c in again] == [(1, 2), (2, 0)]
    assert sorted(f.name for f in read_shards(config.out)) == WHOLE
    assert all((config.out / name).read_bytes() == content for name, content in kept.items())
    assert not list(config.out.glob(".*"))
    manifest = json.loads((config.out / "manifest.json").read_text())
    assert manifest["labelled"] == len(WHOLE)
    assert manifest["broken"] == ["a/03.jpg", "a/04.png"]


def test_labels_are_what_the_engine_says(config, teacher):
    label_pictures(config)
    engine = DepthEngine.load(teacher, device="cpu", precision="fp32")
    for frame in read_shards(config.out):
        picture = cv2.cvtColor(cv2.imread(str(config.data / frame.name)), cv2.COLOR_BGR2RGB)
        height_px, width_px = picture.shape[:2]
        assert frame.image.shape == picture.shape
        assert frame.assumed_intrinsics
        found = engine.infer(picture[None], [frame.intrinsics])
        expected = found.depth_m[0]
        depth_m = cv2.resize(frame.depth_m(), (width_px, height_px), interpolation=cv2.INTER_LINEAR)
        assert np.median(np.abs(depth_m / expected - 1)) < 0.01
        assert frame.label.std() > 0.01
    engine.close()


def test_the_lens_that_is_written_down_does_not_change_a_canonical_label(config):
    label_pictures(config)
    other = dataclasses.replace(config, out=config.out.with_name("other"), hfov_deg=100.0)
    label_pictures(other)
    for one, two in zip(read_shards(config.out), read_shards(other.out), strict=True):
        assert np.array_equal(one.label, two.label)
        assert two.intrinsics == Intrinsics.from_hfov(100.0, two.image.shape[1], two.image.shape[0])


def test_flip_averages_with_the_mirrored_picture(config, teacher, tmp_path):
    folder = tmp_path / "mirrored"
    (folder / "a").mkdir(parents=True)
    picture = cv2.imread(str(config.data / "a" / "05.jpg"))
    cv2.imwrite(str(folder / "a" / "00.png"), picture)
    cv2.imwrite(str(folder / "a" / "01.png"), picture[:, ::-1])
    flipped = dataclasses.replace(config, data=folder, out=tmp_path / "flipped", flip=True)
    plain = dataclasses.replace(flipped, out=tmp_path / "plain", flip=False)
    label_pictures(flipped)
    label_pictures(plain)
    one, mirrored = (f.label.astype(np.float32) for f in read_shards(plain.out))
    assert np.abs(one - mirrored[:, ::-1]).max() > 0.01
    for frame in read_shards(flipped.out):
        label = frame.label[:, ::-1] if frame.name.endswith("01.png") else frame.label
        assert np.allclose(label, (one + mirrored[:, ::-1]) / 2, rtol=5e-3)


def test_affine_labels_are_disparity_with_a_median_of_one(config):
    label_pictures(dataclasses.replace(config, target=AFFINE))
    canonical = dataclasses.replace(config, out=config.out.with_name("canonical"))
    label_pictures(canonical)
    for affine, metric in zip(read_shards(config.out), read_shards(canonical.out), strict=True):
        assert (affine.target, metric.target) == (AFFINE, CANONICAL)
        disparity = 1 / metric.label.astype(np.float32)
        assert np.allclose(affine.label, disparity / np.median(disparity), rtol=5e-3)
        assert float(np.median(affine.label)) == pytest.approx(1.0, rel=5e-3)


def test_shards_of_pictures_are_labelled_too(config, tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    names = WHOLE[:5]
    for s, part in enumerate((names[:3], names[3:])):
        with webdataset.TarWriter(str(folder / f"raw-{s}.tar"), encoder=False) as shard:
            for name in part:
                path = config.data / name
                shard.write({"__key__": path.stem, path.suffix[1:]: path.read_bytes(), "txt": b"a room"})
    counts = label_pictures(dataclasses.replace(config, data=folder))
    assert (counts.shards, counts.pictures) == (2, 5)
    assert sorted(f.name for f in read_shards(config.out)) == sorted(
        f"raw-{int(i > 2)}.tar/{name.rpartition('/')[2].split('.')[0]}" for i, name in enumerate(names)
    )


def test_large_pictures_are_stored_small(config):
    label_pictures(dataclasses.replace(config, longest_px=40))
    shapes = {f.image.shape for f in read_shards(config.out)}
    assert shapes == {(40, 40, 3), (30, 40, 3)}


def test_another_run_into_the_same_folder_is_refused(config):
    label_pictures(config)
    for change in ({"flip": True}, {"hfov_deg": 50.0}, {"shard": 4}):
        with pytest.raises(ConfigError, match=f"begun with {next(iter(change))}"):
            label_pictures(dataclasses.replace(config, **change))
    (config.data / "new.png").write_bytes(b"")
    with pytest.raises(ConfigError, match="begun with pictures"):
        label_pictures(config)


def test_what_cannot_be_labelled(config, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        label_pictures(dataclasses.replace(config, data=tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no picture"):
        label_pictures(dataclasses.replace(config, data=tmp_path / "empty"))
    with pytest.raises(ConfigError, match="sideways"):
        label_pictures(dataclasses.replace(config, target="sideways"))
    with pytest.raises(ConfigError, match="hfov"):
        dataclasses.replace(config, hfov_deg=0)


def test_a_full_disk_ends_the_labelling(config, monkeypatch):
    def no_space(path, frames):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pseudo_label, "write_shard", no_space)
    with pytest.raises(OSError, match="No space"):
        label_pictures(config)
    assert not list(config.out.glob("*.tar"))


def test_a_student_learns_from_a_teacher(config, make_config):
    label_pictures(dataclasses.replace(config, shard=100))
    rooms = {"kind": "rooms", "count": 4, "seed": 3, "longest_px": 96}
    data = {
        "root": ".",
        "width_px": 96,
        "height_px": 64,
        "train": {
            "rooms": rooms,
            "pictures": {"kind": "pseudo", "path": str(config.out), "share": 2, "longest_px": 96},
        },
        "validation": {"held_out": {**rooms, "seed": 4}},
    }
    with pytest.raises(ConfigError, match="section semi"):
        make_config(data=data)
    semi = {"loss": {"log_l1": 1.0, "silog": 0.1, "bin_cross_entropy": 0.3}}
    out = train(make_config(data=data, semi=semi, loop__steps=30, loop__batch=6, loop__log_every=3))
    with (out / "log.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["name"] == "loss"]
    losses = [float(row["value"]) for row in rows]
    assert min(losses[-3:]) < 0.85 * losses[0]
