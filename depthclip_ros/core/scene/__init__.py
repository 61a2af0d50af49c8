"""Rendered rooms with exact depth: training data, the demo's camera, and truth for tests.

World frame: metres, z up, floor at z = 0. Cameras: optical frame, z forward, x right, y down.
Poses are camera to world, [4, 4].
"""

from depthclip_ros.core.scene.camera import pose_matrix, random_camera
from depthclip_ros.core.scene.path import CameraPath
from depthclip_ros.core.scene.picture import render, render_batch
from depthclip_ros.core.scene.primitives import Scene
from depthclip_ros.core.scene.ranges import SceneRanges
from depthclip_ros.core.scene.rooms import random_scene

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
