# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""MCAP files of any writer, for rosbags: channels that share a topic, encodings beside CDR, no summary, no profile.

The format: https://mcap.dev/spec. rosbags' own reader takes what rosbag2 writes and refuses the rest.
"""

from __future__ import annotations

import heapq
import io
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2 import ReaderError
from rosbags.rosbag2.metadata import ReaderMetadata, parse_qos
from rosbags.rosbag2.storage_mcap import DECOMPRESSORS

MAGIC = b"\x89MCAP0\r\n"
SCHEMA, CHANNEL, MESSAGE, CHUNK, CHUNK_INDEX, STATISTICS = 3, 4, 5, 6, 8, 11
DEFINITIONS = {"ros2msg": "MSG", "ros2idl": "IDL", "omgidl": "IDL"}
NEVER_NS = 2**63 - 1


@dataclass(frozen=True)
class Part:
    """A chunk, or a message outside of chunks: times of its messages, where it lies, its channels (None: any)."""

    begin_ns: int
    end_ns: int
    offset: int
    channels: frozenset[int] | None


class McapStorage:
    """What rosbags asks of a storage.

    Attributes:
        connections: one for each topic and type that is in CDR.
        metadata: times and counts of the messages.
        left_out: `TOPIC (ENCODING)` of each channel that is not in CDR.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections: list[Connection] = []
        self.metadata = ReaderMetadata(0, NEVER_NS, 0, 0, None, None, None, None)
        self.left_out: list[str] = []
        self._file: IO[bytes] | None = None

    def open(self) -> None:
        """Find channels and chunks: in the summary, or where that does not hold them by reading everything.

        Raises:
            ReaderError, struct.error: no MCAP, or one that breaks off.
        """
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self._channels: dict[int, tuple[int, str, str, bytes]] = {}
        self._parts: list[Part] = []
        self._counts: Counter[int] = Counter()
        self._file = self.path.open("rb")
        try:
            self._open(self._file)
        except BaseException:
            self.close()
            raise

    def _open(self, file: IO[bytes]) -> None:
        if file.read(8) != MAGIC:
            raise ReaderError("it does not begin as an MCAP does")
        end = file.seek(0, io.SEEK_END) - 37
        file.seek(max(end, 8))
        footer = file.read(37)
        if len(footer) < 37 or footer[-8:] != MAGIC or footer[0] != 2:
            raise ReaderError("it does not end as an MCAP does")
        (summary,) = struct.unpack_from("<Q", footer, 9)
        if summary:
            self._scan(file, summary, end)
        if not (self._channels and self._parts and self._counts):
            for known in (self._schemas, self._channels, self._parts, self._counts):
                known.clear()
            self._scan(file, 8, summary or end)
        self._parts.sort(key=lambda part: part.begin_ns)
        self._connect()
        if count := sum(self._counts[channel] for channel in self._of_channel):
            begin_ns, end_ns = self._parts[0].begin_ns, max(part.end_ns for part in self._parts)
            self.metadata = self.metadata._replace(
                duration=end_ns - begin_ns + 1, start_time=begin_ns, end_time=end_ns + 1, message_count=count
            )

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Messages of these connections from `start` until before `stop` (ns), in the order of time."""
        assert self._file is not None
        names = {(c.topic, c.msgtype) for c in connections}
        wanted = {key: c for key, c in self._of_channel.items() if (c.topic, c.msgtype) in names}
        start, stop = start or 0, NEVER_NS if stop is None else stop
        waiting: list[tuple[int, int, int, bytes]] = []  # a heap by time, and by order where that is the same
        count = 0
        for part in self._parts:
            if part.end_ns < start or part.begin_ns >= stop or (part.channels and part.channels.isdisjoint(wanted)):
                continue
            while waiting and waiting[0][0] < part.begin_ns:
                time_ns, _, channel, data = heapq.heappop(waiting)
                yield wanted[channel], time_ns, data
            self._file.seek(part.offset)
            kind, body = _record(self._file)
            for channel, time_ns, data in _messages(body) if kind == CHUNK else [_message(body)]:
                if channel in wanted and start <= time_ns < stop:
                    count += 1
                    heapq.heappush(waiting, (time_ns, count, channel, data))
        while waiting:
            time_ns, _, channel, data = heapq.heappop(waiting)
            yield wanted[channel], time_ns, data

    def _scan(self, file: IO[bytes], begin: int, end: int, *, in_chunk: bool = False) -> None:
        """Remember what the records between two places say."""
        file.seek(begin)
        while (offset := file.tell()) < end:
            kind, body = _record(file)
            data = io.BytesIO(body)
            if kind == SCHEMA:
                (key,) = struct.unpack("<H", data.read(2))
                name, encoding = _text(data), _text(data)
                self._schemas[key] = name, encoding, _bytes(data).decode(errors="replace")
            elif kind == CHANNEL:
                key, schema = struct.unpack("<HH", data.read(4))
                self._channels[key] = schema, _text(data), _text(data), _bytes(data)
            elif kind == CHUNK_INDEX:
                begin_ns, end_ns, where, _ = struct.unpack("<QQQQ", data.read(32))
                channels = frozenset(channel for channel, _ in struct.iter_unpack("<HQ", _bytes(data)))
                self._parts.append(Part(begin_ns, end_ns, where, channels or None))
            elif kind == STATISTICS:
                data.seek(42)
                self._counts.update(dict(struct.iter_unpack("<HQ", _bytes(data))))
            elif kind == CHUNK:
                begin_ns, end_ns = struct.unpack_from("<QQ", body)
                records = _unpacked(body)
                self._scan(io.BytesIO(records), 0, len(records), in_chunk=True)
                self._parts.append(Part(begin_ns, end_ns, offset, None))
            elif kind == MESSAGE:
                channel, time_ns, _ = _message(body)
                self._counts[channel] += 1
                if not in_chunk:
                    self._parts.append(Part(time_ns, time_ns, offset, frozenset({channel})))

    def _connect(self) -> None:
        """A connection for all channels of a topic and type."""
        found: dict[tuple[str, str], Connection] = {}
        self._of_channel: dict[int, Connection] = {}
        for key, (schema, topic, encoding, metadata) in self._channels.items():
            name, language, text = self._schemas.get(schema, ("__schemaless__", "", ""))
            if encoding != "cdr":
                self.left_out.append(f"{topic} ({encoding or 'no encoding'})")
                continue
            definition = MessageDefinition(MessageDefinitionFormat[DEFINITIONS.get(language, "NONE")], text)
            extra: Any = ConnectionExtRosbag2(encoding, parse_qos(_pairs(metadata).get("offered_qos_profiles", "")))
            new = Connection(key, topic, name, definition, "", 0, extra, self)
            old = found.get((topic, name), new)
            found[topic, name] = old._replace(msgcount=old.msgcount + self._counts[key])
        self.connections = list(found.values())
        for key, (schema, topic, encoding, _) in self._channels.items():
            name = self._schemas.get(schema, ("__schemaless__",))[0]
            if encoding == "cdr":
                self._of_channel[key] = found[topic, name]


def _record(file: IO[bytes]) -> tuple[int, bytes]:
    kind, size = struct.unpack("<BQ", file.read(9))
    body = file.read(size)
    if len(body) != size:
        raise ReaderError(f"a record of {size} bytes breaks off after {len(body)}")
    return kind, body


def _bytes(data: IO[bytes]) -> bytes:
    (size,) = struct.unpack("<I", data.read(4))
    return data.read(size)


def _text(data: IO[bytes]) -> str:
    return _bytes(data).decode(errors="replace")


def _pairs(data: bytes) -> dict[str, str]:
    texts = io.BytesIO(data)
    pairs = {}
    while texts.tell() < len(data):
        name = _text(texts)
        pairs[name] = _text(texts)
    return pairs


def _message(body: bytes) -> tuple[int, int, bytes]:
    """Channel, time and data of a message record."""
    channel, _, time_ns, _ = struct.unpack_from("<HIQQ", body)
    return channel, time_ns, body[22:]


def _unpacked(body: bytes) -> bytes:
    """The records of a chunk."""
    data = io.BytesIO(body)
    _, _, size, checksum = struct.unpack("<QQQI", data.read(28))
    compression = _text(data)
    (packed,) = struct.unpack("<Q", data.read(8))
    if compression not in DECOMPRESSORS:
        raise ReaderError(f"chunks are compressed by {compression}, which is not known")
    records = bytes(DECOMPRESSORS[compression](data.read(packed), size))
    if len(records) != size or (checksum and checksum != zlib.crc32(records)):
        raise ReaderError("a chunk is not what its checksum says")
    return records


def _messages(chunk: bytes) -> Iterator[tuple[int, int, bytes]]:
    records = _unpacked(chunk)
    data = io.BytesIO(records)
    while data.tell() < len(records):
        kind, body = _record(data)
        if kind == MESSAGE:
            yield _message(body)
