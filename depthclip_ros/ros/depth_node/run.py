"""From a node class to a process: callbacks in one thread, signals in another, exit code 0 when told to end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from depthclip_ros.core.errors import ConfigError

STOP_S = 2.0  # what a signal leaves a node to end cleanly: loading a model cannot be interrupted


class RunnableNode(Protocol):
    """An rclpy node that unmakes what it made when told to end."""

    def release(self) -> bool:
        """End threads and free devices; False if something hangs."""


def run(make_node: Callable[[], Any], args: list[str] | None = None) -> int:
    """Run a node until SIGINT or SIGTERM.

    Args:
        make_node: makes a `RunnableNode`.
        args: command line; None: that of the process.

    Returns:
        Exit code: 0, or 1 when a parameter has a value that is not allowed (the log has the sentence).
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = make_node()
    except (ConfigError, ParameterException) as error:
        rclpy.logging.get_logger("depthclip_ros").fatal(str(error))
        rclpy.shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    # Callbacks have a thread of their own, so that this one is there for signals while a model loads.
    spinner = threading.Thread(target=_spin, args=(executor, node, stop), name="executor", daemon=True)
    spinner.start()
    while not stop.wait(1.0):
        pass
    executor.wake()
    spinner.join(STOP_S / 2)
    if spinner.is_alive() or not _released(node):
        # In the middle of loading a model, or of a frame that takes long: nothing of it is worth waiting for.
        end_process(0)
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown()
    return 0


def end_process(code: int) -> NoReturn:
    """End at once. Unloading torch takes Python seconds on a busy machine, and all that matters has been unmade."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _released(node: RunnableNode) -> bool:
    thread = threading.Thread(target=node.release, daemon=True)
    thread.start()
    thread.join(STOP_S / 2)
    return not thread.is_alive()


def _spin(executor: SingleThreadedExecutor, node: Any, stop: threading.Event) -> None:
    """Run callbacks until `stop`. A callback that raises is reported, and the node lives on."""
    while not stop.is_set():
        if not _spin_once(executor, node):
            stop.set()


def _spin_once(executor: SingleThreadedExecutor, node: Any) -> bool:
    try:
        executor.spin_once()
    except ExternalShutdownException:
        return False
    except Exception:
        if not executor.context.ok():
            return False
        node.get_logger().error(f"a callback failed: {traceback.format_exc()}", throttle_duration_sec=5.0)
    return True
