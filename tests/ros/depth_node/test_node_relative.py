# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""depth_node with relative weights: no metres by accident, and metres once scale and shift are in the file."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest


@pytest.fixture(scope="module")
def relative(make_transformers_folder, ros_environment, tmp_path_factory):
    """A folder of transformers with a relative head; what it is converted to lies in a cache of the test."""
    with pytest.MonkeyPatch.context() as patch:
        cache = str(tmp_path_factory.mktemp("cache"))
        patch.setenv("XDG_CACHE_HOME", cache)
        patch.setitem(ros_environment, "XDG_CACHE_HOME", cache)
        yield make_transformers_folder({"size": 56})


@pytest.fixture(scope="module")
def fitted(relative, tmp_path_factory):
    """The same network with a scale and a shift, as `depthclip-train fit-scale` writes it."""
    from depthclip_ros.core.model.registry import build_model
    from depthclip_ros.core.weights.load import load_weights
    from depthclip_ros.core.weights.weights_file import save_weights

    found = load_weights(relative).model
    values = {"metric": True, "canonical_focal_px": 300.0, "disparity_scale": 0.5, "disparity_shift": 0.3}
    model = build_model(dataclasses.replace(found.config, **values), load_base=False)
    model.load_state_dict(found.state_dict())
    path = tmp_path_factory.mktemp("fitted") / "fitted.safetensors"
    save_weights(path, model, training={}, metrics={}, dtype="float32")
    return path


def test_relative_weights_are_refused_until_they_have_a_scale(relative, fitted, start_node, camera, room, client):
    from diagnostic_msgs.msg import DiagnosticArray

    diagnostics = client.subscribe(DiagnosticArray, "/diagnostics")
    node = start_node("/relative", {"model.weights": relative})
    node.wait_for_log("cannot configure")
    line = next(line for line in node.log().splitlines() if "cannot configure" in line)
    assert "relative depth" in line
    assert "fit-scale" in line
    assert client.state("/relative/depth_node") == "unconfigured"
    status = client.wait(
        lambda: next((s for m in diagnostics.messages for s in m.status if "relative depth" in s.message), None),
        what="the diagnostics",
    )
    assert status.level == b"\x02"
    eye = camera("/relative")
    eye.send(eye.image_message(room), eye.info_message(160, 120))
    assert not eye.depth.messages

    assert client.set_parameter("/relative/depth_node", "model.weights", str(fitted)).successful
    assert client.transition("/relative/depth_node", "configure")
    assert client.transition("/relative/depth_node", "activate")
    near = eye.send_until(lambda: (eye.image_message(room), eye.info_message(160, 120, 200.0)), eye.depth)
    stamp = eye.send(eye.image_message(room), eye.info_message(160, 120, 400.0))
    far = eye.answer(eye.depth, stamp)
    near_m, far_m = (np.frombuffer(message.data, "<f4").reshape(120, 160) for message in (near, far))
    known = np.isfinite(near_m) & np.isfinite(far_m)
    assert known.mean() > 0.5
    np.testing.assert_allclose(far_m[known], 2 * near_m[known], rtol=1e-3)  # twice the focal length, twice as far
    assert eye.answer(eye.stats, stamp).system == "depth_anything"
