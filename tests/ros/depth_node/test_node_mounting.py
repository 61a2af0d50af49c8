# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A camera as it is mounted, over DDS: upside down, with the robot in view, at a rate nobody wants."""

from __future__ import annotations

import cv2
import numpy as np

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.types import Intrinsics, View
from depthclip_ros.ros.depth_node.parameters.values import settings_from


def _depth_m(message) -> np.ndarray:
    return np.frombuffer(message.data, "<f4").reshape(message.height, message.width)


def _alone(small_weights, rgb: np.ndarray) -> np.ndarray:
    """Depth of an image by the engine alone, as the node's defaults limit it."""
    engine = DepthEngine.load(small_weights, device="cpu", precision="fp32")
    height, width = rgb.shape[:2]
    camera = Intrinsics(200.0, 200.0, (width - 1) / 2, (height - 1) / 2, width, height)
    depth = engine.infer_views([View(np.ascontiguousarray(rgb), camera, settings_from({}).limits)])[0]
    engine.close()
    return depth.depth_m


def test_the_network_sees_the_room_upright_and_the_robot_has_no_depth(
    start_node, camera, room, small_weights, tmp_path
):
    seen = np.full((120, 160), 255, np.uint8)
    seen[90:, 30:130] = 0
    mask = tmp_path / "body.png"
    cv2.imwrite(str(mask), seen)
    start_node("/mounted", {"input.rotation": 90, "input.mask": mask, "input.max_rate": 2.0, "model.threads": 1})
    eye = camera("/mounted")

    def make():
        return eye.image_message(room), eye.info_message(160, 120)

    first = eye.send_until(make, eye.depth)
    depth_m = _depth_m(first)
    upright = np.rot90(_alone(small_weights, np.rot90(room, -1)))
    assert (first.width, first.height) == (160, 120)
    assert np.isnan(depth_m[seen == 0]).all()
    np.testing.assert_allclose(depth_m[seen > 0], upright[seen > 0], rtol=1e-3)
    assert np.abs(_alone(small_weights, room) / upright - 1).max() > 0.01  # it matters to the network
    info, cloud = eye.answer(eye.info, first.header.stamp), eye.answer(eye.cloud, first.header.stamp)
    assert (info.width, info.height, info.k[0]) == (160, 120, 200.0)
    z = np.frombuffer(cloud.data, "<f4").reshape(120, 160, 4)[..., 2]
    assert np.isnan(z[seen == 0]).all()
    known = np.isfinite(z)
    assert known.mean() > 0.3
    np.testing.assert_array_equal(z[known], depth_m[known])

    def many_were_skipped():
        eye.send(*make())
        return eye.stats.messages and eye.stats.messages[-1].frames_skipped >= 15

    eye.client.wait(many_were_skipped, what="15 images that input.max_rate leaves out", pause_s=0.03)
    last = eye.stats.messages[-1]
    assert (last.frames_refused, last.frames_failed) == (0, 0)


def test_a_mask_that_is_missing_is_said_at_configure(start_node):
    node = start_node("/masked", {"input.mask": "/nowhere/body.png"})
    node.wait_for_log("cannot configure: the mask /nowhere/body.png cannot be read")
