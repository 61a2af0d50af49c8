# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Do intervals hold at every rate? Share of pixels inside against the rate that was asked for, by source, as a picture.

Without an anchor, and with 50 points of the true depth (`evaluation/anchors/simulated.py`), read for 2 s.
`python scripts/reliability_diagram.py --data FOLDER [FOLDER ...] [--weights default] [--out reliability.png]`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from depthclip_trainer.commands.evaluate_anchors import shown_of
from depthclip_trainer.evaluation.anchors import replay
from depthclip_trainer.evaluation.anchors.simulated import Place, points_sensor
from depthclip_trainer.evaluation.protocols import PROTOCOLS, frames_of
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from depthclip_ros.core.anchors.estimator import NO_SCALE, ScaleEstimate
from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.types import DepthLimits

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def anchored(shown: replay.Shown) -> ScaleEstimate:
    """What 50 points say of one frame in 2 s."""
    watcher = replay.Watcher("points", 0, shown.prior_sd)
    watcher.watch(shown, points_sensor(Place.of(shown.truth_m, shown.camera)), replay.HOLD_S)
    return watcher.estimator.estimate  # the scale as it is, where too few of them lie where depth is known


def inside(engine: DepthEngine, shown: replay.Shown) -> np.ndarray:
    """Share of pixels inside, [without and with the anchor, level]."""
    shares = np.zeros((2, len(LEVELS)))
    for row, scale in enumerate((NO_SCALE, anchored(shown))):
        for column, level in enumerate(LEVELS):
            limits = scale.applied_to(DepthLimits(level=level))
            found = engine.infer(shown.rgb[None], [shown.camera], limits)
            assert found.half_width is not None, "the weights have no intervals; depthclip-train calibrate makes them"
            counted = (shown.truth_m > 0) & np.isfinite(found.depth_m[0])
            error = np.abs(np.log(shown.truth_m[counted] / found.depth_m[0][counted]))
            shares[row, column] = np.mean(error <= found.half_width[0][counted])
    return shares


def main() -> None:
    """Score, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of RGB-D sources")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--out", type=Path, default=Path("reliability.png"))
    args = parser.parse_args()
    engine, protocol = DepthEngine.load(args.weights, runtime="auto", device="cpu"), PROTOCOLS["frames"]
    by_source: dict[str, list[np.ndarray]] = {}
    for folder in args.data:
        for source, sample in frames_of(protocol, folder):
            if (shown := shown_of(engine, source, sample, protocol)) is not None:
                by_source.setdefault(source, []).append(inside(engine, shown))
    means = {source: np.mean(frames, axis=0) for source, frames in by_source.items()}
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, row, title in zip(figure.subplots(1, 2), (0, 1), ("without an anchor", "with 50 points"), strict=True):
        axes.plot([0.45, 1], [0.45, 1], "k--", linewidth=1, label="as asked for")
        for share in means.values():
            axes.plot(LEVELS, share[row], color="0.7", linewidth=1)
        mean = np.mean([share[row] for share in means.values()], axis=0)
        axes.plot(LEVELS, mean, marker="o", label=f"mean of {len(means)} sources (grey: each)")
        axes.set(title=title, xlabel="asked for", ylabel="share of pixels inside", xlim=(0.45, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
        print(title, *(f"{level:g}: {value:.3f}" for level, value in zip(LEVELS, mean, strict=True)))
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
