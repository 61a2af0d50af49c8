# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Start the depth node for one camera: `ros2 launch depthclip_ros depth.launch.py image:=/camera/image_raw`.

Or for several cameras with one model: `... cameras:=front,left image:=image_raw` for /front/image_raw, /left/image_raw.
Works on Humble to Rolling.
"""

import difflib
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ament_index_python.packages import get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

BOOLEANS = ["true", "false", "True", "False"]
LOG_LEVELS = ["debug", "info", "warn", "error", "fatal"]
# Fast DDS 2 (Humble, Jazzy) knows the first name, Fast DDS 3 (Kilted, Rolling) the second.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
CONFIG = Path(__file__).absolute().parents[1] / "config"  # a path as it is: --show-args prints it
BASE_FRAME = "base_footprint"
# An optical frame (z forward, x right, y down) in that of its camera's body (x forward, z up): x, y, z, w.
OPTICAL = (-0.5, 0.5, -0.5, 0.5)
# name: (default, description, allowed values or None)
ARGUMENTS = {
    "namespace": ("", "Namespace of the node and its topics", None),
    "node_name": ("depth_node", "Name of the node", None),
    "cameras": (
        "",
        "Names of several cameras, e.g. `front,left`, for one node; empty: one camera without a name",
        None,
    ),
    "image": ("", "Image topic; with `cameras` below each one's name; empty: `image` in the namespace", None),
    "camera_info": ("", "CameraInfo topic, likewise; empty: the sibling of the image topic", None),
    "transport": (
        "",
        "compressed listens to <image>/compressed; empty: what params_file says",
        ["", "raw", "compressed"],
    ),
    "hfov": (
        "",
        "Horizontal field of view in degrees of a camera without camera_info; empty: what params_file says",
        None,
    ),
    "weights": ("", "Weights: `default`, `fast`, a file or a Hugging Face id; empty: what params_file says", None),
    "device": ("", "Device of the network: auto, cpu, cuda, cuda:N, xpu, xpu:N; empty: what params_file says", None),
    "anchors": (
        "",
        "What tells the scale, each name with its topic where that is not anchors/NAME, e.g. `ground scan=/scan "
        "odometry=/odom`; imu=TOPIC is for ground; empty: what params_file says",
        None,
    ),
    "params_file": (str(CONFIG / "depth.yaml"), "Parameters of the node (YAML)", None),
    "base_frame": (
        "",
        f"Frame of the robot on the floor, x forward and z up, for depth/scan, anchors and camera_pose; empty: what "
        f"params_file says, and {BASE_FRAME} for camera_pose",
        None,
    ),
    "camera_pose": (
        "",
        "Where the camera is in base_frame, `x y z roll pitch yaw` in metres and radians, all 0 for one that looks "
        "ahead: published as a static transform to the frame that its images name; empty: TF has it already",
        None,
    ),
    "rviz": ("false", "Show the result in RViz", BOOLEANS),
    "rviz_config": (str(CONFIG / "depth.rviz"), "What RViz shows", None),
    "fixed_frame": ("", "Fixed frame of RViz; empty: the camera's own, read from its first image", None),
    "autostart": ("true", "Configure and activate at start; false leaves both to a lifecycle manager", BOOLEANS),
    "respawn": ("false", "Start the node again 2 s after it ended by itself", BOOLEANS),
    "use_sim_time": ("false", "Take the time from /clock", BOOLEANS),
    "enclave": ("", "Enclave of SROS 2 whose keys the node uses, e.g. `/depthclip`; empty: none", None),
    "log_level": ("info", "Least severity that is logged", LOG_LEVELS),
    "fastdds_profile": (
        str(CONFIG / "fastdds.xml"),
        "Fast DDS profile with shared memory for images, or `none`. One that the environment names is kept",
        None,
    ),
}
# Parameters that an argument sets where it is not empty.
PARAMETERS = {
    "weights": ("model.weights",),
    "device": ("model.device",),
    "transport": ("input.transport",),
    "base_frame": ("scan.frame", "anchor.base_frame"),
}
ANCHORS_WITH_TOPIC = ("range", "scan", "points", "depth", "odometry", "imu")


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)
        for name, (default, description, choices) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_make_nodes)])


def _make_nodes(context: LaunchContext) -> list[Node]:
    _check_names(sys.argv)

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    def is_true(name: str) -> bool:
        return value(name).lower() == "true"

    cameras = [name.strip() for name in value("cameras").split(",") if name.strip()]
    topics = {name: value(name) for name in ("image", "camera_info")}
    params_file = _existing(value("params_file"), "params_file")
    enclave = value("enclave")
    use_sim_time = {"use_sim_time": is_true("use_sim_time")}
    common = {"additional_env": _dds_environment(value("fastdds_profile")), "output": "screen"}

    # The node brings itself up: its own `autostart` works alike on every distribution and needs no discovery, while a
    # transition that is emitted from here is lost when it is sent before the node's services are known.
    overrides = {"autostart": is_true("autostart"), **use_sim_time}
    overrides.update({name: value(of) for of, names in PARAMETERS.items() if value(of) for name in names})
    if value("hfov"):
        (overrides["input.assumed_hfov"],) = _numbers(value("hfov"), "hfov", "a number of degrees, e.g. 70", 1)
    if cameras:
        overrides["cameras"] = cameras
    anchors = _anchors(value("anchors"))
    if names := [name for name in anchors if name != "imu"]:  # an imu is no anchor: it is heard with ground
        overrides["anchors"] = names
    anchor_topics = {f"anchors/{name}": topic for name, topic in anchors.items()}

    depth = Node(
        package="depthclip_ros",
        executable="depth_node",
        name=value("node_name"),
        namespace=value("namespace"),
        parameters=[params_file, overrides],
        remappings=[*_remappings(cameras, topics), *_remappings(cameras, anchor_topics, shared=True)],
        ros_arguments=["--log-level", value("log_level"), *(["--enclave", enclave] if enclave else [])],
        respawn=is_true("respawn"),
        respawn_delay=2.0,
        **common,
    )
    # In the node's namespace, or the first camera's, so that relative topics are its topics.
    of_first_camera = {
        "namespace": "/".join([part for part in (value("namespace"), *cameras[:1]) if part]),
        "remappings": _remappings([], topics),
        "parameters": [use_sim_time],
        **common,
    }
    nodes = []
    if value("camera_pose"):
        if cameras:
            raise ValueError("camera_pose is for one camera; with several publish the transform of each yourself")
        where = [*_where(value("camera_pose")), "--frame-id", value("base_frame") or BASE_FRAME]
        prefix = _with_camera_frame("--child-frame-id")
        publisher = {"package": "tf2_ros", "executable": "static_transform_publisher"}
        nodes.append(Node(**publisher, arguments=where, prefix=prefix, **of_first_camera))
    if is_true("rviz"):
        shown = ["-d", _existing(value("rviz_config"), "rviz_config")]
        frame = value("fixed_frame")
        prefix = None if frame else _with_camera_frame("-f")
        shown += ["-f", frame] if frame else []
        nodes.append(Node(package="rviz2", executable="rviz2", arguments=shown, prefix=prefix, **of_first_camera))
    # First what may be missing: launch gives up at the error and would leave a node that already runs behind.
    return [*nodes, depth]


def _check_names(words: list[str]) -> None:
    """Refuse what `ros2 launch` was given and no argument takes; launch itself passes over it in silence.

    Another launch file that includes this one has arguments of its own.
    """
    own = [at for at, word in enumerate(words) if Path(word).name == Path(__file__).name]
    for word in words[own[0] + 1 :] if own else ():
        name, is_argument, _ = word.partition(":=")
        if is_argument and name not in ARGUMENTS:
            near = difflib.get_close_matches(name, ARGUMENTS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(ARGUMENTS)}"
            raise ValueError(f"there is no argument {name}; {hint}")


def _with_camera_frame(option: str) -> str:
    """Put before a program: it is started with `option FRAME` as soon as an image says which frame the camera has."""
    helper = Path(get_package_prefix("depthclip_ros")) / "lib" / "depthclip_ros" / "with_camera_frame"
    return f"{shlex.quote(str(helper))} {option}"


def _where(pose: str) -> list[str]:
    """Arguments of static_transform_publisher for the optical frame of a camera with this pose."""
    said = "six numbers: x y z roll pitch yaw in metres and radians, e.g. '0.1 0 0.4 0 0 0'"
    *place, roll, pitch, yaw = _numbers(pose, "camera_pose", said, 6)
    body = (0.0, 0.0, 0.0, 1.0)
    for axis, angle in ((2, yaw), (1, pitch), (0, roll)):
        turn = [0.0, 0.0, 0.0, math.cos(angle / 2)]
        turn[axis] = math.sin(angle / 2)
        body = _product(body, turn)
    words = zip(("x", "y", "z", "qx", "qy", "qz", "qw"), (*place, *_product(body, OPTICAL)), strict=True)
    return [word for name, number in words for word in (f"--{name}", f"{number:.9g}")]


def _product(p: Sequence[float], q: Sequence[float]) -> tuple[float, ...]:
    """Of two quaternions x, y, z, w: first q, then p."""
    (px, py, pz, pw), (qx, qy, qz, qw) = p, q
    return (
        pw * qx + px * qw + py * qz - pz * qy,
        pw * qy - px * qz + py * qw + pz * qx,
        pw * qz + px * qy - py * qx + pz * qw,
        pw * qw - px * qx - py * qy - pz * qz,
    )


def _numbers(text: str, argument: str, said: str, count: int) -> list[float]:
    try:
        numbers = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{argument} is {text!r}; allowed: {said}")
    return numbers


def _anchors(text: str) -> dict[str, str]:
    """The topic of each anchor, or an empty text."""
    anchors = {}
    for word in text.replace(",", " ").split():
        name, has_topic, topic = word.partition("=")
        if has_topic and (not topic or name not in ANCHORS_WITH_TOPIC):
            known = ", ".join(ANCHORS_WITH_TOPIC)
            raise ValueError(f"anchors has {word!r}; allowed: a name, or NAME=TOPIC of {known}, e.g. scan=/scan")
        anchors[name] = topic
    return anchors


def _remappings(cameras: list[str], topics: dict[str, str], *, shared: bool = False) -> list[tuple[str, str]]:
    """From the names of the node's topics to those that were given; relative to each camera's name where it has one.

    An absolute topic is one camera's alone, unless it may be shared.
    """
    # Remapping an argument that was not given would detach the node from its default topic.
    given = {name: topic for name, topic in topics.items() if topic}
    if not cameras:
        return list(given.items())
    absolute = [f"{name}:={topic}" for name, topic in given.items() if topic.startswith(("/", "~"))]
    if absolute and not shared:
        raise ValueError(f"{absolute[0]}: with several cameras give the topic below each camera's name, e.g. image_raw")
    return [
        (f"{camera}/{name}", topic if topic.startswith(("/", "~")) else f"{camera}/{topic}")
        for camera in cameras
        for name, topic in given.items()
    ]


def _dds_environment(profile: str) -> dict[str, str]:
    """Variables that select the profile, for our own processes only: an including launch file keeps its environment."""
    # The command line of ros2 launch refuses an empty value, so `none` says the same.
    if profile in ("", "none") or any(os.environ.get(name) for name in PROFILE_VARIABLES):
        return {}
    return dict.fromkeys(PROFILE_VARIABLES, _existing(profile, "fastdds_profile"))


def _existing(path: str, argument: str) -> str:
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        raise FileNotFoundError(f"{argument}: there is no file {file}")
    return str(file)
