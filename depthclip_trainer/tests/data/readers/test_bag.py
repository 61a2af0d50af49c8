# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from depthclip_trainer.cli import eval_main
from depthclip_trainer.data.readers.bag import BagOptions, open_bag, pair_stamps

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.recordings.bags import Recording, is_bag
from depthclip_ros.core.rectify import CameraModel, rectifier_for
from depthclip_ros.core.types import Intrinsics

CAMERA = Intrinsics(50.0, 50.0, 31.5, 23.5, 64, 48)


def picture(number: int) -> np.ndarray:
    v, u = np.mgrid[:48, :64]
    return np.stack([u * 3, v * 4, np.full_like(u, 20 * number)], -1).astype(np.uint8)


def depth_of(number: int) -> np.ndarray:
    depth_m = np.full((48, 64), 2.0 + 0.1 * number, np.float32)
    depth_m[:, 0] = 0
    return depth_m


def walk(bag, frames: int = 3, *, image="/cam/image_raw", depth="/cam/depth/image", late_s=0.004, metres=False) -> None:
    for i in range(frames):
        bag.image(10 + i * 0.1, picture(i), image)
        bag.info(10 + i * 0.1, CAMERA)
        bag.depth(10 + i * 0.1 + late_s, depth_of(i), depth, metres=metres)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize("metres", [False, True])
def test_frames_are_paired_and_read_in_order(record, storage, metres):
    with record(storage=storage) as bag:
        walk(bag, metres=metres)
    frames = open_bag(bag.path)
    assert frames.frame_names == ("000000", "000001", "000002")
    np.testing.assert_allclose(np.diff(frames.times_s), 0.1)
    sample = frames.read("000002")
    np.testing.assert_array_equal(sample.image, picture(2))
    np.testing.assert_allclose(sample.depth_m, depth_of(2), atol=1e-6)
    np.testing.assert_array_equal(sample.valid, depth_of(2) > 0)
    assert sample.intrinsics == CAMERA
    assert sample.path == "walk/000002"
    frames.close()


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_many_threads_read_one_bag(record, storage):
    """As the batches of a source with `keep: disk` are read."""
    count = 24
    with record(storage=storage) as bag:
        walk(bag, count)
    frames = open_bag(bag.path)
    order = np.random.default_rng(0).integers(0, count, 10 * count).tolist()
    with ThreadPoolExecutor(8) as threads:
        samples = list(threads.map(frames.read, [f"{i:06d}" for i in order]))
    for i, sample in zip(order, samples, strict=True):
        np.testing.assert_array_equal(sample.image, picture(i))
        np.testing.assert_allclose(sample.depth_m, depth_of(i), atol=1e-6)


def test_a_bag_is_gone_through_once_until_another_takes_its_place(record, monkeypatch):
    original, passed = Recording.messages, []

    def messages(self, *arguments, **options):
        for one in original(self, *arguments, **options):
            passed.append(one)
            yield one

    with record() as bag:
        walk(bag)
    with record("other") as other:
        walk(other, 5)
    monkeypatch.setattr(Recording, "messages", messages)
    first = open_bag(bag.path)
    assert len(passed) >= 9
    passed.clear()
    again = open_bag(bag.path)
    assert not passed
    assert (again.frame_names, again.times_s, again.topics) == (first.frame_names, first.times_s, first.topics)
    first.close()
    np.testing.assert_array_equal(again.read("000002").image, picture(2))
    assert len(open_bag(bag.path, BagOptions(tolerance_s=0.05)).frame_names) == 3
    (bag.path / "walk.mcap").write_bytes((other.path / "other.mcap").read_bytes())
    assert len(open_bag(bag.path).frame_names) == 5


def test_the_storage_file_alone_is_enough(record):
    with record() as bag:
        walk(bag)
    assert is_bag(bag.path)
    assert is_bag(bag.path / "walk.mcap")
    assert not is_bag(bag.path.parent)
    assert len(open_bag(bag.path / "walk.mcap").frame_names) == 3
    (bag.path / "metadata.yaml").unlink()
    assert len(open_bag(bag.path).frame_names) == 3


def test_compressed_colour_and_depth(record):
    with record() as bag:
        walk(bag, image="/cam/image_raw/compressed", depth="/cam/depth/image/compressedDepth")
    sample = open_bag(bag.path).read("000001")
    assert np.abs(sample.image.astype(int) - picture(1)).mean() < 4
    np.testing.assert_allclose(sample.depth_m, depth_of(1), atol=1e-6)


