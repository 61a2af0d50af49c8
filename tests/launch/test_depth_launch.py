# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The launch file with the real launch system and the real node; both come with a ROS distribution, not from PyPI."""

from __future__ import annotations

import importlib.util
import math
import os
import time
from pathlib import Path

import pytest
import yaml

REASON = "needs the launch packages of a ROS distribution"
actions = pytest.importorskip("launch.actions", reason=REASON)
launch_ros_actions = pytest.importorskip("launch_ros.actions", reason=REASON)
launch_pytest = pytest.importorskip("launch_pytest", reason=REASON)
event_handlers = pytest.importorskip("launch.event_handlers", reason=REASON)
sources = pytest.importorskip("launch.launch_description_sources", reason=REASON)

import launch  # noqa: E402
from launch_pytest.actions import ReadyToTest  # noqa: E402

LAUNCH_FILE = Path(__file__).parents[2] / "launch" / "depth.launch.py"
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
NODE = "/front/depth_node"


@pytest.fixture
def nodes(monkeypatch, tmp_path):
    """The Node actions that the launch file makes of arguments."""
    for name in PROFILES:
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location("depth_launch", LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def make(**arguments):
        context = launch.LaunchContext()
        context.launch_configurations.update(arguments)
        made = []
        for entity in module.generate_launch_description().entities:
            made += entity.execute(context) or []
        return made

    return make


def start(node):
    """Start the node for a moment: the event that tells its real command line (`cmd`) and environment (`env`)."""
    events = []

    def on_start(event, context):
        events.append(event)
        return [actions.Shutdown(reason="seen")]

    handler = actions.RegisterEventHandler(event_handlers.OnProcessStart(on_start=on_start))
    service = launch.LaunchService(noninteractive=True)
    service.include_launch_description(launch.LaunchDescription([handler, node]))
    service.run()
    (event,) = events
    return event


def test_every_argument_of_the_interface_is_declared_with_a_description():
    description = sources.PythonLaunchDescriptionSource(str(LAUNCH_FILE)).get_launch_description(launch.LaunchContext())
    declared = {argument.name: argument for argument in description.get_launch_arguments()}
    assert set(declared) == {
        *("namespace", "cameras", "image", "camera_info", "weights", "params_file"),
        *("rviz", "autostart", "use_sim_time", "log_level", "fastdds_profile", "enclave"),
        *("node_name", "device", "transport", "hfov", "rviz_config", "fixed_frame", "respawn"),
        *("base_frame", "camera_pose", "anchors"),
    }
    assert all(argument.description for argument in declared.values())
    for argument in declared.values():  # what --show-args prints
        text = "".join(part.describe() for part in argument.default_value)
        assert "Substitution" not in text
        assert "(" not in text, text


def test_a_misspelt_argument_is_refused_with_the_nearest_name(nodes, monkeypatch):
    monkeypatch.setattr("sys.argv", ["ros2", "launch", "depthclip_ros", "depth.launch.py", "imag:=/cam/image_raw"])
    with pytest.raises(ValueError, match=r"there is no argument imag; did you mean image\?"):
        nodes()
    monkeypatch.setattr("sys.argv", ["ros2", "launch", "depthclip_ros", "depth.launch.py", "image:=/cam/image_raw"])
    assert nodes()
    monkeypatch.setattr("sys.argv", ["ros2", "launch", "robot", "robot.launch.py", "imag:=/cam/image_raw"])
    assert nodes()  # an argument of the file that includes this one


def test_what_sets_parameters(nodes, monkeypatch):
    (node,) = nodes(
        node_name="eye", device="cpu", transport="compressed", hfov="70", base_frame="base_link", weights="mine"
    )
    command = start(node).cmd
    values = _parameters(command)
    assert "__node:=eye" in command
    assert (values["model.device"], values["input.transport"], values["model.weights"]) == ("cpu", "compressed", "mine")
    assert values["input.assumed_hfov"] == 70.0
    assert (values["scan.frame"], values["anchor.base_frame"]) == ("base_link", "base_link")
    untouched = _parameters(start(nodes()[0]).cmd)
    assert not {"model.device", "input.transport", "input.assumed_hfov", "scan.frame"} & set(untouched)
    with pytest.raises(ValueError, match="hfov is 'wide'; allowed: a number of degrees"):
        nodes(hfov="wide")


def test_anchors_are_named_and_their_topics_remapped(nodes):
    (node,) = nodes(anchors="ground, scan=/scan odometry=odom imu=/imu/data")
    command = start(node).cmd
    assert _parameters(command)["anchors"] == ["ground", "scan", "odometry"]
    assert {"anchors/scan:=/scan", "anchors/odometry:=odom", "anchors/imu:=/imu/data"} <= set(command)
    (node,) = nodes(cameras="front,left", anchors="scan=/scan range=sonar")
    assert {
        *("front/anchors/scan:=/scan", "left/anchors/scan:=/scan"),  # one laser for both
        *("front/anchors/range:=front/sonar", "left/anchors/range:=left/sonar"),
    } <= set(start(node).cmd)
    command = start(nodes()[0]).cmd
    assert _parameters(command)["anchors"] == []
    assert not [word for word in command if "anchors/" in word]


@pytest.mark.parametrize("word", ["ground=/floor", "scan=", "lidar=/points"])
def test_an_anchor_that_has_no_topic_is_refused_one(nodes, word):
    with pytest.raises(ValueError, match=f"anchors has '{word}'; allowed: a name, or NAME=TOPIC of range, scan"):
        nodes(anchors=f"range {word}")


def test_a_node_that_ended_by_itself_is_started_again_where_that_is_asked(nodes):
    assert [nodes(respawn=value)[0]._ExecuteLocal__respawn for value in ("true", "false")] == [True, False]


def _words(node):
    """The option that is to get the camera's frame, if any, and the program with its arguments."""
    packages = pytest.importorskip("ament_index_python.packages")
    try:
        packages.get_package_prefix(node.node_package)
    except packages.PackageNotFoundError:
        pytest.skip(f"needs {node.node_package}, which is not installed here")
    command = start(node).cmd
    helped = command[0].endswith("lib/depthclip_ros/with_camera_frame")
    return (command[1:2], command[2:]) if helped else ([], command)


def test_where_the_camera_is_becomes_a_transform_to_the_frame_of_its_images(nodes):
    transform, depth = nodes(camera_pose="0.1, 0, 0.4, 0, 0.2, 0", base_frame="base_link", image="/cam/image_raw")
    prefix, command = _words(transform)
    assert (transform.node_executable, depth.node_executable) == ("static_transform_publisher", "depth_node")
    assert prefix == ["--child-frame-id"]
    assert "image:=/cam/image_raw" in command
    values = {word: command[at + 1] for at, word in enumerate(command[:-1]) if word.startswith("--")}
    assert [float(values[f"--{name}"]) for name in "xyz"] == [0.1, 0.0, 0.4]
    assert values["--frame-id"] == "base_link"
    x, y, z, w = (float(values[f"--q{name}"]) for name in "xyzw")
    # The optical axis of a camera that is pitched down by 0.2 rad, in a frame with x forward and z up.
    ahead = (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y))
    assert ahead == pytest.approx((math.cos(0.2), 0.0, -math.sin(0.2)), abs=1e-6)
    right = (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y))
    assert right == pytest.approx((0.0, -1.0, 0.0), abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"camera_pose": "0.1 0 0.4"}, "camera_pose is '0.1 0 0.4'; allowed: six numbers"),
        ({"camera_pose": "0 0 0 0 0 0", "cameras": "front,left"}, "camera_pose is for one camera"),
    ],
)
def test_a_pose_that_cannot_be_used_is_refused(nodes, arguments, said):
    with pytest.raises(ValueError, match=said):
        nodes(**arguments)


