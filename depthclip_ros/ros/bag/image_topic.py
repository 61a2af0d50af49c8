# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Which of a recording's topics is the colour camera."""

from __future__ import annotations

import re
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

# Whole words of a topic's last two names that say that it is not what a camera sees. A robot or a camera may be named
# so: /depth_cam/rgb/image_raw, /infrastructure/cam/image_raw.
NOT_COLOUR = re.compile(r"(?<![a-z])(depth|confidence|disparity|ground_truth|mask|infra|infrared)s?(?![a-z])")


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
        if not counts[topic] or NOT_COLOUR.search(_last_names(topic)):
            continue
        message = reader.first(topic)
        kind = "" if message is None else image_kind(topic, message)
        grey = message is not None and getattr(message, "encoding", getattr(message, "format", "")).startswith("mono")
        if kind != "depth":
            rank = (kind == "colour", sibling_camera_info(topic) in infos, not grey, msgtype == RAW, counts[topic])
            found[topic] = rank
    if not found:
        raise InputError(
            f"the bag has no colour image topic; it has {listed(reader.connections)}; "
            "if one of them is the camera's, name it: --image-topic (camera_node: image_topic)"
        )
    return max(found, key=lambda topic: found[topic])


def _last_names(topic: str) -> str:
    """The image's name and that of what it is of, in small letters: `depth/image_raw`."""
    return "/".join(topic.lower().removesuffix("/compressed").split("/")[-2:])
