# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A running depth node against a depth camera's topic: frames paired by stamp, scored as they come."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from depthclip_ros.core.calibration import stamp_ns_of
from depthclip_ros.core.errors import InputError
from depthclip_ros.ros.conversions import read_depth
from depthclip_ros.ros.measure.scores import Score, TruthStatistics, resized_depth, score
from depthclip_ros.ros.qos import input_qos, same_request
from depthclip_ros.ros.run import in_one_sentence, spinning

# Either side waits for the other: depth of a slow network comes seconds after the camera's.
WAITING_FRAMES = 90
WATCH_S = 0.5


@dataclass
class LiveRecord:
    """What was heard and scored.

    Attributes:
        depths, references: messages of the node and of the camera.
        scores, scaled: per pair, as published and with the median of the depth set to that of the reference.
        truth: enough to score constants.
        ratios: median of the reference over that of the depth, per pair.
        frames_of: frame_id of the depth and of the reference, newest.
        refused: newest reason for a pair that cannot be scored, and how many there were.
        nearest_s: smallest difference of stamps seen between an unpaired depth and a reference.
    """

    depths: int = 0
    references: int = 0
    scores: list[Score] = field(default_factory=list)
    scaled: list[Score] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    truth: TruthStatistics = field(default_factory=TruthStatistics)
    frames_of: tuple[str, str] = ("", "")
    refused: tuple[str, int] = ("", 0)
    nearest_s: float | None = None


def score_pair(depth_m: NDArray[np.float32], truth_m: NDArray[np.float32], record: LiveRecord) -> None:
    """Scores depth [H, W] against a reference [h, w] of the same view, both in metres, at the reference's size.

    Raises:
        InputError: shapes of another aspect: the two do not show the same.
    """
    depth_m = resized_depth(depth_m, truth_m.shape)
    valid = (truth_m > 0) & np.isfinite(truth_m) & np.isfinite(depth_m) & (depth_m > 0)
    if (one := score(depth_m, truth_m)) is None:
        return
    ratio = float(np.median(truth_m[valid]) / np.median(depth_m[valid])) if valid.any() else 1.0
    record.scores.append(one)
    record.scaled.append(score(depth_m * np.float32(ratio), truth_m) or one)
    record.ratios.append(ratio)
    record.times_s.append(time.monotonic())
    record.truth.add(truth_m)


class LiveScorer:
    """Listens to both topics, whatever their publishers offer.

    Args:
        node: spun by a thread.
        depth_topic: of the depth node.
        reference_topic: of the camera: 32FC1, 16UC1, or `.../compressedDepth`.
        tolerance_s: largest difference of stamps of a pair.

    Raises:
        ConfigError: a topic's name is none.
    """

    def __init__(self, node: Node, depth_topic: str, reference_topic: str, tolerance_s: float) -> None:
        self.record = LiveRecord()
        self.lock = threading.Lock()
        self._tolerance_ns = round(tolerance_s * 1e9)
        self._subscriptions: dict[str, tuple[Any, Any]] = {}  # QoS asked for, subscription
        self._node = node
        self.topics = tuple(self._resolved(topic) for topic in (depth_topic, reference_topic))
        self._kept: dict[str, OrderedDict[int, NDArray[np.float32]]] = {topic: OrderedDict() for topic in self.topics}
        self._watch()
        self._node.create_timer(WATCH_S, self._watch)

    def _resolved(self, topic: str) -> str:
        with in_one_sentence(f"{topic!r} is no name of a topic"):
            return str(self._node.resolve_topic_name(topic))

    def publishers(self) -> tuple[int, int]:
        """How many publish the depth and the reference now."""
        depth, reference = (self._node.count_publishers(topic) for topic in self.topics)
        return depth, reference

    def _watch(self) -> None:
        """Subscribes with what the publishers offer, again where a new one offers less."""
        for topic in self.topics:
            offers = [one.qos_profile for one in self._node.get_publishers_info_by_topic(topic)]
            wanted = input_qos("auto", offers)
            wanted.depth = 5
            present = self._subscriptions.get(topic)
            if present is not None and same_request(present[0], wanted):
                continue
            if present is not None:
                self._node.destroy_subscription(present[1])
            kind = CompressedImage if topic.endswith("/compressedDepth") else Image

            def receive(message: Any, topic: str = topic) -> None:
                self._receive(topic, message)

            self._subscriptions[topic] = wanted, self._node.create_subscription(kind, topic, receive, wanted)

    def _receive(self, topic: str, message: Any) -> None:
        is_depth = topic == self.topics[0]
        record, stamp_ns = self.record, stamp_ns_of(message.header.stamp)
        with self.lock:
            record.depths += is_depth
            record.references += not is_depth
            depth_frame, reference_frame = record.frames_of
            frame = message.header.frame_id
            record.frames_of = (frame, reference_frame) if is_depth else (depth_frame, frame)
            try:
                self._kept[topic][stamp_ns] = read_depth(message, keep_limits=True)
                while len(self._kept[topic]) > WAITING_FRAMES:
                    self._kept[topic].popitem(last=False)
                self._pair(topic, stamp_ns)
            except InputError as error:
                record.refused = (str(error), record.refused[1] + 1)

    def _pair(self, topic: str, stamp_ns: int) -> None:
        kept, other = self._kept, self.topics[topic == self.topics[0]]
        if not kept[other]:
            return
        nearest_ns = min(kept[other], key=lambda stamp: abs(stamp - stamp_ns))
        apart_ns = abs(nearest_ns - stamp_ns)
        if apart_ns > self._tolerance_ns:
            known = self.record.nearest_s
            self.record.nearest_s = apart_ns / 1e9 if known is None else min(known, apart_ns / 1e9)
            return
        pair = {topic: kept[topic].pop(stamp_ns), other: kept[other].pop(nearest_ns)}
        score_pair(pair[self.topics[0]], pair[self.topics[1]], self.record)


@contextmanager
def live_scoring(domain_id: int | None, depth: str, reference: str, tolerance_s: float) -> Iterator[LiveScorer]:
    """A running scorer with a node of its own; None takes the domain of the environment."""
    with spinning("depth_score", domain_id) as node:
        yield LiveScorer(node, depth, reference, tolerance_s)
