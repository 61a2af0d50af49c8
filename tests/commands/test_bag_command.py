# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader

from depthclip_ros.cli import main
from depthclip_ros.commands.bag import OF_NODES, OF_OPTIONS
from depthclip_ros.ros.depth_node.parameters.table import DEFAULTS


@pytest.fixture(scope="module")
def weights(small_weights: Path) -> str:
    return str(small_weights)


def test_bag_in_bag_out_with_depth(
    write_bag: Callable[..., Path], tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = write_bag("bag", frames=2, broken=(1,)), tmp_path / "out.mcap"
    arguments = ["bag", str(source), str(out), "--weights", weights, "--device", "cpu"]
    options = ["--topics", "depth,points", "--param", "cloud.stride=8", "--namespace", "eye"]
    assert main([*arguments, *options]) == 0
    said = capsys.readouterr().out
    assert "depth for 1 of 2 images of /cam/image_raw" in said
    assert "100.100 s" in said
    with AnyReader([out]) as reader:
        assert {"/eye/depth/image", "/eye/depth/points", "/chatter"} <= set(reader.topics)
        assert "/eye/depth/stats" not in reader.topics
        (cloud,) = (c for c in reader.connections if c.topic == "/eye/depth/points")
        message = reader.deserialize(next(reader.messages([cloud]))[2], cloud.msgtype)
        assert (message.width, message.height) == (8, 6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--param", "output.max_deph=8"], "did you mean output.max_depth"),
        (["--param", "output.max_depth"], "has no ="),
        (["--param", "anchors=[ground]"], "--param anchors has no effect on a bag"),
        (["--param", "scale.factors=[1.2]"], "--param scale.factors has no effect on a bag"),
        (["--param", "model.weights=fast"], "--param model.weights has no effect here; give --weights"),
        (["--image-topic", "/nowhere"], "/nowhere"),
        (["--weights", "/nowhere.safetensors"], "/nowhere.safetensors"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    write_bag: Callable[..., Path],
    tmp_path: Path,
    weights: str,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    arguments = ["bag", str(write_bag("bag")), str(tmp_path / "out"), "--weights", weights, "--device", "cpu"]
    assert main([*arguments, *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_every_parameter_of_the_node_is_heeded_or_refused() -> None:
    """What is neither would be taken and do nothing: whoever adds a parameter says which it is."""
    heeded = {"model.threads", "uncertainty.level"}
    prefixes = ("input.", "output.", "cloud.", "scan.", "filter.", "scale.factor")
    refused = {*OF_OPTIONS, *OF_NODES}
    assert refused <= set(DEFAULTS)
    assert not refused & heeded
    assert [name for name in DEFAULTS if name not in refused | heeded and not name.startswith(prefixes)] == []


def test_existing_output_is_refused(
    write_bag: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_bag("bag")
    assert main(["bag", str(source), str(source)]) == 2
    assert "never overwritten" in capsys.readouterr().err
