# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip compare`: the same images through several systems, on one sheet and in one table."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from depthclip_ros.commands.arguments import add_engine, add_images
from depthclip_ros.commands.files.lens import Job, Lens
from depthclip_ros.core.errors import ConfigError, DepthClipError, InputError
from depthclip_ros.core.files import replaced

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from depthclip_ros.core.engine import DepthEngine
    from depthclip_ros.ros.measure.scores import Score

EXIT_SOME_FAILED = 1
NOT_ALIGNED, ALIGNED = "", "scale and shift"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `depthclip compare`."""
    add_images(parser)
    parser.add_argument(
        "--models",
        required=True,
        metavar="A,B,…",
        help="weights as --weights of `predict` takes them: default, a file, preset:NAME, a folder, a Hugging Face id",
    )
    parser.add_argument("--out", type=Path, default=Path("compare.png"), metavar="PNG", help="sheet; a .json beside it")
    parser.add_argument(
        "--depth",
        nargs="+",
        type=Path,
        metavar="DEPTH",
        help="measured depth: one file an image in their order, or a folder of files with the images' names "
        "(.npy in metres, or 16-bit .png); it lies where the image's pixels are stored, so EXIF turns neither",
    )
    parser.add_argument("--depth-units", type=float, default=1000.0, metavar="N", help="of a PNG, per metre")
    add_engine(parser, weights=False)


@dataclass
class Column:
    """One system: what it is, and what it made of the images.

    Attributes:
        weights, name: as the user calls it, and short.
        metric: it gives metres.
        aligned: how each image's depth was aligned with its measured depth before it was scored and drawn.
        ms: median over images, the whole engine.
        depth_m: of each image, [H, W].
        scores: of each image; None without measured depth.
    """

    weights: str
    name: str
    system: str = ""
    metric: bool = True
    aligned: str = NOT_ALIGNED
    parameters_total: int = 0
    parameters_trained: int = 0
    ms: float = math.nan
    device: str = ""
    depth_m: list[NDArray[np.float32]] = field(default_factory=list)
    scores: list[Score | None] = field(default_factory=list)


def run(arguments: argparse.Namespace) -> int:
    """Run every system over every image; one that does not load is named and left out (exit code 1 at the end).

    Raises:
        ConfigError: an argument that cannot be.
        OSError: no room or no right to write.
        InputError: no image, measured depth that is missing or does not read.
        DepthClipError: no system loads.
    """
    from rich.console import Console

    from depthclip_ros.commands.compare_sheet import draw_sheet
    from depthclip_ros.commands.files.images import find_images, is_turned
    from depthclip_ros.commands.files.measured_depth import read_truths
    from depthclip_ros.commands.files.outputs import check_sheet, output_stems

    check_sheet("--out", arguments.out)
    console, errors = Console(), Console(stderr=True, soft_wrap=True)
    names = [name.strip() for name in arguments.models.split(",") if name.strip()]
    if not names:
        raise ConfigError("--models names no weights; e.g. --models default,preset:depth-anything-v2-indoor-small")
    paths = find_images(arguments.images)
    if not paths:
        raise InputError(f"there is no image in {', '.join(str(path) for path in arguments.images)}")
    lens = Lens.from_arguments(arguments)
    if lens.doubt:
        errors.print(lens.doubt, style="yellow", markup=False, highlight=False)
    stems = output_stems(paths)
    jobs = [lens.prepare(path, stem, as_stored=bool(arguments.depth)) for path, stem in zip(paths, stems, strict=True)]
    if arguments.depth and (turned := [path.name for path in paths if is_turned(path)]):
        said = f"taken as stored, as their depth is, whatever EXIF says: {', '.join(turned)}"
        errors.print(said, style="yellow", markup=False, highlight=False)
    truths = read_truths(jobs, lens, arguments.depth, arguments.depth_units)

    columns: list[Column] = []
    failures: list[DepthClipError] = []
    for weights, name in zip(names, short_names(names), strict=True):
        try:
            with errors.status(escape(name)):
                columns.append(fill(Column(weights, name), jobs, truths, arguments.device, arguments.precision))
        except DepthClipError as error:  # noqa: PERF203 (the others go on)
            failures.append(error)
            errors.print(f"{weights}: {error}", style="red", markup=False, highlight=False)
    if not columns:
        raise failures[0]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    draw_sheet(arguments.out, jobs, truths, columns)
    report = arguments.out.with_suffix(".json")
    with replaced(report) as file:
        file.write((json.dumps(as_mapping(jobs, columns, medians_of(truths)), indent=1) + "\n").encode())
    _print_table(console, columns, truths)
    console.print(f"written: {arguments.out}, {report}", markup=False, highlight=False, soft_wrap=True)
    return EXIT_SOME_FAILED if failures else 0


def short_names(weights: Sequence[str]) -> list[str]:
    """The last part of each name without its suffix; the whole where two would be the same."""
    short = [Path(name.removeprefix("preset:")).name.removesuffix(".safetensors") for name in weights]
    return [one if short.count(one) == 1 else whole for one, whole in zip(short, weights, strict=True)]


def fill(
    column: Column, jobs: Sequence[Job], truths: Sequence[NDArray[np.float32] | None], device: str, precision: str
) -> Column:
    """Run one system over all images.

    Raises:
        WeightsError, ConfigError, DeviceError: see `DepthEngine.load`.
    """
    import numpy as np

    from depthclip_ros.core.engine import DepthEngine

    engine = DepthEngine.load(column.weights, device=device, precision=precision)
    info = engine.info
    assert info is not None  # of an engine that was loaded
    column.system, column.metric = info.system, engine.config.metric
    column.parameters_total, column.parameters_trained = info.parameters_total, info.parameters_trained
    column.device = f"{engine.device}, {engine.precision}"
    if not column.metric and any(truth is not None for truth in truths):
        column.aligned = ALIGNED
    times_ms, warm = [], set()
    try:
        for job, truth in zip(jobs, truths, strict=True):
            height, width = job.rgb.shape[:2]
            if (width, height) not in warm:
                engine.warm_up(width, height)
                warm.add((width, height))
            depth = engine.infer(job.rgb[None], [job.intrinsics])
            times_ms.append(sum(depth.timings_ms.values()))
            depth_m = depth.depth_m[0]
            if job.valid is not None:
                depth_m[~job.valid] = np.nan
            depth_m, score = _judged(engine, depth_m, truth)
            column.depth_m.append(depth_m)
            column.scores.append(score)
    finally:
        engine.close()
    column.ms = float(np.median(times_ms))
    return column


def _judged(
    engine: DepthEngine, depth_m: NDArray[np.float32], truth: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], Score | None]:
    """Depth, aligned where it is relative, and its score; at the truth's size where that is another."""
    from depthclip_ros.core.alignment import SCALE_SHIFT, align
    from depthclip_ros.ros.measure.scores import resized_depth, score

    if truth is None:
        return depth_m, None
    depth_m = resized_depth(depth_m, truth.shape)
    if not engine.config.metric:
        counted = truth > 0
        depth_m = align(depth_m[counted], truth[counted], SCALE_SHIFT).apply(depth_m)
    return depth_m, score(depth_m, truth)


