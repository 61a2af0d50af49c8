"""The thread that turns images into depth: takes the newest from the mailbox, and lets nothing stop it but its end."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from depthclip_ros.core.errors import DeviceError, InputError
from depthclip_ros.ros.camera_info import CameraInfoCache, stamp_ns_of
from depthclip_ros.ros.diagnostics import Counters, Throttle, latency_ms
from depthclip_ros.ros.mailbox import Mailbox, StampOrder
from depthclip_ros.ros.pipeline import Frame, FramePipeline

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo

    from depthclip_ros.ros.outputs import Outputs

CAMERA_INFO = "depth/camera_info"  # the one output that needs no network
CHANGED_S = 0.5  # a camera that changes its resolution may send the image before the new CameraInfo
JOIN_S = 10.0  # the thread ends after the frame it is at; longer than this it hangs in a device


class DepthWorker:
    """Runs from `start` to `stop`, once. `on_image` and `infos.put` are for the subscriptions' callbacks.

    Attributes:
        counters: what became of the images.
        infos: the last CameraInfos.
        order: of the images' stamps.
        camera_info_topic, count_camera_infos: where CameraInfo is expected, and how many publishers it has there.
    """

    def __init__(self, pipeline: FramePipeline, outputs: Outputs, logger: Any, now_ns: Callable[[], int]) -> None:
        self.counters = Counters()
        self.infos = CameraInfoCache()
        self.order = StampOrder()
        self.camera_info_topic = "camera_info"
        self.count_camera_infos: Callable[[], int] = lambda: 0
        self._pipeline = pipeline
        self._outputs = outputs
        self._logger = logger
        self._now_ns = now_ns
        self._mailbox: Mailbox[Any] = Mailbox()
        self._throttle = Throttle()
        self._thread = threading.Thread(target=self._work, name="depth worker", daemon=True)

    @property
    def overtaken(self) -> int:
        """How many images were replaced by a newer one before they were taken."""
        return self._mailbox.overtaken

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> bool:
        """End after the frame in work; False if that hangs."""
        self._mailbox.close()
        self.infos.close()
        self._thread.join(JOIN_S)
        return not self._thread.is_alive()

    def on_image(self, message: Any) -> None:
        """Read, hand over, return."""
        self.counters.count_received()
        verdict, back_s = self.order.check(stamp_ns_of(message.header.stamp))
        if verdict == "back":
            self._refuse(f"stamp goes back by {back_s:.3f} s; stamps of one camera must not decrease")
            return
        if verdict == "new timeline":
            self._logger.warning(f"stamps went back by {back_s:.1f} s and stay there: following the new timeline")
        if not self._outputs.wanted():
            self.counters.count_unwatched()
            return
        self._mailbox.put(message)

    def _work(self) -> None:
        while (message := self._mailbox.take()) is not None:
            self._attempt(message)

    def _attempt(self, message: Any) -> None:
        """Process an image; the one place where what goes wrong with it is handled."""
        try:
            self._process(message)
        except InputError as error:
            self._refuse(str(error))
        except Exception as error:
            device = isinstance(error, DeviceError)
            reason = str(error) if device else f"{type(error).__name__}: {error}"
            self.counters.count_failed(reason, device=device)
            if self._throttle.passes(reason):
                self._logger.error(reason if device else f"no depth for an image: {traceback.format_exc()}")

    def _process(self, message: Any) -> None:
        pipeline, outputs, counters = self._pipeline, self._outputs, self.counters
        header = message.header
        stamp_ns = stamp_ns_of(header.stamp)
        info = self.infos.find(stamp_ns, expected=self.count_camera_infos() > 0)
        wanted = outputs.wanted()
        if not wanted - {CAMERA_INFO}:
            counters.count_unwatched()
            if wanted and info is not None and hasattr(message, "width"):
                outputs.publish_camera_info(header, pipeline.intrinsics_of(info, message.width, message.height))
            return
        frame = self._prepare(message, info, stamp_ns)
        counters.focal_assumed = frame.focal_assumed
        if frame.focal_assumed:
            self._warn_of_assumed_focal()
        notices = len(pipeline.engine.notices)
        result = pipeline.infer(frame)
        counters.timings_ms = result.timings_ms
        engine = pipeline.engine
        for notice in engine.notices[notices:]:
            self._logger.warning(notice)
        stats = {
            "system": engine.info.system,
            "weights": engine.info.sha256[:12],
            "device": engine.device,
            "frames_in": counters.received,
            "frames_out": counters.published + 1,
            "frames_dropped": self.overtaken,
            "frames_refused": counters.refused,
        }
        latency = outputs.publish(
            wanted, header, result, pipeline.settings, lambda: latency_ms(stamp_ns, self._now_ns()), stats
        )
        counters.count_published(latency)

    def _prepare(self, message: Any, info: CameraInfo | None, stamp_ns: int) -> Frame:
        """Decode and rectify. A CameraInfo of another stamp that does not fit may be what the camera has changed."""
        try:
            return self._pipeline.prepare(message, info)
        except InputError:
            if info is None or stamp_ns_of(info.header.stamp) == stamp_ns:
                raise
            own = self.infos.find_own(stamp_ns, CHANGED_S)
            if own is None:
                raise
        return self._pipeline.prepare(message, own)

    def _refuse(self, reason: str) -> None:
        self.counters.count_refused(reason)
        if self._throttle.passes(reason):
            self._logger.error(f"image dropped: {reason}")

    def _warn_of_assumed_focal(self) -> None:
        warning = (
            f"no camera_info on {self.camera_info_topic}: the scale of depth rests on an assumed field of view of "
            f"{self._pipeline.settings.input_assumed_hfov:g} degrees (input.assumed_hfov), and there is no cloud; "
            "publish camera_info or remap `camera_info` to it"
        )
        if self._throttle.passes(warning):
            self._logger.warning(warning)
