# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Start the package's nodes as processes of their own and stop every one of them again; no rclpy here."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from depthclip_ros.core.errors import ConfigError

PACKAGE = "depthclip_ros"
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Domains above 101 take UDP ports that Linux also hands to any program.
DOMAINS = range(30, 102)
# Fast DDS 2 (Humble, Jazzy) reads the first name, Fast DDS 3 (Kilted, Rolling) the second.
DDS_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")

# What would lead private nodes elsewhere: a TurtleBot 4's shell names a server that they would wait for.
NOT_INHERITED = (
    *DDS_PROFILE_VARIABLES,
    "ROS_DISCOVERY_SERVER",
    "ROS_SUPER_CLIENT",
    "ROS2_EASY_MODE",
    "ROS_STATIC_PEERS",
    "ROS_LOCALHOST_ONLY",
)


def package_prefix() -> Path:
    """The prefix that the package is installed in: `lib/depthclip_ros`, `share/depthclip_ros` lie below.

    Raises:
        ConfigError: the package is not installed with its ROS part.
    """
    # Upwards from this file, which needs no sourced environment; else from the Python that runs it.
    for prefix in (*Path(__file__).absolute().parents, Path(sys.prefix)):
        if (prefix / "share" / PACKAGE / "package.xml").is_file():
            return prefix
    raise ConfigError("the ROS part of depthclip_ros is not installed; `depthclip doctor` says what is missing")


def dds_profile() -> Path:
    """The shipped Fast DDS profile: shared memory large enough for images and clouds."""
    return package_prefix() / "share" / PACKAGE / "config" / "fastdds.xml"


def free_domain() -> int:
    """A ROS domain that no participant of this machine uses, so that a demo meets no robot."""
    domains = random.sample(DOMAINS, len(DOMAINS))
    for domain in domains:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            probe.bind(("", 7400 + 250 * domain + 10))  # unicast discovery port of a domain's first participant
            return domain
    return domains[0]


def private_environment(domain_id: int, *, shared_memory_profile: bool = True) -> dict[str, str]:
    """Variables that keep ROS traffic on this machine and in one domain, with or without the shipped DDS profile."""
    environment = {
        "ROS_DOMAIN_ID": str(domain_id),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        "PYTHONUNBUFFERED": "1",
    }
    if os.environ.get("ROS_DISTRO") == "humble":  # which does not know the discovery range; later ones warn of this
        environment["ROS_LOCALHOST_ONLY"] = "1"
    if shared_memory_profile:
        environment.update(dict.fromkeys(DDS_PROFILE_VARIABLES, str(dds_profile())))
    return environment


@contextlib.contextmanager
def environment_of(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables of this process and put back what was there; meanwhile `NOT_INHERITED` are absent."""
    before = {name: os.environ.get(name) for name in (*variables, *NOT_INHERITED)}
    for name in NOT_INHERITED:
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class NodeProcess:
    """One executable of the package as a child in a process group of its own; its output goes to a log file.

    Args:
        executable: name below `lib/depthclip_ros`.
        parameters: ROS parameters; values are written as YAML.
        remappings: topic remappings, from → to.
        environment: added to this process's environment, of which `NOT_INHERITED` are left out.
        log_path: takes stdout and stderr.
        namespace: of the node; empty: none.
        prefix: that holds the executable's package; None: this one's.
    """

    def __init__(
        self,
        executable: str,
        parameters: Mapping[str, Any],
        *,
        environment: Mapping[str, str],
        log_path: Path,
        remappings: Mapping[str, str] | None = None,
        namespace: str = "",
        prefix: Path | None = None,
    ) -> None:
        self.name = executable
        self.log_path = log_path
        arguments = [str((prefix or package_prefix()) / "lib" / PACKAGE / executable), "--ros-args"]
        for name, value in parameters.items():
            arguments += ["-p", f"{name}:={_as_yaml(value)}"]
        names = {**(remappings or {}), **({"__ns": namespace} if namespace else {})}
        for name, value in names.items():
            arguments += ["-r", f"{name}:={value}"]
        base = {key: value for key, value in os.environ.items() if key not in NOT_INHERITED}
        with log_path.open("wb") as log:
            # A group of its own: Ctrl-C reaches this program alone, which then stops its children in order.
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**base, **environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def failure(self) -> str | None:
        """One sentence if the process has ended by itself, else None."""
        code = self._process.poll()
        if code is None:
            return None
        lines = [line.strip() for line in self.log().splitlines() if line.strip()]
        said = next((line for line in reversed(lines) if "[ERROR]" in line or "[FATAL]" in line), "")
        return f"{self.name} ended with exit code {code}: {said or (lines[-1] if lines else 'it printed nothing')}"

    def log(self) -> str:
        """All that the process printed so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def resident_bytes(self) -> dict[str, int]:
        """`total` and `private` (without mapped files and shared memory) resident memory in bytes; empty if gone."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return {}
        fields = {line.partition(":")[0]: line.split() for line in status.splitlines()}
        names = {"total": "VmRSS", "private": "RssAnon"}
        return {name: int(fields[key][1]) * 1024 for name, key in names.items() if key in fields}

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the process and whatever it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def wait(self, timeout_s: float) -> int | None:
        """Exit code, or None if it still runs after `timeout_s`."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None


def _as_yaml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_as_yaml, value)) + "]"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


def stop(processes: Sequence[NodeProcess], patience_s: float = 5.0) -> None:
    """Stop processes the polite way first: SIGINT, then SIGTERM, then SIGKILL. None runs when this returns."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        running = [process for process in processes if process.wait(0) is None]
        for process in running:
            process.signal_group(number)
        deadline = time.monotonic() + patience_s
        for process in running:
            process.wait(max(0.0, deadline - time.monotonic()))
    for process in processes:
        process.signal_group(signal.SIGKILL)  # a grandchild that outlived its parent


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, so that `finally` clauses stop what was started.

    Of a second signal nothing comes: the first is being obeyed. An ignored SIGHUP (`nohup`) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _frame: object) -> None:
        for one in INTERRUPTS:
            signal.signal(one, lambda *_: None)  # to ignore it is an error of Python's where one is on its way
        raise KeyboardInterrupt(signal.Signals(number).name)

    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set()
    before = {number: signal.signal(number, interrupt) for number in INTERRUPTS if number not in ignored}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
