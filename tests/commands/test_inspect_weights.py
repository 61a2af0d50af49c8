# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip inspect` on a real weights file, and on none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch: what reads a configuration builds its network")

from depthclip_ros.cli import main
from depthclip_ros.core.model.registry import config_from_dict


def test_json_holds_what_the_file_says(small_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(small_weights), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["path"] == str(small_weights)
    assert values["file_bytes"] == small_weights.stat().st_size
    assert values["system"] == "moa_depthclip"
    assert config_from_dict(values["config"]).input_pixels == 64 * 48
    assert values["training"] == {"data": {"rooms": 3}, "steps": 7}
    assert values["metrics"] == {"delta1": 0.5}
    assert values["uncertainty"]["free"] == [[0.6, 0.7], [1.5, 2.0]]
    assert values["parameters_total"] >= values["parameters_trained"] > 1000
    assert len(values["sha256"]) == 64


def test_the_tables_show_the_same(small_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(small_weights)]) == 0
    shown = capsys.readouterr().out
    for text in (
        "small.safetensors",
        "moa_depthclip",
        "data.rooms",
        "delta1",
        "0.5",
        "parameters total",
        "input_pixels",
        "scale_sd",
    ):
        assert text in shown


def test_a_missing_file_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "none.safetensors")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "none.safetensors" in captured.err
    assert len(captured.err.splitlines()) == 1
