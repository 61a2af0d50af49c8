# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`add_depth_to_bag`: bags in both storages, with a real network of random weights."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from depthclip_ros.core.calibration import stamp_ns_of
from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.ros.bag.add_depth import add_depth_to_bag
from depthclip_ros.ros.bag.depth_writer import TOPICS, USUAL
from depthclip_ros.ros.depth_node.parameters.values import settings_from
from depthclip_ros.ros.depth_node.pipeline import FramePipeline

DEPTH_TOPICS = {f"/{TOPICS[key][0]}" for key in USUAL}


@pytest.fixture(scope="module")
def engine(small_weights: Path, quick_runtime: str) -> Iterator[DepthEngine]:
    one = DepthEngine.load(small_weights, runtime=quick_runtime, device="cpu")
    yield one
    one.close()


@pytest.fixture
def pipeline(engine: DepthEngine) -> FramePipeline:
    return FramePipeline(engine, settings_from({}))


def raw_messages(path: Path) -> list[tuple[str, str, int, bytes]]:
    with Reader(path) as reader:
        return [(c.topic, c.msgtype, time_ns, bytes(data)) for c, time_ns, data in reader.messages()]


def profiles(path: Path) -> dict[str, Any]:
    with Reader(path) as reader:
        return {c.topic: (c.ext.offered_qos_profiles, c.digest, c.msgdef) for c in reader.connections}


def messages_of(path: Path, topic: str) -> list[tuple[int, Any]]:
    with AnyReader([path]) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        found = reader.messages(connections) if connections else ()
        return [(time_ns, reader.deserialize(data, c.msgtype)) for c, time_ns, data in found]


