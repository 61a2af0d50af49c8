# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""One camera of the node: what becomes of its images, and what is said of them. Its faults stay its own."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from depthclip_ros.core.anchors.measurement import Prediction
from depthclip_ros.core.calibration import stamp_ns_of
from depthclip_ros.core.errors import DeviceError, InputError
from depthclip_ros.core.types import View, ViewDepth
from depthclip_ros.ros.anchors.report import as_stats
from depthclip_ros.ros.anchors.sources import AnchorFrame
from depthclip_ros.ros.anchors.watch import AnchorWatch
from depthclip_ros.ros.camera_info import LACKING, CameraInfoCache
from depthclip_ros.ros.depth_node.diagnostics import Counters, Throttle, latency_ms
from depthclip_ros.ros.depth_node.frames import Frame
from depthclip_ros.ros.depth_node.late_outputs import LateOutputs
from depthclip_ros.ros.depth_node.mailbox import Box, Mailboxes, RateLimit, StampOrder
from depthclip_ros.ros.depth_node.outputs import DEPTH, INFO, LATE, RAYS, LateFrame, Outputs
from depthclip_ros.ros.depth_node.pipeline import FramePipeline
from depthclip_ros.ros.frame_names import FrameNames

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo

LOOK_AGAIN_S = 0.05  # whether the network that a camera waits for is compiled
CHANGED_S = 0.5  # a camera that changes its resolution may send the image before the new CameraInfo


@dataclass
class Arrival:
    """An image that waits for its CameraInfo or for the worker.

    Attributes:
        camera: whose image it is.
        message: sensor_msgs Image or CompressedImage.
        stamp_ns: its stamp.
        came_s: when the callback had it, by `time.monotonic`.
        receive_ms: from stamp to callback; NaN where the stamp is no time of this clock.
        fault: why the CameraInfo of another stamp does not fit; then it waits for its own.
        retry_s: until when.
    """

    camera: Camera
    message: Any
    stamp_ns: int
    came_s: float
    receive_ms: float
    fault: InputError | None = None
    retry_s: float = 0.0


@dataclass(frozen=True)
class Task:
    """An image that is ready for the engine."""

    camera: Camera
    arrival: Arrival
    wanted: frozenset[str]
    frame: Frame
    view: View
    wait_ms: float


