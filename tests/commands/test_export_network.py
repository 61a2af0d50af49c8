# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip export`: an ONNX file that says what it is, and a cache that is warm for the node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from depthclip_ros.cli import main
from depthclip_ros.core.runtimes.openvino import imported


def test_the_onnx_file_says_what_it_is_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the extra `onnx`")
    assert main(["export", "onnx", str(tmp_path / "depth.onnx"), "--size", "640x480", "--weights", "fast"]) == 0
    output = capsys.readouterr().out
    assert "pixels uint8 [batch, 128, 160, 3]" in output
    assert "(focal length at this size in px / 300) is metres" in " ".join(output.split())
    about = {entry.key: entry.value for entry in onnx.load(str(tmp_path / "depth.onnx")).metadata_props}
    assert len(about["weights_sha256"]) == 64
    assert about["system"] == "moa_depthclip"
    assert json.loads(about["canonical_focal_px"]) == 300.0


@pytest.mark.skipif(not imported.is_installed(), reason="needs the extra `openvino`")
def test_the_cache_is_filled_for_every_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert (
        main(["export", "cache", "--runtime", "openvino", "--precision", "fp32", "--cameras", "2", "--weights", "fast"])
        == 0
    )
    output = capsys.readouterr().out
    assert "openvino on cpu in fp32" in output
    assert output.count("160x128") == 2
    assert len(list((tmp_path / "depthclip_ros" / "compiled").glob("openvino-cache-*/*.blob"))) == 4  # two parts, twice


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["onnx", "/nowhere/at/all.onnx"], "/nowhere/at is no folder to write all.onnx into"),
        (["onnx", "depth.onnx", "--size", "big"], "--size is 'big'; write WIDTHxHEIGHT"),
        (["cache", "--cameras", "0"], "--cameras is 0; it must be at least 1"),
        (["cache", "--runtime", "tensorrt"], "runtime 'tensorrt' is not known; allowed are auto, torch"),
    ],
)
def test_what_is_refused(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", *arguments]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
