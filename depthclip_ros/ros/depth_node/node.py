"""The lifecycle node depth_node: images in, depth out. A callback hands over; one worker thread does the work."""

from __future__ import annotations

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
from depthclip_ros.core.memory import keep_freed_memory
from depthclip_ros.ros.depth_node import health, parameters
from depthclip_ros.ros.depth_node.declare import declare_parameters
from depthclip_ros.ros.depth_node.health import Health
from depthclip_ros.ros.depth_node.rig import Rig
from depthclip_ros.ros.depth_node.worker import JOIN_S
from depthclip_ros.ros.run import end_process, run

WARM_UP_SIZE = (640, 480)
SUCCESS = TransitionCallbackReturn.SUCCESS
FAILURE = TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR


class DepthNode(LifecycleNode):
    """Subscribes to `image` and `camera_info`, publishes under `depth/`, or so for each of `cameras` under its name.

    Its parameters are in `parameters.TABLE`.
    """

    def __init__(self, name: str = "depth_node", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._state = "unconfigured"
        self._configure_error = ""
        self._rig: Rig | None = None

    def begin(self) -> None:
        """Declare the parameters, and answer.

        Raises:
            ConfigError, rclpy ParameterException: an override of a parameter that is not allowed.
        """
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
            post_callback=lambda _jump: self._rig and self._rig.forget_stamps(),
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
                calibration=settings.model_calibration,
                allow_cpu_fallback=settings.model_device == "auto",
            )
            for batch in range(1, max(1, len(settings.cameras)) + 1):
                engine.warm_up(*WARM_UP_SIZE, batch)
            self._rig = Rig(self, engine, settings)
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
        """Subscribe and start the threads."""
        if self._rig is None:
            return FAILURE
        try:
            self._rig.start()
        except Exception as error:
            self.get_logger().error(f"cannot subscribe: {error}")
            self._rig.stop(JOIN_S)
            return FAILURE
        self._state = "active"
        return SUCCESS

    def on_deactivate(self, state: State) -> TransitionCallbackReturn:
        """Unsubscribe and wait for the threads."""
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

    def release(self, timeout_s: float = JOIN_S) -> bool:
        """Unmake whatever configure and activate made; False if a thread hangs and everything is left to it."""
        if not self._stop(timeout_s):
            return False
        self._release()
        return True

    def _configure_failed(self, reason: str) -> TransitionCallbackReturn:
        self._release()
        self._configure_error = reason
        self.get_logger().error(f"cannot configure: {reason}")
        return FAILURE

    def _release(self) -> None:
        if self._rig is not None:
            self._rig.destroy()
        self._rig = None

    def _stop(self, timeout_s: float = JOIN_S) -> bool:
        if self._rig is None or self._rig.stop(timeout_s):
            return True
        self.get_logger().error("a thread hangs in its device; restart the process")
        return False

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
            result.reason = parameters.effect_of(names, configured=self._rig is not None)
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
        if self._rig is not None:
            self._rig.apply(self._settings)
        return SetParametersResult(successful=True)

    # Diagnostics

    def _on_second(self) -> None:
        if self._rig is not None:
            self._rig.follow()
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        node = Health(state=self._state, configure_error=self._configure_error)
        cameras = {"": node} if self._rig is None else self._rig.health(node)
        message.status = health.statuses(DiagnosticStatus, KeyValue, cameras, self.get_fully_qualified_name()[1:])
        self._diagnostics.publish(message)


def main(args: list[str] | None = None) -> NoReturn:
    """Be the process of one node until SIGINT or SIGTERM: exit code 0, or 1 when a parameter's value is not allowed."""
    keep_freed_memory()
    end_process(run(DepthNode, args))


if __name__ == "__main__":
    main()