class Camera:
    """`on_image` and `on_camera_info` are for the subscriptions' callbacks, the rest for the worker.

    Attributes:
        name: in the parameter `cameras`; "" for the only one.
        pipeline: what is done to its images.
        counters: what became of them.
        infos: the last CameraInfos.
        order: of the images' stamps.
        box: where images wait.
        late: publishes what may come after the depth image.
        anchors: learn the scale from each depth image after it is out; None without.
        camera_info_topic, count_camera_infos: where CameraInfo is expected, and how many publishers it has there.
    """

    def __init__(
        self,
        name: str,
        pipeline: FramePipeline,
        outputs: Outputs,
        mailboxes: Mailboxes[Arrival],
        logger: Any,
        now_ns: Callable[[], int],
        anchors: AnchorWatch | None = None,
    ) -> None:
        self.name = name
        self.pipeline = pipeline
        self.counters = Counters()
        self.infos = CameraInfoCache()
        self.order = StampOrder()
        self._frame_names = FrameNames()
        self.box: Box[Arrival] = mailboxes.add(self._wait_s)
        self.late = LateOutputs(outputs, logger, name)
        self.camera_info_topic = "camera_info"
        self.count_camera_infos: Callable[[], int] = lambda: 0
        self._label = f"{name}: " if name else ""
        self._outputs = outputs
        self._logger = logger
        self.anchors = anchors
        pipeline.warn = lambda sentence: logger.warning(f"{self._label}{sentence}")
        self._now_ns = now_ns
        self._awaited_size: tuple[int, int] | None = None  # of images, as the engine sees them
        self._throttle = Throttle()
        self._rate = RateLimit()

    def on_image(self, message: Any) -> None:
        """Read, hand over, return."""
        self.counters.count_received()
        stamp_ns = stamp_ns_of(message.header.stamp)
        if doubt := self._frame_names.doubt(message.header.frame_id):
            self._logger.warning(f"{self._label}the images on {self.pipeline.image_topic} {doubt}")
        verdict, back_s = self.order.check(stamp_ns)
        if verdict == "back":
            self._refuse(f"stamp goes back by {back_s:.3f} s; stamps of one camera must not decrease")
            return
        if verdict == "new timeline":
            self._logger.warning(
                f"{self._label}stamps went back by {back_s:.1f} s and stay there: following the new timeline"
            )
        if not self._outputs.wanted():
            self.counters.count_unwatched()
            return
        now_s = time.monotonic()
        if not self._rate.passes(self.pipeline.settings.input_max_rate, now_s):
            self.counters.count_skipped()
            return
        self.box.put(Arrival(self, message, stamp_ns, now_s, latency_ms(stamp_ns, self._now_ns())))

    def on_camera_info(self, info: CameraInfo) -> None:
        """Remember it; an image may have waited for it."""
        self.infos.put(info)
        self.box.wake()

    def prepare(self, arrival: Arrival) -> Task | None:
        """Check, decode and rectify; None where the image comes to nothing, which is then counted and said."""
        try:
            return self._prepare(arrival)
        except Exception as error:
            self.fail(error)
            return None

    def wait_for_network(self, task: Task) -> None:
        """Let this camera's images lie until the network of their size is compiled; the newest wins then as ever."""
        intrinsics = task.view.intrinsics
        self._awaited_size = intrinsics.width_px, intrinsics.height_px
        self.box.put_back(task.arrival, first=False)

    @property
    def awaited(self) -> str:
        """The size whose network this camera's images wait for, e.g. 1280x720; "" where they wait for none."""
        size = self._awaited_size
        return "" if size is None else f"{size[0]}x{size[1]}"

    def publish(self, task: Task, depth: ViewDepth) -> LateFrame | None:
        """Send the depth image and its camera_info; what is left to `late`. None where that failed."""
        try:
            return self._publish(task, depth)
        except Exception as error:
            self.fail(error)
            return None

    def fail(self, error: Exception) -> None:
        """Count and say what went wrong with an image; the one place where that is handled."""
        if isinstance(error, InputError):
            self._refuse(str(error))
            return
        device = isinstance(error, DeviceError)
        reason = str(error) if device else f"{type(error).__name__}: {error}"
        self.counters.count_failed(reason, device=device)
        if self._throttle.passes(reason):
            trace = "".join(traceback.format_exception(error))
            self._logger.error(f"{self._label}{reason if device else f'no depth for an image: {trace}'}")

    def _wait_s(self, arrival: Arrival) -> float:
        """Seconds for which an image should still lie, for its network or its CameraInfo."""
        now_s = time.monotonic()
        if self._awaited_size is not None:
            if self.pipeline.engine.is_preparing(*self._awaited_size):
                return LOOK_AGAIN_S
            self._awaited_size = None
        if arrival.fault is not None:
            return 0.0 if self.infos.has(arrival.stamp_ns) else max(0.0, arrival.retry_s - now_s)
        return self.infos.wait_s(arrival.stamp_ns, now_s - arrival.came_s, lambda: self.count_camera_infos() > 0)

    def _prepare(self, arrival: Arrival) -> Task | None:
        message, outputs = arrival.message, self._outputs
        if arrival.fault is not None and not self.infos.has(arrival.stamp_ns):
            raise arrival.fault
        wait_ms = (time.monotonic() - arrival.came_s) * 1e3
        info = self.infos.find(arrival.stamp_ns)
        wanted = outputs.wanted()
        if not wanted - {INFO}:  # the one output that needs no network
            if wanted and (known := self.pipeline.camera_of(message, info)) is not None:
                outputs.publish_camera_info(message.header, *known)
            self.counters.count_unwatched()
            return None
        try:
            frame = self.pipeline.prepare(message, info)
        except InputError as error:
            # A CameraInfo of another stamp that does not fit may be what the camera has just changed.
            if info is None or stamp_ns_of(info.header.stamp) == arrival.stamp_ns:
                raise
            arrival.fault, arrival.retry_s = error, time.monotonic() + CHANGED_S
            self.box.put_back(arrival)
            return None
        cloud = "depth/points" in wanted and frame.has_camera
        view = self.pipeline.view(frame, cloud=cloud, rays=bool(wanted & RAYS) and frame.has_camera)
        return Task(self, arrival, wanted, frame, view, wait_ms)

    def _publish(self, task: Task, depth: ViewDepth) -> LateFrame:
        start_s = time.perf_counter()
        result = self.pipeline.result(task.frame, depth)
        arrival, counters, frame = task.arrival, self.counters, task.frame
        header = arrival.message.header
        counters.focal_assumed, counters.has_camera = frame.focal_assumed, frame.has_camera
        counters.uncalibrated = frame.uncalibrated
        if not frame.has_camera and not frame.uncalibrated:  # of which the pipeline has told
            self._warn_of_assumed_focal()
        if DEPTH in task.wanted:
            self._outputs.publish_depth(header, result)
        latency = latency_ms(arrival.stamp_ns, self._now_ns())
        if INFO in task.wanted and frame.has_camera:
            self._outputs.publish_camera_info(header, frame.intrinsics, frame.offset_m)
        counters.count_published(latency)
        counters.timings_ms = {"wait": task.wait_ms, **result.timings_ms}
        counters.batch_sizes.append(result.batch_size)
        engine = self.pipeline.engine
        stats = {
            "camera": self.name,
            "system": engine.info.system,
            "weights": engine.info.sha256[:12],
            "device": engine.device,
            "receive_ms": arrival.receive_ms,
            "wait_ms": task.wait_ms,
            **{f"{step}_ms": result.timings_ms.get(step, 0.0) for step in ("preprocess", "network", "postprocess")},
            "batch_size": result.batch_size,
            "latency_ms": latency,
            **{f"frames_{what}": count for what, count in counters.account(self.box.overtaken).items()},
            "outputs_dropped": self.late.overtaken,
            **({} if self.anchors is None else as_stats(self.anchors.reports)),
            "interval_coverage": math.nan if self.anchors is None else self.anchors.coverage,
        }
        if self.anchors is not None and frame.has_camera:
            out = Prediction(result.depth_m, frame.intrinsics)
            seen = AnchorFrame(
                arrival.stamp_ns,
                header.frame_id,
                frame.rgb,
                out,
                frame.scale.factor,
                result.half_width,
                frame.scale.shape,
                result.judged_share,
            )
            user_factor = frame.settings.limits_of(self.name).scale_factor
            self.anchors.offer(seen, user_factor)
        return LateFrame(task.wanted & LATE.keys(), header, result, stats, (time.perf_counter() - start_s) * 1e3)

    def _refuse(self, reason: str) -> None:
        self.counters.count_refused(reason)
        if self._throttle.passes(reason):
            self._logger.error(f"{self._label}image dropped: {reason}")

    def _warn_of_assumed_focal(self) -> None:
        warning = (
            f"{self._label}no camera_info on {self.camera_info_topic}: the scale of depth rests on an assumed field of "
            f"view of {self.pipeline.settings.assumed_hfov_deg:g} degrees, and {LACKING}; publish camera_info, "
            "remap `camera_info` to it, or give the camera's own field of view: input.assumed_hfov"
        )
        if self._throttle.passes(warning):
            self._logger.warning(warning)
