# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Bags of other writers than rosbag2, of recorders that were killed, and torn ones."""

from __future__ import annotations

import io
import itertools
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.recordings.bags import BAG_SUFFIXES, Recording, image_kind, is_bag

STRING = "std_msgs/msg/String"
STORE = get_typestore(Stores.ROS2_JAZZY)


def text(value: str) -> bytes:
    return bytes(STORE.serialize_cdr(STORE.types[STRING](data=value), STRING))


class Mcap:
    """As little of an MCAP writer as these tests need: records go where the test says."""

    def __init__(self, profile: str = "ros2") -> None:
        self.file = io.BytesIO()
        self.file.write(b"\x89MCAP0\r\n" + self.record(1, self.blob(profile) + self.blob("test")))

    @staticmethod
    def blob(value: str | bytes) -> bytes:
        data = value if isinstance(value, bytes) else value.encode()
        return struct.pack("<I", len(data)) + data

    @staticmethod
    def record(kind: int, body: bytes) -> bytes:
        return struct.pack("<BQ", kind, len(body)) + body

    def channel(self, key: int, topic: str, encoding: str = "cdr", schema: str = "ros2msg") -> bytes:
        definition = self.record(3, struct.pack("<H", key) + b"".join(map(self.blob, (STRING, schema, "string data"))))
        names = self.blob(topic) + self.blob(encoding) + self.blob(b"")
        return definition + self.record(4, struct.pack("<HH", key, key) + names)

    def message(self, key: int, time_ns: int, data: bytes) -> bytes:
        return self.record(5, struct.pack("<HIQQ", key, 0, time_ns, time_ns) + data)

    def chunk(self, begin_ns: int, end_ns: int, records: bytes, checksum: int | None = None) -> bytes:
        head = (begin_ns, end_ns, len(records), zlib.crc32(records) if checksum is None else checksum)
        body = struct.pack("<QQQI", *head) + self.blob("") + struct.pack("<Q", len(records)) + records
        return self.record(6, body)

    def write(self, path: Path, *records: bytes, summary: bytes = b"") -> Path:
        for record in records:
            self.file.write(record)
        start = self.file.tell() if summary else 0
        self.file.write(summary + self.record(2, struct.pack("<QQI", start, 0, 0)) + b"\x89MCAP0\r\n")
        path.write_bytes(self.file.getvalue())
        return path


def read(path: Path, topic: str = "") -> list[tuple[str, int, str]]:
    with Recording(path) as bag:
        chosen = [c for c in bag.connections if c.topic == topic] if topic else []
        found = [(c.topic, time_ns, bag.deserialize(data, c.msgtype).data) for c, time_ns, data in bag.messages(chosen)]
        assert sum(c.msgcount for c in chosen or bag.connections) == len(found)
        assert topic or bag.message_count == len(found)
        return found


def test_two_channels_of_a_topic_are_one(tmp_path: Path) -> None:
    m = Mcap()
    first = m.chunk(1, 4, m.channel(1, "/a") + m.message(1, 4, text("four")) + m.message(1, 1, text("one")))
    second = m.chunk(2, 3, m.channel(2, "/a") + m.message(2, 2, text("two")) + m.message(2, 3, text("three")))
    path = m.write(tmp_path / "two.mcap", first, second)
    expected = [("/a", 1, "one"), ("/a", 2, "two"), ("/a", 3, "three"), ("/a", 4, "four")]
    assert read(path) == read(path, "/a") == expected
    with Recording(path) as bag:
        assert [c.topic for c in bag.connections] == ["/a"]
        assert [time_ns for _, time_ns, _ in bag.messages(start=2, stop=4)] == [2, 3]


def test_no_profile_no_chunks_no_order(tmp_path: Path) -> None:
    m = Mcap(profile="")
    times = (5, 3, 4)
    path = m.write(tmp_path / "plain.mcap", m.channel(7, "/a"), *(m.message(7, t, text(str(t))) for t in times))
    assert [value for _, _, value in read(path)] == ["3", "4", "5"]


def test_a_summary_without_channels_is_not_believed(tmp_path: Path) -> None:
    m = Mcap()
    chunk = m.chunk(1, 1, m.channel(1, "/a") + m.message(1, 1, text("one")))
    index = struct.pack("<QQQQ", 1, 1, m.file.tell(), len(chunk)) + m.blob(b"")
    index += struct.pack("<Q", 0) + m.blob("") + struct.pack("<QQ", 0, 0)
    assert read(m.write(tmp_path / "bare.mcap", chunk, summary=m.record(8, index))) == [("/a", 1, "one")]


