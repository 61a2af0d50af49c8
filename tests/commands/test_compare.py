# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip compare` end to end: real files, a metric and a relative system, a sheet, a table and JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from depthclip_ros.cli import main
from depthclip_ros.commands.arguments import add_images
from depthclip_ros.commands.compare import medians_of, short_names
from depthclip_ros.commands.files.lens import Lens
from depthclip_ros.commands.files.measured_depth import read_truths
from depthclip_ros.core.errors import InputError

WIDTH, HEIGHT = 80, 60


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Two images and, in another folder, their depth: a PNG in millimetres and a .npy."""
    rng = np.random.default_rng(0)
    (tmp_path / "rgb").mkdir()
    (tmp_path / "depth").mkdir()
    for name in ("a", "b"):
        coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "rgb" / f"{name}.png"), cv2.resize(coarse, (WIDTH, HEIGHT)))
    depth_m = np.linspace(1.0, 4.0, WIDTH * HEIGHT, dtype=np.float32).reshape(HEIGHT, WIDTH)
    depth_m[:5] = 0
    cv2.imwrite(str(tmp_path / "depth" / "a.png"), np.round(depth_m * 1000).astype(np.uint16))
    np.save(tmp_path / "depth" / "b.npy", np.where(depth_m > 0, depth_m, np.nan))
    return tmp_path


def compare(frames: Path, models: list[object], *arguments: object, images: tuple[str, ...] = ("rgb",)) -> int:
    fixed = ["--models", ",".join(map(str, models)), "--out", str(frames / "out" / "sheet.png"), "--device", "cpu"]
    fixed += ["--precision", "fp32", "--hfov-deg", "60"]
    return main(["compare", *(str(frames / name) for name in images), *fixed, *map(str, arguments)])


def test_a_metric_and_a_relative_system(
    frames: Path, small_weights: Path, make_transformers_folder, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(frames / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    relative = make_transformers_folder({"size": 56})
    assert compare(frames, [small_weights, relative], "--depth", frames / "depth") == 0
    sheet = cv2.imread(str(frames / "out" / "sheet.png"))
    assert sheet.shape[1] > 4 * 300  # image, measured depth, two systems
    assert sheet.std() > 20
    report = json.loads((frames / "out" / "sheet.json").read_text())
    ours, theirs = report["systems"]
    assert (ours["metric"], ours["aligned"]) == (True, "")
    assert (theirs["system"], theirs["metric"], theirs["aligned"]) == ("depth_anything", False, "scale and shift")
    for system in (ours, theirs):
        assert system["parameters_total"] >= system["parameters_trained"] > 0
        assert system["ms"] > 0
        assert [image["image"][-5:] for image in system["images"]] == ["a.png", "b.png"]
        rows = [image["abs_rel"] for image in system["images"]]
        assert system["mean"]["abs_rel"] == pytest.approx(np.mean(rows))
    # Scale and shift fit a constant at least as well as the median does, in disparity.
    assert theirs["mean"]["abs_rel"] < 1.3 * report["each image's median"]["abs_rel"]
    out = capsys.readouterr().out
    assert "relative*" in out
    assert "each image's true median" in out


def test_without_depth_nothing_is_scored(frames: Path, small_weights: Path, make_transformers_folder) -> None:
    assert compare(frames, [small_weights, make_transformers_folder({"size": 56})], images=("rgb/a.png",)) == 0
    report = json.loads((frames / "out" / "sheet.json").read_text())
    assert [system["mean"] for system in report["systems"]] == [None, None]
    assert report["each image's median"] is None


def test_a_system_that_does_not_load_is_named_and_left_out(frames: Path, small_weights: Path, capsys) -> None:
    assert compare(frames, [small_weights, "/nowhere.safetensors"]) == 1
    assert "/nowhere.safetensors: weights" in capsys.readouterr().err
    assert len(json.loads((frames / "out" / "sheet.json").read_text())["systems"]) == 1
    assert compare(frames, ["/nowhere.safetensors"]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--depth", "rgb/a.png"], "names 1 files for 2 images"),
        (["--depth", "depth/a.png", "rgb/a.png"], "depth is a one-channel 16-bit PNG"),
        (["--depth", "depth/a.png", "none.npy"], "does not read"),
        (["--depth", "depth/wide.npy", "depth/b.npy"], "depth is 80x60 and the reference 80x45"),
        (["--depth", "empty"], "holds no .npy or .png"),
        (["--depth", "depth", "--depth-units", "0"], "--depth-units is 0.0"),
    ],
)
def test_depth_that_cannot_be_used_is_refused(frames: Path, small_weights, arguments, words, monkeypatch, capsys):
    (frames / "empty").mkdir()
    np.save(frames / "depth" / "wide.npy", np.ones((45, 80), np.float32))
    monkeypatch.chdir(frames)
    assert compare(frames, [small_weights], *arguments) == 2
    assert words in capsys.readouterr().err


def lens_of(*arguments: object) -> Lens:
    parser = argparse.ArgumentParser()
    add_images(parser)
    return Lens.from_arguments(parser.parse_args(["-", *map(str, arguments)]))


def test_depth_lies_where_the_pixels_of_a_turned_photograph_are_stored(frames: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = frames / "rgb" / "turned.jpg"
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(path, exif=exif)
    lens = lens_of()
    assert lens.prepare(path, "turned").rgb.shape[:2] == (WIDTH, HEIGHT)
    job = lens.prepare(path, "turned", as_stored=True)
    assert job.rgb.shape[:2] == (HEIGHT, WIDTH)
    (truth,) = read_truths([job], lens, [frames / "depth" / "a.png"], 1000.0)
    assert truth is not None
    assert truth.shape == (HEIGHT, WIDTH)


def test_distortion_is_taken_out_of_measured_depth_as_out_of_its_image(frames: Path) -> None:
    calibration = {
        "image_width": WIDTH,
        "image_height": HEIGHT,
        "camera_matrix": {"rows": 3, "cols": 3, "data": [60.0, 0, 39.5, 0, 60.0, 29.5, 0, 0, 1]},
        "distortion_model": "plumb_bob",
        "distortion_coefficients": {"rows": 1, "cols": 5, "data": [-0.3, 0.1, 0, 0, 0]},
    }
    (frames / "camera.yaml").write_text(json.dumps(calibration))
    scene = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    scene[10:20, 60:75] = 255  # a box at 2 m before a wall at 4 m
    cv2.imwrite(str(frames / "rgb" / "box.png"), scene)
    np.save(frames / "depth" / "box.npy", np.where(scene[..., 0] > 0, 2.0, 4.0).astype(np.float32))
    lens = lens_of("--camera-info", frames / "camera.yaml")
    job = lens.prepare(frames / "rgb" / "box.png", "box")
    (truth,) = read_truths([job], lens, [frames / "depth" / "box.npy"], 1000.0)
    assert truth is not None
    box = job.rgb[..., 0] > 127
    assert (box != (scene[..., 0] > 127)).sum() > 30  # it was somewhere else before
    assert ((truth == 2.0) == box).mean() > 0.998
    np.save(frames / "depth" / "box.npy", np.ones((HEIGHT // 2, WIDTH // 2), np.float32))
    with pytest.raises(InputError, match=r"box\.npy is not of .*box\.png: image is 40x30 but its calibration is 80x60"):
        read_truths([job], lens, [frames / "depth" / "box.npy"], 1000.0)


@pytest.mark.parametrize("name", ["sheet.bmp", "sheet.json"])
def test_a_sheet_that_cannot_be_written_is_refused_before_the_work(frames: Path, monkeypatch, capsys, name) -> None:
    monkeypatch.setattr("depthclip_ros.commands.compare.fill", lambda *_: pytest.fail("a system runs"))
    assert compare(frames, ["default"], "--out", frames / "out" / name) == 2
    assert f"{name}: a picture ends in .png, .jpg, " in capsys.readouterr().err
    assert not (frames / "out").exists()


def test_names_are_short_where_they_differ() -> None:
    assert short_names(["default", "preset:nano", "runs/a/w.safetensors"]) == ["default", "nano", "w"]
    assert short_names(["a/w.safetensors", "b/w.safetensors"]) == ["a/w.safetensors", "b/w.safetensors"]


def test_the_median_row() -> None:
    truth = np.array([[0.0, 1.0, 2.0, 3.0]], np.float32)
    row = medians_of([truth, None])
    assert row is not None
    assert row.abs_rel == pytest.approx((1 + 0 + 1 / 3) / 3)
    assert medians_of([None]) is None


def test_brackets_and_dollars_in_names_are_no_markup(frames: Path, small_weights: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    (frames / "[").mkdir()  # a path with "[/b]": a closing tag that was never opened
    weights = frames / "w[red]_2.safetensors"
    weights.write_bytes(small_weights.read_bytes())
    (frames / "rgb" / "a.png").rename(frames / "rgb" / "$a_{$.png")
    assert compare(frames, [weights], "--out", frames / "[" / "b] sheet.png") == 0
    said = capsys.readouterr().out
    assert "w[red]_2" in said
    assert "[/b] sheet.png" in said
    assert (frames / "[" / "b] sheet.json").is_file()
