# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

from types import SimpleNamespace

import pytest

from depthclip_ros.ros.overrides import unused_files, unused_overrides, warn_of_unused, widen_overrides, widened

KNOWN = ["output.max_depth", "scale.factor", "model.device"]


@pytest.mark.parametrize(
    ("given", "meant"),
    [("output.max_dept", "output.max_depth"), ("scale_factor", "scale.factor"), ("Model.Device", "model.device")],
)
def test_a_misspelt_parameter_is_named_with_the_nearest(given, meant):
    (sentence,) = unused_overrides([given, "scale.factor"], KNOWN)
    assert f"no parameter {given}" in sentence
    assert f"did you mean {meant}?" in sentence


def test_a_parameter_like_no_other_is_named_with_all():
    (sentence,) = unused_overrides(["zzz"], KNOWN)
    assert "output.max_depth, scale.factor" in sentence


def test_what_every_node_has_is_not_misspelt():
    assert not list(unused_overrides(["use_sim_time", "qos_overrides./a/b.publisher.depth", *KNOWN], KNOWN))


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("/**:\n  ros__parameters: {a: 1}\n", True),
        ("depth_node:\n  ros__parameters: {a: 1}\n", False),  # of no namespace
        ("/front/depth_node:\n  ros__parameters: {a: 1}\n", True),
        ("front:\n  depth_node:\n    ros__parameters: {a: 1}\n", True),
        ("/*/depth_node:\n  ros__parameters: {a: 1}\n", True),
        ("/**/depth_node:\n  ros__parameters: {a: 1}\n", True),
        ("/front/depth:\n  ros__parameters: {a: 1}\n", False),
        ("/back/depth_node:\n  ros__parameters: {a: 1}\nother:\n  ros__parameters: {a: 1}\n", False),
        ("", True),
        ("[1, 2", True),
    ],
)
def test_a_file_for_other_nodes_is_named(tmp_path, text, used):
    file = tmp_path / "params.yaml"
    file.write_text(text)
    said = list(unused_files(["node", "--ros-args", "--params-file", str(file), "-r", "a:=b"], "/front/depth_node"))
    assert (said == []) is used
    if not used:
        assert str(file) in said[0]
        assert "none for /front/depth_node" in said[0]
    assert not list(unused_files(["--params-file"], "/front/depth_node"))


def test_a_whole_number_is_a_float_where_one_is_wanted():
    class Parameter:
        def __init__(self, name, value):
            self.name, self.value = name, value

    given = [Parameter("scale.factor", 2), Parameter("cloud.stride", 2), Parameter("scale.factor", True)]
    found = widened(given, {"scale.factor"})
    assert [(type(one.value), one.value) for one in found] == [(float, 2.0), (int, 2), (bool, True)]
    node = SimpleNamespace(_parameter_overrides={one.name: one for one in given[:2]})
    widen_overrides(node, {"scale.factor"})
    assert type(node._parameter_overrides["scale.factor"].value) is float


def test_a_node_warns_of_what_it_was_given_and_does_not_use(monkeypatch, tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("other:\n  ros__parameters: {a: 1}\n")
    monkeypatch.setattr("sys.argv", ["node", "--params-file", str(file)])
    said = []
    node = SimpleNamespace(
        _parameter_overrides={"scale.factr": 1.0, "scale.factor": 2.0},
        get_fully_qualified_name=lambda: "/depth_node",
        get_logger=lambda: SimpleNamespace(warning=said.append),
    )
    warn_of_unused(node, KNOWN)
    assert len(said) == 2
    assert "no parameter scale.factr" in said[0]
    assert said[1].startswith(f"{file} has parameters for /other but none for /depth_node")
