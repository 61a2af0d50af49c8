# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from depthclip_ros.cli import main
from depthclip_ros.commands import doctor


def findings(capsys: pytest.CaptureFixture[str], without: str = "_speed") -> dict[str, dict[str, str]]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(doctor, "CHECKS", tuple(check for check in doctor.CHECKS if check.__name__ != without))
        main(["doctor", "--json"])
    return {one["what"]: one for one in json.loads(capsys.readouterr().out)["findings"]}


def test_json_names_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    found = findings(capsys)
    assert found["torch"]["status"] == "OK"
    assert found["rosbags"]["status"] == "OK"
    assert {one["status"] for one in found.values()} <= {"OK", "WARN", "FAIL"}
    assert all(one["advice"] for one in found.values() if one["status"] != "OK"), "what is wrong comes with what to do"


def test_exit_code_follows_the_findings(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    good = doctor.Finding("a thing", "OK", "there")
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([good]),))
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    bad = doctor.Finding("another", "FAIL", "absent", "get [one]")
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([good, bad]),))
    assert main(["doctor"]) == 1
    assert "get [one]" in capsys.readouterr().out


def test_check_that_breaks_is_a_finding(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield doctor.Finding("before", "OK", "there")
        raise OSError("no such device")

    monkeypatch.setattr(doctor, "CHECKS", (broken,))
    assert main(["doctor", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)["findings"]
    assert [one["status"] for one in said] == ["OK", "FAIL"]
    assert "no such device" in said[1]["found"]


@pytest.mark.parametrize(
    ("module", "package"), [("simplejpeg", "simplejpeg"), ("PIL", "pillow"), ("filelock", "filelock")]
)
def test_what_every_node_imports_is_a_row_that_fails_where_it_is_absent(
    module: str, package: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (doctor._runtimes,))
    assert findings(capsys)[module]["status"] == "OK"
    monkeypatch.setitem(sys.modules, module, None)
    one = findings(capsys)[module]
    assert (one["status"], one["advice"]) == ("FAIL", f"pip install {package}")


def test_check_that_lacks_a_package_says_what_to_activate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking():  # type: ignore[no-untyped-def]
        yield from ()
        raise ModuleNotFoundError("No module named 'simplejpeg'", name="simplejpeg")

    monkeypatch.setattr(doctor, "CHECKS", (lacking,))
    one = findings(capsys)["lacking"]
    assert one["status"] == "FAIL"
    assert one["found"].startswith("simplejpeg is not installed for ")
    assert one["advice"].startswith("activate the environment")


@pytest.mark.parametrize("variable", ["FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"])
def test_dds_profile_that_is_no_file_fails(
    variable: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    one = findings(capsys)["DDS profile"]
    assert one["status"] == "WARN"
    assert f"{variable}=" in one["advice"]
    monkeypatch.setenv(variable, str(tmp_path / "absent.xml"))
    one = findings(capsys)["DDS profile"]
    assert one["status"] == "FAIL"
    assert "absent.xml" in one["found"]
    (tmp_path / "absent.xml").write_text("<dds/>")
    assert findings(capsys)["DDS profile"]["status"] == "OK"


def test_an_absent_rmw_is_a_row_and_the_others_follow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_of_nobody_cpp")
    found = findings(capsys)
    assert found["RMW"]["status"] == "FAIL"
    assert "rmw_of_nobody_cpp is not there" in found["RMW"]["found"]
    assert "rmw-of-nobody-cpp" in found["RMW"]["advice"]
    assert {"Python", "DDS profile", "torch", "default weights", "fast weights", "video"} <= found.keys()
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    assert findings(capsys)["RMW"]["status"] == "OK"


@pytest.mark.parametrize(("default_ms", "advised"), [(20.0, False), (90.0, True)])
def test_where_default_is_too_slow_for_a_camera_fast_is_advised(
    default_ms: float, advised: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times_ms = iter([default_ms, 8.0])
    monkeypatch.setattr(doctor, "CHECKS", (doctor._speed,))
    monkeypatch.setattr(doctor, "image_ms", lambda engine: next(times_ms))
    found = findings(capsys, without="")["an image of 640x480"]
    assert f"default {default_ms:.0f} ms" in found["found"]
    assert "fast 8 ms" in found["found"]
    assert (found["status"] == "WARN", "model.weights: fast" in found["advice"]) == (advised, advised)
