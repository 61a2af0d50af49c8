# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from depthclip_ros.commands.bench.report.regression import (
    COMPARED,
    DOUBTED,
    FINE,
    ONLY_NEW,
    ONLY_OLD,
    WORSE,
    believed,
    compare,
    doubted_units,
    read,
    summary,
)
from depthclip_ros.core.errors import ConfigError


def engine(runtime: str, times_eager: float, total_ms: float = 10.0, **more: Any) -> dict[str, Any]:
    row = {"part": "engine", "unit": "nano", "system": "nano", "runtime": runtime, "precision": "fp32"}
    return {**row, "image": "640x480", "batch": 1, "times_eager": times_eager, "total_ms": total_ms, **more}


def node(way: str, latency_over_engine: float) -> dict[str, Any]:
    row = {"part": "node", "unit": "latency", "way": way, "image": "640x480"}
    return {**row, "latency_over_engine": latency_over_engine}


def run(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"schema": 1, "rows": list(rows)}


def verdicts(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["what"].replace(", fp32, 640x480, 1", ""): row["verdict"] for row in rows}


def test_one_real_regression_is_named_and_noise_is_not() -> None:
    old = run(engine("torch", 1.4), engine("openvino", 4.0), node("raw", 1.5))
    new = run(engine("torch", 1.1), engine("openvino", 1.8), node("raw", 2.6))
    found = compare(old, new)
    assert verdicts(found) == {
        "engine: nano, torch": FINE,
        "engine: nano, openvino": DOUBTED,
        "node: raw, 640x480": FINE,
    }
    (doubted,) = (row for row in found if row["verdict"] == DOUBTED)
    assert doubted["worse"] == pytest.approx(4.0 / 1.8)
    assert doubted_units(found) == [("engine", "nano")]

    still = compare(old, run(engine("torch", 0.5), engine("openvino", 2.0)))
    settled = believed(found, still)
    assert verdicts(settled) == {
        "engine: nano, torch": FINE,  # fine once is fine: it was measured again only for its neighbour's sake
        "engine: nano, openvino": WORSE,
        "node: raw, 640x480": FINE,
    }
    assert next(row["new"] for row in settled if row["verdict"] == WORSE) == 2.0, "the better of both"
    assert summary(settled) == "1 WORSE; 2 fine"


def test_a_doubt_that_a_second_measurement_does_not_bear_out_is_dropped() -> None:
    old = run(engine("openvino", 4.0))
    settled = believed(compare(old, run(engine("openvino", 1.0))), compare(old, run(engine("openvino", 3.9))))
    assert verdicts(settled) == {"engine: nano, openvino": FINE}


def test_what_could_not_be_measured_again_stays_worse() -> None:
    old = run(engine("openvino", 4.0))
    failed = {"part": "engine", "unit": "nano", "failed": "a cable was pulled"}
    assert verdicts(believed(compare(old, run(engine("openvino", 1.0))), compare(old, run(failed)))) == {
        "engine: nano, openvino": WORSE
    }


def test_milliseconds_do_not_matter() -> None:
    (row,) = compare(run(engine("openvino", 4.0, total_ms=1.0)), run(engine("openvino", 4.0, total_ms=1000.0)))
    assert row["verdict"] == FINE


def test_rows_that_one_side_lacks_are_said() -> None:
    old = run(engine("openvino", 4.0), engine("torch", 1.4))
    new = run(engine("torch", 1.4), engine("tensorrt", 9.0))
    found = compare(old, new)
    assert verdicts(found) == {
        "engine: nano, openvino": ONLY_OLD,
        "engine: nano, torch": FINE,
        "engine: nano, tensorrt": ONLY_NEW,
    }
    assert summary(found) == "0 WORSE; 1 fine; 1 not in this run; 1 not in the older run"


def test_units_that_were_not_measured_are_left_out() -> None:
    assert compare(run(node("raw", 1.5), engine("torch", 1.4)), run(engine("torch", 1.4)))[0]["part"] == "engine"
    assert len(compare(run(node("raw", 1.5), engine("torch", 1.4)), run(engine("torch", 1.4)))) == 1


def test_a_runtime_that_stepped_aside_is_not_taken_for_itself() -> None:
    found = compare(run(engine("openvino", 4.0)), run(engine("openvino", 4.0, ran="torch fp32")))
    assert verdicts(found) == {"engine: nano, openvino": ONLY_OLD}


def test_every_margin_leaves_room_for_noise() -> None:
    assert all(one.margin >= 1.5 for ratios in COMPARED.values() for one in ratios)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for content in ("no json", json.dumps([1]), json.dumps({"schema": 0, "rows": []})):
        path.write_text(content)
        with pytest.raises(ConfigError, match=r"x\.json"):
            read(path)
