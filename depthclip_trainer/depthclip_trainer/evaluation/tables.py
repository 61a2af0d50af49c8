# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Evaluation reports for people: a table on the terminal, JSON and a picture sheet on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from depthclip_trainer.evaluation.evaluate import PER_SOURCE, Report
from depthclip_trainer.evaluation.pictures import write_sheet

COLUMNS = (
    ("δ1", "delta1"),
    ("δ2", "delta2"),
    ("δ3", "delta3"),
    ("AbsRel", "abs_rel"),
    ("SqRel", "sq_rel"),
    ("RMSE", "rmse"),
    ("edges", "abs_rel_edges"),
    ("RMSElog", "rmse_log"),
    ("log10", "log10"),
    ("SILog", "silog"),
    ("δ1 scaled", "delta1_scaled"),
    ("AbsRel scaled", "abs_rel_scaled"),
    ("AUSE", "ause"),
    ("AUSE random", "ause_random"),
    ("corr.", "confidence_correlation"),
    ("covers", "coverage"),
    ("± ln", "half_width"),
)


def print_report(report: Report, console: Console | None = None) -> None:
    """The model by source and group, then what knows nothing of the picture, by group; options below."""
    console = console or Console(width=180)
    alignment = str(report.options["alignment"]).partition(" (")[0]
    console.print(f"Protocol {report.options['protocol']}, alignment: {alignment}", style="italic", highlight=False)
    # The narrowest there is: all headings are whole in 180 letters.
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("frames", justify="right")
    model = report.rows["model"]
    columns = [column for column in COLUMNS if any(column[1] in row for row in model.values())]
    for title, _ in columns:
        table.add_column(title, justify="right")
    sources = {frame.source for frame in report.frames}
    for name in sorted(model, key=lambda row: row not in sources):
        _add(table, columns, name, model[name], "bold" if name not in sources else "")
    table.add_section()
    for method, rows in report.rows.items():
        if method != "model" and (method != PER_SOURCE or len(sources) > 1):  # of one source it says the same
            for name in [row for row in rows if row not in sources]:
                _add(table, columns, f"{name}: {method}", rows[name], "dim")
    console.print(table)
    console.print(
        " · ".join(f"{key}: {value}" for key, value in report.options.items()),
        style="dim",
        markup=False,
        highlight=False,
    )


def print_parts(table: Mapping[str, Mapping[str, Mapping[str, float]]], console: Console) -> None:
    """Rows by name, of each a value by part of the frames and metric; all rows have the same parts and metrics."""
    first = next(iter(table.values()))
    printed = Table("", *(f"{part} {name}" for part, values in first.items() for name in values))
    for row, parts in table.items():
        printed.add_row(escape(row), *(f"{value:.3f}" for values in parts.values() for value in values.values()))
    console.print(printed)


def write_report(report: Report, folder: Path) -> None:
    """`report.json` and `pictures.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(figures_json(report.as_mapping()))
    write_sheet(folder / "pictures.png", report.pictures)


def figures_json(content: Any) -> str:
    """Mappings and lists of figures as JSON, which has no NaN and no infinity: null in their place."""
    return json.dumps(_finite(content), indent=1, allow_nan=False)


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _add(table: Table, columns: Sequence[tuple[str, str]], name: str, row: dict[str, float], style: str) -> None:
    values = [f"{row[key]:.3f}" if key in row else "" for _, key in columns]
    table.add_row(escape(name), f"{row['frames']:.0f}", *values, style=style)