@pytest.mark.parametrize(
    ("encoding", "schema"), [("json", "jsonschema"), ("protobuf", "protobuf"), ("ros1", "ros1msg")]
)
def test_other_encodings_are_left_out_and_named(tmp_path: Path, encoding: str, schema: str) -> None:
    m = Mcap()
    other = m.channel(2, "/other", encoding, schema) + m.message(2, 2, b"{}")
    path = m.write(tmp_path / "mixed.mcap", m.channel(1, "/a"), other, m.message(1, 3, text("a")))
    assert read(path) == [("/a", 3, "a")]
    with Recording(path) as bag:
        assert bag.left_out == [f"/other ({encoding})"]
    m = Mcap()
    path = m.write(tmp_path / "alone.mcap", m.channel(2, "/other", encoding, schema), m.message(2, 2, b"{}"))
    with pytest.raises(InputError, match=f"holds no ROS 2 messages: /other .{encoding}"):
        Recording(path)


def test_a_folder_is_read_as_its_file_is(tmp_path: Path) -> None:
    """What another writer put in, and a metadata.yaml beside it."""
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.write(writer.add_connection("/a", STRING, typestore=STORE), 3, text("a"))
    m = Mcap(profile="")
    other = m.channel(2, "/other", "json", "jsonschema") + m.message(2, 2, b"{}")
    twins = m.channel(3, "/a") + m.message(3, 4, text("twin"))
    path = m.write(tmp_path / "bag" / "bag.mcap", m.channel(1, "/a"), other, m.message(1, 3, text("a")), twins)
    expected = [("/a", 3, "a"), ("/a", 4, "twin")]
    for place in (path, path.parent):
        with Recording(place) as bag:
            found = [(c.topic, at, bag.deserialize(data, c.msgtype).data) for c, at, data in bag.messages()]
            assert (found, bag.left_out) == (expected, ["/other (json)"])


def test_damage_is_named(tmp_path: Path) -> None:
    m = Mcap()
    records = m.channel(1, "/a") + m.message(1, 1, text("one"))
    path = m.write(tmp_path / "flipped.mcap", m.chunk(1, 1, records, checksum=5))
    with pytest.raises(InputError, match=r"flipped\.mcap.*checksum"):
        Recording(path)
    path = Mcap().write(tmp_path / "short.mcap", m.chunk(1, 1, records))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"does not end as an MCAP does.*mcap recover"):
        Recording(path)


def test_how_many_messages_came_before_a_bag_breaks_off_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = Mcap()
    records = m.channel(1, "/a") + b"".join(m.message(1, time_ns, text("one")) for time_ns in (1, 2, 3))
    whole = AnyReader.messages

    def breaks_off(*asked: object) -> Iterator[object]:
        yield from itertools.islice(whole(*asked), 2)  # type: ignore[arg-type]
        raise ValueError("zstd")

    monkeypatch.setattr(AnyReader, "messages", breaks_off)
    with pytest.raises(InputError, match=r"breaks off after 2 messages \(zstd\)"):
        read(m.write(tmp_path / "long.mcap", m.chunk(1, 3, records)))


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_messages_compressed_one_by_one_are_read_without_their_metadata_too(
    tmp_path: Path, storage: StoragePlugin
) -> None:
    writer = Writer(tmp_path / "bag", version=8, storage_plugin=storage)
    writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    with writer:
        topic = writer.add_connection("/chatter", STRING, typestore=STORE)
        for number in range(3):
            writer.write(topic, number, text(f"text {number} {'x' * 100}"))
    (file,) = (path for path in (tmp_path / "bag").iterdir() if path.suffix in BAG_SUFFIXES)
    for path in (tmp_path / "bag", file):
        with Recording(path) as recording:
            found = [recording.deserialize(data, STRING).data for _, _, data in recording.messages()]
        assert found == [f"text {number} {'x' * 100}" for number in range(3)]