def test_rviz_is_told_the_cameras_frame_or_the_one_that_is_asked_for(nodes, tmp_path):
    rviz, _ = nodes(rviz="true", image="/cam/image_raw")
    prefix, command = _words(rviz)
    assert prefix == ["-f"]
    assert "-f" not in command
    own = tmp_path / "own.rviz"
    own.touch()
    rviz, _ = nodes(rviz="true", fixed_frame="map", rviz_config=str(own))
    prefix, command = _words(rviz)
    assert prefix == []
    assert command[command.index("-f") + 1] == "map"
    assert command[command.index("-d") + 1] == str(own)


def test_an_enclave_reaches_the_command_line_and_none_by_default(nodes):
    command = start(nodes(enclave="/depthclip")[0]).cmd
    assert command[command.index("--enclave") + 1] == "/depthclip"
    assert "--enclave" not in start(nodes()[0]).cmd


def test_defaults_start_the_node_alone_with_the_shipped_files_and_no_remapping(nodes):
    (node,) = nodes()
    event = start(node)
    assert node.node_executable == "depth_node"
    assert not [word for word in event.cmd if word.startswith(("image:=", "camera_info:="))]
    assert any(word.endswith("config/depth.yaml") for word in event.cmd)
    assert {Path(event.env[name]).name for name in PROFILES} == {"fastdds.xml"}


def test_topics_are_remapped_and_the_log_level_set(nodes):
    (node,) = nodes(image="/cam/image_raw", camera_info="/cam/info", log_level="warn")
    command = start(node).cmd
    assert {"image:=/cam/image_raw", "camera_info:=/cam/info"} <= set(command)
    assert command[command.index("--log-level") + 1] == "warn"


