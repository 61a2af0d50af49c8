# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip doctor`: what this machine has for the node and the tools, and what to do about what is missing."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from depthclip_ros.commands.machine import cpu_flags, gpus, image_ms, memory_bytes, usable_cores
from depthclip_ros.core import present
from depthclip_ros.core.errors import DepthClipError, missing_package

COLOURS = {"OK": "green", "WARN": "yellow", "FAIL": "bold red"}
FOR = {  # what an optional library would be good for
    "torch": ": CUDA, presets, other systems, rendered rooms, training",
    "open_clip": ": the CLIP towers of presets",
    "nncf": ": int8 in openvino",
    "onnxruntime": ": a runtime of its own",
    "onnx": ": depthclip export onnx",
}
NEEDED = {"openvino": "openvino", "safetensors": "safetensors", "simplejpeg": "simplejpeg", "PIL": "pillow"}
NEEDED |= {"filelock": "filelock", "rosbags": "rosbags", "matplotlib": "matplotlib"}  # module: its name on PyPI
OPTIONAL = {"open_clip": "open-clip-torch", "nncf": "nncf", "onnxruntime": "onnxruntime", "onnx": "onnx"}
CAMERA_MS = 1000 / 30  # between the images of most cameras
SHARED_MEMORY_BYTES = 256 * 2**20  # two processes with the shipped profile take 64 MB each, and more with more cameras


