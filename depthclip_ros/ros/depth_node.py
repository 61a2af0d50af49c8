"""The lifecycle node depth_node: an image in, depth out. A callback hands over; one worker thread does the work."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, State, TransitionCallbackReturn
from rclpy.parameter import Parameter

from depthclip_ros.core.errors import ConfigError, DepthClipError
from depthclip_ros.ros import diagnostics, parameters
from depthclip_ros.ros.declare import declare_parameters
from depthclip_ros.ros.diagnostics import Health
from depthclip_ros.ros.image_input import ImageInput, comes_rectified
from depthclip_ros.ros.outputs import Outputs
from depthclip_ros.ros.pipeline import FramePipeline
from depthclip_ros.ros.qos import name_of
from depthclip_ros.ros.run import end_process, run
from depthclip_ros.ros.worker import DepthWorker

WARM_UP_SIZE = (640, 480)
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
        self._pipeline: FramePipeline | None = None
        self._outputs: Outputs | None = None
        self._input: ImageInput | None = None
        self._worker: DepthWorker | None = None

        declare_parameters(self)
        self._settings = parameters.settings_from({name: self.get_parameter(name).value for name in parameters.BY_NAME})
        self.add_on_set_parameters_callback(self._on_parameters)
        self._survive_bad_transitions()

        # Steady timers: diagnostics and autostart go on while a simulation's clock stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._each_second = self.create_timer(1.0, self._on_second, clock=steady)
        self._time_jump = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=lambda _jump: self._worker and self._worker.order.reset(),
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
        for notice in engine.notices:
            self.get_logger().warning(notice)
        return SUCCESS

    def on_activate(self, state: State) -> TransitionCallbackReturn:
        """Subscribe and start the worker."""
        if self._pipeline is None or self._outputs is None:
            return FAILURE
        settings = self._pipeline.settings
        worker = DepthWorker(
            self._pipeline, self._outputs, self.get_logger(), lambda: self.get_clock().now().nanoseconds
        )
        try:
            self._input = ImageInput(
                self, settings.input_transport, settings.input_reliability, worker.on_image, worker.infos.put
            )
        except Exception as error:
            self.get_logger().error(f"cannot subscribe: {error}")
            return FAILURE
        camera_info = self._input.camera_info
        worker.camera_info_topic, worker.count_camera_infos = camera_info.topic, lambda: camera_info.publishers
        worker.start()
        self._worker = worker
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
            try:
                self._pipeline.engine.close()
            except Exception as error:  # a device that is gone cannot be freed; a new configure may find it again
                self.get_logger().warning(f"could not free the model: {error}")
        self._outputs = self._pipeline = None

    def _stop(self) -> bool:
        if self._input is not None:
            self._input.destroy()
            self._input = None
        if self._worker is None:
            return True
        if not self._worker.stop():
            self.get_logger().error("the worker hangs in its device; restart the process")
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
        health = Health(state=self._state, configure_error=self._configure_error)
        if self._worker is not None:
            health = dataclasses.replace(
                health,
                counters=self._worker.counters,
                overtaken=self._worker.overtaken,
                camera_info_age_s=self._worker.infos.age_s,
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
