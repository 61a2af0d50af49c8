# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Who may import whom: down the floors, never up, never in a circle (docs/architecture.md). The tables are the rule."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
MAX_LINES = 300
COPYRIGHT = "SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers"

# Longest matching prefix counts. A module may import its own floor and lower ones.
FLOORS = {
    "depthclip_ros.core.errors": 0,
    "depthclip_ros.core.types": 0,
    "depthclip_ros.core": 1,  # geometry, encodings, model and what else rests on floor 0 alone
    "depthclip_ros.core.anchors": 2,
    "depthclip_ros.core.weights": 2,
    "depthclip_ros.core.runtimes": 3,
    "depthclip_ros.core.engine": 4,
    "depthclip_ros.scene": 5,
    "depthclip_ros.ros": 6,
    "depthclip_ros.commands": 7,
    "depthclip_ros.cli": 7,
    "depthclip_trainer": 7,
}
# Only these make a node or must name message types; whatever else needs a message is handed one.
NODE_MODULES = {
    "depthclip_ros.ros.anchors.inputs",
    "depthclip_ros.ros.camera_frame",
    "depthclip_ros.ros.camera_node.node",
    "depthclip_ros.ros.camera_node.robot_topics",
    "depthclip_ros.ros.depth_node.parameters.declare",
    "depthclip_ros.ros.depth_node.image_input",
    "depthclip_ros.ros.depth_node.node",
    "depthclip_ros.ros.depth_node.outputs",
    "depthclip_ros.ros.depth_node.rig",
    "depthclip_ros.ros.measure.live_score",
    "depthclip_ros.ros.measure.recorder",
    "depthclip_ros.ros.qos",
    "depthclip_ros.ros.run",
    "depthclip_ros.ros.wire",
}
ROS_PACKAGES = {
    *("rclpy", "rcl_interfaces", "lifecycle_msgs", "builtin_interfaces", "std_msgs", "sensor_msgs", "geometry_msgs"),
    *(
        "nav_msgs",
        "tf2_msgs",
        "diagnostic_msgs",
        "rosgraph_msgs",
        "cv_bridge",
        "sensor_msgs_py",
        "message_filters",
        "tf2_ros",
    ),
    "depthclip_ros.msg",
}
# Importable in a process that must stay light, and on a machine without torch.
WITHOUT_TORCH = {
    "depthclip_ros.core.engine",
    "depthclip_ros.core.engine.depth_engine",
    "depthclip_ros.core.runtimes.runtime",
    "depthclip_ros.core.weights.find",
    "depthclip_ros.core.weights.graph",
    "depthclip_ros.commands.demo",
    "depthclip_ros.commands.predict",
    "depthclip_ros.ros.depth_node.node",
    "depthclip_ros.core.errors",
    "depthclip_ros.core.types",
    "depthclip_ros.core.geometry",
    "depthclip_ros.core.rectify",
    "depthclip_ros.core.images.compressed",
    "depthclip_ros.core.images.encodings",
    "depthclip_ros.core.images.depth_encodings",
    "depthclip_ros.core.calibration",
    "depthclip_ros.core.alignment",
    "depthclip_ros.core.anchors.estimator",
    "depthclip_ros.core.lidar",
    "depthclip_ros.core.transforms",
    "depthclip_ros.ros.anchors.watch",
    "depthclip_ros.core.uncertainty",
    "depthclip_ros.ros.bag.add_depth",
    "depthclip_ros.ros.camera_node.room_source",
    "depthclip_ros.ros.camera_node.shipped_drive",
    "depthclip_ros.ros.camera_node.sources",
    "depthclip_ros.ros.conversions",
    "depthclip_ros.ros.depth_node.pipeline",
}
TORCH_PACKAGES = {"torch", "torchvision", "open_clip", "lightning", "lightning_fabric"}
# Of the package the trainer uses these alone.
FOR_THE_TRAINER = {"depthclip_ros.core", "depthclip_ros.scene"}


def module_name(path, root):
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules():
    """Every module of both packages by name."""
    found = {}
    for package, root in (("depthclip_ros", REPOSITORY), ("depthclip_trainer", REPOSITORY / "depthclip_trainer")):
        for path in sorted((root / package).rglob("*.py")):
            found[module_name(path, root)] = path
    return found


def imports_of(source):
    """Names that a module imports at run time, wherever the statement stands; `if TYPE_CHECKING` does not count."""
    tree = ast.parse(source)
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped.update(id(inner) for statement in node.body for inner in ast.walk(statement))
    names = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def within(name, packages):
    return any(name == package or name.startswith(package + ".") for package in packages)


def floor_of(name):
    prefixes = [prefix for prefix in FLOORS if within(name, {prefix})]
    return FLOORS[max(prefixes, key=len)] if prefixes else None


