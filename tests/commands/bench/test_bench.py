# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import argparse
import errno
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from depthclip_ros.cli import main
from depthclip_ros.commands.bench import command, engine, systems
from depthclip_ros.commands.bench.settings import Unit
from depthclip_ros.commands.bench.systems import REFERENCE, SYSTEMS, System
from depthclip_ros.core import present
from depthclip_ros.core.errors import ConfigError
from depthclip_ros.ros.processes import package_prefix

OPTIONS = [("torch", "fp32")]
NODES = ("auto auto", "auto auto, the version before", "torch fp32")


@pytest.fixture(autouse=True)
def _one_runtime_and_a_cache_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine, "options_of", lambda device: OPTIONS)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """An environment whose depth_node leaves a line in `starts` and goes on as the installed one."""
    pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    node = tmp_path / "older" / "lib" / "depthclip_ros" / "depth_node"
    node.parent.mkdir(parents=True)
    installed = package_prefix() / "lib" / "depthclip_ros" / "depth_node"
    node.write_text(f'#!/bin/sh\necho started >> {tmp_path / "starts"}\nexec {installed} "$@"\n')
    node.chmod(0o755)
    return tmp_path / "older"


def figures_of(path: Path) -> dict:
    return json.loads(path.read_text(), parse_constant=pytest.fail)


def test_engine_and_cloud_stand_beside_their_baselines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_weights: Path
) -> None:
    monkeypatch.setitem(SYSTEMS, REFERENCE, System(REFERENCE, "depth-anything-tiny-metric"))
    out, page, picture = tmp_path / "out" / "bench.json", tmp_path / "bench.md", tmp_path / "bench.png"
    arguments = ["bench", "--quick", "--parts", "engine,cloud,path", "--device", "cpu", "--size", "160x120"]
    files = ["--json", str(out), "--markdown", str(page), "--plot", str(picture)]
    assert main([*arguments, "--weights", str(small_weights), *files]) == 0
    figures = figures_of(out)
    assert figures["schema"] == 1
    assert figures["machine"]["cores"] >= 1
    assert "torch" in figures["versions"]
    eager, engine = (row for row in figures["rows"] if row["part"] == "engine")
    assert (eager["runtime"], eager["times_eager"]) == ("torch eager", 1.0)
    assert (engine["runtime"], engine["precision"], engine["image"], engine["batch"]) == ("torch", "fp32", "160x120", 1)
    assert engine["times_eager"] == pytest.approx(eager["total_ms"] / engine["total_ms"])
    assert engine["times_reference"] == pytest.approx(engine["reference_ms"] / engine["total_ms"])
    assert engine["network_over_floor"] == pytest.approx(engine["network_ms"] / engine["floor_ms"])
    stages = sum(engine[f"{name}_ms"] for name in ("preprocess", "network", "postprocess"))
    assert 0 < stages <= engine["total_ms"] * 1.5
    assert figures["floor"]["rates"]["fp32"] > 1e9
    (cloud,) = (row for row in figures["rows"] if row["part"] == "cloud")
    assert cloud["times_per_field"] == pytest.approx(cloud["per_field_ms"] / cloud["total_ms"])
    one, two = (row for row in figures["rows"] if row["part"] == "path")
    assert (one["cameras"], two["cameras"], one["of_alone"]) == (1, 2, 1.0)
    assert two["of_alone"] == pytest.approx(two["total_ms"] / (2 * one["total_ms"]))
    text = page.read_text()
    assert "## Engine" in text
    assert "## Host to host" in text
    assert "torch eager fp32 (baseline)" in text
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize("kind", ["json", "markdown", "plot"])
def test_a_full_disk_leaves_the_older_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    figures = json.loads((Path(__file__).parents[3] / "docs" / "performance_cpu.json").read_text())
    file = tmp_path / "out" / "bench.png"
    file.parent.mkdir()
    args = argparse.Namespace(**{"json": None, "markdown": None, "plot": None, kind: file})
    file.write_bytes(b"of last week")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            command.write_results(args, figures, Console(quiet=True))
    assert file.read_bytes() == b"of last week"
    assert list(file.parent.iterdir()) == [file]
    command.write_results(args, figures, Console(quiet=True))
    assert file.stat().st_size > 1000


