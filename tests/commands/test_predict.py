# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip predict` from image files to depth files, on real files and real (small) weights."""

from __future__ import annotations

import json
import math
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from depthclip_ros.cli import main
from depthclip_ros.commands.files.images import read_picture
from depthclip_ros.commands.files.outputs import output_stems, to_millimetres
from depthclip_ros.core.geometry import project
from depthclip_ros.core.types import Intrinsics

Predict = Callable[..., int]
WIDTH, HEIGHT = 160, 120


@pytest.fixture
def picture() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    return cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def image(tmp_path: Path, picture: np.ndarray) -> Path:
    path = tmp_path / "room.png"
    Image.fromarray(picture).save(path)
    return path


@pytest.fixture
def predict(small_weights: Path, tmp_path: Path) -> Predict:
    def run(*arguments: object) -> int:
        fixed = [
            "--out",
            str(tmp_path / "out"),
            "--weights",
            str(small_weights),
            "--device",
            "cpu",
            "--precision",
            "fp32",
        ]
        return main(["predict", *(str(argument) for argument in arguments), *fixed])

    return run


def _read_ply(path: Path) -> np.ndarray:
    header, _, body = path.read_bytes().partition(b"end_header\n")
    lines = header.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    count = int(next(line for line in lines if line.startswith("element vertex")).split()[-1])
    types = {"float": "<f4", "uchar": "u1"}
    fields = [(line.split()[2], types[line.split()[1]]) for line in lines if line.startswith("property")]
    assert [name for name, _ in fields] == ["x", "y", "z", "red", "green", "blue"]
    points = np.frombuffer(body, np.dtype(fields))
    assert len(points) == count
    return points


def test_the_four_files_agree(predict: Predict, image: Path, picture: np.ndarray, tmp_path: Path) -> None:
    assert predict(image, "--focal-px", 140, "--max-depth", 3.5) == 0
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["room.npy", "room.ply", "room_color.png", "room_depth.png"]
    depth_m = np.load(out / "room.npy")
    assert depth_m.dtype == np.float32
    assert depth_m.shape == (HEIGHT, WIDTH)
    finite = np.isfinite(depth_m)
    assert finite.any()
    assert depth_m[finite].max() <= 3.5
    millimetres = cv2.imread(str(out / "room_depth.png"), cv2.IMREAD_UNCHANGED)
    assert millimetres.dtype == np.uint16
    assert (np.abs(millimetres[finite] / 1000 - depth_m[finite]) <= 0.00051).all()
    assert not millimetres[~finite].any()
    assert cv2.imread(str(out / "room_color.png")).shape == (HEIGHT, WIDTH, 3)
    points = _read_ply(out / "room.ply")
    assert len(points) == finite.sum()
    xyz = np.stack([points["x"], points["y"], points["z"]], -1)
    camera = Intrinsics(140, 140, (WIDTH - 1) / 2, (HEIGHT - 1) / 2, WIDTH, HEIGHT)
    np.testing.assert_allclose(project(xyz, camera), np.argwhere(finite)[:, ::-1], atol=0.01)
    assert np.array_equal(points["z"], depth_m[finite])
    assert np.array_equal(np.stack([points["red"], points["green"], points["blue"]], -1), picture[finite])


