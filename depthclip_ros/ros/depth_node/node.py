# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The lifecycle node depth_node: images in, depth out. A callback hands over; one worker thread does the work."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent import futures
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, State, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.task import Future

from depthclip_ros.core.errors import ConfigError, DepthClipError, missing_package
from depthclip_ros.core.files import cache_folder
from depthclip_ros.core.memory import give_back_freed_memory, keep_freed_memory, let_go_of_files
from depthclip_ros.ros.depth_node import health
from depthclip_ros.ros.depth_node.health import Health
from depthclip_ros.ros.depth_node.parameters import values as parameters
from depthclip_ros.ros.depth_node.parameters.declare import declare_parameters, refuse_deletion
from depthclip_ros.ros.depth_node.parameters.values import Settings, live_settings
from depthclip_ros.ros.depth_node.rig import Rig
from depthclip_ros.ros.depth_node.worker import JOIN_S
from depthclip_ros.ros.overrides import warn_of_unused, widened
from depthclip_ros.ros.run import end_process, run

if TYPE_CHECKING:
    from depthclip_ros.core.engine import DepthEngine

WARM_UP_SIZE = (640, 480)
SUCCESS = TransitionCallbackReturn.SUCCESS
FAILURE = TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR
HANGS = "a thread hangs in its device and the node cannot be stopped; restart the process"


