# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The demo's third process: subscribes to the camera and to the depth node, scores, and keeps a few frames."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depthclip_ros.core.calibration import stamp_ns_of
from depthclip_ros.core.errors import InputError
from depthclip_ros.msg import DepthStats
from depthclip_ros.ros.conversions import read_depth, read_image
from depthclip_ros.ros.measure.scores import Score, TruthStatistics, score, share_within
from depthclip_ros.ros.run import spinning

# Images and exact depths wait this many frames for their depth; at 30 Hz this is four seconds of a slow network.
WAITING_FRAMES = 120
WAITING_CLOUDS = 10  # 5 MB each
CLOUD_PATIENCE_S = 0.1
OTHER_OUTPUTS = {
    "depth/camera_info": CameraInfo,
    "depth/points": PointCloud2,
    "depth/confidence": Image,
    "depth/uncertainty": Image,
    "depth/image_color": Image,
}


@dataclass
class Sample:
    """One kept frame, for the pictures.

    Attributes:
        stamp_ns: its stamp.
        rgb: uint8 [H, W, 3]; depth_m: float32 [H, W]; truth_m: float32 [H, W] or None.
        cloud: the PointCloud2 of the same stamp, or None; `cloud_points` reads it.
        uncertainty_m: float32 [H, W], the larger side of each pixel's interval, or None.
    """

    stamp_ns: int
    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    truth_m: NDArray[np.float32] | None
    cloud: Any | None = None
    uncertainty_m: NDArray[np.float32] | None = None


@dataclass
class Record:
    """What the recorder has seen since it began to count: with pictures, once it hears the camera too.

    `heard` counts outputs that are only listened to; `covered` holds each frame's share of true depths in intervals.
    """

    began_s: float | None = None
    newest_s: float | None = None
    images: int = 0
    depths: int = 0
    clouds: int = 0
    stamps_ns: list[int] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    covered: list[float] = field(default_factory=list)
    truth: TruthStatistics = field(default_factory=TruthStatistics)
    stats: list[Any] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    heard: Counter[str] = field(default_factory=Counter)

    @property
    def seconds(self) -> float:
        """Time from the first depth to the newest."""
        return 0.0 if self.began_s is None or self.newest_s is None else self.newest_s - self.began_s

    @property
    def rate_hz(self) -> float:
        """Depth images per second."""
        return (self.depths - 1) / self.seconds if self.depths > 1 and self.seconds > 0 else 0.0

    def latency_percentile_ms(self, percent: float) -> float | None:
        """Percentile of stamp to receipt; None before the first depth."""
        return float(np.percentile(self.latency_ms, percent)) if self.latency_ms else None


