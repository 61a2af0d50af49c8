# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The sheet of `depthclip compare`: a column per system, a row per image, errors where depth is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.commands.pictures import DEPTH_COLOURS
from depthclip_ros.core.files import replaced

if TYPE_CHECKING:
    from depthclip_ros.commands.compare import Column
    from depthclip_ros.commands.files.lens import Job

ERROR_COLOURS = "magma"
MOST_ERROR = 0.5  # of the colours: |d - g| / g
MAX_IMAGES = 8
CELL_INCHES = 2.9
UNKNOWN = "0.75"


def draw_sheet(
    path: Path, jobs: Sequence[Job], truths: Sequence[NDArray[np.float32] | None], columns: Sequence[Column]
) -> None:
    """Write the sheet; of more than MAX_IMAGES images, some evenly taken.

    Args:
        path: PNG to write.
        jobs: the images.
        truths: measured depth of each, 0 unknown, or None.
        columns: of the systems, `depth_m` in the order of the images.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = np.unique(np.linspace(0, len(jobs) - 1, min(MAX_IMAGES, len(jobs))).round().astype(int))
    with_truth = any(truths[i] is not None for i in chosen)
    rows = [(i, kind) for i in chosen for kind in (("depth", "error") if truths[i] is not None else ("depth",))]
    count = len(columns) + 1 + with_truth
    height = CELL_INCHES * float(np.mean([job.rgb.shape[0] / job.rgb.shape[1] for job in jobs]))
    size = (count * CELL_INCHES + 0.4, len(rows) * (height + 0.22) + 1.5)
    figure = Figure(figsize=size, dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    edges = {"left": 0.2 / size[0], "right": 1 - 0.2 / size[0], "top": 1 - 0.65 / size[1], "bottom": 0.75 / size[1]}
    axes = figure.subplots(len(rows), count, squeeze=False, gridspec_kw={**edges, "wspace": 0.03, "hspace": 0.14})
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    titles = ["image", *(["measured depth"] if with_truth else []), *(_title(column) for column in columns)]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9, parse_math=False)

    depth_picture = error_picture = None
    for line, (i, kind) in zip(axes, rows, strict=True):
        truth = truths[i]
        if kind == "depth":
            near_m, far_m = _range(truth, [column.depth_m[i] for column in columns if column.metric or column.aligned])
            line[0].imshow(jobs[i].rgb)
            line[0].set_xlabel(f"{jobs[i].path.name}, {near_m:.1f} … {far_m:.1f} m", fontsize=7, parse_math=False)
            if truth is not None:
                depth_picture = _show(line[1], np.where(truth > 0, truth, np.nan), near_m, far_m)
        for axis, column in zip(line[1 + with_truth :], columns, strict=True):
            depth_m = column.depth_m[i]
            if kind == "error" and truth is not None:
                error = np.abs(np.nan_to_num(depth_m, posinf=1e6) - truth) / np.where(truth > 0, truth, np.nan)
                error[np.isnan(depth_m)] = np.nan
                axis.set_facecolor(UNKNOWN)
                error_picture = axis.imshow(np.ma.masked_invalid(error), cmap=ERROR_COLOURS, vmin=0, vmax=MOST_ERROR)
                score = column.scores[i]
                if score is not None:
                    axis.set_xlabel(f"δ1 {score.delta1:.2f}   AbsRel {score.abs_rel:.2f}", fontsize=7)
                continue
            own = not (column.metric or column.aligned)
            shown = _show(axis, depth_m, *(_range(None, [depth_m]) if own else (near_m, far_m)))
            depth_picture = depth_picture or shown
            if own:
                axis.set_xlabel("relative: colours of its own range", fontsize=7)
        for axis in line[: 1 + with_truth] if kind == "error" else line[1 : 1 + with_truth]:
            if not axis.images:
                axis.set_axis_off()

    bars = [(depth_picture, "depth, near … far of each image (grey: unknown)", 0.06)]
    bars.append((error_picture, "error, share of the depth", 0.56))
    for picture, label, left in bars:
        if picture is None:
            continue
        where = figure.add_axes((left, 0.42 / size[1], 0.38, 0.13 / size[1]))
        bar = figure.colorbar(picture, cax=where, orientation="horizontal")
        bar.set_label(label, fontsize=8)
        bar.ax.tick_params(labelsize=7)
        if picture is depth_picture:
            ends = picture.get_clim()
            bar.set_ticks(list(ends), labels=["near", "far"])
    with replaced(path) as file:
        figure.savefig(file, format=path.suffix[1:] or "png")


def _title(column: Column) -> str:
    kind = "" if column.metric else " · relative"
    if column.aligned:
        kind += ", aligned"
    return f"{column.name}{kind}\n{column.parameters_total / 1e6:.1f} M parameters · {column.ms:.0f} ms"


def _range(truth: NDArray[np.float32] | None, depths: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """The range of colours: of measured depth where there is some, else of all predictions."""
    sources = [truth[truth > 0]] if truth is not None else [depth.reshape(-1) for depth in depths]
    values = np.concatenate([source[::7] for source in sources]) if sources else np.empty(0)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 10.0
    near, far = np.percentile(values, (1, 99))
    return float(near), float(max(far, near + 1e-3))


def _show(axis: Any, depth_m: NDArray[np.float32], near_m: float, far_m: float) -> Any:
    axis.set_facecolor(UNKNOWN)
    filled = np.where(np.isposinf(depth_m), far_m, depth_m)
    return axis.imshow(np.ma.masked_invalid(filled), cmap=DEPTH_COLOURS, vmin=near_m, vmax=far_m)
