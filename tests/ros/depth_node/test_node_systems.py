# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""depth_node with each system in its weights file: nothing but the file changes, not even the process."""

from __future__ import annotations

import numpy as np
import pytest

NODE = "/systems/depth_node"
SMALL = {
    "moa_depthclip": ("nano", {"input_pixels": 96 * 128}),
    "depthclip": ("depthclip-rn50", {"input_pixels": 96 * 128, "temperature": 1.0}),
    # the smallest CLIP that open_clip has a name for; the node builds it by that name
    "clip2depth": ("clip2depth-vitb16", {"tower": "ViT-S-32-alt", "base_weights": None, "input_pixels": 96 * 128}),
    "depth_anything": ("depth-anything-tiny-metric", {"input_pixels": 84 * 112}),
}


@pytest.fixture(scope="module")
def weights(request, tmp_path_factory):
    """A system's name, and a weights file of it: small, random, and of another depth in each part of the picture."""
    torch = pytest.importorskip("torch", reason="needs torch: its weights have no graph")
    from depthclip_ros.core.model.registry import build_model, preset
    from depthclip_ros.core.weights.weights_file import save_weights

    system = request.param
    if system == "depth_anything":
        pytest.importorskip("transformers", reason="needs the extra `transformers`")
    name, overrides = SMALL[system]
    torch.manual_seed(0)
    model = build_model(preset(name, **overrides), load_base=False)
    with torch.no_grad():
        if system == "depthclip":
            model.classes.prompts.copy_(torch.nn.functional.normalize(torch.randn_like(model.classes.prompts), dim=1))
        for parameter in model.parameter_groups().get("adapters", []):
            parameter.add_(0.02 * torch.randn_like(parameter))
    path = tmp_path_factory.mktemp(system) / f"{system}.safetensors"
    save_weights(path, model, training={}, metrics={})
    return system, path


@pytest.fixture(scope="module")
def show(start_node, client):
    """Puts a weights file into the one node of these tests, the first at its start, and others by its lifecycle."""
    started = []

    def put(path):
        if not started:
            started.append(start_node("/systems", {"model.weights": path}))
            return
        for transition in ("deactivate", "cleanup"):
            assert client.transition(NODE, transition)
        assert client.set_parameter(NODE, "model.weights", str(path)).successful
        for transition in ("configure", "activate"):
            assert client.transition(NODE, transition), started[0].log()

    return put


@pytest.mark.parametrize("weights", SMALL, indirect=True)
def test_the_node_runs_the_system_and_says_what_the_engine_says(weights, show, camera, room):
    from depthclip_ros.core.engine import DepthEngine
    from depthclip_ros.core.types import Intrinsics

    system, path = weights
    lenses = {focal_px: Intrinsics(focal_px, focal_px, 79.5, 59.5, 160, 120) for focal_px in (200.0, 400.0)}
    engine = DepthEngine.load(path, runtime="torch", device="cpu", precision="fp32")  # as the node
    expected = {focal_px: engine.infer(room[None], [lens]).depth_m[0] for focal_px, lens in lenses.items()}
    engine.close()
    near_m, far_m = expected[200.0], expected[400.0]
    known = np.isfinite(near_m) & np.isfinite(far_m)
    assert np.ptp(near_m[known]) > 0.01
    # metres of DepthCLIP come from the sentences, whatever the lens; the others see a canonical one
    np.testing.assert_allclose(far_m[known], (1 if system == "depthclip" else 2) * near_m[known], rtol=1e-4)

    show(path)
    eye = camera("/systems")
    eye.send_until(lambda: (eye.image_message(room), eye.info_message(160, 120)), eye.depth)
    scales = []
    for focal_px, expected_m in expected.items():
        stamp = eye.send(eye.image_message(room), eye.info_message(160, 120, focal_px))
        depth = eye.answer(eye.depth, stamp)
        assert (depth.width, depth.height, depth.encoding) == (160, 120, "32FC1")
        assert depth.header.frame_id == "camera_optical_frame"
        depth_m = np.frombuffer(depth.data, "<f4").reshape(120, 160)
        inside = (expected_m > 0.11) & (expected_m < 9.9)  # of what the node publishes as a number
        assert inside.mean() > 0.3
        np.testing.assert_allclose(depth_m[inside], expected_m[inside], rtol=1e-3)
        stats = eye.answer(eye.stats, stamp)
        assert stats.system == system
        scales.append(stats.scale)
        assert eye.answer(eye.cloud, stamp).width == 160
    if system == "depthclip":
        assert scales == [1.0, 1.0]
    else:
        assert scales[1] == pytest.approx(2 * scales[0])