@pytest.mark.parametrize(
    ("storage", "target"),
    [("sqlite3", "out"), ("mcap", "out"), ("sqlite3", "out.mcap"), ("mcap", "out.db3")],
)
def test_every_original_message_is_there_and_depth_beside_it(
    write_bag: Callable[..., Path], tmp_path: Path, pipeline: FramePipeline, storage: str, target: str
) -> None:
    source, out = write_bag("bag", storage=storage), tmp_path / target
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    result = add_depth_to_bag(source, out, pipeline)

    assert {path.name: path.read_bytes() for path in source.iterdir()} == before, "the input is only read"
    assert out.is_file() == bool(out.suffix)
    suffix = out.suffix or {"sqlite3": ".db3", "mcap": ".mcap"}[storage]
    assert out.is_file() or (out / f"out{suffix}").is_file()
    new, old = raw_messages(out), raw_messages(source)
    assert [one for one in new if one[0] not in DEPTH_TOPICS] == old
    assert [one[2] for one in new] == sorted(one[2] for one in new)
    for topic, profile in profiles(source).items():
        qos, digest, definition = profiles(out)[topic]
        assert (qos, definition) == (profile[0], profile[2])
        assert digest in {profile[1], ""}  # an .mcap without metadata.yaml has no place for it
    assert result.written == dict.fromkeys(sorted(DEPTH_TOPICS), 4) == dict(sorted(result.written.items()))
    assert (result.copied, result.frames, result.refused) == (len(old), 4, 0)

    images = messages_of(out, "/cam/image_raw")
    for topic in DEPTH_TOPICS:
        found = messages_of(out, topic)
        assert [time_ns for time_ns, _ in found] == [time_ns for time_ns, _ in images]
        for (_, message), (_, image) in zip(found, images, strict=True):
            assert stamp_ns_of(message.header.stamp) == stamp_ns_of(image.header.stamp)
            assert message.header.frame_id == "cam_optical"
    for (_, depth), (_, cloud) in zip(messages_of(out, "/depth/image"), messages_of(out, "/depth/points"), strict=True):
        assert (depth.width, depth.height, depth.encoding) == (64, 48, "32FC1")
        z = np.frombuffer(cloud.data, np.float32).reshape(48, 64, cloud.point_step // 4)[..., 2]
        depth_m = np.frombuffer(depth.data, np.float32).reshape(48, 64)
        finite = np.isfinite(depth_m)
        assert finite.any()
        assert np.array_equal(z[finite], depth_m[finite])
        assert [one.name for one in cloud.fields] == ["x", "y", "z", "rgb"]
    _, stats = messages_of(out, "/depth/stats")[-1]
    assert (stats.frames_in, stats.frames_out, stats.frames_refused) == (4, 4, 0)
    assert stats.weights == pipeline.engine.info.sha256[:12]
    assert stats.network_ms > 0
    _, info = messages_of(out, "/depth/camera_info")[0]
    assert info.k[0] == 50.0


def test_depth_is_what_the_engine_gives(
    write_bag: Callable[..., Path], tmp_path: Path, pipeline: FramePipeline
) -> None:
    source = write_bag("bag", compressed=True)
    add_depth_to_bag(source, tmp_path / "out", pipeline, topics=["depth"])
    (_, image), *_ = messages_of(source, "/cam/image_raw/compressed")
    (_, info), *_ = messages_of(source, "/cam/camera_info")
    (_, depth), *_ = messages_of(tmp_path / "out", "/depth/image")
    expected = pipeline.infer(pipeline.prepare(image, info)).depth_m
    assert np.array_equal(np.frombuffer(depth.data, np.float32).reshape(48, 64), expected, equal_nan=True)


def test_bad_images_are_refused_and_the_rest_has_depth(
    write_bag: Callable[..., Path], tmp_path: Path, pipeline: FramePipeline
) -> None:
    source = write_bag("bag", compressed=True, broken=(1,))
    result = add_depth_to_bag(source, tmp_path / "out", pipeline, topics=["depth"])
    assert (result.frames, result.refused) == (4, 1)
    assert "100.100 s" in result.reasons[0]
    assert len(messages_of(tmp_path / "out", "/depth/image")) == 3
    assert len(messages_of(tmp_path / "out", "/cam/image_raw/compressed")) == 4


def copied(source: Path, change: Callable[[int, str, bytes], tuple[str, bytes]], target: Path) -> Path:
    """The bag with each message's topic and bytes as `change(number, topic, data)` says."""
    store, connections = get_typestore(Stores.ROS2_JAZZY), {}
    with Writer(target, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        for number, (old_topic, msgtype, time_ns, old_data) in enumerate(raw_messages(source)):
            topic, data = change(number, old_topic, old_data)
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, msgtype, typestore=store)
            writer.write(connections[topic], time_ns, data)
    return target


def test_torn_messages_are_copied_and_refused(
    write_bag: Callable[..., Path], tmp_path: Path, pipeline: FramePipeline
) -> None:
    torn: set[str] = set()

    def tear(number: int, topic: str, data: bytes) -> tuple[str, bytes]:
        whole = topic in torn or topic not in {"/cam/image_raw", "/cam/camera_info"}
        torn.add(topic)
        return topic, data if whole else data[:60]

    source = copied(write_bag("bag"), tear, tmp_path / "torn")
    result = add_depth_to_bag(source, tmp_path / "out", pipeline, topics=["depth"])
    assert (result.frames, result.refused) == (4, 1)
    assert "message (Image, 60 bytes) cannot be read" in result.reasons[0]
    assert [one for one in raw_messages(tmp_path / "out") if one[0] != "/depth/image"] == raw_messages(source)
    assert len(messages_of(tmp_path / "out", "/depth/image")) == 3


def test_depth_that_is_named_like_an_image_is_not_taken_for_one(
    write_bag: Callable[..., Path], tmp_path: Path, pipeline: FramePipeline
) -> None:
    names = {"/cam/depth": "/oak/stereo/image_raw", "/cam/camera_info": "/oak/stereo/camera_info"}
    names["/cam/image_raw"] = "/oak/rgb/image_raw"
    source = copied(write_bag("bag"), lambda _, topic, data: (names.get(topic, topic), data), tmp_path / "oak")
    result = add_depth_to_bag(source, tmp_path / "out", pipeline, topics=["depth"])
    assert (result.image_topic, result.frames, result.refused) == ("/oak/rgb/image_raw", 4, 0)


def test_a_split_recording_without_metadata_becomes_one_bag(
    write_bag: Callable[..., Path], tmp_path: Path, pipeline: FramePipeline
) -> None:
    folder = tmp_path / "walk"
    folder.mkdir()
    for number in range(2):
        (write_bag(f"part{number}") / f"part{number}.db3").rename(folder / f"walk_{number}.db3")
    result = add_depth_to_bag(folder, tmp_path / "out.mcap", pipeline, topics=["depth"])
    assert (result.frames, result.refused) == (8, 0)
    assert len(messages_of(tmp_path / "out.mcap", "/chatter")) == 10
    assert all(message.data for _, message in messages_of(tmp_path / "out.mcap", "/chatter"))
    assert len(messages_of(tmp_path / "out.mcap", "/cam/camera_info")) == 8


def test_without_camera_info_there_is_depth_but_no_cloud(
    write_bag: Callable[..., Path], tmp_path: Path, pipeline: FramePipeline
) -> None:
    result = add_depth_to_bag(write_bag("bag", camera_info=False), tmp_path / "out", pipeline)
    assert result.camera_info_topic == ""
    assert result.written["/depth/image"] == 4
    assert result.written["/depth/points"] == 0
    assert messages_of(tmp_path / "out", "/depth/stats")[0][1].focal_assumed


def test_namespace_and_settings(write_bag: Callable[..., Path], tmp_path: Path, engine: DepthEngine) -> None:
    settings = settings_from({"output.encoding": "16UC1", "cloud.stride": 4})
    source, out = write_bag("bag"), tmp_path / "out"
    add_depth_to_bag(source, out, FramePipeline(engine, settings), topics=["depth", "points"], namespace="/front/")
    assert messages_of(out, "/front/depth/image")[0][1].encoding == "16UC1"
    assert messages_of(out, "/front/depth/points")[0][1].width == 16
    with pytest.raises(ConfigError, match="/front/depth/image already"):
        add_depth_to_bag(out, tmp_path / "again", FramePipeline(engine, settings), namespace="front")


def test_custom_type_without_definition_is_copied(
    write_bag: Callable[..., Path], tmp_path: Path, pipeline: FramePipeline
) -> None:
    """Bags of Humble and older carry no definitions: what the type is stays unknown, its bytes stay the same."""
    source = write_bag("bag")
    with sqlite3.connect(source / "bag.db3") as database:
        database.execute("UPDATE topics SET type = 'robot_msgs/msg/Secret' WHERE name = '/chatter'")
        database.execute("DELETE FROM message_definitions")
    database.close()
    path = source / "bag.db3"
    result = add_depth_to_bag(path, tmp_path / "out", pipeline, topics=["depth"])
    assert result.written == {"/depth/image": 4}
    old = [one for one in raw_messages(path) if one[0] == "/chatter"]
    new = [one for one in raw_messages(tmp_path / "out") if one[0] == "/chatter"]
    assert new == old
    assert len(new) == 5
    with AnyReader([tmp_path / "out"], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        assert reader.message_count > 5
    with pytest.raises(InputError, match=r"Secret.*write a \.db3"):
        add_depth_to_bag(path, tmp_path / "out.mcap", pipeline, topics=["depth"])
    assert not (tmp_path / "out.mcap").exists()


def test_existing_output_is_refused_and_kept(
    write_bag: Callable[..., Path], tmp_path: Path, pipeline: FramePipeline
) -> None:
    source, out = write_bag("bag"), tmp_path / "out.mcap"
    out.write_text("precious")
    with pytest.raises(ConfigError, match="never overwritten"):
        add_depth_to_bag(source, out, pipeline)
    assert out.read_text() == "precious"


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), sqlite3.OperationalError("No space left on disk")]
)
def test_failure_leaves_nothing_behind(
    write_bag: Callable[..., Path], tmp_path: Path, pipeline: FramePipeline, error: Exception
) -> None:
    source = write_bag("bag")
    folder = tmp_path / "results"

    def full(done: int, total: int) -> None:
        if done == 5:
            raise error

    for name in ("out", "out.mcap"):
        with pytest.raises(OSError, match="No space") as raised:
            add_depth_to_bag(source, folder / name, pipeline, progress=full)
        assert raised.value.errno == errno.ENOSPC
        assert raised.value.filename == str(folder / name)
        assert list(folder.iterdir()) == []


