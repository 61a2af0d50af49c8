# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Prints how steady depth is with filter.temporal and without, on rendered drives whose poses and depth are exact.

    python scripts/measure_steadiness.py [--weights default] [--rooms 4] [--frames 60]

Each room twice at 30 images/s: driving (0.4 m/s) and standing still; sensor noise of 3 of 255 in both. Columns:

- flicker: mean |ln d(t) - ln d(t-1)| of the still camera, where nothing but noise changes;
- TAE: temporal alignment error as Video Depth Anything defines it (arXiv 2501.12375, equation 5), times 100: AbsRel
  between an image's depth and that of its neighbour, moved there by the exact pose, both ways; where both are seen;
- AbsRel of the drive.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np
import torch

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.geometry import pixel_rays
from depthclip_ros.core.steady_depth import SteadyDepth
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.scene import CameraPath, SceneRanges, random_scene, render

RATE_HZ, NOISE = 30.0, 3.0
CAMERA = Intrinsics.from_hfov(70.0, 320, 240)
SEEN = 0.02
"""A point is seen by both images where the second one's exact depth agrees with it to this share."""


def views_of(room: int, frames: int, moves: bool):
    """Pictures with noise, exact depths and poses of a drive; a still one is rendered once."""
    scene = random_scene(room, SceneRanges.preset("rooms"))
    path, rng, seen = CameraPath(scene, room), np.random.default_rng(room), None
    for i in range(frames):
        pose = path.pose(i / RATE_HZ if moves else 0.0)
        if seen is None or moves:
            seen = render(scene, pose, CAMERA, photometric=False)
        rgb, depth_m = (part.numpy() for part in seen)
        noisy = np.clip(rgb + rng.normal(0, NOISE, rgb.shape), 0, 255).astype(np.uint8)
        yield noisy, depth_m, pose.numpy().astype(np.float64)


def moved(depth_m, pose, truth_m, other_pose, other_depth_m, other_truth_m):
    """Relative error of depth moved into another image's camera, where both see the same point."""
    rays = np.dstack([pixel_rays(CAMERA), np.ones(depth_m.shape, np.float32)]).reshape(-1, 3)
    there = np.linalg.inv(other_pose) @ pose

    def into(d_m):
        return (rays * d_m.reshape(-1, 1)) @ there[:3, :3].T + there[:3, 3]

    exact, predicted = into(truth_m), into(depth_m)
    u, v = (np.rint(exact[:, i] / exact[:, 2] * CAMERA.fx_px + c) for i, c in ((0, CAMERA.cx_px), (1, CAMERA.cy_px)))
    inside = (exact[:, 2] > 0.05) & (u >= 0) & (v >= 0) & (u < CAMERA.width_px) & (v < CAMERA.height_px)
    column, row = u[inside].astype(int), v[inside].astype(int)
    seen = np.abs(other_truth_m[row, column] / exact[inside, 2] - 1) < SEEN
    other = other_depth_m[row, column][seen]
    return np.abs(predicted[inside, 2][seen] - other) / other


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="default")
    parser.add_argument("--rooms", type=int, default=4)
    parser.add_argument("--frames", type=int, default=60)
    options = parser.parse_args()
    engine = DepthEngine.load(options.weights)
    figures: dict[bool, dict[str, list[float]]] = {on: {"flicker": [], "TAE": [], "AbsRel": []} for on in (False, True)}
    for room in range(options.rooms):
        for moves in (False, True):
            filters, before = {False: None, True: SteadyDepth()}, {}
            for i, (rgb, truth_m, pose) in enumerate(views_of(room, options.frames, moves)):
                depth_m = engine.infer(rgb[None], [CAMERA]).depth_m[0]
                for on, steady in filters.items():
                    made_m = depth_m.copy()
                    if steady is not None:
                        steady.apply(i / RATE_HZ, rgb, made_m)
                    if moves:
                        figures[on]["AbsRel"].append(float(np.mean(np.abs(made_m - truth_m) / truth_m)))
                    if on in before and i > options.frames // 6:
                        last_m, last_truth_m, last_pose = before[on]
                        if moves:
                            both = (
                                moved(made_m, pose, truth_m, last_pose, last_m, last_truth_m),
                                moved(last_m, last_pose, last_truth_m, pose, made_m, truth_m),
                            )
                            figures[on]["TAE"].append(50 * sum(float(error.mean()) for error in both))
                        else:
                            figures[on]["flicker"].append(float(np.abs(np.log(made_m / last_m)).mean()))
                    before[on] = made_m, truth_m, pose
    print(f"{options.weights}: {options.rooms} rooms, {options.frames} images of each, drive and still")
    print("| filter.temporal | flicker | TAE | AbsRel |\n| --- | --- | --- | --- |")
    for on, rows in figures.items():
        print(f"| {'on' if on else 'off'} | " + " | ".join(f"{np.mean(values):.4f}" for values in rows.values()) + " |")
    off, on = ({name: np.mean(values) for name, values in figures[key].items()} for key in (False, True))
    print("on / off: " + ", ".join(f"{name} {on[name] / off[name]:.2f}" for name in off))


if __name__ == "__main__":
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    main()