def test_depth_follows_the_focal_length_wherever_it_comes_from(
    predict: Predict, picture: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, tagged = tmp_path / "plain.png", tmp_path / "tagged.jpg"
    Image.fromarray(picture).save(plain)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 28
    Image.fromarray(picture).save(tagged, exif=exif, quality=100, subsampling=0)
    assert read_picture(tagged).focal_px == pytest.approx(28 / math.hypot(36, 24) * math.hypot(WIDTH, HEIGHT))

    def median(*arguments: object) -> float:
        assert predict(*arguments) == 0
        return float(np.median(np.load(tmp_path / "out" / f"{arguments[0].stem}.npy")))  # type: ignore[attr-defined]

    given = median(plain, "--focal-px", 100)
    assert median(plain, "--focal-px", 200) == pytest.approx(2 * given, rel=1e-3)
    hfov_deg = math.degrees(2 * math.atan(WIDTH / 2 / 100))
    assert median(plain, "--hfov-deg", hfov_deg) == pytest.approx(given, rel=1e-3)
    assert median(plain, "--focal-px", 100, "--scale-factor", 1.5) == pytest.approx(1.5 * given, rel=1e-3)
    capsys.readouterr()
    assert median(tagged) == pytest.approx(given * read_picture(tagged).focal_px / 100, rel=0.05)
    captured = capsys.readouterr()
    assert "EXIF" in captured.out
    assert "assumed" not in captured.err
    assert median(plain) == pytest.approx(given * (WIDTH / 2 / math.tan(math.radians(30))) / 100, rel=1e-3)
    captured = capsys.readouterr()
    assert "assumed" in captured.out
    assert "60 degrees is assumed" in captured.err


def test_a_distorted_calibration_rectifies_first(
    predict: Predict, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibration = tmp_path / "camera.yaml"
    calibration.write_text(
        f"image_width: {WIDTH}\nimage_height: {HEIGHT}\ncamera_name: front\n"
        "camera_matrix:\n  rows: 3\n  cols: 3\n  data: [140, 0, 79.5, 0, 140, 59.5, 0, 0, 1]\n"
        "distortion_model: plumb_bob\n"
        "distortion_coefficients:\n  rows: 1\n  cols: 5\n  data: [-0.3, 0.1, 0, 0, 0]\n"
        "rectification_matrix:\n  rows: 3\n  cols: 3\n  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]\n"
        "projection_matrix:\n  rows: 3\n  cols: 4\n  data: [90, 0, 79.5, 0, 0, 90, 59.5, 0, 0, 0, 1, 0]\n"
    )
    assert predict(image, "--camera-info", calibration) == 0
    assert "90 px (camera info)" in capsys.readouterr().out
    depth_m = np.load(tmp_path / "out" / "room.npy")
    assert np.isnan(depth_m[0, 0])  # P shows more than the lens saw
    assert np.isfinite(depth_m[HEIGHT // 2, WIDTH // 2])


def test_a_printed_camera_info_serves_as_well(
    predict: Predict, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = tmp_path / "info.yaml"
    k = [110.0, 0.0, 79.5, 0.0, 110.0, 59.5, 0.0, 0.0, 1.0]
    fields = {
        "height": HEIGHT,
        "width": WIDTH,
        "distortion_model": "plumb_bob",
        "d": [0.0] * 5,
        "k": k,
        "p": [0.0] * 12,
    }
    printed.write_text("\n".join(f"{name}: {json.dumps(value)}" for name, value in fields.items()) + "\n---\n")
    assert predict(image, "--camera-info", printed) == 0
    assert "110 px (camera info)" in capsys.readouterr().out


def test_broken_files_are_named_counted_and_skipped(
    predict: Predict, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, text, tiny = tmp_path / "broken.jpg", tmp_path / "text.png", tmp_path / "tiny.bmp"
    whole = cv2.imencode(".jpg", cv2.imread(str(image)))[1].tobytes()
    broken.write_bytes(whole[: len(whole) // 2])
    text.write_text("no picture")
    Image.new("RGB", (4, 4)).save(tiny)
    assert predict(broken, image, text, tmp_path / "absent.png", tiny, "--hfov-deg", 60) == 1
    captured = capsys.readouterr()
    for name in ("broken.jpg", "text.png", "absent.png", "tiny.bmp", "4 of 5 images failed"):
        assert name in captured.err
    assert "Traceback" not in captured.err
    assert (tmp_path / "out" / "room.npy").exists()
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_folders_and_batches_and_equal_stems(predict: Predict, picture: np.ndarray, tmp_path: Path) -> None:
    for folder, sizes in (("a", [(160, 120), (160, 120), (120, 90)]), ("b", [(160, 120)])):
        (tmp_path / folder).mkdir()
        for number, size in enumerate(sizes):
            Image.fromarray(picture[:, :: 1 if number % 2 else -1]).resize(size).save(
                tmp_path / folder / f"{number}.png"
            )
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    singles = tmp_path / "singles"
    assert predict(tmp_path / "a", tmp_path / "b", "--hfov-deg", 60, "--batch", 2) == 0
    (tmp_path / "out").rename(singles)
    assert predict(tmp_path / "a", tmp_path / "b", "--hfov-deg", 60) == 0
    names = sorted(path.stem for path in singles.glob("*.npy"))
    assert names == ["0", "0_2", "1", "2"]
    assert np.load(singles / "2.npy").shape == (90, 120)
    for name in names:
        np.testing.assert_allclose(
            np.load(singles / f"{name}.npy"), np.load(tmp_path / "out" / f"{name}.npy"), rtol=1e-4
        )


def test_a_second_run_in_the_same_folder_takes_only_the_images(predict: Predict, image: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    image.rename(tmp_path / "out" / "room.png")
    assert predict(tmp_path / "out", "--hfov-deg", 60) == 0
    assert predict(tmp_path / "out", "--hfov-deg", 60) == 0
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_a_turned_photograph_comes_out_upright(picture: np.ndarray, tmp_path: Path) -> None:
    for orientation, turned in ((6, np.rot90(picture)), (8, np.rot90(picture, 3)), (3, picture[::-1, ::-1])):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.png"
        Image.fromarray(np.ascontiguousarray(turned)).save(path, exif=exif)
        np.testing.assert_array_equal(read_picture(path).rgb, picture)
        assert read_picture(path, upright=False).rgb.shape == turned.shape


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_are_pillows(picture: np.ndarray, tmp_path: Path, orientation: int, suffix: str) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(picture).save(path, exif=exif)
    np.testing.assert_array_equal(read_picture(path, upright=False).rgb, picture)
    np.testing.assert_array_equal(read_picture(path).rgb, np.asarray(ImageOps.exif_transpose(Image.open(path))))


def test_stems_never_meet() -> None:
    paths = [Path(name) for name in ("a/x.jpg", "b/x.png", "c/x_2.png", "c/X.jpg", "y.jpg")]
    assert output_stems(paths) == ["x", "x_3", "x_2", "X_4", "y"]


def test_millimetres_are_zero_where_they_do_not_fit() -> None:
    depth_m = np.array([[1.2344, 65.535, 65.54, np.nan, np.inf, -np.inf, 0.0]], np.float32)
    assert to_millimetres(depth_m).tolist() == [[1234, 65535, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--focal-px", "0"], "--focal-px is 0.0"),
        (["--hfov-deg", "180"], "--hfov-deg is 180.0"),
        (["--confidence-threshold", "2"], "confidence_threshold is 2.0"),
        (["--scale-factor", "nan"], "scale_factor is nan"),
        (["--batch", "0"], "--batch is 0"),
        (["--camera-info", "absent.yaml"], "absent.yaml cannot be read"),
        (["--camera-info", "{list}"], "holds no calibration"),
        (["--camera-info", "{partial}"], "has no camera_matrix"),
        (["--camera-info", "{lens}"], "distortion model 'thin_lens' cannot be rectified; allowed are"),
    ],
)
def test_arguments_that_cannot_be_are_one_sentence(
    predict: Predict,
    image: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    k = "k: [100, 0, 80, 0, 100, 60, 0, 0, 1]"
    for name, text in (
        ("list", "[1, 2]"),
        ("partial", "image_width: 160\nimage_height: 120"),
        ("lens", f"width: 160\nheight: 120\n{k}\nd: [0.1]\ndistortion_model: thin_lens"),
    ):
        (tmp_path / name).write_text(text)
    files = {name: str(tmp_path / name) for name in ("list", "partial", "lens")}
    assert predict(image, *(argument.format(**files) for argument in arguments)) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_and_a_file_in_place_of_the_output_folder(
    predict: Predict, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert predict(tmp_path / "empty") == 2
    assert "there is no image in" in capsys.readouterr().err
    (tmp_path / "out").write_text("")
    assert predict(image) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_a_full_disk_is_one_sentence_and_older_files_survive(
    predict: Predict, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(image) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    capsys.readouterr()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # less than an array of the image's size
    try:
        assert predict(image, "--scale-factor", 2) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    said = capsys.readouterr().err.splitlines()[-1]
    assert "room.npy cannot be used: File too large; give a place with room" in said
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_calibration_of_another_size_fails_that_image(
    predict: Predict, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibration = tmp_path / "half.yaml"
    calibration.write_text("width: 80\nheight: 60\nk: [70, 0, 40, 0, 70, 30, 0, 0, 1]")
    assert predict(image, "--camera-info", calibration) == 1
    assert "room.png: image is 160x120 but its calibration is 80x60" in capsys.readouterr().err


def test_a_real_room(predict: Predict, shared_data: Path, tmp_path: Path) -> None:
    frames = sorted((shared_data / "rgbd" / "felix_realsense" / "rgb").iterdir())[:2]
    assert predict(*frames, "--focal-px", 600) == 0
    for frame in frames:
        depth_m = np.load(tmp_path / "out" / f"{frame.stem}.npy")
        assert depth_m.shape == cv2.imread(str(frame)).shape[:2]
        assert np.isfinite(depth_m).mean() > 0.5


def test_relative_depth_is_written_as_such(
    make_transformers_folder, image: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = make_transformers_folder({"size": 56})
    arguments = ["predict", str(image), "--out", str(tmp_path / "out"), "--weights", str(folder), "--device", "cpu"]
    assert main(arguments) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["room_color.png", "room_relative.npy"]
    relative = np.load(tmp_path / "out" / "room_relative.npy")
    assert relative.shape == (HEIGHT, WIDTH)
    assert (relative > 0).all()
    assert cv2.imread(str(tmp_path / "out" / "room_color.png")).std() > 10
    assert "no metres" in capsys.readouterr().err
    assert main([*arguments, "--max-depth", "5"]) == 2
    assert "relative depth" in capsys.readouterr().err