def test_bad_arguments(write_bag: Callable[..., Path], tmp_path: Path, pipeline: FramePipeline) -> None:
    source = write_bag("bag")
    with pytest.raises(ConfigError, match=r"'clouds'.*points"):
        add_depth_to_bag(source, tmp_path / "out", pipeline, topics=["clouds"])
    with pytest.raises(InputError, match="/cam/camera_info"):
        add_depth_to_bag(source, tmp_path / "out", pipeline, camera_info_topic="/nowhere")
    with pytest.raises(InputError, match="cannot read the bag"):
        add_depth_to_bag(tmp_path / "absent.mcap", tmp_path / "out", pipeline)
    assert not (tmp_path / "out").exists()


def with_camera_on_the_robot(source: Path, target: Path) -> Path:
    """The bag, and a camera that is 0.4 m above `base_footprint` and looks ahead."""
    store = get_typestore(Stores.ROS2_JAZZY)
    kinds = store.types
    kind = "tf2_msgs/msg/TFMessage"
    header = kinds["std_msgs/msg/Header"](kinds["builtin_interfaces/msg/Time"](0, 0), "base_footprint")
    where = kinds["geometry_msgs/msg/Vector3"](0.1, 0.0, 0.4)
    attitude = kinds["geometry_msgs/msg/Quaternion"](-0.5, 0.5, -0.5, 0.5)
    one = kinds["geometry_msgs/msg/TransformStamped"](
        header, "cam_optical", kinds["geometry_msgs/msg/Transform"](where, attitude)
    )
    with Writer(target, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {}
        for topic, msgtype, time_ns, data in raw_messages(source):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, msgtype, typestore=store)
            writer.write(connections[topic], time_ns, data)
        last = writer.add_connection("/tf_static", kind, typestore=store)  # recorded after all images
        writer.write(last, 200_000_000_000, store.serialize_cdr(kinds[kind]([one]), kind))
    return target


