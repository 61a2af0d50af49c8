# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.ros.camera_node import bag_source
from depthclip_ros.ros.camera_node.bag_source import BagSource
from depthclip_ros.ros.camera_node.file_sources import natural_key
from depthclip_ros.ros.camera_node.source import SourceOptions
from depthclip_ros.ros.camera_node.sources import open_source

CALIBRATION = """
image_width: 64
image_height: 48
camera_name: test
camera_matrix: {rows: 3, cols: 3, data: [70.0, 0.0, 31.0, 0.0, 71.0, 23.0, 0.0, 0.0, 1.0]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0.0, 0.0, 0.0]}
rectification_matrix: {rows: 3, cols: 3, data: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]}
projection_matrix: {rows: 3, cols: 4, data: [69.0, 0.0, 31.0, 0.0, 0.0, 69.0, 23.0, 0.0, 0.0, 0.0, 1.0, 0.0]}
"""


def write_picture(path: Path, value: int, size: tuple[int, int] = (64, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = np.zeros((size[1], size[0], 3), np.uint8)
    bgr[..., 2] = value  # red
    assert cv2.imwrite(str(path), bgr)


def turned_folder(root: Path, image_suffix: str = ".jpg", depth_suffix: str = ".png") -> Path:
    """An RGB-D folder whose picture grows brighter as its depth grows; its EXIF says "turned by 180 degrees"."""
    (root / "rgb").mkdir()
    (root / "depth").mkdir()
    shade = np.tile(np.linspace(0, 255, 120)[:, None], (1, 160)).astype(np.uint8)
    picture = Image.fromarray(np.stack([shade] * 3, -1))
    exif = picture.getexif()
    exif[0x0112] = 3
    picture.save(root / "rgb" / f"0{image_suffix}", format="JPEG", exif=exif)
    (root / "depth" / f"0{depth_suffix}").write_bytes(
        cv2.imencode(".png", shade.astype(np.uint16) * 10 + 500)[1].tobytes()
    )
    camera = {"fx": 150, "fy": 150, "cx": 79.5, "cy": 59.5}
    (root / "meta.json").write_text(json.dumps({"depth_units_per_metre": 1000, "intrinsics": camera}))
    return root


def test_folder_is_read_in_natural_order_as_rgb(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        write_picture(tmp_path / f"frame{number}.png", number)
    frames = list(open_source(str(tmp_path)))
    assert [frame.name for frame in frames] == ["frame1.png", "frame9.png", "frame10.png"]
    assert [int(frame.rgb[0, 0, 0]) for frame in frames] == [1, 9, 10]
    assert frames[0].rgb.shape == (48, 64, 3)
    assert frames[0].camera is None
    assert frames[0].depth_m is None


def test_rgbd_folder_gives_intrinsics_and_depth_in_metres(tmp_path: Path) -> None:
    write_picture(tmp_path / "rgb" / "a.png", 1)
    write_picture(tmp_path / "rgb" / "b.png", 2)
    depth = np.full((48, 64), 5000, np.uint16)
    depth[0, 0] = 0
    (tmp_path / "depth").mkdir()
    assert cv2.imwrite(str(tmp_path / "depth" / "a.png"), depth)
    meta = {
        "intrinsics": {"fx": 50.0, "fy": 51.0, "cx": 31.5, "cy": 23.5},
        "per_frame": {"b": {"fx": 60.0, "fy": 61.0, "cx": 31.5, "cy": 23.5}},
        "depth_units_per_metre": 5000,
        "invalid_value": 0,
    }
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    first, second = open_source(str(tmp_path))
    assert list(first.camera.k) == [50.0, 0.0, 31.5, 0.0, 51.0, 23.5, 0.0, 0.0, 1.0]
    assert second.camera.k[0] == 60.0
    assert first.depth_m is not None
    assert np.isnan(first.depth_m[0, 0])
    assert np.all(first.depth_m[1:] == 1.0)
    assert second.depth_m is None


@pytest.mark.parametrize(("image_suffix", "depth_suffix"), [(".JPG", ".png"), (".jpg", ".PNG"), (".Jpeg", ".Png")])
def test_depth_lies_under_its_picture_whatever_exif_and_suffixes_say(
    tmp_path: Path, image_suffix: str, depth_suffix: str
) -> None:
    (frame,) = open_source(str(turned_folder(tmp_path, image_suffix, depth_suffix)))
    assert frame.depth_m[0, 0] == pytest.approx(0.5)
    assert np.corrcoef(frame.rgb[..., 0].ravel(), frame.depth_m.ravel())[0, 1] > 0.99


def test_depth_of_8_bits_is_named_and_skipped(tmp_path: Path) -> None:
    folder = turned_folder(tmp_path)
    assert cv2.imwrite(str(folder / "depth" / "0.png"), np.full((120, 160), 200, np.uint8))
    source = open_source(str(folder))
    assert list(source) == []
    assert "depth/0.png is no depth of its image: it has 1 channels of 8 bits" in source.skipped[0]


def test_depth_of_another_view_is_named_and_skipped(tmp_path: Path) -> None:
    folder = turned_folder(tmp_path)
    assert cv2.imwrite(str(folder / "depth" / "0.png"), np.full((90, 160), 2000, np.uint16))  # 16:9 beside 4:3
    source = open_source(str(folder))
    assert list(source) == []
    assert "depth is 160x120 and the reference 160x90: they do not show the same" in source.skipped[0]


def test_depth_of_half_the_size_lies_at_its_pixels_centres(tmp_path: Path) -> None:
    folder = turned_folder(tmp_path)
    large = np.tile(np.arange(1000, 1320, dtype=np.uint16), (240, 1))
    assert cv2.imwrite(str(folder / "depth" / "0.png"), large)
    (frame,) = open_source(str(folder))
    assert frame.depth_m is not None
    middle = 1.0 + (np.arange(160) * 2 + 0.5) / 1000
    np.testing.assert_allclose(frame.depth_m[5], middle, atol=0.0006)


def test_real_rgbd_folder(shared_data: Path) -> None:
    frames = list(open_source(str(shared_data / "rgbd" / "felix_realsense")))
    assert len(frames) == 10
    assert all(frame.camera.k[0] == 617.25 and frame.camera.width == 640 for frame in frames)
    assert all(0.3 < np.nanmedian(frame.depth_m) < 8 for frame in frames if frame.depth_m is not None)


def test_calibration_file_beside_the_pictures_keeps_its_distortion(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 1)
    (tmp_path / "camera_info.yaml").write_text(CALIBRATION)
    (frame,) = open_source(str(tmp_path))
    assert list(frame.camera.d) == [0.1, -0.2, 0.0, 0.0, 0.0]
    assert frame.camera.k[4] == 71.0
    assert frame.camera.p[5] == 69.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{image_width: 64, image_height: 48}", "camera_matrix"),
        ("[1, 2", "is not YAML"),
        (CALIBRATION.replace("23.0, 0.0, 0.0, 1.0]", "23.0]"), "K has 6 numbers"),
    ],
)
def test_bad_calibration_is_named(tmp_path: Path, text: str, said: str) -> None:
    write_picture(tmp_path / "a.png", 1)
    (tmp_path / "camera_info.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        open_source(str(tmp_path))


def test_broken_picture_is_named_and_skipped(tmp_path: Path) -> None:
    write_picture(tmp_path / "1.png", 1)
    (tmp_path / "2.jpg").write_bytes(b"not a picture")
    (tmp_path / "3.png").write_bytes(b"")
    write_picture(tmp_path / "4.png", 4)
    source = open_source(str(tmp_path))
    assert [frame.name for frame in source] == ["1.png", "4.png"]
    assert len(source.skipped) == 2
    assert "2.jpg" in source.skipped[0]
    assert [frame.name for frame in source] == ["1.png", "4.png"], "a second pass gives the same frames"
    assert len(source.skipped) == 2


def test_video_frames_rate_and_calibration(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 12.5, (64, 48))
    for number in range(5):
        writer.write(np.full((48, 64, 3), (0, 0, 50 * number), np.uint8))
    writer.release()
    path.with_suffix(".yaml").write_text(CALIBRATION)
    source = open_source(str(path))
    assert source.rate_hz == pytest.approx(12.5)
    frames = list(source)
    assert [round(float(frame.rgb[..., 0].mean()) / 50) for frame in frames] == [0, 1, 2, 3, 4]
    assert all(frame.rgb[..., 2].mean() < 8 for frame in frames), "red is first"
    assert frames[1].stamp_ns == pytest.approx(80e6, abs=1e6)
    assert frames[0].camera.k[0] == 70.0


def test_video_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"not a video")
    with pytest.raises(InputError, match="not a video"):
        open_source(str(path))


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize("compressed", [False, True])
def test_bag_gives_images_with_their_camera_info(write_bag, storage: str, compressed: bool) -> None:
    path = write_bag("bag", storage=storage, compressed=compressed)
    source = open_source(str(path), SourceOptions(depth_topic="/cam/depth"))
    frames = list(source)
    assert [round(float(frame.rgb.mean()) / 40) for frame in frames] == [0, 1, 2, 3]
    assert [frame.stamp_ns for frame in frames] == [100_000_000_000 + n * 100_000_000 for n in range(4)]
    assert all(frame.camera.k[0] == 50.0 and frame.camera.width == 64 for frame in frames)
    assert [float(frame.depth_m[1, 1]) for frame in frames] == pytest.approx([1.0, 1.001, 1.002, 1.003])
    assert all(np.isnan(frame.depth_m[0, 0]) for frame in frames)
    assert source.rate_hz == pytest.approx(10.0)


def test_bag_gives_depth_of_a_compressed_depth_topic(write_bag) -> None:
    path = write_bag("bag", compressed_depth=True)
    frames = list(open_source(str(path), SourceOptions(depth_topic="/cam/depth/compressedDepth")))
    assert [float(frame.depth_m[1, 1]) for frame in frames] == pytest.approx([1.0, 1.001, 1.002, 1.003])
    assert all(np.isnan(frame.depth_m[0, 0]) for frame in frames)


def test_bag_topics_of_another_type_are_refused(write_bag) -> None:
    path = str(write_bag("bag"))
    with pytest.raises(InputError, match=r"topic '/chatter' has no Image or CompressedImage; the bag has .*/cam/depth"):
        open_source(path, SourceOptions(depth_topic="/chatter"))
    with pytest.raises(InputError, match=r"topic '/cam/depth' has no CameraInfo; the bag has .*/cam/camera_info"):
        open_source(path, SourceOptions(camera_info_topic="/cam/depth"))


@pytest.mark.parametrize(("storage", "suffix"), [("sqlite3", "db3"), ("mcap", "mcap")])
def test_bag_file_and_bag_without_metadata(write_bag, storage: str, suffix: str) -> None:
    path = write_bag("bag", storage=storage)
    assert len(list(open_source(str(path / f"bag.{suffix}")))) == 4
    (path / "metadata.yaml").unlink()
    assert len(list(open_source(str(path)))) == 4


def test_bag_skips_and_names_broken_images(write_bag) -> None:
    source = open_source(str(write_bag("bag", broken=(1,))))
    assert len(list(source)) == 3
    assert len(source.skipped) == 1
    assert "100.100 s" in source.skipped[0]


def test_bag_topics_that_are_not_there_are_refused_with_those_that_are(write_bag) -> None:
    path = str(write_bag("bag"))
    with pytest.raises(InputError, match="/cam/image_raw"):
        open_source(path, SourceOptions(image_topic="/other"))
    with pytest.raises(InputError, match="/nothing"):
        open_source(path, SourceOptions(depth_topic="/nothing"))


@pytest.mark.parametrize("content", [b"", b"garbage" * 100])
@pytest.mark.parametrize("suffix", ["db3", "mcap"])
def test_broken_bag_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"broken.{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="broken"):
        open_source(str(path))


def test_what_is_no_source_is_refused_with_the_kinds(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_source(str(tmp_path / "absent"))
    with pytest.raises(InputError, match="no pictures"):
        open_source(str(tmp_path))
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    with pytest.raises(InputError, match="folder of pictures"):
        open_source(str(text))
    ros1 = tmp_path / "old.bag"
    ros1.write_text("#ROSBAG V2.0")
    with pytest.raises(InputError, match="rosbags-convert"):
        open_source(str(ros1))


def test_a_video_that_breaks_off_says_how_many_frames_are_missing(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    for _ in range(6):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    source = open_source(str(path))
    assert len(list(source)) == 6
    assert source.skipped == []

    class Torn:
        """A video whose fifth frame does not decode."""

        def __init__(self, *arguments, whole=cv2.VideoCapture):
            self.whole, self.count = whole(*arguments), 0

        def __getattr__(self, name):
            return getattr(self.whole, name)

        def read(self):
            self.count += 1
            return self.whole.read() if self.count <= 4 else (False, None)

    monkeypatch.setattr(cv2, "VideoCapture", Torn)
    for _ in range(2):
        assert [frame.name for frame in source] == ["frame 0", "frame 1", "frame 2", "frame 3"]
        assert source.skipped == ["clip.avi: the last 2 of 6 frames cannot be decoded"]


def test_a_source_is_told_what_the_nodes_parameters_say() -> None:
    told = SourceOptions.of(
        {"width": 320, "height": 240, "seed": 3, "frames": 9, "depth_topic": "/d", "rate": 5}, print
    )
    assert told == SourceOptions(320, 240, 3, 9, depth_topic="/d")
    assert told.progress is print
    assert SourceOptions.of({}, print) == SourceOptions(640, 480, 12, 180)


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A bag of messages in the order given: ("image" | "info" | "depth" | "torn", stamp in seconds, pixels wide)."""

    def make(*messages: tuple[str, float, int]) -> BagSource:
        topics = {"image": "/cam/image_raw", "info": "/cam/camera_info", "depth": "/cam/depth", "torn": "/cam/depth"}

        class Bag:
            connections = tuple(
                SimpleNamespace(topic=topic, msgtype=f"sensor_msgs/msg/{kind}")
                for topic, kind in (
                    (topics["image"], "Image"),
                    (topics["info"], "CameraInfo"),
                    (topics["depth"], "Image"),
                )
            )

            def __init__(self, path):
                pass

            def __enter__(self):
                return self

            def __exit__(self, *_):
                pass

            def messages(self, connections):
                wanted = {c.topic: c for c in connections}
                for index, (kind, stamp_s, width) in enumerate(messages):
                    if topics[kind] in wanted:
                        yield wanted[topics[kind]], index * 10**8, (kind, stamp_s, width)

            def deserialize(self, data, msgtype):
                kind, stamp_s, width = data
                if kind == "torn":
                    raise InputError("cannot be read")
                stamp = SimpleNamespace(sec=int(stamp_s), nanosec=round(stamp_s % 1 * 1e9))
                fields = {"header": SimpleNamespace(stamp=stamp), "width": width, "height": 2, "is_bigendian": 0}
                if kind == "info":
                    return SimpleNamespace(**fields, stamp_s=stamp_s)
                encoding, size, dtype = ("rgb8", 3, np.uint8) if kind == "image" else ("32FC1", 4, np.float32)
                pixels = np.full((2, width, 3 if kind == "image" else 1), 10 * stamp_s, dtype)
                return SimpleNamespace(**fields, encoding=encoding, step=size * width, data=pixels.tobytes())

            def first(self, topic):
                return next((self.deserialize(m, "") for m in messages if topics[m[0]] == topic), None)

        monkeypatch.setattr(bag_source, "Recording", Bag)
        monkeypatch.setattr(bag_source, "find_image_topic", lambda reader, topic: topics["image"])
        return BagSource(tmp_path, SourceOptions(depth_topic="/cam/depth"))

    return make


def test_a_picture_of_a_bag_waits_for_its_depth_and_its_camera_info_over_eight_later_ones(stream) -> None:
    """Of nine pictures the first one's depth and lens come last: nothing waits longer than for eight pictures."""
    eight = [("image", float(number), 4) for number in range(1, 10)]
    frames = list(stream(*eight[:9], ("depth", 1.0, 4), ("info", 1.0, 4)))
    assert [frame.stamp_ns for frame in frames] == [number * 10**9 for number in range(1, 10)]
    assert frames[0].depth_m is None, "the ninth picture was there before"
    frames = list(stream(*eight[:8], ("depth", 1.0, 4), ("info", 1.0, 4), eight[8]))
    assert frames[0].depth_m is not None
    assert (frames[0].camera.stamp_s, frames[0].depth_m[0, 0]) == (1.0, 10.0)
    assert frames[1].depth_m is None
    assert frames[1].camera.stamp_s == 1.0, "the newest there is"


def test_what_a_bag_tore_or_did_not_align_is_named_and_the_rest_is_served(stream) -> None:
    source = stream(
        ("info", 1.0, 4), ("torn", 1.0, 4), ("depth", 1.0, 4), ("image", 1.0, 4),
        ("info", 2.0, 4), ("depth", 2.0, 6), ("image", 2.0, 4), ("info", 3.0, 4), ("depth", 3.0, 4), ("image", 3.0, 4),
    )  # fmt: skip
    for _ in range(2):
        assert [frame.stamp_ns for frame in source] == [10**9, 3 * 10**9]
        assert source.skipped == [
            "/cam/depth: cannot be read",
            "/cam/image_raw at 2.000 s: depth is (6, 2) and the image (4, 2): not aligned",
        ]


@pytest.mark.parametrize(("count", "rate_hz"), [(1, None), (2, 10.0), (40, 10.0)])
def test_a_bags_rate_is_that_of_the_middle_of_its_first_pictures(stream, count: int, rate_hz: float | None) -> None:
    source = stream(*(("image", float(number), 4) for number in range(count)))
    assert source.rate_hz == (None if rate_hz is None else pytest.approx(rate_hz))


def test_numbers_in_names_count_as_numbers_and_letters_in_either_case(tmp_path: Path) -> None:
    names = [
        "10.png",
        "9.png",
        "1²3.png",
        "a10b2.png",
        "A9b10.png",
        "a10b11.png",
        "m²2.png",
        "m²10.png",
    ]  # ² is no decimal digit
    paths = [tmp_path / name for name in names]
    expected = ["1²3.png", "9.png", "10.png", "A9b10.png", "a10b2.png", "a10b11.png", "m²2.png", "m²10.png"]
    assert [path.name for path in sorted(paths, key=natural_key)] == expected


def test_a_depth_image_of_another_size_is_brought_to_its_pictures_without_a_mean(tmp_path: Path) -> None:
    write_picture(tmp_path / "rgb" / "a.png", 1, (8, 8))
    (tmp_path / "depth").mkdir()
    depth = np.array([[1000, 2000], [65535, 3000]], np.uint16)
    assert cv2.imwrite(str(tmp_path / "depth" / "a.png"), depth)
    (tmp_path / "meta.json").write_text(json.dumps({"invalid_value": 65535}))
    (frame,) = open_source(str(tmp_path))
    expected = np.repeat(np.repeat(np.array([[1.0, 2.0], [np.nan, 3.0]], np.float32), 4, 0), 4, 1)
    np.testing.assert_array_equal(frame.depth_m, expected)


def test_a_video_that_opens_and_has_no_frame_is_refused(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"a header")
    empty = SimpleNamespace(isOpened=lambda: True, grab=lambda: False, release=lambda: None)
    monkeypatch.setattr(cv2, "VideoCapture", lambda path: empty)
    with pytest.raises(InputError, match="is not a video that OpenCV can decode"):
        open_source(str(tmp_path / "clip.mp4"))


@pytest.mark.parametrize(("fps", "rate_hz"), [(25.0, 25.0), (0.0, None), (-1.0, None), (math.nan, None), (0.5, 0.5)])
def test_a_rate_that_is_none_is_not_known(tmp_path: Path, monkeypatch, fps: float, rate_hz: float | None) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"a header")
    video = SimpleNamespace(isOpened=lambda: True, grab=lambda: True, release=lambda: None, get=lambda _: fps)
    monkeypatch.setattr(cv2, "VideoCapture", lambda path: video)
    assert open_source(str(tmp_path / "clip.mp4")).rate_hz == rate_hz
