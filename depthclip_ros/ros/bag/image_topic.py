# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Which of a recording's topics is the colour camera."""

from __future__ import annotations

from collections import Counter

from depthclip_ros.core.calibration import sibling_camera_info
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.recordings.bags import (
    CAMERA_INFO,
    COMPRESSED,
    RAW,
    Recording,
    image_kind,
    listed,
)

# Image topics whose name says that they are not what a camera sees.
NOT_COLOUR = ("depth", "confidence", "disparity", "ground_truth", "mask", "infra")


def find_image_topic(reader: Recording, wanted: str = "") -> str:
    """The topic of the colour camera: `wanted`, or the likeliest (camera_info beside, colour, raw, most messages).

    What a topic holds is read off its first message: depth may be named like an image.

    Raises:
        InputError: no such topic, or none at all; the message lists what the bag has.
    """
    types = {c.topic: c.msgtype for c in reader.connections if c.msgtype in {RAW, COMPRESSED}}
    if wanted:
        for topic in (wanted, f"{wanted}/compressed"):
            if topic in types:
                return topic
        raise InputError(f"the bag has no image topic {wanted!r}; it has {listed(reader.connections)}")
    infos = {c.topic for c in reader.connections if c.msgtype == CAMERA_INFO}
    counts: Counter[str] = Counter()
    for connection in reader.connections:
        counts[connection.topic] += connection.msgcount
    found = {}
    for topic, msgtype in types.items():
        if not counts[topic] or any(word in topic.lower() for word in NOT_COLOUR):
            continue
        message = reader.first(topic)
        kind = "" if message is None else image_kind(topic, message)
        grey = message is not None and getattr(message, "encoding", getattr(message, "format", "")).startswith("mono")
        if kind != "depth":
            rank = (kind == "colour", sibling_camera_info(topic) in infos, not grey, msgtype == RAW, counts[topic])
            found[topic] = rank
    if not found:
        raise InputError(f"the bag has no colour image topic; it has {listed(reader.connections)}")
    return max(found, key=lambda topic: found[topic])