def test_what_maps_take_is_written_where_it_is_asked_for(
    write_bag: Callable[..., Path], tmp_path: Path, engine: DepthEngine
) -> None:
    settings = settings_from({"scan.min_height": -50.0, "scan.max_height": 50.0, "cloud.clear_stride": 8})
    plain = write_bag("bag")
    source, out = with_camera_on_the_robot(plain, tmp_path / "robot"), tmp_path / "out"
    pipeline = FramePipeline(engine, settings)
    result = add_depth_to_bag(source, out, pipeline, topics=["depth", "points_clear", "scan"])
    assert result.written == {"/depth/image": 4, "/depth/points_clear": 4, "/depth/scan": 4}
    assert result.no_scan == ""
    (_, image), *_ = messages_of(out, "/cam/image_raw")
    (_, info), *_ = messages_of(out, "/cam/camera_info")
    (_, rays), *_ = messages_of(out, "/depth/points_clear")
    (_, scan), *_ = messages_of(out, "/depth/scan")
    found = pipeline.infer(pipeline.prepare(image, info), rays=True)
    clear = found.make_clearing_cloud()
    assert (rays.height, rays.width) == clear.shape
    assert rays.data.tobytes() == clear.tobytes()
    assert (scan.header.frame_id, scan.header.stamp) == ("base_footprint", image.header.stamp)
    camera = np.array([[0, 0, 1, 0.1], [-1, 0, 0, 0], [0, -1, 0, 0.4], [0, 0, 0, 1.0]])
    assert np.isfinite(scan.ranges).any()
    np.testing.assert_allclose(scan.ranges, found.make_scan(camera).ranges_m, rtol=1e-5)

    result = add_depth_to_bag(plain, tmp_path / "none", pipeline, topics=["scan"])
    assert result.written == {"/depth/scan": 0}
    assert "no chain of transforms leads from 'cam_optical' to 'base_footprint'" in result.no_scan


