from __future__ import annotations

import json
from pathlib import Path

import pytest

from depthclip_ros.cli import main


def test_engine_and_cloud_figures_stand_beside_their_baselines(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    arguments = ["bench", "--quick", "--parts", "engine,cloud", "--precision", "fp32", "--device", "cpu"]
    assert main([*arguments, "--size", "160x120", "--json", str(out)]) == 0
    figures = json.loads(out.read_text(), parse_constant=pytest.fail)
    assert figures["size"] == [160, 120]
    assert figures["machine"]["cores"] >= 1
    baseline, engine = figures["engine"]
    assert "baseline" in baseline["name"]
    assert engine["speed_ratio"] == pytest.approx(baseline["total_ms"] / engine["total_ms"])
    stages = sum(engine[f"{name}_ms"] for name in ("preprocess", "network", "postprocess"))
    assert 0 < stages <= engine["total_ms"] * 1.5
    cloud = figures["cloud"]
    assert cloud["speed_ratio"] == pytest.approx(cloud["per_field_numpy_ms"] / cloud["ours_ms"])


def test_node_overhead_and_memory(tmp_path: Path, ros_domain_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = tmp_path / "bench.json"
    arguments = ["bench", "--quick", "--parts", "node,memory", "--device", "cpu", "--size", "160x120"]
    assert main([*arguments, "--domain-id", str(ros_domain_id), "--json", str(out)]) == 0
    figures = json.loads(out.read_text(), parse_constant=pytest.fail)
    with_profile, _default = figures["node"]
    assert with_profile["frames"] >= 1
    assert with_profile["overhead_ms"] > 0
    latency, engine = with_profile["latency_p50_ms"], with_profile["engine_ms"]
    assert latency > engine > 0
    memory = figures["memory"]
    assert memory["frames"] == 30
    assert memory["resident_mb"] > memory["private_last_third_mb"] > 50


def test_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--parts", "engine,coffee"]) == 2
    assert "coffee" in capsys.readouterr().err
