# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The demo's pictures: frames with their depth and error, and the cloud from a raised viewpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.files import replaced

DEPTH_COLOURS = "Spectral"  # near is red, far is blue
ERROR_COLOURS = "RdBu"
BACKGROUND = (18, 20, 26)
GRID = (46, 50, 60)
FRUSTUM = (250, 200, 80)


def draw_frames(samples: list[Any], path: Path, title: str, rows: int = 4, truth_name: str = "exact depth") -> None:
    """Write a few frames over time, side by side: image, exact depth and error where known, depth.

    Args:
        samples: kept frames with `rgb`, `depth_m`, `truth_m` (or None) and `stamp_ns`.
        path: PNG to write.
        title: one line above the frames.
        rows: at most so many frames, evenly taken.
        truth_name: what the column of `truth_m` is called.

    Raises:
        InputError: no samples.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not samples:
        raise InputError("there is no frame to draw")
    chosen = [samples[i] for i in np.unique(np.linspace(0, len(samples) - 1, rows).round().astype(int))]
    with_truth = any(one.truth_m is not None for one in chosen)
    columns = 4 if with_truth else 2
    finite = np.concatenate(
        [d[np.isfinite(d)][::7] for one in chosen for d in (one.depth_m, one.truth_m) if d is not None]
    )
    low_m, high_m = np.percentile(finite, (1, 99)) if finite.size else (0.0, 10.0)
    scale = {"cmap": DEPTH_COLOURS, "vmin": float(low_m), "vmax": max(float(high_m), float(low_m) + 0.1)}

    height_px, width_px = chosen[0].rgb.shape[:2]
    cell = (3.4, 3.4 * height_px / width_px)  # inches
    margin = 0.3
    size = (columns * cell[0] + 2 * margin, len(chosen) * cell[1] + 1.6)
    figure = Figure(figsize=size, dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    edges = {"left": margin / size[0], "right": 1 - margin / size[0], "top": 1 - 0.7 / size[1], "bottom": 0.9 / size[1]}
    axes = figure.subplots(len(chosen), columns, squeeze=False, gridspec_kw={**edges, "wspace": 0.03, "hspace": 0.03})
    figure.suptitle(title, fontsize=11, y=1 - 0.2 / size[1], parse_math=False)
    depth_picture = error_picture = None
    for row, one in zip(axes, chosen, strict=True):
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_facecolor("0.75")  # shows through where there is no depth
        row[0].imshow(one.rgb)
        row[0].set_ylabel(f"{(one.stamp_ns - chosen[0].stamp_ns) / 1e9:.1f} s", fontsize=9)
        depth_m = np.where(np.isposinf(one.depth_m), scale["vmax"], one.depth_m)
        depth_picture = row[-2 if with_truth else 1].imshow(_masked(depth_m), **scale)
        if with_truth and one.truth_m is not None:
            row[1].imshow(_masked(one.truth_m), **scale)
            error_m = one.depth_m - one.truth_m
            error_picture = row[3].imshow(_masked(error_m), cmap=ERROR_COLOURS, vmin=-1.0, vmax=1.0)
    names = ("image", truth_name, "depth", "error") if with_truth else ("image", "depth")
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(name, fontsize=10)

    def bar(picture: Any, first: Any, last: Any, label: str, **how: Any) -> None:
        left, right = first.get_position().x0, last.get_position().x1
        inset = 0.06 * (right - left)
        where = figure.add_axes((left + inset, 0.55 / size[1], right - left - 2 * inset, 0.14 / size[1]))
        figure.colorbar(picture, cax=where, orientation="horizontal", label=label, **how)

    bar(depth_picture, axes[-1, 1], axes[-1, -2 if with_truth else 1], "metres (grey: no depth)")
    if error_picture is not None:
        bar(error_picture, axes[-1, 3], axes[-1, 3], "metres, red too near, blue too far", extend="both")
    with replaced(path) as file:
        figure.savefig(file, format="png")


def draw_interval(sample: Any, path: Path, title: str) -> None:
    """Write one row of a frame: depth with its interval and the true depth, below the image that shows the row.

    Args:
        sample: a kept frame with `rgb`, `depth_m`, `uncertainty_m` and `truth_m`.
        path: PNG to write.
        title: one line above.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height_px, width_px = sample.depth_m.shape
    row = round(0.6 * height_px)  # below the middle: furniture rather than wall
    depth_m, truth_m = (np.where(np.isfinite(m[row]), m[row], np.nan) for m in (sample.depth_m, sample.truth_m))
    ratio = 1 + sample.uncertainty_m[row] / depth_m  # e^h
    figure = Figure(figsize=(8, 9), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [1.2, 1]})
    figure.suptitle(title, fontsize=11, parse_math=False)
    above.imshow(sample.rgb, aspect="auto")
    above.axhline(row, color="white", linewidth=2)
    above.axhline(row, color="black", linewidth=1)
    above.set_ylabel("image row")
    columns = np.arange(width_px)
    below.fill_between(columns, depth_m / ratio, depth_m * ratio, color="tab:blue", alpha=0.25, label="interval")
    below.plot(columns, depth_m, color="tab:blue", label="depth")
    below.plot(columns, truth_m, color="black", linewidth=1, label="truth")
    below.set_xlim(0, width_px - 1)
    below.set_ylim(bottom=0)
    below.set_xlabel("column of that row")
    below.set_ylabel("metres")
    below.legend(loc="upper right")
    with replaced(path) as file:
        figure.savefig(file, format="png")


def _masked(values: NDArray[np.floating]) -> NDArray[Any]:
    return np.ma.masked_invalid(values)


