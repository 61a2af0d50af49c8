"""The lifecycle node depth_node: an image in, depth out. A callback hands over; one worker thread does the work."""

from __future__ import annotations

import dataclasses
import threading
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, State, TransitionCallbackReturn
from rclpy.parameter import Parameter

from depthclip_ros.core.errors import ConfigError, DepthClipError, DeviceError, InputError
from depthclip_ros.ros import diagnostics, parameters
from depthclip_ros.ros.camera_info import CameraInfoCache, stamp_ns_of
from depthclip_ros.ros.diagnostics import Counters, Health, Throttle, latency_ms
from depthclip_ros.ros.image_input import ImageInput, comes_rectified
from depthclip_ros.ros.mailbox import Mailbox, StampOrder
from depthclip_ros.ros.outputs import DEPTH_TOPICS, Outputs
from depthclip_ros.ros.pipeline import FramePipeline
from depthclip_ros.ros.qos import name_of
from depthclip_ros.ros.run import end_process, run

WARM_UP_SIZE = (640, 480)
JOIN_S = 10.0  # the worker ends after the frame it is at; longer than this it hangs in a device
SUCCESS = TransitionCallbackReturn.SUCCESS
FAILURE = TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR


class DepthNode(LifecycleNode):
    """Subscribes to `image` and `camera_info`, publishes under `depth/`; its parameters are in `parameters.TABLE`.

    Raises:
        ConfigError, rclpy ParameterException: an override of a parameter that is not allowed.
    """

    def __init__(self, name: str = "depth_node", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._state = "unconfigured"
        self._configure_error = ""
        self._throttle = Throttle()
        self._counters = Counters()
        self._order = StampOrder()
        self._mailbox: Mailbox[Any] = Mailbox()
        self._infos = CameraInfoCache()
        self._pipeline: FramePipeline | None = None
        self._outputs: Outputs | None = None
        self._input: ImageInput | None = None
        self._worker: threading.Thread | None = None
        self._notices = 0  # of the engine, already logged

        parameters.declare(self)
        self._settings = parameters.settings_from({name: self.get_parameter(name).value for name in parameters.BY_NAME})
        self.add_on_set_parameters_callback(self._on_parameters)
        self._survive_bad_transitions()

        # Steady timers: diagnostics and autostart go on while a simulation's clock stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._each_second = self.create_timer(1.0, self._on_second, clock=steady)
        self._time_jump = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=lambda _jump: self._order.reset(),
        )
        if self._settings.autostart:
            self._at_once = self.create_timer(0.001, self._autostart, clock=steady)

    # Lifecycle: what one transition makes, its opposite unmakes.

    def on_configure(self, state: State) -> TransitionCallbackReturn:
        """Load and warm up the model, make the publishers."""
        settings = self._settings
        try:
            from depthclip_ros.core.engine import DepthEngine  # torch takes seconds to import, so not before this

            engine = DepthEngine.load(
                settings.model_weights,
                runtime=settings.model_runtime,
                device=settings.model_device,
                precision=settings.model_precision,
                allow_cpu_fallback=settings.model_device == "auto",
            )
            engine.warm_up(*WARM_UP_SIZE)
            self._notices = 0
            self._pipeline = FramePipeline(engine, settings, already_rectified=comes_rectified(self))
            self._outputs = Outputs(self)
        except DepthClipError as error:
            return self._configure_failed(str(error))
        except Exception as error:
            self.get_logger().debug(traceback.format_exc())
            return self._configure_failed(f"{type(error).__name__}: {error}")
        self._state, self._configure_error = "inactive", ""
        self.get_logger().info(
            f"{engine.info.system} ({settings.model_weights}, sha256 {engine.info.sha256[:12]}) on {engine.device}, "
            f"{engine.precision}, {engine.runtime}"
        )
        self._report_notices()
        return SUCCESS

    def on_activate(self, state: State) -> TransitionCallbackReturn:
        """Subscribe and start the worker."""
        self._counters = Counters()
        self._order = StampOrder()
        self._mailbox = Mailbox()
        self._infos = CameraInfoCache()
        self._worker = threading.Thread(target=self._work, args=(self._mailbox,), name="depth worker", daemon=True)
        self._worker.start()
        settings = self._settings if self._pipeline is None else self._pipeline.settings
        try:
            self._input = ImageInput(
                self, settings.input_transport, settings.input_reliability, self._on_image, self._infos.put
            )
        except Exception as error:
            self.get_logger().error(f"cannot subscribe: {error}")
            self._stop_worker()
            return FAILURE
        self._state = "active"
        self.get_logger().info(f"depth of {self._input.image.topic} with {self._input.camera_info.topic}")
        return SUCCESS

    def on_deactivate(self, state: State) -> TransitionCallbackReturn:
        """Unsubscribe and wait for the worker."""
        ended = self._stop()
        self._state = "inactive"
        return SUCCESS if ended else ERROR

    def on_cleanup(self, state: State) -> TransitionCallbackReturn:
        """Unmake the publishers and free the model."""
        self._release()
        self._state = "unconfigured"
        return SUCCESS

    def on_shutdown(self, state: State) -> TransitionCallbackReturn:
        """Unmake everything."""
        self.release()
        self._state = "finalized"
        return SUCCESS

    def on_error(self, state: State) -> TransitionCallbackReturn:
        """Unmake everything; the node can be configured again."""
        self.release()
        self._state = "unconfigured"
        return SUCCESS

    def release(self) -> bool:
        """Unmake whatever configure and activate made; False if the worker hangs and everything is left to it."""
        if not self._stop():
            return False
        self._release()
        return True

    def _configure_failed(self, reason: str) -> TransitionCallbackReturn:
        self._release()
        self._configure_error = reason
        self.get_logger().error(f"cannot configure: {reason}")
        return FAILURE

    def _release(self) -> None:
        if self._outputs is not None:
            self._outputs.destroy()
        if self._pipeline is not None:
            self._pipeline.engine.close()
        self._outputs = self._pipeline = None

    def _stop(self) -> bool:
        if self._input is not None:
            self._input.destroy()
            self._input = None
        return self._stop_worker()

    def _stop_worker(self) -> bool:
        self._mailbox.close()
        self._infos.close()
        if self._worker is None:
            return True
        self._worker.join(JOIN_S)
        if self._worker.is_alive():
            self.get_logger().error(f"the worker has hung for {JOIN_S:.0f} s in its device; restart the process")
            return False
        self._worker = None
        return True

    def _autostart(self) -> None:
        self._at_once.cancel()
        if self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def _survive_bad_transitions(self) -> None:
        """Answer a transition that the state does not have with `success: false`; rclpy would end the node."""
        service = getattr(self, "_service_change_state", None)
        if service is None:
            return
        change_state = service.callback

        def guarded(request: Any, response: Any) -> Any:
            try:
                return change_state(request, response)
            except Exception as error:
                self.get_logger().warning(f"transition refused in state {self._state}: {error}")
                response.success = False
                return response

        service.callback = guarded

    # Parameters

    def set_parameters(self, parameter_list: list[Parameter]) -> list[SetParametersResult]:
        """As rclpy's, but a success says when it takes effect."""
        return [self.set_parameters_atomically([parameter]) for parameter in parameter_list]

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """As rclpy's, but a success says when it takes effect.

        Not said by the callback: rclpy keeps the result of the last one registered, and its own clock has one too.
        """
        result = super().set_parameters_atomically(parameter_list)
        if result.successful and not result.reason:
            names = [parameter.name for parameter in parameter_list]
            result.reason = parameters.effect_of(names, configured=self._pipeline is not None)
            if result.reason:
                self.get_logger().info(result.reason)
        return result

    def _on_parameters(self, changed: Sequence[Parameter]) -> SetParametersResult:
        known = {parameter.name: parameter.value for parameter in changed if parameter.name in parameters.BY_NAME}
        present = {name: getattr(self._settings, name.replace(".", "_")) for name in parameters.BY_NAME}
        try:
            self._settings = parameters.settings_from({**present, **known})
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self._pipeline is not None:
            live = [row.name.replace(".", "_") for row in parameters.TABLE if row.live]
            self._pipeline.settings = dataclasses.replace(
                self._pipeline.settings, **{name: getattr(self._settings, name) for name in live}
            )
        return SetParametersResult(successful=True)

    # Frames

    def _on_image(self, message: Any) -> None:
        """Read, hand over, return."""
        counters = self._counters
        counters.count_received()
        verdict, back_s = self._order.check(stamp_ns_of(message.header.stamp))
        if verdict == "back":
            self._refuse(f"stamp goes back by {back_s:.3f} s; stamps of one camera must not decrease")
            return
        if verdict == "new timeline":
            self.get_logger().warning(f"stamps went back by {back_s:.1f} s and stay there: following the new timeline")
        if self._outputs is None or not self._outputs.wanted():
            counters.count_unwatched()
            return
        self._mailbox.put(message)

    def _work(self, mailbox: Mailbox[Any]) -> None:
        while (message := mailbox.take()) is not None:
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
            self._counters.count_failed(reason, device=device)
            if self._throttle.passes(reason):
                self.get_logger().error(reason if device else f"no depth for an image: {traceback.format_exc()}")

    def _process(self, message: Any) -> None:
        pipeline, outputs, counters, source = self._pipeline, self._outputs, self._counters, self._input
        if pipeline is None or outputs is None:
            return
        stamp_ns = stamp_ns_of(message.header.stamp)
        expected = source is not None and source.camera_info.publishers > 0
        info = self._infos.find(stamp_ns, expected)
        wanted = outputs.wanted()
        if not wanted & DEPTH_TOPICS:
            counters.count_unwatched()
            if wanted and info is not None and hasattr(message, "width"):
                outputs.publish_camera_info(message.header, pipeline.intrinsics_of(info, message.width, message.height))
            return
        frame = pipeline.prepare(message, info)
        counters.focal_assumed = frame.focal_assumed
        if frame.focal_assumed:
            self._warn_of_assumed_focal(pipeline.settings.input_assumed_hfov)
        result = pipeline.infer(frame)
        counters.timings_ms = result.timings_ms
        self._report_notices()
        engine = pipeline.engine
        stats = {
            "system": engine.info.system,
            "weights": engine.info.sha256[:12],
            "device": engine.device,
            "frames_in": counters.received,
            "frames_out": counters.published + 1,
            "frames_dropped": self._mailbox.overtaken,
            "frames_refused": counters.refused,
        }
        latency = outputs.publish(
            wanted,
            message.header,
            result,
            pipeline.settings,
            lambda: latency_ms(stamp_ns, self.get_clock().now().nanoseconds),
            stats,
        )
        counters.count_published(latency)

    def _report_notices(self) -> None:
        """Log what the engine did otherwise than asked, once each."""
        if self._pipeline is not None:
            for notice in self._pipeline.engine.notices[self._notices :]:
                self.get_logger().warning(notice)
                self._notices += 1

    def _refuse(self, reason: str) -> None:
        self._counters.count_refused(reason)
        if self._throttle.passes(reason):
            self.get_logger().error(f"image dropped: {reason}")

    def _warn_of_assumed_focal(self, hfov_deg: float) -> None:
        topic = self._input.camera_info.topic if self._input is not None else "camera_info"
        warning = (
            f"no camera_info on {topic}: the scale of depth rests on an assumed field of view of {hfov_deg:g} degrees "
            "(input.assumed_hfov), and there is no cloud; publish camera_info or remap `camera_info` to it"
        )
        if self._throttle.passes(warning):
            self.get_logger().warning(warning)

    # Diagnostics

    def _on_second(self) -> None:
        if self._input is not None:
            self._input.follow()
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        name = f"{self.get_fully_qualified_name()[1:]}: depth"
        message.status = [diagnostics.fill_status(DiagnosticStatus(), KeyValue, self._health(), name)]
        self._diagnostics.publish(message)

    def _health(self) -> Health:
        health = Health(
            state=self._state,
            configure_error=self._configure_error,
            counters=self._counters,
            overtaken=self._mailbox.overtaken,
            camera_info_age_s=self._infos.age_s,
        )
        if self._input is not None:
            health = dataclasses.replace(
                health,
                image_topic=self._input.image.topic,
                image_publishers=self._input.image.publishers,
                image_qos=name_of(self._input.image.qos),
                camera_info_topic=self._input.camera_info.topic,
            )
        if self._pipeline is not None:
            engine = self._pipeline.engine
            health = dataclasses.replace(
                health,
                system=engine.info.system,
                weights=str(engine.info.path),
                weights_sha256=engine.info.sha256,
                runtime=engine.runtime,
                device=engine.device,
                precision=engine.precision,
                notices=tuple(engine.notices),
            )
        return health


def main(args: list[str] | None = None) -> NoReturn:
    """Be the process of one node until SIGINT or SIGTERM: exit code 0, or 1 when a parameter's value is not allowed."""
    end_process(run(DepthNode, args))


if __name__ == "__main__":
    main()