def test_distorted_images_are_rectified_with_their_depth(record):
    d = (0.3, 0.1, 0.0, 0.0, 0.0)  # a pincushion: its rectified corners show nothing
    rng = np.random.default_rng(0)
    rgb = cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (64, 48))
    depth_m = cv2.resize(rng.uniform(1, 4, (6, 8)).astype(np.float32), (64, 48))
    with record() as bag:
        bag.image(1.0, rgb)
        bag.info(1.0, CAMERA, d)
        bag.depth(1.0, depth_m, metres=True)
    sample = open_bag(bag.path).read("000000")
    k, p = (50.0, 0, 31.5, 0, 50.0, 23.5, 0, 0, 1), (50.0, 0, 31.5, 0, 0, 50.0, 23.5, 0, 0, 0, 1, 0)
    rectifier = rectifier_for(CameraModel.from_numbers(64, 48, k, d, "plumb_bob", None, p))
    assert rectifier.valid is not None
    np.testing.assert_array_equal(sample.image, rectifier.rectify(rgb))
    np.testing.assert_array_equal(sample.valid, rectifier.valid)
    inside = sample.depth_m[sample.valid]
    assert set(inside.tolist()) <= set(depth_m.ravel().tolist())  # nearest: no depth that was not measured
    assert not np.array_equal(sample.depth_m, depth_m)


def test_pairs_are_the_nearest_and_used_once():
    assert pair_stamps([0, 100, 200], [90, 104, 260], 30) == [(1, 1)]
    assert pair_stamps([0, 100], [0, 101], 5) == [(0, 0), (1, 1)]
    assert pair_stamps([], [1], 5) == []


def test_what_the_network_made_itself_is_no_truth(record):
    with record() as bag:
        walk(bag)
        for i in range(3):
            bag.depth(10 + i * 0.1, np.full((48, 64), 9.0), "/depth/image")
        bag.own_stats(10.0, "/depth/stats")
    assert open_bag(bag.path).topics.depth == "/cam/depth/image"


def test_what_record_all_takes_twice_is_read_once(record):
    with record() as bag:
        for transport in ("", "/compressed"):
            walk(bag, image=f"/cam/image_raw{transport}", depth="/cam/depth/image")
        for i in range(3):
            bag.depth(10.004 + i * 0.1, depth_of(i), "/cam/depth/image/compressedDepth")
    topics = open_bag(bag.path).topics
    assert (topics.image, topics.depth) == ("/cam/image_raw", "/cam/depth/image")


def test_no_camera_info_is_an_error(record):
    with record() as bag:
        bag.image(1.0, picture(0))
        bag.depth(1.0, depth_of(0))
    with pytest.raises(InputError, match="no CameraInfo for /cam/image_raw"):
        open_bag(bag.path)


def test_no_depth_is_an_error(record):
    with record() as bag:
        bag.image(1.0, picture(0))
        bag.info(1.0, CAMERA)
    with pytest.raises(InputError, match="no depth"):
        open_bag(bag.path)


def test_depth_of_another_camera_is_refused_unless_both_topics_are_named(record):
    with record() as bag:
        bag.image(1.0, picture(0))
        bag.info(1.0, CAMERA)
        bag.depth(1.0, depth_of(0), frame="stereo")
    image, depth = "/cam/image_raw", "/cam/depth/image"
    for options in (BagOptions(), BagOptions(image_topic=image), BagOptions(depth_topic=depth)):
        with pytest.raises(InputError, match=r"frame of a colour image.*'stereo'.*'cam'.*name both topics"):
            open_bag(bag.path, options)
    assert open_bag(bag.path, BagOptions(image, depth)).frame_names


def test_several_cameras_are_listed_and_one_is_chosen_by_name(record):
    with record() as bag:
        walk(bag, 1)
        walk(bag, 1, image="/cam/other_raw")
    with pytest.raises(InputError, match=r"/cam/image_raw.*/cam/other_raw.*name the image"):
        open_bag(bag.path)
    frames = open_bag(bag.path, BagOptions(image_topic="/cam/other_raw"))
    assert frames.topics.image == "/cam/other_raw"
    with pytest.raises(InputError, match="no topic '/nope'"):
        open_bag(bag.path, BagOptions(image_topic="/nope"))