@dataclass(frozen=True)
class Finding:
    """One row: what was looked at, OK, WARN or FAIL, what was found, and what to do (empty when OK)."""

    what: str
    status: str
    found: str
    advice: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 when something fails."""
    findings = [finding for check in CHECKS for finding in _guarded(check)]
    failed = any(finding.status == "FAIL" for finding in findings)
    if args.json:
        print(json.dumps({"ok": not failed, "findings": [asdict(one) for one in findings]}, indent=2))
        return int(failed)
    table = Table(title="depthclip doctor", title_justify="left")
    for column in ("", "what", "found", "what to do"):
        table.add_column(column, overflow="fold")
    for one in findings:
        table.add_row(
            f"[{COLOURS[one.status]}]{one.status}[/]", escape(one.what), escape(one.found), escape(one.advice)
        )
    Console().print(table)
    return int(failed)


def _guarded(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A check that breaks is a finding too: the doctor is for machines where things break."""
    try:
        yield from check()
    except ModuleNotFoundError as error:
        found, _, advice = missing_package(error).partition("; ")
        yield Finding(check.__name__.strip("_"), "FAIL", found, advice)
    except Exception as error:
        yield Finding(check.__name__.strip("_"), "FAIL", f"{type(error).__name__}: {error}", "report this")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _import_error(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken binary module raises whatever it likes
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def _python() -> Iterator[Finding]:
    memory = memory_bytes()
    machine = f"{usable_cores()} cores" + (f", {memory / 2**30:.0f} GB" if memory else "")
    yield Finding("Python", "OK", f"{sys.version.split()[0]} at {sys.prefix}, {machine}")


def _ros() -> Iterator[Finding]:
    distribution = os.environ.get("ROS_DISTRO", "")
    rmw = os.environ.get("RMW_IMPLEMENTATION", "")
    if rmw and (error := _rmw_error(rmw)):
        package = f"ros-{distribution or 'jazzy'}-{rmw.replace('_', '-')}"
        yield Finding("RMW", "FAIL", error, f"install it (apt install {package}), or unset RMW_IMPLEMENTATION")
        return
    error = _import_error("rclpy")
    where = f"ROS_DISTRO {distribution}" if distribution else "no distribution sourced"
    if error:
        advice = "source /opt/ros/<distro>/setup.bash, or run `make` (installs ROS 2 Jazzy from PyPI on x86-64 Linux)"
        yield Finding("ROS 2", "FAIL", f"{where}; {error}", advice)
        return
    rclpy = importlib.import_module("rclpy")
    origin = Path(str(rclpy.__file__)).parents[1]
    version = _version("ros-jazzy-rclpy")
    yield Finding("ROS 2", "OK", f"{where}; rclpy {f'{version} from PyPI' if version else f'in {origin}'}")
    error = _import_error("depthclip_ros.msg")
    if error:
        yield Finding(
            "own messages", "FAIL", error, "build them: `make`, or colcon build and source install/setup.bash"
        )
    else:
        yield Finding("own messages", "OK", "depthclip_ros/msg/DepthStats")
    rmw = rmw or "default (rmw_fastrtps_cpp)"
    fast = "fastrtps" in rmw
    advice = (
        "" if fast else "config/fastdds.xml is for Fast DDS alone: give this RMW large shared-memory or UDP buffers"
    )
    yield Finding("RMW", "OK" if fast else "WARN", rmw, advice)


def _rmw_error(rmw: str) -> str:
    """Why the RMW that is asked for cannot be used: importing rclpy then ends the process, so another one tries."""
    probe = [sys.executable, "-c", "import rclpy"]
    tried = subprocess.run(probe, check=False, capture_output=True, text=True, errors="replace")
    said = [line.rpartition("]: ")[2] for line in tried.stderr.splitlines() if rmw in line]
    return f"{rmw} is not there: {said[0]}" if tried.returncode and said else ""


def _dds() -> Iterator[Finding]:
    from depthclip_ros.ros.processes import DDS_PROFILE_VARIABLES, dds_profile

    chosen = {name: value for name in DDS_PROFILE_VARIABLES if (value := os.environ.get(name))}
    missing = [f"{name}={value}" for name, value in chosen.items() if not Path(value).is_file()]
    if missing:
        yield Finding(
            "DDS profile", "FAIL", f"{missing[0]} is no file", "correct or unset it; DDS says nothing and uses none"
        )
    elif chosen:
        yield Finding("DDS profile", "OK", ", ".join(f"{name}={value}" for name, value in chosen.items()))
    else:
        export = " ".join(f"{name}={dds_profile()}" for name in DDS_PROFILE_VARIABLES)
        advice = f"the launch file and the demo set it; for other processes export {export}"
        yield Finding("DDS profile", "WARN", "none in this shell: large best-effort images get lost", advice)
    shared = Path("/dev/shm")
    if not shared.is_dir():
        yield Finding("/dev/shm", "WARN", "absent", "DDS falls back to UDP: images are slower and may get lost")
        return
    usage = shutil.disk_usage(shared)
    small = usage.free < SHARED_MEMORY_BYTES
    advice = "start the container with --shm-size=1g; Docker's default is 64 MB" if small else ""
    found = f"{usage.free / 2**20:.0f} MB free of {usage.total / 2**20:.0f} MB"
    yield Finding("/dev/shm", "WARN" if small else "OK", found, advice)


def _compute() -> Iterator[Finding]:
    driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    if not present.is_installed("torch"):
        yield Finding("torch", "OK", f"absent (optional{FOR['torch']})")
        if driver:
            advice = f"{present.INSTALL_TORCH}: the network then runs on it"
            yield Finding("GPU", "WARN", "an NVIDIA driver, but no torch to use it", advice)
        else:
            yield Finding("GPU", "OK", "none: the network runs on the CPU")
        yield _cpu()
        return
    if error := _import_error("torch"):
        yield Finding("torch", "FAIL", error, "pip install --force-reinstall torch torchvision, or uninstall them")
        return
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    yield Finding("torch", "OK", f"{torch.__version__} ({build}), {torch.get_num_threads()} threads")
    found = gpus()
    if found:
        yield Finding("GPU", "OK", ", ".join(f"{one['name']} {one['memory_gb']} GB" for one in found))
    elif driver:
        yield Finding(
            "GPU", "WARN", "an NVIDIA driver, but torch finds no device", "install a torch build for its CUDA"
        )
    else:
        yield Finding("GPU", "OK", "none: the network runs on the CPU")
    yield _cpu()


def _cpu() -> Finding:
    flags = cpu_flags()
    fast = [
        name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile", "asimd", "bf16") if name in flags
    ]
    bf16 = bool({"avx512_bf16", "amx_bf16", "bf16"} & flags)
    found = f"{' '.join(fast) or 'no known vector units'}: bf16 {'in hardware' if bf16 else 'emulated'}"
    return Finding("CPU", "OK", found)


def _runtimes() -> Iterator[Finding]:
    for module, distribution in {**NEEDED, **OPTIONAL}.items():
        version = _version(distribution)
        if present.is_installed(module):
            yield Finding(module, "OK", version or "present")
        elif module in NEEDED:
            yield Finding(module, "FAIL", "absent", f"pip install {distribution}")
        else:
            yield Finding(module, "OK", f"absent (optional{FOR[module]})")
    yield from _fastest()


def _fastest() -> Iterator[Finding]:
    from depthclip_ros.core.runtimes.runtime import fastest_runtime, runtime_options

    chosen = fastest_runtime("auto")
    found = f"auto is {chosen}; present: {', '.join(' '.join(option) for option in runtime_options())}"
    slow = chosen == "torch" and not gpus()
    advice = "pip install openvino: a CPU then gives depth in a half to a third of the time" if slow else ""
    yield Finding("runtime", "WARN" if slow else "OK", found, advice)


def _numpy() -> Iterator[Finding]:
    import numpy as np

    major = int(np.__version__.split(".")[0])
    if not present.is_installed("cv_bridge"):
        yield Finding("NumPy and cv_bridge", "OK", f"NumPy {np.__version__}, no cv_bridge (the node needs none)")
        return
    error = _import_error("cv_bridge.boost.cv_bridge_boost")
    found = f"NumPy {np.__version__}, cv_bridge {'broken: ' + error if error else 'loads'}"
    # The node does without cv_bridge; other nodes in the same environment may not.
    advice = "this package does without it; for other nodes pip install 'numpy<2'" if error and major >= 2 else ""
    yield Finding("NumPy and cv_bridge", "WARN" if error else "OK", found, advice)


def _weights() -> Iterator[Finding]:
    from depthclip_ros.core.weights.find import SHIPPED, read_info

    for name in SHIPPED:
        try:
            info = read_info(name)
        except DepthClipError as error:
            yield Finding(f"{name} weights", "FAIL", str(error), "reinstall the package, or name a weights file")
            continue
        found = f"{info.system}, {info.parameters_total / 1e6:.1f} M parameters, sha256 {info.sha256[:12]}"
        yield Finding(f"{name} weights", "OK", found)


def _speed() -> Iterator[Finding]:
    from depthclip_ros.core.engine import DepthEngine
    from depthclip_ros.core.weights.find import SHIPPED

    took_ms, engines = {}, []
    for name in SHIPPED:
        engine = DepthEngine.load(name, runtime="auto")
        took_ms[name] = image_ms(engine)
        engines.append(f"{name} {took_ms[name]:.0f} ms ({engine.runtime}, {engine.device}, {engine.precision})")
        engine.close()
    slow = took_ms["default"] > CAMERA_MS
    advice = f"for {1000 / CAMERA_MS:.0f} images/s: --weights fast, model.weights: fast" if slow else ""
    yield Finding("an image of 640x480", "WARN" if slow else "OK", ", ".join(engines), advice)


def _video() -> Iterator[Finding]:
    import cv2

    lines = cv2.getBuildInformation().splitlines()
    ffmpeg = any(line.split() == ["FFMPEG:", "YES"] for line in lines)
    advice = "" if ffmpeg else "only Motion-JPEG .avi may open; pip install opencv-python-headless brings FFmpeg"
    found = f"OpenCV {cv2.__version__} {'with' if ffmpeg else 'without'} FFmpeg"
    yield Finding("video", "OK" if ffmpeg else "WARN", found, advice)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _ros,
    _dds,
    _compute,
    _runtimes,
    _numpy,
    _weights,
    _speed,
    _video,
)
