# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip predict`: image files in, depth, pictures and clouds out."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from depthclip_ros.commands.arguments import add_engine, add_images
from depthclip_ros.commands.files.lens import ASSUMED_HFOV_DEG, Job, Lens
from depthclip_ros.core.errors import ConfigError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from depthclip_ros.core.engine import DepthEngine
    from depthclip_ros.core.types import Depth, DepthLimits

EXIT_SOME_FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `depthclip predict`."""
    add_images(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results; made if absent")
    add_engine(parser)
    parser.add_argument("--max-depth", type=float, default=math.inf, metavar="M", help="farther depth becomes +Inf")
    parser.add_argument(
        "--confidence-threshold", type=float, default=0.0, metavar="SHARE", help="less certain depth becomes NaN (0..1)"
    )
    parser.add_argument(
        "--edge-threshold",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="depth on steps above this share of the nearer depth becomes NaN: no flying pixels (e.g. 0.05)",
    )
    parser.add_argument("--scale-factor", type=float, default=1.0, metavar="X", help="multiplies depth")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images of one size that run together")


def run(arguments: argparse.Namespace) -> int:
    """Predict for every image; a broken one is named, counted and skipped (exit code 1 at the end).

    Raises:
        ConfigError: an argument that cannot be, a file in place of the folder.
        OSError: no room or no right to write.
        InputError: no images.
        WeightsError, DeviceError: see `DepthEngine.load`.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from depthclip_ros.commands.files.images import find_images
    from depthclip_ros.commands.files.outputs import output_stems

    errors = Console(stderr=True, soft_wrap=True)
    limits = _limits(arguments)
    lens = Lens.from_arguments(arguments)
    if lens.doubt:
        _say(errors, lens.doubt, "yellow")
    paths = find_images(arguments.images)
    if not paths:
        raise InputError(f"there is no image in {', '.join(str(path) for path in arguments.images)}")
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"--out {arguments.out} cannot be made: {error.strerror or error}") from error
    engine = _load_engine(arguments, errors)
    if not engine.config.metric and (limits.max_depth_m < math.inf or limits.scale_factor != 1):
        raise ConfigError(
            f"{arguments.weights} gives relative depth: leave out --max-depth and --scale-factor (metres)"
        )

    rows: list[list[str]] = []
    failed: list[Path] = []
    assumed = 0
    columns = (
        TextColumn("depth"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[file]}", markup=False),
    )
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("depth", total=len(paths), file="")

        def jobs() -> Iterator[Job]:
            nonlocal assumed
            for path, stem in zip(paths, output_stems(paths), strict=True):
                progress.update(task, file=path.name)
                try:
                    job = lens.prepare(path, stem)
                except InputError as error:
                    failed.append(path)
                    _say(errors, str(error), "red")
                    progress.advance(task)
                    continue
                assumed += job.focal_origin == Lens.ASSUMED
                yield job

        for batch in _batches(jobs(), arguments.batch):
            try:
                rows.extend(_predict(engine, batch, limits, arguments.out))
            except InputError as error:  # the same for all images of a batch, which share their size
                failed.extend(job.path for job in batch)
                _say(errors, f"{', '.join(str(job.path) for job in batch)}: {error}", "red")
            progress.advance(task, len(batch))
    for notice in engine.notices:
        _say(errors, notice, "yellow")
    engine.close()
    if assumed:
        _say(
            errors,
            f"the focal length of {assumed} of {len(paths)} images is not known: a horizontal field of view of "
            f"{ASSUMED_HFOV_DEG:.0f} degrees is assumed, and depth is off by as much as it is wrong; give --focal-px, "
            "--hfov-deg or --camera-info",
            "yellow",
        )
    _print_table(rows, engine, arguments.out)
    if not engine.config.metric:
        _say(
            errors,
            f"{arguments.weights} gives relative depth: STEM_relative.npy (1 / disparity, no metres) and a picture are "
            "written, no metres and no cloud; depthclip-train fit-scale gives it metres",
            "yellow",
        )
    if failed:
        _say(errors, f"{len(failed)} of {len(paths)} images failed", "bold red")
    return EXIT_SOME_FAILED if failed else 0


def _limits(arguments: argparse.Namespace) -> DepthLimits:
    from depthclip_ros.core.engine.limits import check_limits
    from depthclip_ros.core.types import DepthLimits

    if arguments.batch < 1:
        raise ConfigError(f"--batch is {arguments.batch}; it must be at least 1")
    limits = DepthLimits(
        max_depth_m=arguments.max_depth,
        confidence_threshold=arguments.confidence_threshold,
        edge_threshold=arguments.edge_threshold,
        scale_factor=arguments.scale_factor,
    )
    check_limits(limits)
    return limits


def _load_engine(arguments: argparse.Namespace, console: Console) -> DepthEngine:
    with console.status("loading the weights"):
        from depthclip_ros.core.engine import DepthEngine

        return DepthEngine.load(arguments.weights, device=arguments.device, precision=arguments.precision)


def _batches(jobs: Iterator[Job], batch: int) -> Iterator[list[Job]]:
    """Consecutive images of one size, at most `batch` of them together."""
    pending: list[Job] = []
    for job in jobs:
        if pending and (len(pending) == batch or job.rgb.shape != pending[0].rgb.shape):
            yield pending
            pending = []
        pending.append(job)
    if pending:
        yield pending


def _predict(engine: DepthEngine, batch: list[Job], limits: DepthLimits, folder: Path) -> list[list[str]]:
    import numpy as np

    from depthclip_ros.commands.files.outputs import write_outputs, write_relative

    images = batch[0].rgb[None] if len(batch) == 1 else np.stack([job.rgb for job in batch])
    depth: Depth = engine.infer(images, [job.intrinsics for job in batch], limits)
    time_ms = sum(depth.timings_ms.values()) / len(batch)
    rows = []
    for job, depth_m in zip(batch, depth.depth_m, strict=True):
        if job.valid is not None:
            depth_m[~job.valid] = np.nan
        if engine.config.metric:
            write_outputs(folder, job.stem, job.rgb, depth_m, job.intrinsics)
        else:
            write_relative(folder, job.stem, depth_m)
        finite = depth_m[np.isfinite(depth_m)]
        near_m, median_m, far_m = np.percentile(finite, (0, 50, 100)) if finite.size else (math.nan,) * 3
        size = f"{job.intrinsics.width_px}x{job.intrinsics.height_px}"
        focal = f"{job.intrinsics.fx_px:.0f} px ({job.focal_origin})"
        name = job.path.name if job.stem == job.path.stem else f"{job.path.name} → {job.stem}"
        rows.append([name, size, focal, *(f"{value:.2f}" for value in (near_m, median_m, far_m)), f"{time_ms:.0f}"])
    return rows


def _print_table(rows: list[list[str]], engine: DepthEngine, folder: Path) -> None:
    from rich.console import Console

    from depthclip_ros.commands.tables import table_of

    kind, unit = ("", " m") if engine.config.metric else ("relative ", "")
    title = f"{kind}depth in {folder} ({engine.device}, {engine.precision})"
    columns = ("image", "size", "focal length", f"min{unit}", f"median{unit}", f"max{unit}", "ms")
    Console().print(table_of(title, columns, rows))


def _say(console: Console, sentence: str, style: str) -> None:
    # Not marked up: file names may hold brackets.
    console.print(sentence, style=style, markup=False, highlight=False)
