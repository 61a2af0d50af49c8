# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Recorded bags, opened in one place for all who read them, and what their topics are."""

from __future__ import annotations

from collections.abc import Collection, Generator
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import DECOMPRESSORS
from rosbags.typesys import Stores, get_typestore

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.images.depth_encodings import DEPTH_ENCODINGS
from depthclip_ros.core.images.encodings import ENCODINGS
from depthclip_ros.core.recordings.mcap_storage import McapStorage

RAW = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
BAG_SUFFIXES = (".db3", ".mcap")
# Those whose reader says what to do with them.
FOREIGN_SUFFIXES = (".bag", ".zstd")
ZSTD = b"\x28\xb5\x2f\xfd"  # what its frames begin with


class Recording(AnyReader):
    """A bag, open; its errors are InputErrors. Used as a context, or closed by `close`.

    Attributes:
        path: that was asked for.
        left_out: `TOPIC (ENCODING)` of each channel that holds no ROS 2 messages.

    Raises:
        InputError: it is missing, no bag, of ROS 1, or breaks off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            super().__init__(_storages(path), default_typestore=get_typestore(Stores.ROS2_JAZZY))
            readers: list[Any] = list(self.readers)
            mcap: Any = McapStorage
            for reader in readers:
                if isinstance(reader.storage, DirectoryReader):
                    reader.storage.STORAGE_PLUGINS = dict(DirectoryReader.STORAGE_PLUGINS, mcap=mcap)
                elif reader.path.suffix == ".mcap":
                    reader.storage = McapStorage(reader.path)
            self.open()
        except InputError:
            raise
        except Exception as error:  # rosbags lets errors of sqlite, zstd and its parsers through
            raise self._breaks_off(0, error) from error
        storages = [file for one in readers for file in getattr(one.storage, "storages", [one.storage])]  # of a folder
        self.left_out = sorted({topic for file in storages for topic in getattr(file, "left_out", ())})
        if self.left_out and not self.connections:
            self.close()
            raise InputError(f"{path} holds no ROS 2 messages: {', '.join(self.left_out)}; convert it to a ROS 2 bag")

    def __enter__(self) -> Recording:
        return self

    def messages(
        self, connections: Collection[Connection] = (), start: int | None = None, stop: int | None = None
    ) -> Generator[tuple[Connection, int, bytes], None, None]:
        """Connection, time (ns) and data of each message, in the order of time; no connections: of all.

        Raises:
            InputError: the bag breaks off.
        """
        count = 0
        try:
            for connection, time_ns, data in super().messages(connections, start, stop):
                count += 1
                yield connection, time_ns, _unpacked(data) if data[:4] == ZSTD else data
        except Exception as error:  # of sqlite, zstd or the MCAP parser
            raise self._breaks_off(count, error) from error

    def deserialize(self, rawdata: bytes, typ: str) -> Any:
        """The message.

        Raises:
            InputError: it is torn, or not what its type says.
        """
        try:
            return super().deserialize(rawdata, typ)
        except Exception as error:  # a torn message raises whatever its bytes lead to
            raise InputError(
                f"message ({typ.rpartition('/')[2]}, {len(rawdata)} bytes) cannot be read: {error}"
            ) from error

    def first(self, topic: str) -> Any | None:
        """The first message of a topic that can be read; None: there is none."""
        connections = [c for c in self.connections if c.topic == topic]
        for connection, _, data in self.messages(connections) if connections else ():
            try:
                return self.deserialize(data, connection.msgtype)
            except InputError:  # noqa: PERF203 (the next one may be whole)
                continue
        return None

    def _breaks_off(self, count: int, error: Exception) -> InputError:
        reason = " ".join(str(error).split())[:200]  # a parser shows the whole definition that it stumbled over
        return InputError(
            f"cannot read the bag {self.path}: it is none, or breaks off after {count} messages ({reason}); "
            "`ros2 bag reindex` or `mcap recover` may help"
        )


def _unpacked(data: bytes) -> bytes:
    """A message that its recorder compressed and no metadata.yaml says so; no serialised message begins like this."""
    try:
        return bytes(DECOMPRESSORS["zstd"](data, 0))
    except Exception:  # torn: whoever wants this message is told
        return data


def is_bag(path: Path) -> bool:
    """Whether a path is a bag: a storage file, a rosbag2 folder, or a folder whose recorder was killed."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or any(p.suffix in BAG_SUFFIXES for p in path.iterdir())
    return path.suffix.lower() in (*BAG_SUFFIXES, *FOREIGN_SUFFIXES)


def _storages(path: Path) -> list[Path]:
    """The files or the folder that rosbags opens."""
    if not path.exists():
        raise InputError(f"cannot read the bag {path}: it does not exist; give a rosbag2 folder, a .db3 or an .mcap")
    if path.suffix == ".bag":
        raise InputError(f"{path} is a ROS 1 bag; convert it first: rosbags-convert --src {path} --dst NEW_FOLDER")
    if path.suffix == ".zstd":
        raise InputError(f"{path} is compressed; unpack it (zstd -d), or give the folder with its metadata.yaml")
    if not path.is_dir() or (path / "metadata.yaml").is_file():
        return [path]
    found = sorted(p for p in path.iterdir() if p.suffix in BAG_SUFFIXES)
    # The recorder was killed. It numbers the files of one recording: NAME_0, NAME_1, …
    if not found or len({(p.stem.rpartition("_")[0] or p.stem, p.suffix) for p in found}) > 1:
        raise InputError(f"{path} has no metadata.yaml and {len(found)} storage files; give the one to read")
    return found


def image_kind(topic: str, message: Any) -> str:
    """`colour`, `depth` or "" (neither) by what an Image or CompressedImage says of itself."""
    if hasattr(message, "format"):
        encoding = message.format.partition(";")[0].strip()
        return "depth" if encoding in DEPTH_ENCODINGS or "compressedDepth" in f"{topic} {message.format}" else "colour"
    if message.encoding in DEPTH_ENCODINGS and (message.encoding != "mono16" or "depth" in topic.lower()):
        return "depth"
    return "colour" if message.encoding in ENCODINGS else ""


def listed(connections: Collection[Connection]) -> str:
    """The topics and their types, for a sentence."""
    topics = {f"{c.topic} ({c.msgtype.rpartition('/')[2]})" for c in connections}
    return ", ".join(sorted(topics)) or "no topics"
