"""depth_node with another system in its weights file: nothing but the file changes."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="module")
def zero_shot(tmp_path_factory):
    """DepthCLIP's whole RN50 with random weights and random sentences, at a small size."""
    import torch

    from depthclip_ros.core.model.registry import build_model, preset
    from depthclip_ros.core.weights import save_weights

    torch.manual_seed(0)
    config = preset("depthclip-rn50", input_pixels=96 * 128, temperature=1.0)
    model = build_model(config, load_base=False)
    model.classes.prompts.copy_(torch.nn.functional.normalize(torch.randn_like(model.classes.prompts), dim=1))
    path = tmp_path_factory.mktemp("zero_shot") / "depthclip.safetensors"
    save_weights(path, model, training={"training": "none"}, metrics={})
    return path


def test_depthclip_runs_in_the_node_and_says_what_the_engine_says(zero_shot, start_node, camera, room):
    from depthclip_ros.core.engine import DepthEngine
    from depthclip_ros.core.types import Intrinsics

    engine = DepthEngine.load(zero_shot, device="cpu", precision="fp32")
    expected = engine.infer(room[None], [Intrinsics(200.0, 200.0, 79.5, 59.5, 160, 120)]).depth_m[0]
    engine.close()
    assert np.ptp(expected) > 0.01

    start_node("/zero_shot", {"model.weights": zero_shot})
    eye = camera("/zero_shot")
    eye.send_until(lambda: (eye.image_message(room), eye.info_message(160, 120)), eye.depth)
    for focal_px in (200.0, 400.0):  # metres come from the sentences, whatever the lens
        stamp = eye.send(eye.image_message(room), eye.info_message(160, 120, focal_px))
        depth = eye.answer(eye.depth, stamp)
        assert (depth.width, depth.height, depth.encoding) == (160, 120, "32FC1")
        depth_m = np.frombuffer(depth.data, "<f4").reshape(120, 160)
        np.testing.assert_allclose(depth_m, expected, rtol=1e-3)
        assert ((depth_m > 1) & (depth_m < 3)).all()
        stats = eye.answer(eye.stats, stamp)
        assert (stats.system, stats.scale) == ("depthclip", 1.0)
        assert eye.answer(eye.cloud, stamp).width == 160
