# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip-eval --anchors`: what each anchor would be worth, with sensors simulated from the true depth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from depthclip_ros.core.anchors.estimator import ScaleEstimate, prior_sd_of
from depthclip_ros.core.anchors.shape import JUDGED_AT
from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.types import DepthLimits
from depthclip_ros.core.uncertainty import LEVEL
from depthclip_trainer.data.sample import Sample
from depthclip_trainer.evaluation.anchors import replay
from depthclip_trainer.evaluation.evaluate import predict
from depthclip_trainer.evaluation.protocols import Protocol
from depthclip_trainer.evaluation.tables import figures_json

COLUMNS = (
    *("anchor", "frames", "silent", "as published", "median-scaled", "with the anchor", "of median-scaled"),
    *("median sd of ln scale", "error / sd (rms)", "30 % wild", "5 s wrong", "cuts within 10 %"),
    *("covers", "worst source", "half-width", "of that without"),
)
FEW = 4  # frames of each source for the last two columns


def evaluate_anchors(
    engine: DepthEngine, frames: Iterable[tuple[str, Sample]], protocol: Protocol, out: Path | None = None
) -> list[dict[str, float | str]]:
    """Scores every anchor, prints the table, and writes `anchors.json` into `out`."""
    shown = [one for source, sample in frames if (one := shown_of(engine, source, sample, protocol)) is not None]
    found, wild = replay.replay(shown), replay.replay(shown, wild=replay.WILD_SHARE)
    few = _few(shown)
    wrong, cut = replay.wrong_constant(few), replay.cuts(few)
    rows: list[dict[str, float | str]] = []
    for name, row in sorted(found.items()):
        median, anchored = row.mean(row.median_scaled), row.mean(row.anchored)
        values = (
            *(name, len(row.sources), row.silent, row.mean(row.published), median, anchored, anchored / median),
            *(float(np.median(row.sds)), float(np.sqrt(np.mean(np.square(row.deviations))))),
            *(wild[name].mean(wild[name].anchored) / anchored, wrong[name][0], cut.get(name, (np.nan,))[0]),
            *(row.mean(row.covered), _worst(row), row.mean(row.half_widths)),
            row.mean(row.half_widths) / row.mean(row.free_half_widths),
        )
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    table = Table(title=f"AbsRel with anchors simulated from the true depth, {len(shown)} frames, each shown for 2 s")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "anchor" else "right")
    for row_values in rows:
        table.add_row(*(f"{one:.3f}" if isinstance(one, float) else str(one) for one in row_values.values()))
    Console(width=240).print(table)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "anchors.json").write_text(figures_json(rows) + "\n")
    return rows


def _worst(row: replay.Row) -> float:
    """Lowest coverage of a source."""
    covered = np.array(row.covered)
    return float(min(covered[np.array(row.sources) == source].mean() for source in set(row.sources)))


def _few(shown: list[replay.Shown]) -> list[replay.Shown]:
    """At most `FEW` of each source, evenly spread: for what takes long."""
    found: list[replay.Shown] = []
    for source in dict.fromkeys(one.source for one in shown):
        of_source = [one for one in shown if one.source == source]
        found += [of_source[i] for i in np.unique(np.linspace(0, len(of_source) - 1, FEW).astype(int))]
    return found


def shown_of(engine: DepthEngine, source: str, sample: Sample, protocol: Protocol) -> replay.Shown | None:
    """A frame with what the engine says of it; None where nothing of its depth counts."""
    truth_m = np.where(sample.valid & protocol.in_range(sample.depth_m), sample.depth_m, np.float32(0))
    if not truth_m.any() or truth_m.shape != sample.image.shape[:2]:
        return None
    predicted_m, _ = predict(engine, sample, truth_m.shape, flip=False)
    prior_sd = prior_sd_of(engine.uncertainty)
    table = engine.uncertainty

    def usual(scale: ScaleEstimate) -> float:
        return 1.0 if table is None else table.share(JUDGED_AT, LEVEL, scale.log_scale_sd)

    return replay.Shown(
        source, sample.image, predicted_m, truth_m, sample.intrinsics, _intervals(engine, sample), prior_sd, usual
    )


def _intervals(
    engine: DepthEngine, sample: Sample
) -> Callable[[ScaleEstimate], tuple[NDArray[np.float32], NDArray[np.float32]]] | None:
    if engine.uncertainty is None:
        return None

    def with_scale(scale: ScaleEstimate) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        found = engine.infer(sample.image[None], [sample.intrinsics], scale.applied_to(DepthLimits()))
        assert found.half_width is not None
        return found.depth_m[0], found.half_width[0]

    return with_scale