def test_a_torn_message_is_an_input_error_and_the_next_one_is_first(tmp_path: Path) -> None:
    m = Mcap()
    torn, foreign = text("hello")[:-3], text("hello").replace(b"hello", b"h\xe4llo")
    messages = [m.message(1, t, data) for t, data in enumerate((torn, foreign, text("whole")))]
    with Recording(m.write(tmp_path / "torn.mcap", m.channel(1, "/a"), *messages)) as bag:
        (_, _, first), (_, _, second), _ = bag.messages()
        for data in (first, second):
            with pytest.raises(InputError, match=r"message \(String, \d+ bytes\) cannot be read"):
                bag.deserialize(data, STRING)
        assert bag.first("/a").data == "whole"
        assert bag.first("/b") is None


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_split_recording_without_metadata_is_one(
    write_bag: Callable[..., Path], tmp_path: Path, storage: str
) -> None:
    folder = tmp_path / "walk"
    folder.mkdir()
    for number in range(2):
        (source,) = (p for p in write_bag(f"part{number}", storage=storage).iterdir() if p.suffix != ".yaml")
        shutil.copy(source, folder / f"walk_{number}{source.suffix}")
        with Recording(source) as one:
            count = one.message_count
    with Recording(folder) as bag:
        assert bag.message_count == 2 * count == len(list(bag.messages()))
        times = [time_ns for _, time_ns, _ in bag.messages()]
        assert times == sorted(times)
    (folder / f"walk_1{source.suffix}").rename(folder / f"other{source.suffix}")
    with pytest.raises(InputError, match=r"no metadata\.yaml and 2 storage files; give the one to read"):
        Recording(folder)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("walk.bag", "ROS 1 bag; convert it first: rosbags-convert"),
        ("walk.mcap.zstd", "unpack it"),
        ("walk.mcap", "MCAP"),
    ],
)
def test_what_is_read_elsewhere_is_named(tmp_path: Path, name: str, said: str) -> None:
    path = tmp_path / name
    with pytest.raises(InputError, match="does not exist"):
        Recording(path)
    path.write_bytes(b"#ROSBAG V2.0\n")
    assert is_bag(path)
    with pytest.raises(InputError, match=said):
        Recording(path)


@pytest.mark.parametrize(
    ("topic", "fields", "kind"),
    [
        ("/oak/stereo/image_raw", {"encoding": "16UC1"}, "depth"),
        ("/oak/stereo/image_raw/compressed", {"format": "16UC1; png compressed "}, "depth"),
        ("/oak/stereo/image_raw/compressedDepth", {"format": "16UC1; compressedDepth png"}, "depth"),
        ("/oak/rgb/image_raw", {"encoding": "bgr8"}, "colour"),
        ("/oak/rgb/image_raw/compressed", {"format": "jpeg"}, "colour"),
        ("/flow", {"encoding": "32FC2"}, ""),
    ],
)
def test_images_say_what_they_are(topic: str, fields: dict[str, str], kind: str) -> None:
    from types import SimpleNamespace

    assert image_kind(topic, SimpleNamespace(**fields)) == kind


def test_a_definition_that_does_not_parse_is_one_sentence(tmp_path: Path) -> None:
    m = Mcap()
    definition = m.record(3, struct.pack("<H", 1) + b"".join(map(m.blob, ("a/msg/B", "ros2msg", "string =\n" * 99))))
    channel = m.record(4, struct.pack("<HH", 1, 1) + m.blob("/a") + m.blob("cdr") + m.blob(b""))
    path = m.write(tmp_path / "torn.mcap", definition, channel, m.message(1, 1, text("one")))
    with pytest.raises(InputError, match="cannot read the bag") as raised:
        read(path)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("plugin", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
def test_messages_come_by_time_from_a_start_until_before_a_stop(tmp_path, plugin):
    store = get_typestore(Stores.ROS2_JAZZY)
    kind = "std_msgs/msg/UInt32"
    with Writer(tmp_path / "bag", version=8, storage_plugin=plugin) as writer:
        first, second = (writer.add_connection(topic, kind, typestore=store) for topic in ("/a", "/b"))
        for number, (connection, time_ns) in enumerate(
            [(first, 30), (second, 10), (first, 20), (second, 20), (first, 40), (second, 50)]
        ):
            writer.write(connection, time_ns, store.serialize_cdr(store.types[kind](number), kind))
    with Recording(tmp_path / "bag") as bag:

        def numbers(*topics, **limits):
            chosen = [c for c in bag.connections if c.topic in topics]
            return [
                (time_ns, bag.deserialize(data, c.msgtype).data) for c, time_ns, data in bag.messages(chosen, **limits)
            ]

        assert numbers("/a", "/b") == [(10, 1), (20, 2), (20, 3), (30, 0), (40, 4), (50, 5)]
        assert numbers("/b") == [(10, 1), (20, 3), (50, 5)]
        assert numbers("/a", "/b", start=20, stop=40) == [(20, 2), (20, 3), (30, 0)]
        assert numbers("/a", start=31) == [(40, 4)]
        assert (bag.start_time, bag.end_time, bag.message_count) == (10, 51, 6)
        assert {c.topic: c.msgcount for c in bag.connections} == {"/a": 3, "/b": 3}
        assert bag.first("/b").data == 1
        assert bag.first("/none") is None