def as_mapping(jobs: Sequence[Job], columns: Sequence[Column], baseline: Score | None) -> dict[str, Any]:
    """For JSON: every figure of the table, and each image's scores; `baseline` is the row of the medians."""
    from depthclip_ros.ros.measure.scores import PROTOCOL

    def figures(column: Column) -> dict[str, Any]:
        left_out = ("depth_m", "scores")
        values = {key: value for key, value in vars(column).items() if key not in left_out}
        total = mean_of(column)
        values["mean"] = None if total is None else asdict(total)
        values["images"] = [
            {"image": str(job.path), **({} if one is None else asdict(one))}
            for job, one in zip(jobs, column.scores, strict=True)
        ]
        return values

    protocol = PROTOCOL.replace("no alignment", "alignment as each system says")
    medians = None if baseline is None else asdict(baseline)
    return {"protocol": protocol, "systems": [figures(column) for column in columns], "each image's median": medians}


def mean_of(column: Column) -> Score | None:
    """Mean of the scores over the images that have measured depth."""
    from depthclip_ros.ros.measure.scores import mean

    return mean([one for one in column.scores if one is not None])


def medians_of(truths: Sequence[NDArray[np.float32] | None]) -> Score | None:
    """The row that knows nothing but each image's true median: what is worse has not seen the picture."""
    import numpy as np

    from depthclip_ros.ros.measure.scores import mean, score

    known = [truth for truth in truths if truth is not None and (truth > 0).any()]
    flat = [np.full_like(truth, np.median(truth[truth > 0])) for truth in known]
    scored = [score(constant, truth) for constant, truth in zip(flat, known, strict=True)]
    return mean([one for one in scored if one is not None])


def _print_table(console: Console, columns: Sequence[Column], truths: Sequence[NDArray[np.float32] | None]) -> None:
    from depthclip_ros.commands.tables import table_of

    def errors(one: Score | None) -> Sequence[str]:
        return ("-",) * 3 if one is None else [f"{value:.3f}" for value in (one.delta1, one.abs_rel, one.rmse_m)]

    names = ("weights", "system", "depth", "parameters", "trained", "ms", "δ1", "AbsRel", "RMSE m")
    table = table_of("the same images", names)
    table.columns[1].justify = "left"
    table.padding = (0, 0, 0, 1)
    for column in columns:
        kind = "metres" if column.metric else f"relative{'*' if column.aligned else ''}"
        counts = (f"{n / 1e6:.2f} M" for n in (column.parameters_total, column.parameters_trained))
        table.add_row(escape(column.name), column.system, kind, *counts, f"{column.ms:.0f}", *errors(mean_of(column)))
    medians = medians_of(truths)
    if medians is not None:
        table.add_section()
        table.add_row("each image's true median", *[""] * 5, *errors(medians), style="dim")
    console.print(table)
    if any(column.aligned for column in columns):
        note = "* each image's depth was given the scale and shift (in 1/depth) that fit its measured depth best"
        console.print(note, style="dim", markup=False, highlight=False)