def draw_cloud(
    points_m: NDArray[np.float32],
    colours: NDArray[np.uint8],
    path: Path,
    title: str,
    size_px: tuple[int, int] = (1600, 1000),
) -> None:
    """Write a cloud as seen from above and beside the camera that took it.

    Args:
        points_m: float32 [N, 3] in the camera's optical frame (x right, y down, z forward), finite.
        colours: uint8 [N, 3] RGB.
        path: PNG to write.
        title: one line in the picture.
        size_px: width and height.

    Raises:
        InputError: an empty cloud.
    """
    if not len(points_m):
        raise InputError("the cloud has no finite point to draw")
    over = 2  # drawn at twice the size, then averaged down: smooth edges
    width_px, height_px = size_px[0] * over, size_px[1] * over
    low, high = np.percentile(points_m, (2, 98), axis=0)
    near_m, far_m = float(low[2]), float(high[2])
    floor_m = float(np.percentile(points_m[:, 1], 99))
    target = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, near_m + 0.45 * (far_m - near_m)])
    reach_m = max(far_m, 1.0)
    eye = target + reach_m * np.array([0.55, -0.62, -1.0])
    world_to_view = _look_at(eye, target)
    corners = np.array(
        [[0, 0, 0], *[[x, y, 1] for x, y in ((-0.55, -0.41), (0.55, -0.41), (0.55, 0.41), (-0.55, 0.41))]]
    )
    frustum_m = corners * 0.12 * reach_m
    fit = np.vstack([points_m[:: max(1, len(points_m) // 20000)], frustum_m])
    view = (fit - eye) @ world_to_view.T
    plane = view[:, :2] / view[:, 2:3]
    left_top, right_bottom = np.percentile(plane, (0.5, 99.5), axis=0)
    left_top, right_bottom = (
        np.minimum(left_top, plane[-5:].min(axis=0)),
        np.maximum(right_bottom, plane[-5:].max(axis=0)),
    )
    focal_px = 0.9 * min(np.array([width_px, height_px]) / (right_bottom - left_top))
    offset = np.array([width_px, height_px * 1.04]) / 2 - focal_px * (left_top + right_bottom) / 2

    canvas = np.empty((height_px, width_px, 3), np.uint8)
    canvas[:] = BACKGROUND

    def to_pixels(world: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        seen = (world - eye) @ world_to_view.T
        depth = np.maximum(seen[:, 2], 1e-3)
        return focal_px * seen[:, :2] / depth[:, None] + offset, seen[:, 2]

    def line(start: Any, end: Any, colour: tuple[int, int, int], thickness: int) -> None:
        pixels, depth = to_pixels(np.array([start, end], np.float64))
        if (depth > 0.05).all() and np.abs(pixels).max() < 1e5:
            first, second = (tuple(round(float(v)) for v in p) for p in pixels)
            cv2.line(canvas, first, second, colour, thickness, cv2.LINE_AA)

    step_m = 0.5 if reach_m < 4 else 1.0
    xs = np.arange(np.floor(low[0] / step_m) - 1, np.ceil(high[0] / step_m) + 2) * step_m
    zs = np.arange(0, np.ceil(far_m / step_m) + 2) * step_m
    for x in xs:
        line((x, floor_m, zs[0]), (x, floor_m, zs[-1]), GRID, over)
    for z in zs:
        line((xs[0], floor_m, z), (xs[-1], floor_m, z), GRID, over)
    _splat(canvas, points_m, colours, *to_pixels(points_m), focal_px)
    for i in range(4):
        line(frustum_m[0], frustum_m[1 + i], FRUSTUM, 2 * over)
        line(frustum_m[1 + i], frustum_m[1 + (i + 1) % 4], FRUSTUM, 2 * over)
    picture = cv2.resize(canvas, size_px, interpolation=cv2.INTER_AREA)
    label = f"{title}   grid {step_m:g} m"
    # OpenCV's built-in font knows ASCII alone.
    cv2.putText(
        picture,
        label.encode("ascii", "replace").decode(),
        (24, 40),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.7,
        (225, 225, 225),
        1,
        cv2.LINE_AA,
    )
    with replaced(path) as file:
        file.write(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())


def _look_at(eye: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation [3, 3] from the optical frame (y down) to a view with x right, y down, z towards `target`."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(np.array([0.0, 1.0, 0.0]), forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def _splat(
    canvas: NDArray[np.uint8],
    points_m: NDArray[np.float32],
    colours: NDArray[np.uint8],
    pixels: NDArray[np.float64],
    depth_m: NDArray[np.float64],
    focal_px: float,
) -> None:
    """Draw each point as a square as large as the surface that its pixel saw; nearer points cover farther ones."""
    height_px, width_px = canvas.shape[:2]
    # Neighbouring pixels of an image of ~600 px focal length are z/600 apart; 1.5 closes the gaps of slanted surfaces.
    spacing_m = 1.5 * np.linalg.norm(points_m, axis=1) / 600
    side_px = np.clip(np.ceil(focal_px * spacing_m / np.maximum(depth_m, 1e-3)), 1, 9).astype(int)
    indices, sources = [], []
    for dy in range(9):
        for dx in range(9):
            wide = np.flatnonzero((side_px > max(dx, dy)) & (depth_m > 0.05))
            x = np.rint(pixels[wide, 0] - side_px[wide] / 2).astype(np.int64) + dx
            y = np.rint(pixels[wide, 1] - side_px[wide] / 2).astype(np.int64) + dy
            inside = (x >= 0) & (x < width_px) & (y >= 0) & (y < height_px)
            indices.append((y * width_px + x)[inside])
            sources.append(wide[inside])
    index, source = np.concatenate(indices), np.concatenate(sources)
    far_first = np.argsort(-depth_m[source], kind="stable")
    flat = canvas.reshape(-1, 3)
    flat[index[far_first]] = colours[source[far_first]]
