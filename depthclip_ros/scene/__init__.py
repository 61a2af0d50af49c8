# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Rendered rooms with exact depth: training data, the demo's camera, and truth for tests.

World frame: metres, z up, floor at z = 0. Cameras: optical frame, z forward, x right, y down.
Poses are camera to world, [4, 4].
"""

from depthclip_ros.scene.camera import pose_matrix, random_camera
from depthclip_ros.scene.furnishing.rooms import random_scene
from depthclip_ros.scene.path import CameraPath
from depthclip_ros.scene.picture import render, render_batch
from depthclip_ros.scene.ranges import SceneRanges
from depthclip_ros.scene.tracing.primitives import Scene

__all__ = [
    "CameraPath",
    "Scene",
    "SceneRanges",
    "pose_matrix",
    "random_camera",
    "random_scene",
    "render",
    "render_batch",
]