class DepthNode(LifecycleNode):
    """Subscribes to `image` and `camera_info`, publishes under `depth/`, or so for each of `cameras` under its name.

    Its parameters are in `parameters.TABLE`.
    """

    def __init__(self, name: str = "depth_node", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._fault = ""  # why the node could not be configured, or could not be stopped
        self._preparing = ""
        self._has_twin = False
        self._silences = health.Silences()
        self._loaded: futures.Future[tuple[DepthEngine, Settings]] | None = None
        self._rig: Rig | None = None
        self._steps = {
            "configuring": self.on_configure,
            "activating": self.on_activate,
            "deactivating": self.on_deactivate,
            "cleaningup": self.on_cleanup,
            "shuttingdown": self.on_shutdown,
        }

    def begin(self) -> None:
        """Declare the parameters, and answer.

        Raises:
            ConfigError, rclpy ParameterException: an override of a parameter that is not allowed.
        """
        declare_parameters(self)
        warn_of_unused(self, parameters.BY_NAME)
        self._settings = parameters.settings_from({name: self.get_parameter(name).value for name in parameters.BY_NAME})
        self.add_on_set_parameters_callback(self._on_parameters)
        # A group that is not held up by a transition under way, which `get_state` is asked about.
        transitions = ReentrantCallbackGroup()
        self._service_change_state.callback = self._on_change_state
        self._service_change_state.callback_group = transitions
        transitions.add_entity(self._service_change_state)

        # Steady timers: diagnostics and autostart go on while a simulation's clock stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._each_second = self.create_timer(1.0, self._on_second, clock=steady)
        self._time_jump = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=lambda _jump: self._rig and self._rig.forget_stamps(),
        )
        if self._settings.autostart:
            self._at_once = self.create_timer(0.001, self._autostart, transitions, steady)

    # Lifecycle: what one transition makes, its opposite unmakes; what takes long is done by a thread beforehand.

    def on_configure(self, state: State) -> TransitionCallbackReturn:
        """Load and warm up the model, make the publishers."""
        loaded, self._loaded = self._loaded, None
        try:
            engine, settings = self._load() if loaded is None else loaded.result()
            with ExitStack() as made:
                made.callback(engine.close)
                self._rig = Rig(self, engine, live_settings(settings, self._settings))
                made.pop_all()
        except DepthClipError as error:
            return self._configure_failed(str(error))
        except ModuleNotFoundError as error:
            return self._configure_failed(missing_package(error))
        except Exception as error:
            self.get_logger().debug(traceback.format_exc())
            return self._configure_failed(f"{type(error).__name__}: {error}")
        self._fault = ""
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
            return FAILURE
        return SUCCESS

    def on_deactivate(self, state: State) -> TransitionCallbackReturn:
        """Unsubscribe and wait for the threads."""
        return SUCCESS if self._rig is None or self._rig.stop(JOIN_S) else ERROR

    def on_cleanup(self, state: State) -> TransitionCallbackReturn:
        """Unmake the publishers and free the model."""
        return SUCCESS if self.release() else ERROR

    def on_shutdown(self, state: State) -> TransitionCallbackReturn:
        """Unmake everything."""
        return SUCCESS if self.release() else ERROR

    def on_error(self, state: State) -> TransitionCallbackReturn:
        """Unmake everything. The node can be configured again, or is finalized for good where a thread hangs."""
        return SUCCESS if self.release() else FAILURE

    def release(self, timeout_s: float = JOIN_S) -> bool:
        """Unmake whatever configure and activate made; False if a thread hangs, and the engine is left to it."""
        rig, self._rig = self._rig, None
        if rig is not None:
            if not rig.stop(timeout_s):
                self._fault = HANGS
                self.get_logger().error(HANGS)
            rig.destroy()
        return self._fault != HANGS

    def _configure_failed(self, reason: str) -> TransitionCallbackReturn:
        self._fault = reason
        self.get_logger().error(f"cannot configure: {reason}")
        return FAILURE

    def _load(self) -> tuple[DepthEngine, Settings]:
        """The engine, ready for images of the usual size."""
        settings = self._settings
        try:
            self._preparing = f"loading the weights {settings.model_weights}"
            from depthclip_ros.core.engine import DepthEngine  # torch takes seconds to import, so not before this

            engine = DepthEngine.load(settings.model_weights, **settings.engine_options)
            with ExitStack() as made:
                made.callback(engine.close)
                width, height = WARM_UP_SIZE if settings.input_rotation % 180 == 0 else WARM_UP_SIZE[::-1]
                for batch in range(1, max(1, len(settings.cameras)) + 1):
                    self._preparing = f"running {batch} x {width}x{height} for the first time by {engine.runtime}"
                    engine.warm_up(width, height, batch)
                engine.prepare_in_background()
                give_back_freed_memory()
                let_go_of_files(cache_folder())
                made.pop_all()
            return engine, settings
        finally:
            self._preparing = ""

    async def _autostart(self) -> None:
        self._at_once.cancel()
        if await self._transition(Transition.TRANSITION_CONFIGURE) == SUCCESS:
            await self._transition(Transition.TRANSITION_ACTIVATE)

    async def _on_change_state(self, request: Any, response: Any) -> Any:
        """Answer a transition that the state does not have with `success: false`; rclpy would end the node."""
        number, label = request.transition.id, request.transition.label
        try:
            if label:
                number = self._state_machine.get_transition_by_label(label)
            response.success = await self._transition(number) == SUCCESS
        except Exception as error:
            self.get_logger().warning(f"transition refused in state {self._state}: {error}")
            response.success = False
        return response

    async def _transition(self, number: int) -> TransitionCallbackReturn:
        """As rclpy's own, while the executor goes on with other callbacks."""
        machine = self._state_machine
        before = State(machine.current_state[1], machine.current_state[0])
        machine.trigger_transition_by_id(number, True)
        step = machine.current_state[1]
        if step == "configuring":
            self._loaded = await self._in_a_thread(self._load)
        elif self._rig is not None and step in ("deactivating", "shuttingdown"):
            self._rig.unsubscribe()
            await self._in_a_thread(partial(self._rig.stop, JOIN_S))
        result = self._steps[step](before)
        machine.trigger_transition_by_label(result.to_label(), True)
        if result == ERROR:
            machine.trigger_transition_by_label(self.on_error(before).to_label(), True)
        return result

    async def _in_a_thread(self, work: Callable[[], Any]) -> futures.Future[Any]:
        """What came of the work, when it is done."""
        done, seen = futures.Future[Any](), Future(executor=self.executor)

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)
            with suppress(Exception):  # the node may have ended meanwhile
                seen.set_result(None)

        seen.add_done_callback(lambda _: None)  # which is what wakes the executor
        threading.Thread(target=run, name="transition", daemon=True).start()
        await seen
        return done

    @property
    def _state(self) -> str:
        return str(self._state_machine.current_state[1])

    # Parameters

    def set_parameters(self, parameter_list: list[Parameter]) -> list[SetParametersResult]:
        """As rclpy's, but a success says when it takes effect."""
        return [self.set_parameters_atomically([parameter]) for parameter in parameter_list]

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """As rclpy's, but a success says when it takes effect.

        Not said by the callback: rclpy keeps the result of the last one registered, and its own clock has one too.
        """
        result = super().set_parameters_atomically(widened(parameter_list, parameters.FLOATS))
        if result.successful and not result.reason:
            names = [parameter.name for parameter in parameter_list]
            result.reason = parameters.effect_of(names, configured=self._rig is not None)
            if result.reason:
                self.get_logger().info(result.reason)
        return result

    def _on_parameters(self, changed: Sequence[Parameter]) -> SetParametersResult:
        values = {name: getattr(self._settings, name.replace(".", "_")) for name in parameters.BY_NAME}
        values |= {parameter.name: parameter.value for parameter in changed if parameter.name in values}
        try:
            refuse_deletion(changed)
            self._settings = parameters.settings_from(values)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self._rig is not None:
            self._rig.apply(self._settings)
        return SetParametersResult(successful=True)

    # Diagnostics

    def _on_second(self) -> None:
        if self._rig is not None:
            self._rig.follow()
        own = self.get_name(), self.get_namespace()
        if not self._has_twin and self.get_node_names_and_namespaces().count(own) > 1:
            self._has_twin = True
            self.get_logger().warning(
                f"another node is named {self.get_fully_qualified_name()} too: both publish the same topics; give one "
                "a name or namespace of its own (-r __node:=NAME, -r __ns:=/NAMESPACE)"
            )
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        node = Health(self._state, self._fault, self._preparing)
        cameras = {"": node} if self._rig is None else self._rig.health(node)
        self._silences.log(cameras, self.get_logger())
        message.status = health.statuses(DiagnosticStatus, KeyValue, cameras, self.get_fully_qualified_name()[1:])
        self._diagnostics.publish(message)


def main(args: list[str] | None = None) -> NoReturn:
    """Be the process of one node until SIGINT or SIGTERM: exit code 0, or 1 when a parameter's value is not allowed."""
    keep_freed_memory()
    end_process(run(DepthNode, args))


if __name__ == "__main__":
    main()
