# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Fixtures that several test folders share."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from depthclip_ros.core.present import is_installed

# Networks are built with torch, which a ROS workspace need not have: nothing of these folders can be collected then.
WITHOUT_TORCH = [] if is_installed("torch") and is_installed("open_clip") else ["core", "scene"]
collect_ignore = WITHOUT_TORCH

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


def pytest_report_header() -> list[str]:
    """Say what is left out, for nothing else does."""
    return [f"left out, for they need torch and open-clip-torch: {', '.join(WITHOUT_TORCH)}"] if WITHOUT_TORCH else []


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real RGB-D frames beside the checkout; a user's machine does not have it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the RGB-D frames of ../shared/data, which are not on this machine")
    return SHARED_DATA


@pytest.fixture(scope="session")
def ros_domain_id() -> int:
    """A ROS domain of this test process alone, beside that of `ros_environment` and, as it, below 102."""
    return 60 + os.getpid() % 40


@pytest.fixture(scope="session")
def extras() -> tuple[str, ...]:
    """Packages that `make demo` does not install."""
    return ("torch", "torchvision", "open_clip", "transformers", "nncf", "onnx", "onnxruntime", "depthclip_trainer")


@pytest.fixture(scope="session")
def lacking(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, str]]:
    """Environment variables of a process that finds none of some packages: `lacking("torch", "onnx")`."""

    def make(*packages: str) -> dict[str, str]:
        folders = list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
        held = [Path(folder, "sitecustomize.py") for folder in folders]  # scripts/fp32_only, which holds on
        text = "".join(path.read_text() for path in held if path.is_file())
        folder = tmp_path_factory.mktemp("lacking")
        # Not modules that raise: what is looked for without being imported has to be absent too.
        absent = f"sys.modules.update(dict.fromkeys({packages!r}))"
        (folder / "sitecustomize.py").write_text(f"{text}\nimport sys\n{absent}\n")
        return {"PYTHONPATH": os.pathsep.join((str(folder), *folders))}

    return make


# A small weights file with its graph, for tests in an environment that cannot make it: `test_light_environment.py`.
MADE_WEIGHTS = os.environ.get("DEPTHCLIP_TEST_WEIGHTS", "")

SMALL_NANO = {
    "input_pixels": 64 * 48,
    "tower_blocks": 2,
    "tower_width": 48,
    "stem_channels": (8, 16, 24),
    "stem_blocks": (0, 1, 1),
    "adapter_layers": (1,),
    "tap_layers": (1,),
    "last_blocks": 1,
    "decoder_channels": (32, 24, 16, 16),
}


@pytest.fixture(scope="session")
def small_config() -> Callable[[], Any]:
    """Configuration of the real system with a tower of two blocks: fast to build, load, compile and run."""
    preset = pytest.importorskip("depthclip_ros.core.model.registry").preset
    return lambda: preset("nano", **SMALL_NANO)


@pytest.fixture(scope="session")
def small_weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of `small_config`, untrained: its depth means nothing, its path is the real one."""
    if MADE_WEIGHTS:
        return Path(MADE_WEIGHTS)
    import torch

    from depthclip_ros.core.model.registry import build_model
    from depthclip_ros.core.uncertainty import Uncertainty
    from depthclip_ros.core.weights.weights_file import save_weights

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    training = {"data": {"rooms": 3}, "steps": 7}
    intervals = Uncertainty(
        0.1, 0.3, 0.5, (0.5, 0.9), (1.0, 3.0), ((0.6, 0.7), (1.5, 2.0)), ((0.5, 0.6), (1.2, 1.6)), 0.5, 9, 30
    )
    model = build_model(request.getfixturevalue("small_config")())
    save_weights(path, model, training=training, metrics={"delta1": 0.5}, uncertainty=intervals)
    return path


@pytest.fixture(scope="session")
def small_graph_weights(small_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with its graph beside it: what runs without torch."""
    if MADE_WEIGHTS:
        return Path(MADE_WEIGHTS)
    pytest.importorskip("onnx", reason="needs the extra `onnx`")
    from depthclip_ros.core.runtimes.graph_export import write_graph

    path = Path(shutil.copy(small_weights, tmp_path_factory.mktemp("weights_with_graph")))
    write_graph(path)
    return path


@pytest.fixture(scope="session")
def node_weights(request: pytest.FixtureRequest) -> Path:
    """What a node of the tests runs: with a graph, as `default` and `fast`, wherever one can be made."""
    made = MADE_WEIGHTS or all(map(is_installed, ("torch", "onnx", "openvino")))
    return request.getfixturevalue("small_graph_weights" if made else "small_weights")


TINY_DINOV2 = {
    "model_type": "dinov2",
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "image_size": 70,
    "patch_size": 14,
    "reshape_hidden_states": False,
    "out_indices": [1, 2, 3, 4],
}
TINY_DEPTH_ANYTHING = {
    "model_type": "depth_anything",
    "backbone_config": TINY_DINOV2,
    "reassemble_hidden_size": 32,
    "neck_hidden_sizes": [8, 12, 16, 24],
    "fusion_hidden_size": 16,
    "head_hidden_size": 8,
}


