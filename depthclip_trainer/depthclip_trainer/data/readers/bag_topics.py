# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Which topics of a recording are the colour camera, its CameraInfo and its depth: named, or found by type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from depthclip_ros.core.calibration import base_topic, is_rectified_by_name, sibling_camera_info
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.recordings.bags import (
    CAMERA_INFO,
    COMPRESSED,
    RAW,
    Recording,
    image_kind,
)

CLOUD = "sensor_msgs/msg/PointCloud2"
TF = "tf2_msgs/msg/TFMessage"
OWN_STATS = "depthclip_ros/msg/DepthStats"
# Image topics whose name says that they are neither what a camera sees nor measured depth.
NEITHER = ("confidence", "disparity", "mask", "infra", "label")


@dataclass(frozen=True)
class Topic:
    """A topic that may serve: `kind` is colour, depth or cloud; `frame_id` is that of its first message."""

    name: str
    kind: str
    frame_id: str

    def __str__(self) -> str:
        return f"{self.name} (frame {self.frame_id!r})"


@dataclass(frozen=True)
class BagTopics:
    """The topics that are read; `is_cloud`: depth is a PointCloud2 to be projected."""

    image: str
    depth: str
    camera_info: str
    is_cloud: bool

    @property
    def is_rectified(self) -> bool:
        """Whether the image topic's name says that its images are rectified."""
        return is_rectified_by_name(self.image)


def choose_topics(reader: Recording, image: str = "", depth: str = "", camera_info: str = "") -> BagTopics:
    """Topics by name where one is given, else by type, encoding and frame.

    A depth image that lies in the frame of a colour image is taken to be aligned with it, and another is only where
    both topics are named; without a depth image, the cloud is taken. Depth that `depthclip bag` wrote is nobody's
    measurement and does not count.

    Raises:
        InputError: a topic that the bag does not have, none that serves, or several: the message lists them.
    """
    topics = _usable(reader)
    for wanted in (image, depth, camera_info):
        if wanted and wanted not in reader.topics:
            raise InputError(f"the bag has no topic {wanted!r}; it has {', '.join(sorted(reader.topics))}")
    colours = _named(topics, image, ("colour",)) if image else _without_twins([t for t in topics if t.kind == "colour"])
    if not colours:
        raise InputError(f"the bag has no colour image topic; it has {', '.join(sorted(reader.topics)) or 'nothing'}")
    infos = {c.topic for c in reader.connections if c.msgtype == CAMERA_INFO}
    if not camera_info:
        # Where one colour camera is calibrated and another is not, the calibrated one is meant.
        colours = [c for c in colours if _camera_info_of(c.name, infos)] or colours
    depths = (
        _named(topics, depth, ("depth", "cloud")) if depth else _without_twins([t for t in topics if t.kind == "depth"])
    )
    clouds = [t for t in topics if t.kind == "cloud"]
    if not depths and not clouds:
        raise InputError("the bag has no depth: neither a 16UC1 or 32FC1 image nor a PointCloud2; record one of them")
    pairs = [(c, d) for d in depths or clouds for c in colours]
    if not (image and depth) and (depths or clouds)[0].kind == "depth":
        pairs = [(c, d) for c, d in pairs if c.frame_id == d.frame_id]
        if not pairs:
            raise InputError(
                f"no depth image lies in the frame of a colour image: {_listed(depths)}; {_listed(colours)}; record "
                "depth aligned to colour, or name both topics if they are aligned all the same"
            )
    if len(pairs) != 1:
        meant = _listed(list(dict.fromkeys(topic for pair in pairs for topic in pair)))
        raise InputError(f"the bag has several topics that may be meant: {meant}; name the image and the depth topic")
    chosen, measured = pairs[0]
    info = camera_info or _camera_info_of(chosen.name, infos)
    if not info:
        raise InputError(
            f"the bag has no CameraInfo for {chosen.name}; depth needs the lens: record it, or name its topic"
            + (f" ({', '.join(sorted(infos))})" if infos else "")
        )
    return BagTopics(chosen.name, measured.name, info, measured.kind == "cloud")


def _usable(reader: Recording) -> list[Topic]:
    own = {c.topic.rpartition("/")[0] for c in reader.connections if c.msgtype == OWN_STATS}
    found = {}
    for connection in reader.connections:
        if (
            connection.topic in found
            or connection.msgtype not in (RAW, COMPRESSED, CLOUD)
            or connection.topic.rpartition("/")[0] in own
        ):
            continue
        if any(word in connection.topic.lower() for word in NEITHER):
            continue
        message = reader.first(connection.topic)
        if message is None:
            continue
        kind = "cloud" if hasattr(message, "point_step") else image_kind(connection.topic, message)
        if kind:
            found[connection.topic] = Topic(connection.topic, kind, message.header.frame_id)
    return sorted(found.values(), key=lambda topic: topic.name)


def _named(topics: Sequence[Topic], name: str, kinds: tuple[str, ...]) -> list[Topic]:
    found = [topic for topic in topics if topic.name == name and topic.kind in kinds]
    if not found:
        raise InputError(f"{name} holds no {' or '.join(kinds)} messages; {_listed(topics)}")
    return found


def _without_twins(topics: Sequence[Topic]) -> list[Topic]:
    """One of the topics that `record -a` took of the same images: raw before compressedDepth before compressed."""
    best: dict[str, Topic] = {}
    for topic in sorted(topics, key=lambda topic: (topic.name.endswith("/compressed"), len(topic.name))):
        best.setdefault(base_topic(topic.name), topic)
    return sorted(best.values(), key=lambda topic: topic.name)


def _camera_info_of(image: str, infos: set[str]) -> str:
    sibling = sibling_camera_info(image)
    return sibling if sibling in infos else ""


def _listed(topics: Sequence[Topic]) -> str:
    return ", ".join(f"{topic.kind} {topic}" for topic in topics)