def test_a_run_goes_on_where_it_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_weights: Path) -> None:
    out = tmp_path / "bench.json"
    arguments = ["bench", "--quick", "--device", "cpu", "--size", "160x120", "--json", str(out)]
    assert main([*arguments, "--parts", "cloud"]) == 0
    first = figures_of(out)["rows"]

    measured = []

    def units(settings):
        def fail():
            measured.append("engine")
            raise RuntimeError("a cable was pulled")

        return [Unit("engine", "one", fail)]

    monkeypatch.setattr(engine, "units", units)
    assert main([*arguments, "--parts", "cloud,engine", "--resume"]) == 1, "what failed is no success"
    rows = figures_of(out)["rows"]
    assert rows[:1] == first, "not measured again"
    assert "a cable was pulled" in rows[1]["failed"]
    assert main([*arguments, "--parts", "cloud,engine", "--resume"]) == 1
    assert measured == ["engine", "engine"], "what failed is tried again"
    assert len(figures_of(out)["rows"]) == 2


def test_a_worse_ratio_is_measured_again_and_fails_only_when_strict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.json"
    assert main(["bench", "--quick", "--parts", "cloud", "--size", "160x120", "--json", str(old)]) == 0
    values = iter((0.1, 0.1, 0.1, 5.0))
    row = {"image": "160x120", "total_ms": 1.0, "per_field_ms": 1.0}
    monkeypatch.setattr(
        "depthclip_ros.commands.bench.cloud._measure", lambda settings: [{**row, "times_per_field": next(values)}]
    )
    arguments = ["bench", "--quick", "--parts", "cloud", "--compare", str(old)]
    assert main([*arguments, "--strict"]) == 1
    said = capsys.readouterr().out
    assert "measured again" in said
    assert "WORSE" in said
    assert main([*arguments, "--strict"]) == 0, "the second measurement clears it"


@pytest.mark.timeout(600)
def test_node_cameras_and_soak_over_dds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node_weights: Path, older: Path
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for part, seconds in (("node", 1.0), ("cameras", 1.0), ("soak", 3.0)):
        monkeypatch.setattr(f"depthclip_ros.commands.bench.{part}.QUICK_S", seconds)
    out, samples = tmp_path / "bench.json", tmp_path / "soak.csv"
    arguments = ["bench", "--quick", "--parts", "node,cameras,soak", "--device", "cpu", "--size", "160x120"]
    files = [
        "--json",
        str(out),
        "--csv",
        str(samples),
        "--markdown",
        str(tmp_path / "x.md"),
        "--plot",
        str(tmp_path / "x.png"),
    ]
    assert main([*arguments, "--weights", str(node_weights), "--before", str(older), *files]) == 0
    assert (tmp_path / "starts").read_text() == "started\n"
    rows = figures_of(out)["rows"]
    parts = {part: [row for row in rows if row["part"] == part] for part in ("node", "overload", "cameras", "soak")}
    assert [row["way"] for row in parts["node"]] == [
        "raw",
        "raw, the version before",
        "compressed",
        "raw, default DDS settings",
    ]
    raw = parts["node"][0]
    assert raw["frames"] >= 1
    assert raw["latency_p99_ms"] >= raw["latency_p50_ms"] > raw["engine_ms"] > 0
    (overload,) = parts["overload"]
    assert 0 <= overload["dropped_share"] <= 1
    assert {(row["cameras"], row["way"]) for row in parts["cameras"]} == {
        (count, way) for count in (1, 2) for way in ("one node", "a node each")
    }
    (soak,) = parts["soak"]
    assert soak["frames"] > 0
    assert soak["threads"][0] >= 2
    assert samples.read_text().startswith("time_s,resident_mb,private_mb,threads,handles,frames\n")
    assert {path.name for path in tmp_path.glob("*.png")} == {"x_node.png", "x_cameras.png", "x_soak.png"}