def test_stamps_that_never_meet_are_an_error(record):
    with record() as bag:
        walk(bag, late_s=0.05)
    with pytest.raises(InputError, match=r"none within 0\.02 s"):
        open_bag(bag.path)


def test_depth_of_another_size_is_an_error_of_the_frame(record):
    with record() as bag:
        bag.image(1.0, picture(0))
        bag.info(1.0, CAMERA)
        bag.depth(1.0, depth_of(0)[:24, :32])
    frames = open_bag(bag.path)
    with pytest.raises(InputError, match="32x24 but /cam/image_raw is 64x48"):
        frames.read("000000")


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_truncated_bag_is_named(record, storage):
    with record(storage=storage) as bag:
        walk(bag, 6)
    file = next(p for p in bag.path.iterdir() if p.suffix != ".yaml")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match="breaks off"):
        open_bag(bag.path)
    with pytest.raises(InputError, match="does not exist"):
        open_bag(bag.path / "nope.mcap")


def test_a_bag_is_scored_beside_what_knows_nothing(record, make_tiny_weights, tmp_path, capsys):
    with record() as bag:
        walk(bag, 10)
    out = tmp_path / "scores"
    arguments = ["--weights", str(make_tiny_weights()), "--data", str(bag.path), "--device", "cpu"]
    assert eval_main([*arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "walk" in printed
    assert "each image's median" in printed
    report = json.loads((out / "report.json").read_text())
    assert [frame["frame"] for frame in report["frames"]] == [f"walk/{i:06d}" for i in range(10)]
    assert eval_main([*arguments, "--part", "test"]) == 0
    printed = capsys.readouterr().out
    (row,) = (line.split() for line in printed.splitlines() if line.split()[:1] == ["walk"])
    assert row[1] == "2", "the last quarter of ten frames"
    assert ", part test" in printed.replace("\n", "")
    (bag.path / "walk.mcap").write_bytes(b"no bag")
    assert eval_main(arguments) == 1
    assert "breaks off" in capsys.readouterr().err


def test_live_scoring_is_the_command_of_the_package_with_ros():
    # In a process of its own, which becomes that command.
    command = [sys.executable, "-c", "import sys; from depthclip_trainer.cli import eval_main; sys.exit(eval_main())"]
    found = subprocess.run([*command, "--live", "--help"], check=False, capture_output=True, text=True, timeout=60)
    assert "depthclip score" in found.stdout + found.stderr


def test_each_depth_goes_to_its_nearest_image_and_each_image_has_the_nearest_depth():
    assert pair_stamps([0, 100, 200], [40, 60, 149, 152], 50) == [(0, 0), (1, 1), (2, 3)]
    assert pair_stamps([100], [50, 150, 149], 50) == [(0, 2)]
    assert pair_stamps([100], [49, 151], 50) == []
    assert pair_stamps([100], [], 50) == []


def test_frames_are_within_twenty_milliseconds_unless_more_is_allowed(record):
    with record() as bag:
        walk(bag, late_s=0.021)
    with pytest.raises(InputError, match=r"3 images of /cam/image_raw and 3 depths of .* none within 0\.02 s"):
        open_bag(bag.path)
    assert len(open_bag(bag.path, BagOptions(tolerance_s=0.03)).frame_names) == 3


def test_depth_of_another_size_than_its_image_is_refused(record):
    with record() as bag:
        bag.image(1.0, picture(0))
        bag.info(1.0, CAMERA)
        bag.depth(1.0, np.full((24, 32), 2.0, np.float32))
    with pytest.raises(InputError, match="is 32x24 but /cam/image_raw is 64x48; depth must be aligned with the image"):
        open_bag(bag.path).read("000000")


def test_a_topic_that_the_bag_does_not_have_is_named_with_those_that_it_has(record):
    with record() as bag:
        walk(bag)
    with pytest.raises(
        InputError, match=r"no topic '/none'; it has /cam/camera_info, /cam/depth/image, /cam/image_raw"
    ):
        open_bag(bag.path, BagOptions(image_topic="/none"))
    with record("blind") as bag:
        bag.info(1.0, CAMERA)
    with pytest.raises(InputError, match="no colour image topic; it has /cam/camera_info"):
        open_bag(bag.path)