def _parameters(command):
    """The values in the parameter files of a command line, the later ones over the earlier."""
    files = [command[at + 1] for at, word in enumerate(command) if word == "--params-file"]
    values = {}
    for file in files:
        text = Path(file).read_text().replace("!!python/tuple", "")  # launch's word for a list, which rcl passes over
        for of_node in yaml.safe_load(text).values():
            values.update(of_node["ros__parameters"])
    return values


def test_several_cameras_are_named_and_their_topics_remapped_below_their_names(nodes):
    (node,) = nodes(cameras="front, left", image="image_raw", camera_info="calibration/info")
    command = start(node).cmd
    assert {
        *("front/image:=front/image_raw", "left/image:=left/image_raw"),
        *("front/camera_info:=front/calibration/info", "left/camera_info:=left/calibration/info"),
    } <= set(command)
    assert not [word for word in command if word.startswith(("image:=", "camera_info:="))]
    assert _parameters(command)["cameras"] == ["front", "left"]


def test_without_cameras_the_parameters_say_which(nodes):
    (node,) = nodes()
    assert _parameters(start(node).cmd)["cameras"] == []


def test_one_absolute_topic_for_several_cameras_is_refused(nodes):
    with pytest.raises(ValueError, match="image:=/cam/image_raw: with several cameras"):
        nodes(cameras="front,left", image="/cam/image_raw")


def test_rviz_starts_beside_the_node_with_the_shipped_view(nodes):
    # RViz first: where it is not installed, launch stops before a node runs that nobody would stop.
    rviz, depth = nodes(rviz="True", namespace="front")
    assert (rviz.node_executable, depth.node_executable) == ("rviz2", "depth_node")


def test_rviz_shows_the_first_camera(nodes):
    rviz, _ = nodes(rviz="true", namespace="robot", cameras="front,left", image="image_raw")
    context = launch.LaunchContext()
    rviz._perform_substitutions(context)
    assert rviz.expanded_node_namespace == "/robot/front"


@pytest.mark.parametrize("argument", ["params_file", "fastdds_profile", "rviz_config"])
def test_a_missing_file_is_named(nodes, argument):
    with pytest.raises(FileNotFoundError, match=rf"{argument}: there is no file .*/nowhere\.yaml"):
        nodes(**{argument: "/nowhere.yaml", "rviz": "true"})


def test_a_profile_of_the_user_is_kept(nodes, monkeypatch):
    monkeypatch.setenv(PROFILES[0], "/mine.xml")
    (node,) = nodes()
    environment = start(node).env
    assert environment[PROFILES[0]] == "/mine.xml"
    assert PROFILES[1] not in environment


def test_no_profile_at_all(nodes):
    (node,) = nodes(fastdds_profile="none")
    assert not set(PROFILES) & set(start(node).env)


def test_a_value_that_is_not_allowed_is_refused(nodes):
    with pytest.raises(RuntimeError, match="log_level"):
        nodes(log_level="loud")


@launch_pytest.fixture
def started():
    """The launch file as a robot includes it, without autostart: no weights are loaded."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    arguments = {
        "namespace": "front",
        "cameras": "up,down",
        "image": "image_raw",
        "weights": "/no/such/weights.safetensors",
        "autostart": "false",
        "use_sim_time": "true",
    }
    return launch.LaunchDescription(
        [
            actions.IncludeLaunchDescription(
                sources.PythonLaunchDescriptionSource(str(LAUNCH_FILE)), launch_arguments=arguments.items()
            ),
            ReadyToTest(),
        ]
    )


@pytest.mark.launch(fixture=started)
def test_the_node_runs_with_what_the_arguments_say():
    import rclpy
    from lifecycle_msgs.srv import GetState
    from rcl_interfaces.srv import GetParameters

    rclpy.init()
    client_node = rclpy.create_node("launch_test_client")
    try:

        def call(service_type, name, request):
            client = client_node.create_client(service_type, name)
            assert client.wait_for_service(timeout_sec=60), f"{name} did not appear"
            future = client.call_async(request)
            deadline = time.monotonic() + 60
            while not future.done() and time.monotonic() < deadline:
                rclpy.spin_once(client_node, timeout_sec=0.1)
            assert future.done(), f"{name} did not answer"
            return future.result()

        names = ["model.weights", "autostart", "use_sim_time", "cameras"]
        values = call(GetParameters, f"{NODE}/get_parameters", GetParameters.Request(names=names)).values
        assert values[0].string_value == "/no/such/weights.safetensors"
        assert (values[1].bool_value, values[2].bool_value) == (False, True)
        assert values[3].string_array_value == ["up", "down"]
        state = call(GetState, f"{NODE}/get_state", GetState.Request())
        assert state.current_state.label == "unconfigured"
    finally:
        client_node.destroy_node()
        rclpy.shutdown()
