# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip inspect`: what a weights file is, without building its model."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from depthclip_ros.core.weights.info import WeightsInfo

# Rows of the first table, by the fields of WeightsInfo; config, training and metrics have tables of their own.
_NESTED = ("config", "training", "metrics", "uncertainty")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `depthclip inspect`."""
    parser.add_argument(
        "weights",
        nargs="?",
        default="default",
        metavar="WEIGHTS",
        help="`default` (shipped), a file, preset:NAME, a transformers folder, or a Hugging Face id",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object in place of tables")


def run(arguments: argparse.Namespace) -> int:
    """Print what the file says of itself.

    Raises:
        WeightsError: the file is missing, broken or of another format.
    """
    from depthclip_ros.core.weights.find import read_info

    info = read_info(arguments.weights)
    if arguments.json:
        print(json.dumps(as_dict(info), indent=2))
    else:
        _print_tables(info)
    return 0


def as_dict(info: WeightsInfo) -> dict[str, Any]:
    """All fields as JSON values, with `file_bytes` beside them."""
    values = {field.name: getattr(info, field.name) for field in dataclasses.fields(info)}
    values["uncertainty"] = None if info.uncertainty is None else info.uncertainty.as_mapping()
    path = Path(info.path)
    return {**values, "path": str(path), "file_bytes": path.stat().st_size}


def _print_tables(info: WeightsInfo) -> None:
    from rich.console import Console

    from depthclip_ros.commands.tables import table_of

    console = Console()
    values = as_dict(info)
    overview = [(name.replace("_", " "), _text(name, value)) for name, value in values.items() if name not in _NESTED]
    console.print(table_of(Path(info.path).name, rows=overview, words=2, header=False))
    for name in _NESTED:
        section: Mapping[str, Any] | None = values[name]
        if not section:
            console.print(f"{name}: nothing recorded", style="dim", markup=False)
            continue
        rows = [(key, _text(key, value)) for key, value in _flat(section)]
        console.print(table_of(name, rows=rows, words=2, header=False))


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Rows of nested mappings, inner keys after a dot."""
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            rows.extend(_flat(value, f"{prefix}{key}."))
        else:
            rows.append((f"{prefix}{key}", value))
    return rows


def _text(name: str, value: Any) -> str:
    """A value for people."""
    if value is None or value in ("", [], ()):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "file_bytes":
        return f"{value / 1e6:.1f} MB"
    if name in ("parameters_total", "parameters_trained"):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value)
    return str(value)