def cloud_points(message: PointCloud2) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Finite points of an x y z rgb cloud: float32 [N, 3] metres and uint8 [N, 3] RGB."""
    offsets = {one.name: one.offset for one in message.fields}
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.row_step)
    points = rows[:, : message.width * message.point_step].reshape(-1, message.point_step)
    xyz = np.stack([points[:, offsets[n] : offsets[n] + 4].copy().view(np.float32)[:, 0] for n in "xyz"], axis=1)
    finite = np.isfinite(xyz).all(axis=1)
    if "rgb" in offsets:
        bgr = points[:, offsets["rgb"] : offsets["rgb"] + 3]
        colours = bgr[finite][:, ::-1].copy()
    else:
        colours = np.full((int(finite.sum()), 3), 200, np.uint8)
    return xyz[finite], colours


class Recorder:
    """Subscriptions in one thread, scoring in another, so that a receipt time is the time of receipt.

    Args:
        node: in the namespace of the camera and its depth, spun by a thread.
        sample_every_s: time between two kept frames.
        pictures: False listens to depth and stats alone (the bench: no other load on the machine).
        everything: listen to the node's other outputs as well, so that it has to make them.
        clouds: listen to the cloud, and take it as the bytes that came, which is what a program in C++ does.
    """

    def __init__(
        self,
        node: Node,
        *,
        sample_every_s: float = 2.0,
        pictures: bool = True,
        everything: bool = False,
        clouds: bool = False,
    ) -> None:
        self.record = Record()
        self._sample_every_s = sample_every_s
        self._next_sample_s = 0.0
        self._first_image_ns: int | None = None
        self._lock = threading.Lock()
        self._images: OrderedDict[int, Image] = OrderedDict()
        self._truths: OrderedDict[int, Image] = OrderedDict()
        self._clouds: OrderedDict[int, PointCloud2] = OrderedDict()
        self._uncertain: OrderedDict[int, Image] = OrderedDict()
        self._work: queue.Queue[tuple[float, int, Image] | None] = queue.Queue()
        self._node = node
        self._pictures = pictures
        topics: dict[str, tuple[Any, Any]] = {
            "depth/image": (Image, self._on_depth),
            "depth/stats": (DepthStats, self._on_stats),
        }
        if pictures:
            topics["image_raw"] = Image, self._on_image
            topics["ground_truth/depth/image"] = Image, self._on_truth
            topics["depth/points"] = PointCloud2, self._on_cloud
            topics["depth/uncertainty"] = Image, self._on_uncertainty
        subscriptions = [(topic, *heard) for topic, heard in topics.items()]
        for topic, message in OTHER_OUTPUTS.items() if everything else ():
            subscriptions.append((topic, message, partial(self._on_other, topic)))
        self._scorer = threading.Thread(target=self._score, daemon=True)
        self._scorer.start()
        self._counts = True
        for topic, message, callback in subscriptions:
            node.create_subscription(message, topic, self._while_counting(callback), QoSProfile(depth=5))
        if clouds:
            heard = self._while_counting(partial(self._on_other, "depth/points"))
            node.create_subscription(PointCloud2, "depth/points", heard, QoSProfile(depth=5), raw=True)

    def finish(self) -> Record:
        """Stop counting, score what is waiting, and hand over the record.

        The subscriptions go with the node: its thread may just be waiting for them, and rclpy fails where one is gone.
        """
        self._counts = False
        self._work.put(None)
        self._scorer.join(timeout=20)
        return self.record

    def _while_counting(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        def hear(message: Any) -> None:
            if self._counts:
                callback(message)

        return hear

    def _keep(self, kept: OrderedDict[int, Any], message: Any) -> None:
        kept[stamp_ns_of(message.header.stamp)] = message
        while len(kept) > WAITING_FRAMES:
            kept.popitem(last=False)

    def _on_image(self, message: Image) -> None:
        self.record.images += 1
        if self._first_image_ns is None:
            self._first_image_ns = stamp_ns_of(message.header.stamp)
        with self._lock:
            self._keep(self._images, message)

    def _on_truth(self, message: Image) -> None:
        with self._lock:
            self._keep(self._truths, message)

    def _on_cloud(self, message: PointCloud2) -> None:
        self.record.clouds += 1
        stamp_ns = stamp_ns_of(message.header.stamp)
        for sample in self.record.samples[-2:]:
            if sample.stamp_ns == stamp_ns:  # the cloud was slower than the scoring of its depth
                sample.cloud = message
        with self._lock:
            self._keep(self._clouds, message)
            while len(self._clouds) > WAITING_CLOUDS:
                self._clouds.popitem(last=False)

    def _on_uncertainty(self, message: Image) -> None:
        with self._lock:
            self._keep(self._uncertain, message)

    def _on_other(self, topic: str, message: Any) -> None:
        self.record.heard[topic] += 1

    def _on_stats(self, message: DepthStats) -> None:
        self.record.stats.append(message)

    def _on_depth(self, message: Image) -> None:
        received_ns, now_s = time.time_ns(), time.monotonic()
        stamp_ns = stamp_ns_of(message.header.stamp)
        record = self.record
        # DDS may make the depth node known seconds before the camera: there is nothing to see such depth with.
        if self._pictures and (self._first_image_ns is None or stamp_ns < self._first_image_ns):
            return
        record.depths += 1
        record.began_s = now_s if record.began_s is None else record.began_s
        record.newest_s = now_s
        record.stamps_ns.append(stamp_ns)
        record.latency_ms.append((received_ns - stamp_ns) / 1e6)
        if self._pictures:
            self._work.put((now_s, stamp_ns, message))

    def _score(self) -> None:
        while (work := self._work.get()) is not None:
            received_s, stamp_ns, message = work
            # The cloud of this frame may still be under way.
            time.sleep(max(0.0, received_s + CLOUD_PATIENCE_S - time.monotonic()))
            record = self.record
            with self._lock:
                image, truth, cloud = (kept.get(stamp_ns) for kept in (self._images, self._truths, self._clouds))
                uncertain = self._uncertain.get(stamp_ns)
            try:
                depth_m = read_depth(message, keep_limits=True)
                truth_m = read_depth(truth) if truth is not None else None
                if truth_m is not None and (one := score(depth_m, truth_m)) is not None:
                    record.scores.append(one)
                    record.truth.add(truth_m)
                uncertainty_m = None if uncertain is None else read_depth(uncertain)
                if truth_m is not None and uncertainty_m is not None:
                    record.covered.append(share_within(depth_m, uncertainty_m, truth_m))
                now_s = time.monotonic()
                if image is not None and now_s >= self._next_sample_s:
                    self._next_sample_s = now_s + self._sample_every_s
                    record.samples.append(Sample(stamp_ns, read_image(image), depth_m, truth_m, cloud, uncertainty_m))
            except InputError as error:
                self._node.get_logger().error(f"a frame cannot be scored: {error}")


@contextmanager
def recording(domain_id: int, *, namespace: str = "", **arguments: Any) -> Iterator[Recorder]:
    """A running recorder with a node of its own, of which nothing is left in this process afterwards."""
    with spinning("recorder", domain_id, namespace=namespace or None, enable_rosout=False) as node:
        recorder = Recorder(node, **arguments)
        try:
            yield recorder
        finally:
            recorder.finish()
