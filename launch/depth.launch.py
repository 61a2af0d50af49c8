# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Start the depth node for one camera: `ros2 launch depthclip_ros depth.launch.py image:=/camera/image_raw`.

Or for several cameras with one model: `... cameras:=front,left image:=image_raw` for /front/image_raw, /left/image_raw.
Works on Humble to Rolling.
"""

import os
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

BOOLEANS = ["true", "false", "True", "False"]
LOG_LEVELS = ["debug", "info", "warn", "error", "fatal"]
# Fast DDS 2 (Humble, Jazzy) knows the first name, Fast DDS 3 (Kilted, Rolling) the second.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
PACKAGE = FindPackageShare("depthclip_ros")
# name: (default, description, allowed values or None)
ARGUMENTS = {
    "namespace": ("", "Namespace of the node and its topics", None),
    "cameras": (
        "",
        "Names of several cameras, e.g. `front,left`, for one node; empty: one camera without a name",
        None,
    ),
    "image": ("", "Image topic; with `cameras` below each one's name; empty: `image` in the namespace", None),
    "camera_info": ("", "CameraInfo topic, likewise; empty: the sibling of the image topic", None),
    "weights": ("", "Weights: `default`, a file or a Hugging Face id; empty: what params_file says", None),
    "params_file": (PathJoinSubstitution([PACKAGE, "config", "depth.yaml"]), "Parameters of the node (YAML)", None),
    "rviz": ("false", "Show the result in RViz", BOOLEANS),
    "autostart": ("true", "Configure and activate at start; false leaves both to a lifecycle manager", BOOLEANS),
    "use_sim_time": ("false", "Take the time from /clock", BOOLEANS),
    "enclave": ("", "Enclave of SROS 2 whose keys the node uses, e.g. `/depthclip`; empty: none", None),
    "log_level": ("info", "Least severity that is logged", LOG_LEVELS),
    "fastdds_profile": (
        PathJoinSubstitution([PACKAGE, "config", "fastdds.xml"]),
        "Fast DDS profile with shared memory for images, or `none`. One that the environment names is kept",
        None,
    ),
}


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)
        for name, (default, description, choices) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_make_nodes)])


def _make_nodes(context: LaunchContext) -> list[Node]:
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    def is_true(name: str) -> bool:
        return value(name).lower() == "true"

    cameras = [name.strip() for name in value("cameras").split(",") if name.strip()]
    remappings = _remappings(cameras, {name: value(name) for name in ("image", "camera_info")})
    params_file = _existing(value("params_file"), "params_file")
    environment = _dds_environment(value("fastdds_profile"))
    enclave = value("enclave")
    use_sim_time = {"use_sim_time": is_true("use_sim_time")}

    # The node brings itself up: its own `autostart` works alike on every distribution and needs no discovery, while a
    # transition that is emitted from here is lost when it is sent before the node's services are known.
    overrides = {"autostart": is_true("autostart"), **use_sim_time}
    if value("weights"):
        overrides["model.weights"] = value("weights")
    if cameras:
        overrides["cameras"] = cameras

    depth = Node(
        package="depthclip_ros",
        executable="depth_node",
        namespace=value("namespace"),
        parameters=[params_file, overrides],
        remappings=remappings,
        ros_arguments=["--log-level", value("log_level"), *(["--enclave", enclave] if enclave else [])],
        additional_env=environment,
        output="screen",
    )
    if not is_true("rviz"):
        return [depth]
    # In the node's namespace, or the first camera's, so that the relative topics of depth.rviz are its topics.
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace="/".join([part for part in (value("namespace"), *cameras[:1]) if part]),
        arguments=["-d", PathJoinSubstitution([PACKAGE, "config", "depth.rviz"])],
        parameters=[use_sim_time],
        remappings=_remappings([], {name: value(name) for name in ("image", "camera_info")}),
        additional_env=environment,
        output="screen",
    )
    # First what may be missing: launch gives up at the error and would leave a node that already runs behind.
    return [rviz, depth]


def _remappings(cameras: list[str], topics: dict[str, str]) -> list[tuple[str, str]]:
    """From the names of the node's topics to those that were given; relative to each camera's name where it has one."""
    # Remapping an argument that was not given would detach the node from its default topic.
    given = {name: topic for name, topic in topics.items() if topic}
    if not cameras:
        return list(given.items())
    absolute = [f"{name}:={topic}" for name, topic in given.items() if topic.startswith(("/", "~"))]
    if absolute:
        raise ValueError(f"{absolute[0]}: with several cameras give the topic below each camera's name, e.g. image_raw")
    return [(f"{camera}/{name}", f"{camera}/{topic}") for camera in cameras for name, topic in given.items()]


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