def offending_edges(name, source):
    """Each import of a module that the tables forbid, as `module -> import: rule`."""
    edges = []
    for target in sorted(imports_of(source)):

        def refuse(rule, target=target):
            edges.append(f"{name} -> {target}: {rule}")

        floor, target_floor = floor_of(name), floor_of(target)
        if within(target, {"depthclip_ros.msg"}):
            target_floor = None
        if floor is not None and target_floor is not None and target_floor > floor:
            refuse(f"floor {floor} imports floor {target_floor}")
        if within(name, {"depthclip_trainer"}) and within(target, {"depthclip_ros"}):
            if not within(target, FOR_THE_TRAINER):
                refuse("the trainer uses depthclip_ros.core and depthclip_ros.scene only")
        elif within(name, {"depthclip_ros"}) and within(target, {"depthclip_trainer"}):
            refuse("the package does not know its trainer")
        if within(target, ROS_PACKAGES) and name not in NODE_MODULES:
            refuse("ROS is imported only where a node is made")
        if within(target, TORCH_PACKAGES) and name in WITHOUT_TORCH:
            refuse("this module never imports torch")
    return edges


def circle_among(sources):
    """Modules that import each other in a circle, in its order; `[]` where none do. Sources by module name."""

    def imported(name, source):
        for target in imports_of(source):
            found = max((module for module in sources if within(target, {module})), key=len, default=name)
            if found != name:
                yield found

    try:
        graphlib.TopologicalSorter({name: set(imported(name, text)) for name, text in sources.items()}).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_no_files_import_each_other_in_a_circle():
    circle = circle_among({name: path.read_text() for name, path in modules().items()})
    assert not circle, f"a circle of imports: {' <- '.join(circle)}"


def test_a_circle_is_named():
    late = "def f():\n    from a.c import x"
    sources = {"a.a": "import a.b", "a.b": late, "a.c": "from a import a", "a.d": "if TYPE_CHECKING:\n    import a.a"}
    assert set(circle_among(sources)) == {"a.a", "a.b", "a.c"}
    assert circle_among(sources | {"a.c": "if TYPE_CHECKING:\n    from a import a"}) == []


@pytest.mark.parametrize("name", modules())
def test_imports_go_down(name):
    assert offending_edges(name, modules()[name].read_text()) == []


@pytest.mark.parametrize("name", modules())
def test_one_idea_per_file(name):
    lines = len(modules()[name].read_text().removeprefix(f"# {COPYRIGHT}\n").splitlines())
    assert lines <= MAX_LINES, f"{name} has {lines} lines; above {MAX_LINES} two ideas share a file"
    assert "utils" not in name.split("."), f"{name}: a name says what a file holds"


def test_every_source_file_names_its_copyright():
    own = [path for path in REPOSITORY.rglob("*.py") if not {".venv", ".cache", "build", "install"} & {*path.parts}]
    own += [*REPOSITORY.glob("*/*.sh"), *REPOSITORY.glob("executables/*"), *REPOSITORY.glob("msg/*.msg")]
    own += [REPOSITORY / name for name in ("Makefile", "CMakeLists.txt")]
    starts = {path: path.read_text()[:200].splitlines() for path in own if path.is_file()}
    without = [str(path) for path, lines in starts.items() if lines and f"# {COPYRIGHT}" not in lines[:2]]
    assert not without, f"the first line, or the second behind #!, is to be `# {COPYRIGHT}`: {without}"


def test_generated_package_file_stays_empty():
    # The message generator installs a file of this name too; which of the two wins must not matter.
    assert (REPOSITORY / "depthclip_ros" / "__init__.py").read_text() == ""


@pytest.mark.parametrize("table", [NODE_MODULES, WITHOUT_TORCH])
def test_tables_name_modules_that_exist(table):
    assert table <= set(modules())


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("depthclip_ros.core.types", "from depthclip_ros.core.geometry import pixel_rays"),
        ("depthclip_ros.core.model.heads", "from depthclip_ros.core import weights"),
        ("depthclip_ros.core.weights.load", "import depthclip_ros.core.engine.engine"),
        ("depthclip_ros.core.runtimes.proof", "from depthclip_ros.scene import render_batch"),
        ("depthclip_ros.core.runtimes.runtime", "from depthclip_ros.core import engine"),
        ("depthclip_ros.scene.path", "from depthclip_ros.ros import conversions"),
        ("depthclip_ros.core.engine.engine", "def load():\n    from depthclip_ros.ros.conversions import to_rgb"),
        ("depthclip_ros.ros.depth_node.pipeline", "from depthclip_ros.commands import bench"),
        ("depthclip_ros.ros.depth_node.pipeline", "import rclpy.node"),
        ("depthclip_ros.ros.conversions", "from depthclip_ros.msg import DepthStats"),
        ("depthclip_ros.core.geometry", "from torch import nn"),
        ("depthclip_ros.commands.bench", "import rclpy"),
        ("depthclip_trainer.loop", "from depthclip_ros.ros import bag"),
        ("depthclip_ros.cli", "import depthclip_trainer.loop"),
    ],
)
def test_a_bad_edge_is_named(name, source):
    assert any(edge.startswith(f"{name} -> ") for edge in offending_edges(name, source))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("depthclip_ros.core.engine.engine", "from depthclip_ros.core import weights"),
        ("depthclip_ros.ros.depth_node.node", "import rclpy\nfrom depthclip_ros.msg import DepthStats"),
        ("depthclip_ros.ros.depth_node.pipeline", "if TYPE_CHECKING:\n    from sensor_msgs.msg import Image"),
        ("depthclip_trainer.loop", "from depthclip_ros.core.weights import save_weights\nimport torch"),
        ("depthclip_trainer.data.rooms", "from depthclip_ros.scene import render_batch"),
    ],
)
def test_a_good_edge_is_allowed(name, source):
    assert offending_edges(name, source) == []