def test_a_highest_rate_leaves_images_of_a_bag_out(
    write_bag: Callable[..., Path], tmp_path: Path, engine: DepthEngine
) -> None:
    pipeline = FramePipeline(engine, settings_from({"input.max_rate": 5.0}))
    result = add_depth_to_bag(write_bag("bag", frames=8), tmp_path / "out", pipeline, topics=["depth", "stats"])
    assert (result.frames, result.skipped, result.refused) == (8, 4, 0)
    assert result.written["/depth/image"] == 4
    assert len(messages_of(tmp_path / "out", "/cam/image_raw")) == 8
    _, stats = messages_of(tmp_path / "out", "/depth/stats")[-1]
    assert (stats.frames_in, stats.frames_out, stats.frames_skipped) == (7, 4, 3)


def test_the_time_that_depth_took_is_counted(
    write_bag: Callable[..., Path], tmp_path: Path, pipeline: FramePipeline
) -> None:
    result = add_depth_to_bag(write_bag("bag"), tmp_path / "out", pipeline)
    assert 0 < result.depth_s < 300


def test_what_is_said_of_a_bags_camera_names_its_topic(
    write_bag: Callable[..., Path], tmp_path: Path, pipeline: FramePipeline
) -> None:
    """A camera_info of zeros: the command that calibrates the camera listens to the images of the bag."""
    store = get_typestore(Stores.ROS2_JAZZY)
    kind = "sensor_msgs/msg/CameraInfo"

    def uncalibrated(number: int, topic: str, data: bytes) -> tuple[str, bytes]:
        if topic != "/cam/camera_info":
            return topic, data
        info = store.deserialize_cdr(data, kind)
        info.k, info.p = np.zeros(9), np.zeros(12)
        return topic, bytes(store.serialize_cdr(info, kind))

    said: list[str] = []
    pipeline.warn = said.append
    add_depth_to_bag(copied(write_bag("bag"), uncalibrated, tmp_path / "zeros"), tmp_path / "out", pipeline)
    assert len(said) == 1
    assert "-r image:=/cam/image_raw " in said[0]


def test_topics_are_offered_and_filled_as_the_node_does_it(
    write_bag: Callable[..., Path], tmp_path: Path, pipeline: FramePipeline
) -> None:
    out = tmp_path / "out"
    add_depth_to_bag(write_bag("bag"), out, pipeline)
    for topic, (offered, *_) in profiles(out).items():
        if topic in DEPTH_TOPICS:
            (one,) = offered
            assert (one.history.name, one.depth) == ("KEEP_LAST", 1)
            assert (one.reliability.name, one.durability.name) == ("RELIABLE", "VOLATILE")
            assert one.deadline == one.lifespan == one.liveliness_lease_duration
            assert (one.deadline.sec, one.deadline.nsec) == (2**31 - 1, 2**32 - 1), "for ever"
    _, info = messages_of(out, "/depth/camera_info")[0]
    assert (info.roi.x_offset, info.roi.y_offset, info.roi.height, info.roi.width, info.roi.do_rectify) == (0,) * 5
    _, cloud = messages_of(out, "/depth/points")[0]
    assert [(one.offset, one.datatype, one.count) for one in cloud.fields] == [
        (0, 7, 1), (4, 7, 1), (8, 7, 1), (12, 7, 1),
    ]  # fmt: skip
    _, stats = messages_of(out, "/depth/stats")[-1]
    assert (stats.batch_size, stats.wait_ms, stats.outputs_dropped, stats.camera) == (1, 0.0, 0, "")
    assert (stats.frames_dropped, stats.frames_failed, stats.frames_unwatched, stats.frames_waiting) == (0, 0, 0, 0)
    assert np.isnan([stats.receive_ms, stats.latency_ms, stats.interval_coverage]).all()
    assert stats.preprocess_ms > 0
    assert 0 < stats.publish_ms < 10_000
