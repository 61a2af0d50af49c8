# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The learning curve as a picture, from the log that a training leaves."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path


def read_log(path: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each name in a `log.csv`; a line that a kill cut off is left out."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.reader(file):
            if len(row) == 3 and row[0].isdigit():
                found[row[1]].append((int(row[0]), float(row[2])))
    return dict(found)


def write_curve(folder: Path) -> Path | None:
    """Draws loss and validation AbsRel of `folder/log.csv` over the steps as `folder/curve.png`; None without any."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    numbers = read_log(folder / "log.csv")
    panels = [
        ("training loss", {"loss": numbers["loss"]} if "loss" in numbers else {}),
        ("validation AbsRel", {k.removesuffix("/abs_rel"): v for k, v in numbers.items() if k.endswith("/abs_rel")}),
    ]
    panels = [(title, lines) for title, lines in panels if lines]
    if not panels:
        return None
    figure = Figure(figsize=(5 * len(panels), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name, points in lines.items():
            axes.plot(*zip(*points, strict=True), marker=".", label=name)
        axes.set(title=title, xlabel="step", yscale="log")
        axes.grid(True, which="both", alpha=0.3)
        if len(lines) > 1:
            axes.legend()
    path = folder / "curve.png"
    figure.savefig(path, dpi=120)
    return path