@pytest.mark.timeout(600)
def test_cold_start_of_engine_and_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node_weights: Path, older: Path
) -> None:
    monkeypatch.setattr("depthclip_ros.commands.bench.start.options_of", lambda device: OPTIONS)
    monkeypatch.setattr("depthclip_ros.commands.bench.start.AUTO", ("torch", "auto"))
    out = tmp_path / "bench.json"
    arguments = ["bench", "--quick", "--parts", "start", "--device", "cpu", "--size", "160x120", "--json", str(out)]
    assert main([*arguments, "--weights", str(node_weights), "--before", str(older)]) == 0
    assert (tmp_path / "starts").read_text() == "started\n" * 2
    rows = figures_of(out)["rows"]
    larger = [row for row in rows if row["what"] == "then 1280x720"]
    assert [row["cache"] for row in larger] == ["empty", "warm"]
    assert all(0 < row["start_s"] < 60 and 0.05 < row["gap_s"] < 60 for row in larger)
    rows = [row for row in rows if row not in larger]
    assert {(row["what"], row["asked"], row["cache"]) for row in rows} == {
        *(("engine", asked, cache) for asked in ("torch auto", "torch fp32") for cache in ("empty", "warm")),
        *(("node over DDS", asked, cache) for asked in NODES for cache in ("empty", "warm")),
    }
    for row in rows:
        assert row["start_s"] > 0.1
        assert row["resident_mb"] > 50
        if row["what"] == "node over DDS":
            assert 0.1 < row["active_s"] < row["start_s"]
            parts_mb = row["private_mb"] + row["files_mb"] + row["shared_mb"]
            assert parts_mb == pytest.approx(row["resident_mb"], rel=0.02)
        if row["asked"] == "torch fp32":
            assert row["of_torch"] == 1


def test_processes_in_other_folders_find_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(command, "_units", lambda part, settings: given.append(settings.weights) or [])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.safetensors").touch()
    (tmp_path / "default").touch()
    for weights in ("mine.safetensors", "default", "preset:nano"):
        assert main(["bench", "--quick", "--parts", "start", "--weights", weights]) == 0
    assert given == [str(tmp_path / "mine.safetensors"), "default", "preset:nano"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--parts", "engine,coffee"], "coffee"),
        (["--systems", "abacus"], "abacus"),
        (["--size", "big"], "WIDTHxHEIGHT"),
        (["--resume"], "--json"),
        (["--before", "/nowhere"], "no depth_node below /nowhere"),
        (["--compare", "/nowhere.json"], "/nowhere.json"),
        (["--plot", "bench.bmp", "--parts", ""], "bench.bmp: a picture ends in .png, .jpg, "),
    ],
)
def test_bad_argument_is_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_peer_that_can_have_no_graph_runs_all_the_same(tmp_path, monkeypatch):
    def refused(path):
        raise ConfigError(f"{path} cannot have a graph")

    for package in ("onnx", "transformers"):
        pytest.importorskip(package, reason="needs what makes the peer and its graph")
    monkeypatch.setattr("depthclip_ros.core.runtimes.graph_export.write_graph", refused)
    monkeypatch.setattr(systems, "_random_weights", lambda name, changes: tmp_path / "peer.safetensors")
    assert systems.peer_weights("fast") == str(tmp_path / "peer.safetensors")


def test_without_torch_the_device_is_the_cpu_and_another_is_refused(monkeypatch):
    monkeypatch.setattr(engine, "is_installed", lambda package: package != "torch")
    monkeypatch.setattr(present, "is_installed", lambda package: package != "torch")
    assert engine.device_of("auto") == engine.device_of("cpu") == "cpu"
    with pytest.raises(ConfigError, match="--device cuda: this needs torch, which is not installed"):
        engine.device_of("cuda")
