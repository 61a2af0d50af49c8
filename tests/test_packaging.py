# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a user gets with a checkout or an installation: versions agree, files parse, executables start."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pytest
import yaml

from depthclip_ros.ros.processes import DDS_PROFILE_VARIABLES

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="needs tomllib (Python 3.11) or tomli to read pyproject.toml")

REPOSITORY = Path(__file__).resolve().parents[1]
PREFIX = Path(sys.prefix)
SHARE = PREFIX / "share" / "depthclip_ros"
LARGEST_FILE_BYTES = 50_000_000  # the weights `default`
EXECUTABLES = ("depth_node", "camera_node", "depthclip", "with_camera_frame")
CONFIG_FILES = ("depth.yaml", "nav2.yaml", "depthimage_to_laserscan.yaml", "depth.rviz", "fastdds.xml")

installed_here = pytest.mark.skipif(
    not SHARE.is_dir(), reason="needs the package installed beside this Python (a ROS workspace has it elsewhere)"
)


def pyproject():
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def tracked_files():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("needs a git checkout")
    return [REPOSITORY / name for name in listed.stdout.decode().split("\0") if name and (REPOSITORY / name).is_file()]


def test_one_version_everywhere():
    package_xml = ET.parse(REPOSITORY / "package.xml").findtext("version")
    newest = re.search(r"^## \[?v?(\d+\.\d+\.\d+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    trainer = tomllib.loads((REPOSITORY / "depthclip_trainer" / "pyproject.toml").read_text())
    assert newest, "CHANGELOG.md has no heading with a version"
    assert {package_xml, newest[1], trainer["project"]["version"]} == {pyproject()["project"]["version"]}


def test_messages_are_built_with_what_colcon_finds_in_the_environment():
    # build-system.requires cannot include a dependency group, so the ROS packages stand in both.
    def ros(requirements):
        return {
            re.match(r"[\w-]+", text)[0]: text.partition(";")[2].strip()
            for text in requirements
            if isinstance(text, str) and text.startswith("ros-jazzy-")
        }

    content = pyproject()
    assert ros(content["build-system"]["requires"]) == ros(content["dependency-groups"]["ros-build"])


def test_build_pins_are_the_locked_versions():
    locked = {
        package["name"]: package.get("version")
        for package in tomllib.loads((REPOSITORY / "uv.lock").read_text())["package"]
    }
    pins = dict(re.findall(r'"([\w-]+)==([\w.]+)', "\n".join(f'"{r}' for r in pyproject()["build-system"]["requires"])))
    assert len(pins) > 15
    assert {name: locked[name] for name in pins if name in locked} == {
        name: version for name, version in pins.items() if name in locked
    }


def test_executables_of_cmake_exist_and_run():
    installed = re.search(
        r"install\(PROGRAMS (.*?) DESTINATION", (REPOSITORY / "CMakeLists.txt").read_text(), re.DOTALL
    )
    names = installed[1].split()
    assert {Path(name).name for name in names} == set(EXECUTABLES)
    assert all(os.access(REPOSITORY / name, os.X_OK) for name in names)


def test_package_xml_names_what_the_nodes_import():
    depends = {element.text for element in ET.parse(REPOSITORY / "package.xml").getroot() if "depend" in element.tag}
    statement = re.compile(r"^\s*(?:from|import) (rclpy|\w+_msgs|\w+_interfaces)\b", re.MULTILINE)
    imported = set()
    for path in (REPOSITORY / "depthclip_ros" / "ros").rglob("*.py"):
        imported |= set(statement.findall(path.read_text()))
    assert imported
    assert imported <= depends
    launched = (REPOSITORY / "launch" / "depth.launch.py").read_text()
    started = set(re.findall(r'"?package"?[:=] ?"(\w+)"', launched)) - {"depthclip_ros"}
    imported = set(re.findall(r"^from (launch|launch_ros|ament_index_python)\b", launched, re.MULTILINE))
    assert started == {"rviz2", "tf2_ros"}
    assert len(imported) == 3
    assert started | imported <= depends


def test_package_xml_names_what_comes_from_pypi():
    text = (REPOSITORY / "package.xml").read_text()
    (comment,) = re.findall(r"<!-- (.*) come from PyPI", text)
    of_rosdep = {"numpy": "python3-numpy", "opencv-python-headless": "python3-opencv", "pyyaml": "python3-yaml"}
    names = {re.match(r"[\w-]+", line)[0] for line in pyproject()["project"]["dependencies"]}
    assert all(f"<exec_depend>{key}</exec_depend>" in text for key in of_rosdep.values())
    assert names - of_rosdep.keys() == set(re.findall(r"\w+", comment.partition(" (")[0])) - {"and"}


@pytest.mark.parametrize("name", CONFIG_FILES)
def test_shipped_config_parses(name):
    path = REPOSITORY / "config" / name
    if path.suffix == ".xml":
        assert ET.parse(path).getroot() is not None
    else:
        assert isinstance(yaml.safe_load(path.read_text()), dict)


def test_the_profile_says_how_it_is_set_with_either_fast_dds():
    text = (REPOSITORY / "config" / "fastdds.xml").read_text()
    for name in DDS_PROFILE_VARIABLES:
        assert f"export {name}=<this file>" in text


def test_the_profile_announces_often_enough_to_be_known_within_a_second():
    profile = ET.parse(REPOSITORY / "config" / "fastdds.xml").getroot()
    name = {"dds": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    (discovery,) = profile.findall("dds:participant/dds:rtps/dds:builtin/dds:discovery_config", name)
    seconds = [one.text for one in discovery.findall("dds:leaseAnnouncement/dds:sec", name)]
    assert seconds == ["1"], "and where Fast DDS looks for it: elsewhere in the file it would say nothing"


def test_rviz_listens_to_topics_that_the_node_has():
    def topics(node):
        if isinstance(node, dict):
            if "Reliability Policy" in node:
                yield node["Value"]
            for value in node.values():
                yield from topics(value)
        elif isinstance(node, list):
            for value in node:
                yield from topics(value)

    rviz = yaml.safe_load((REPOSITORY / "config" / "depth.rviz").read_text())
    assert set(topics(rviz)) == {"image", "depth/points", "depth/image_color", "depth/confidence"}


def test_nav2_costmap_takes_the_clouds():
    costmap = yaml.safe_load((REPOSITORY / "config" / "nav2.yaml").read_text())
    parameters = costmap["local_costmap"]["local_costmap"]["ros__parameters"]
    layer = parameters["voxel_layer"]
    mark, clear = (layer[name] for name in layer["observation_sources"].split())
    assert (mark["topic"], clear["topic"]) == ("/depth/points", "/depth/points_clear")
    assert mark["data_type"] == clear["data_type"] == "PointCloud2"
    assert clear["raytrace_max_range"] > mark["obstacle_max_range"]  # what is marked can be cleared
    assert "voxel_layer" in parameters["plugins"]


def test_launch_file_compiles():
    path = REPOSITORY / "launch" / "depth.launch.py"
    compile(path.read_text(), path, "exec")


@pytest.mark.skipif(importlib.util.find_spec("scikit_build_core") is None, reason="needs scikit-build-core")
def test_setup_py_builds_the_wheel_of_pyproject(tmp_path):
    # Without the messages, which take a compiler half a minute: how both hand over to CMake is the same with them.
    environment = {**os.environ, "SKBUILD_CMAKE_ARGS": "-DCMAKE_DISABLE_FIND_PACKAGE_ament_cmake=ON"}
    backend = f"from scikit_build_core.build import build_wheel; build_wheel({str(tmp_path / 'backend')!r})"
    held = []
    for command in (["-c", backend], ["setup.py", "bdist_wheel", "-d", str(tmp_path / "setup")]):
        ran = subprocess.run(
            [sys.executable, *command], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
    for folder in ("backend", "setup"):
        (wheel,) = (tmp_path / folder).iterdir()
        with zipfile.ZipFile(wheel) as file:
            held.append((wheel.name, {entry.filename: entry.CRC for entry in file.infolist()}))
    assert held[0] == held[1]  # files, contents and metadata
    assert any(name.endswith("site-packages/depthclip_ros/cli.py") for name in held[1][1])


@installed_here
def test_installation_is_an_ament_prefix():
    assert (PREFIX / "share" / "ament_index" / "resource_index" / "packages" / "depthclip_ros").exists()
    assert (SHARE / "package.xml").is_file()
    assert (SHARE / "launch" / "depth.launch.py").is_file()
    assert [name for name in CONFIG_FILES if not (SHARE / "config" / name).is_file()] == []
    for name in EXECUTABLES:
        assert os.access(PREFIX / "lib" / "depthclip_ros" / name, os.X_OK), name


@installed_here
def test_installed_message_carries_its_fields():
    from depthclip_ros.msg import DepthStats

    stats = DepthStats(system="nano", scene_labels=["kitchen"], scene_weights=[1.0])
    assert (stats.system, list(stats.scene_labels), list(stats.scene_weights)) == ("nano", ["kitchen"], [1.0])


@installed_here
def test_shipped_data_are_installed():
    import depthclip_ros.core.types as installed

    data = Path(installed.__file__).parents[1] / "data"
    assert (data / "default.safetensors").is_file()
    assert (data / "room_drive.zip").is_file()


@installed_here
def test_executables_take_the_python_they_are_installed_with():
    # As `ros2 run` starts them: no activated environment, another python3 on the path or none.
    ran = subprocess.run(
        [PREFIX / "lib" / "depthclip_ros" / "depthclip", "--help"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "predict" in ran.stdout


def test_no_file_is_too_large_or_a_pickle():
    files = tracked_files()
    assert [path for path in files if path.stat().st_size > LARGEST_FILE_BYTES] == []
    assert [path for path in files if path.suffix in {".pt", ".pth", ".ckpt", ".pkl", ".pickle"}] == []


def test_no_secret_is_committed():
    secret = re.compile(
        rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_\w{36}|\bhf_[A-Za-z]{34}\b"
    )
    assert [path for path in tracked_files() if secret.search(path.read_bytes())] == []


def test_readme_names_make_targets_that_exist():
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(code_of((REPOSITORY / "README.md").read_text()))))
    assert {"demo", "test"} <= named
    assert named <= targets


def code_of(markdown):
    """Code blocks and inline code, where a command stands."""
    return re.findall(r"```.*?```|`[^`\n]+`", markdown, re.DOTALL)


def test_gate_is_make_test():
    script = REPOSITORY / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.search(r"^exec make test$", script.read_text(), re.MULTILINE)


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_sourced_ros_does_not_leak_into_make(tmp_path):
    probe = tmp_path / "probe.mk"
    probe.write_text("probe:\n\t@env\n")
    foreign = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": "/opt/ros/humble/lib/python3.10/site-packages",
        "AMENT_PREFIX_PATH": "/home/user/ws/install/other:/opt/ros/humble",
        "LD_LIBRARY_PATH": "/opt/ros/humble/lib:/usr/local/cuda/lib64:/home/user/ws/install/other/lib",
        "RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp",
        "ROS_DOMAIN_ID": "7",
    }
    command = ["make", "-s", "-f", "Makefile", "-f", str(probe), "probe"]
    ran = subprocess.run(command, cwd=REPOSITORY, env=foreign, capture_output=True, text=True, check=True)
    seen = dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)
    assert not {"PYTHONPATH", "AMENT_PREFIX_PATH", "RMW_IMPLEMENTATION"} & set(seen)
    assert seen["LD_LIBRARY_PATH"] == "/usr/local/cuda/lib64"
    assert seen["ROS_DOMAIN_ID"] == "7"


@pytest.mark.parametrize("source", ["my photos", "Anna's rooms", "room"])
def test_make_demo_takes_any_path(source):
    printed = subprocess.run(
        ["make", "-n", "demo", f"SOURCE={source}"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    (line,) = [line for line in printed.splitlines() if "depthclip demo" in line]
    words = shlex.split(line)
    assert words[words.index("--source") + 1 :] == [source, "--out", "demo"]


def test_the_workflow_runs_the_lines_of_the_readme():
    readme = (REPOSITORY / "README.md").read_text()
    block = readme[readme.index("On a robot with ROS 2") :].partition("```bash\n")[2].partition("```")[0]
    assert [line.split()[0] for line in block.splitlines()] == ["cd", "pip", ".", "colcon", "ros2"]
    assert "'numpy<2'" in block
    workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["colcon"]
    (lines,) = [step["run"] for step in workflow["steps"] if "README" in step.get("name", "")]
    command = lines.partition("cat readme.sh")[0].replace("src/depthclip_ros/", "").replace("> readme.sh", "")
    command = command.replace("${{ matrix.numpy }}", "numpy")
    run = subprocess.run(["bash", "-c", command], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    expected = [
        line for line in block.replace("'numpy<2'", "'numpy'").splitlines() if not line.startswith("ros2 launch")
    ]
    assert run.splitlines() == expected
    distros = [one["distro"] for one in workflow["strategy"]["matrix"]["include"]]
    named = re.search(r"On a robot with ROS 2 \((.*?)\)", readme)[1].lower().split(", ")
    assert distros == named


ONLY_FOR_DEVELOPERS = ("cosmic_ray", "hypothesis", "octomap", "pytest_cov", "pyoctomap", "skbuild", "scikit_build_core")


def test_all_tests_are_collected_in_a_workspace_without_extras(lacking, extras):
    held = {**os.environ, **lacking(*extras, *ONLY_FOR_DEVELOPERS)}
    held["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # hypothesis has a plugin
    settings = ["-p", "pytest_timeout", "-p", "no:cacheprovider", "--collect-only", "-q", "-c", "pyproject.toml"]
    if importlib.util.find_spec("launch_pytest"):  # a ROS distribution's: it knows the mark of launch tests
        settings += ["-p", "launch_pytest.plugin"]
    run = "import sys, pytest; sys.path.remove(''); sys.exit(pytest.main(sys.argv[1:]))"  # without the checkout
    command = [sys.executable, "-c", run, *settings, "tests"]
    done = subprocess.run(command, cwd=REPOSITORY, env=held, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "tests/ros/fuzz/test_files.py" in done.stdout


RUN = """
import os, sys, types
node = types.ModuleType("depthclip_ros.ros.depth_node.node")
node.main = lambda: print(os.environ["OPENCV_THREAD_POOL_ACTIVE_WAIT_WORKER"], "cv2" in sys.modules)
sys.modules[node.__name__] = node
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"))
"""


@pytest.mark.parametrize(("given", "taken"), [({}, "0"), ({"OPENCV_THREAD_POOL_ACTIVE_WAIT_WORKER": "7"}, "7")])
def test_opencvs_threads_are_told_not_to_spin_in_a_node_before_opencv_is_there(given, taken):
    command = [sys.executable, "-c", RUN, str(REPOSITORY / "executables" / "depth_node")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**environment, **given})
    assert done.stdout.split() == [taken, "False"]


INTERRUPTED = """
import sys, types
class Module(types.ModuleType):
    def __getattr__(self, name):
        raise KeyboardInterrupt
sys.modules[sys.argv[2]] = Module(sys.argv[2])
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"))
"""


@pytest.mark.parametrize("name", sorted(path.name for path in (REPOSITORY / "executables").iterdir()))
def test_ctrl_c_while_libraries_load_is_no_traceback(name):
    path = REPOSITORY / "executables" / name
    (module,) = re.findall(r"from (depthclip_ros\.\S+) import main", path.read_text())
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(path), module], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