@pytest.fixture(scope="session")
def make_transformers_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a folder as the library itself does, with a small random network whose output varies over the image.

    `make_transformers_folder(depth_estimation_type="metric", max_depth=20)`: Depth Anything, with settings of its
    configuration; `model_type` and all the rest for another network.
    """
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers", reason="needs the extra `transformers`")

    def make(processor: dict[str, Any] | None = None, **settings: Any) -> Path:
        values = settings if "model_type" in settings else {**TINY_DEPTH_ANYTHING, **settings}
        torch.manual_seed(0)
        config = transformers.AutoConfig.for_model(**values)
        network = transformers.AutoModelForDepthEstimation.from_config(config)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if parameter.ndim >= 2 and "embeddings" not in name:
                    parameter.normal_(std=(1.0 / parameter[0].numel()) ** 0.5)
            if values["model_type"] == "depth_anything":
                network.head.conv3.bias.fill_(1.0)
        folder = tmp_path_factory.mktemp("transformers") / "network"
        transformers.utils.logging.disable_progress_bar()
        network.save_pretrained(folder)
        if processor is not None:
            (folder / "preprocessor_config.json").write_text(json.dumps(processor))
        return folder

    return make


@pytest.fixture
def write_bag(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small bag and returns its path: `write_bag(name, storage="sqlite3", frames=4, ...)`.

    Topics: `/cam/image_raw` (rgb8, or `/cam/image_raw/compressed` as JPEG), `/cam/camera_info`, `/cam/depth` (16UC1,
    aligned; or `/cam/depth/compressedDepth`) and `/chatter` (std_msgs/String, transient local). Pixel values, depth and
    stamps follow from the frame's number: rgb is 40 × number everywhere, depth 1000 + number millimetres, the stamp
    100 s + number × 0.1 s.
    """
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    kinds = store.types
    forever = QosTime(2147483647, 4294967295)

    def qos(durability: QosDurability) -> Qos:
        reliable, automatic = QosReliability.RELIABLE, QosLiveliness.AUTOMATIC
        return Qos(QosHistory.KEEP_LAST, 7, reliable, durability, forever, forever, automatic, forever, False)

    def write(
        name: str,
        storage: str = "sqlite3",
        frames: int = 4,
        size: tuple[int, int] = (64, 48),
        compressed: bool = False,
        broken: tuple[int, ...] = (),
        camera_info: bool = True,
        compressed_depth: bool = False,
    ) -> Path:
        width, height = size
        path = tmp_path / name
        with Writer(path, version=8, storage_plugin=StoragePlugin[storage.upper()]) as writer:

            def add(topic: str, kind: str, durability: QosDurability = QosDurability.VOLATILE) -> Callable[..., None]:
                connection = writer.add_connection(topic, kind, typestore=store, offered_qos_profiles=[qos(durability)])
                return lambda time_ns, message: writer.write(connection, time_ns, store.serialize_cdr(message, kind))

            image_kind = "sensor_msgs/msg/CompressedImage" if compressed else "sensor_msgs/msg/Image"
            image_topic = "/cam/image_raw/compressed" if compressed else "/cam/image_raw"
            put_text = add("/chatter", "std_msgs/msg/String", QosDurability.TRANSIENT_LOCAL)
            put_image = add(image_topic, image_kind)
            put_info = add("/cam/camera_info", "sensor_msgs/msg/CameraInfo") if camera_info else None
            depth_kind = "sensor_msgs/msg/CompressedImage" if compressed_depth else "sensor_msgs/msg/Image"
            put_depth = add("/cam/depth/compressedDepth" if compressed_depth else "/cam/depth", depth_kind)
            put_text(99_000_000_000, kinds["std_msgs/msg/String"](data="before"))
            for number in range(frames):
                stamp_ns = 100_000_000_000 + number * 100_000_000
                stamp = kinds["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
                header = kinds["std_msgs/msg/Header"](stamp=stamp, frame_id="cam_optical")
                rgb = np.full((height, width, 3), 40 * number % 256, np.uint8)
                if compressed:
                    data = cv2.imencode(".jpg", rgb)[1].reshape(-1)
                    data = data[: data.size // 3] if number in broken else data
                    image = kinds[image_kind](header=header, format="jpeg", data=data)
                else:
                    data = rgb.reshape(-1)[: 10 if number in broken else None]
                    image = kinds[image_kind](header, height, width, "rgb8", 0, 3 * width, data)
                received_ns = stamp_ns + 5_000_000
                put_image(received_ns, image)
                if put_info:
                    k = np.array([50.0, 0, (width - 1) / 2, 0, 50.0, (height - 1) / 2, 0, 0, 1])
                    p = np.array([50.0, 0, (width - 1) / 2, 0, 0, 50.0, (height - 1) / 2, 0, 0, 0, 1, 0])
                    whole = kinds["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
                    info = kinds["sensor_msgs/msg/CameraInfo"](
                        header, height, width, "plumb_bob", np.zeros(5), k, np.eye(3).reshape(-1), p, 0, 0, whole
                    )
                    put_info(received_ns + 1_000_000, info)  # after its image, as recorders have it
                depth = np.full((height, width), 1000 + number, "<u2")
                depth[0, 0] = 0
                if compressed_depth:
                    png = np.concatenate([np.zeros(12, np.uint8), cv2.imencode(".png", depth)[1].reshape(-1)])
                    message = kinds[depth_kind](header=header, format="16UC1; compressedDepth png", data=png)
                else:
                    values = depth.reshape(-1).view(np.uint8)
                    message = kinds[depth_kind](header, height, width, "16UC1", 0, 2 * width, values)
                put_depth(received_ns + 2_000_000, message)
                put_text(received_ns + 3_000_000, kinds["std_msgs/msg/String"](data=f"text {number}"))
        return path

    return write
