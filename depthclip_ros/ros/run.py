# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A node's life in one place: made, spun and unmade by one thread; signals wake another, which sees to the end.

What DDS has of a node (its place in the graph, its shared memory) goes with the last of its parts. So a node is always
unmade before its process ends, however that comes about.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import rclpy
from rclpy.context import Context
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from depthclip_ros.core.errors import ConfigError, DepthClipError

MAKE_S = 5.0  # that DDS needs to make a node, on a busy machine; nothing can interrupt it
STOP_S = 0.3  # what a callback, a thread or a frame in work has to end by itself; loading a model cannot be interrupted
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DOMAINS = range(233)  # above, UDP has no ports for a domain
ENDED = b"\0"  # among the numbers of signals: the node has ended by itself


class NodeThread:
    """The life of one node, in a thread of its own from `start` to `end`.

    A node may have: `begin()`, called once it is made, and `interrupt()`, which makes that raise soon, from another
    thread; `finished`, true when it has nothing more to do; `release(timeout_s)`, which ends its threads.

    Attributes:
        node: None until it is made.
        error: what ended it, if it was no `end`.
    """

    def __init__(self, make_node: Callable[[], Any], context: Context, ended: Callable[[], object] = lambda: None):
        self.node: Any = None
        self.error: BaseException | None = None
        self._make_node = make_node
        self._ended = ended
        self._executor = SingleThreadedExecutor(context=context)
        self._made = threading.Event()
        self._begun = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, name="executor", daemon=True)

    def start(self) -> None:
        """Make the node and run its callbacks; returns at once."""
        self._thread.start()

    def made(self) -> Any:
        """The node, once it is made; raises what making it raised."""
        self._made.wait()
        if self.node is None and self.error is not None:
            raise self.error
        return self.node

    def end(self) -> None:
        """Unmake the node. A callback that does not end is left behind, and what it works with is taken from it."""
        self._stop.set()
        if self._thread.ident is None:
            return
        self._made.wait(MAKE_S)
        interrupt = getattr(self.node, "interrupt", None)
        if interrupt is not None:
            interrupt()
        with contextlib.suppress(Exception):  # it may have ended by itself
            self._executor.create_task(lambda: None)  # which wakes it
        if self._begun:
            self._thread.join(STOP_S)
        if self._thread.is_alive():
            by_force = threading.Thread(target=self._unmake, daemon=True)
            by_force.start()
            by_force.join(2 * STOP_S)
            self._thread.join(MAKE_S if interrupt is not None else 0)

    def _live(self) -> None:
        # DDS makes its threads in this one, and they inherit: signals are left to the main thread, which they wake.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            node = self._make_node()
            self._executor.add_node(node)
            self.node = node
            self._made.set()
            getattr(node, "begin", bool)()
            self._begun = True
            while not self._stop.is_set() and not getattr(node, "finished", False) and self._spin_once():
                pass
        except BaseException as error:  # it is raised in the main thread
            self.error = error
        finally:
            self._made.set()
            self._unmake()
            self._ended()

    def _spin_once(self) -> bool:
        """Run a callback. One that raises is reported, and the node lives on; False when the context has ended."""
        try:
            self._executor.spin_once()
        except ExternalShutdownException:
            return False
        except Exception:
            if not self._executor.context.ok():
                return False
            text = f"a callback failed: {traceback.format_exc()}"
            self.node.get_logger().error(text, throttle_duration_sec=5.0)
        return True

    def _unmake(self) -> None:
        node, self.node = self.node, None
        self._executor.shutdown(0)  # first, for it holds what it waits for
        if node is None:
            return
        with contextlib.suppress(Exception):  # a device that is gone must not keep the node in the graph
            getattr(node, "release", lambda _timeout_s: None)(STOP_S)
        destroy(node)


def destroy(node: Any) -> None:
    """Unmake a node with all that rclpy made for it. rclpy itself forgets the state machine, which holds the node."""
    node.destroy_node()
    machine = getattr(node, "_state_machine", None)
    if machine is not None:
        machine.destroy_when_not_in_use()


def run(make_node: Callable[[], Any], args: list[str] | None = None) -> int:
    """Run a node until SIGINT, SIGTERM or SIGHUP, or until it has finished.

    Args:
        make_node: makes a node as `NodeThread` describes it.
        args: command line; None: that of the process.

    Returns:
        Exit code: 0, or 1 when a parameter, a ROS argument or an input is not allowed (the log has the sentence).
    """

    def make() -> Any:
        with in_one_sentence():
            return make_node()

    with _wake_up() as (wake, wait):

        def ended() -> None:
            with contextlib.suppress(OSError):  # closed: the thread was left behind, and nobody waits for it any more
                wake.send(ENDED)

        try:
            with in_one_sentence():
                rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        except ConfigError as error:
            rclpy.logging.get_logger("depthclip_ros").fatal(str(error))
            return 1
        life = NodeThread(make, rclpy.get_default_context(), ended)
        life.start()
        wait()
        error = life.error
        life.end()
        if isinstance(error, (DepthClipError, ParameterException)):
            rclpy.logging.get_logger("depthclip_ros").fatal(str(error))
        rclpy.try_shutdown()
        if error is None:
            return 0
        if not isinstance(error, (DepthClipError, ParameterException)):
            raise error
        return 1


def end_process(code: int) -> NoReturn:
    """End at once. Unloading torch takes Python seconds on a busy machine, and all that matters has been unmade."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextlib.contextmanager
def spinning(name: str, domain_id: int | None = None, **options: Any) -> Iterator[Node]:
    """A node in a context of its own, spun by a thread: KeyboardInterrupt in this one leaves nothing of it behind.

    Args:
        name: of the node.
        domain_id: None takes that of the environment.
        options: of `rclpy.node.Node`.

    Raises:
        ConfigError: ROS has no such domain, or does not start.
    """
    if domain_id is not None and domain_id not in DOMAINS:  # Fast DDS would end the process
        raise ConfigError(f"ROS domain {domain_id} does not exist; allowed are {DOMAINS[0]} to {DOMAINS[-1]}")
    context = Context()
    with in_one_sentence():
        # No handlers: the program that runs the node decides what Ctrl-C does.
        rclpy.init(context=context, domain_id=domain_id, signal_handler_options=SignalHandlerOptions.NO)
    life = NodeThread(lambda: Node(name, context=context, **options), context)
    try:
        life.start()
        yield life.made()
    finally:
        life.end()
        context.try_shutdown()


@contextlib.contextmanager
def in_one_sentence(what: str = "ROS does not start this node") -> Iterator[None]:
    """What ROS itself refuses: a parameter file that does not parse, an unknown argument, a name that is none.

    Raises:
        ConfigError: `what`, and ROS's own words without the places in its sources.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if not type(error).__module__.startswith("rclpy"):
            raise
        text = " ".join(re.sub(r", at /\S+:\d+", "", str(error)).split())
        raise ConfigError(f"{what}: {text}") from error


@contextlib.contextmanager
def _wake_up() -> Iterator[tuple[socket.socket, Callable[[], None]]]:
    """Let signals do nothing but wake the call of the second; whoever sends `ENDED` to the first wakes it too.

    By a descriptor: whichever thread the system gives a signal to, and whatever Python is at, none is lost and none
    meets a lock that the interrupted code holds.
    """
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours, theirs:
        for number in ENDING:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

        def wait() -> None:
            while ours.recv(1)[0] not in (*ENDING, *ENDED):
                pass

        try:
            yield theirs, wait
        finally:
            signal.set_wakeup_fd(-1)
