# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The demo as a user runs it: three processes over real DDS, with a network of random weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from depthclip_ros.cli import main


@pytest.fixture(scope="module")
def weights(node_weights: Path) -> str:
    return str(node_weights)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        assert cv2.imwrite(str(folder / f"{number}.png"), np.full((48, 64, 3), 60 * number, np.uint8))
    return folder


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _no_process_left(ros_domain_id: int) -> Iterator[None]:
    yield
    deadline_s = time.monotonic() + 5
    while (left := processes_of(ros_domain_id)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert left == set()


def processes_of(domain_id: int) -> set[str]:
    """Command lines of nodes whose environment has the test's domain; one that forks to find its Python is one."""
    commands = (
        command_in_domain(folder, f"ROS_DOMAIN_ID={domain_id}".encode()) for folder in Path("/proc").glob("[0-9]*")
    )
    return {command for command in commands if command}


def command_in_domain(folder: Path, wanted: bytes) -> str:
    try:
        command = (folder / "cmdline").read_bytes()
        in_domain = wanted in (folder / "environ").read_bytes().split(b"\0")
    except OSError:  # ended meanwhile
        return ""
    return command.replace(b"\0", b" ").decode() if in_domain and b"_node" in command else ""


def test_room_gives_report_with_errors_and_pictures(
    tmp_path: Path,
    weights: str,
    ros_domain_id: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "demo"
    options = ["--size", "64x48", "--frames", "4", "--rate", "10", "--domain-id", str(ros_domain_id)]
    assert main(["demo", "--duration", "2", "--out", str(out), "--weights", weights, "--device", "cpu", *options]) == 0
    report = json.loads((out / "report.json").read_text(), parse_constant=pytest.fail)
    assert report["frames_in"] >= report["frames_out"] > 0
    assert report["dropped"] >= 0
    assert report["rate_hz"] > 0
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p95"]
    assert report["why_no_errors"] is None
    for name in ("delta1", "abs_rel", "rmse_m"):
        assert np.isfinite(report[name])
    assert 0 < report["baselines"]["best_constant"]["delta1"] <= 1
    assert report["baselines"]["best_constant"]["depth_m"] > 0.2
    assert [one["name"] for one in report["anchors"]] == ["one range beam", "ground, range, scan, odometry"]
    for one in report["anchors"]:
        assert np.isfinite(one["abs_rel"])
        assert one["frames_scored"] > 0
        assert one["scale"] > 0
    assert 0 <= report["interval_coverage"] <= 1
    assert report["interval_level"] == 0.9
    assert report["half_width"] > 0
    assert (out / "interval.png").is_file()
    assert len(report["model"]["sha256"]) == 12
    assert report["engine_ms"]["network"] > 0
    assert report["machine"]["cores"] >= 1
    for name in ("frames.png", "cloud.png"):
        picture = cv2.imread(str(out / name))
        assert picture is not None
        assert picture.std() > 5, f"{name} shows something"
    said = capsys.readouterr().out
    assert "frames in / out / dropped" in said
    assert said.count("rendering the room") == 1, "one line, and no bar, where there is no terminal"
    rooms = list((tmp_path / "cache" / "depthclip_ros" / "rooms").iterdir())
    assert len(rooms) == 1, "rendered once, for the demo and for the camera"


def test_pictures_without_exact_depth_give_null_and_a_reason(
    tmp_path: Path, weights: str, pictures: Path, ros_domain_id: int, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    options = ["--source", str(pictures), "--rate", "10", "--domain-id", str(ros_domain_id)]
    assert main(["demo", "--duration", "1", "--out", str(out), "--weights", weights, "--device", "cpu", *options]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["delta1"] is None
    assert "no exact depth" in report["why_no_errors"]
    assert report["focal_assumed"] is True
    assert (out / "frames.png").is_file()
    assert not (out / "cloud.png").exists(), "without camera_info there is no cloud"
    assert f"report and pictures: {out}/report.json, frames.png\n" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_no_process(
    tmp_path: Path, weights: str, pictures: Path, ros_domain_id: int, number: signal.Signals
) -> None:
    code = "import sys; from depthclip_ros.cli import main; sys.exit(main(sys.argv[1:]))"
    options = ["--source", str(pictures), "--out", str(tmp_path / "demo"), "--weights", weights, "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "demo", *options, "--domain-id", str(ros_domain_id)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline_s = time.monotonic() + 60
        while len(processes_of(ros_domain_id)) < 2 and time.monotonic() < deadline_s:
            time.sleep(0.1)
        assert len(processes_of(ros_domain_id)) == 2, "camera_node and depth_node run"
        process.send_signal(number)
        said, _ = process.communicate(timeout=40)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Traceback" not in said


def test_bad_weights_end_it_with_the_node_s_reason(
    tmp_path: Path, pictures: Path, ros_domain_id: int, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"nothing")
    options = ["--source", str(pictures), "--out", str(tmp_path / "demo"), "--domain-id", str(ros_domain_id)]
    assert main(["demo", "--weights", str(bad), *options]) == 2
    said = capsys.readouterr().err
    assert "depth_node cannot start" in said
    assert "bad.safetensors" in said
    assert not (tmp_path / "demo" / "report.json").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--source", "/nowhere"], "does not exist"), (["--size", "big"], "WIDTHxHEIGHT")],
)
def test_bad_argument_is_one_sentence(
    tmp_path: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(tmp_path / "demo"), *options]) == 2
    assert said in capsys.readouterr().err
