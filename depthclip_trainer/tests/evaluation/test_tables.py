# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from depthclip_trainer.commands.adapt import Adapted, write_summary
from depthclip_trainer.evaluation.evaluate import Frame, Report
from depthclip_trainer.evaluation.metrics import Readings
from depthclip_trainer.evaluation.tables import COLUMNS, figures_json, print_report, write_report
from rich.console import Console


@pytest.fixture
def report() -> Report:
    """One frame without an edge to score."""
    metrics = {"abs_rel": 0.25, "abs_rel_edges": math.nan}
    frame = Frame("x", "x/0", Readings.of(np.ones(3, np.float32)), metrics, False)
    return Report({"data": "x"}, {"model": {"all": {**metrics, "frames": 1.0}}}, [frame])


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def test_reports_are_json_where_a_figure_does_not_exist(report, tmp_path):
    write_report(report, tmp_path)
    content = json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
    assert content["frames"][0] == {
        **{"source": "x", "frame": "x/0", "assumed_intrinsics": False},
        **{"abs_rel": 0.25, "abs_rel_edges": None},
    }
    assert content["rows"]["model"]["all"] == {"abs_rel": 0.25, "abs_rel_edges": None, "frames": 1.0}
    write_summary(Adapted(tmp_path / "w.safetensors", None, report, 1.0, 100.0), tmp_path / "summary.json")
    content = json.loads((tmp_path / "summary.json").read_text(), parse_constant=refuse)
    assert content["after"]["abs_rel_edges"] is None


def test_figures_and_options_are_printed_as_they_are(report):
    report.options.update(protocol="frames", alignment="none (metres)", weights="[bold]model[0].safetensors")
    console = Console(width=180, record=True)
    print_report(report, console)
    text = console.export_text()
    assert "weights: [bold]model[0].safetensors" in text
    assert "Protocol frames, alignment: none\n" in text
    (row,) = (line for line in text.splitlines() if line.split()[:1] == ["all"])
    assert row.split() == ["all", "1", "0.250", "nan"]


def test_every_heading_is_whole_at_the_width_of_a_log(report):
    report.options.update(protocol="nyu", alignment="none")
    report.rows["model"] = {
        name: {key: 0.25 for _, key in COLUMNS} | {"silog": 41.25, "confidence_correlation": -0.25} | {"frames": 654.0}
        for name in ("x", "by place")
    }
    report.rows["each image's median"] = {"by place": report.rows["model"]["x"]}
    console = Console(width=180, record=True)
    print_report(report, console)
    text = console.export_text()
    assert "…" not in text
    assert "by place: each image's median" in text


def test_the_best_constant_of_each_source_is_printed_where_there_are_several(report):
    report.options.update(protocol="frames", alignment="none")
    report.rows["best constant"] = report.rows["best constant per source"] = {"all": {"abs_rel": 0.5, "frames": 1.0}}

    def printed() -> str:
        console = Console(width=180, record=True)
        print_report(report, console)
        return console.export_text()

    assert "all: best constant " in printed()
    assert "per source" not in printed(), "the row above says the same"
    report.frames.append(replace(report.frames[0], source="y"))
    assert "all: best constant per source" in printed()


def test_figures_keep_their_shape():
    given = {"a": [1, 2.5, (math.inf, -math.inf)], "b": {"c": np.float64("nan"), "d": "text", "e": None, "f": True}}
    expected = {"a": [1, 2.5, [None, None]], "b": {"c": None, "d": "text", "e": None, "f": True}}
    assert json.loads(figures_json(given)) == expected
