# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import pytest

from depthclip_ros.core.engine.focal_scale import focal_at_network_px, metres_per_unit
from depthclip_ros.core.model.model_config import ModelConfig
from depthclip_ros.core.types import Intrinsics


def test_focal_is_the_geometric_mean_at_the_networks_size() -> None:
    camera = Intrinsics(400.0, 900.0, 320, 240, 640, 480)
    assert focal_at_network_px(camera, (320, 240)) == pytest.approx(300.0)
    assert focal_at_network_px(camera, (320, 480)) == pytest.approx((200 * 900) ** 0.5)


def test_a_lens_of_twice_the_focal_length_sees_twice_as_far() -> None:
    wide, long = (Intrinsics(f, f, 320, 240, 640, 480) for f in (300.0, 600.0))
    assert metres_per_unit(wide, (320, 240), 300.0, 1.0) == pytest.approx(0.5)  # 150 px at the network's size
    assert metres_per_unit(long, (320, 240), 300.0, 1.2) == pytest.approx(1.2)
    assert metres_per_unit(long, (320, 240), None, 1.2) == 1.2  # metres already


def test_an_input_of_another_size_shows_the_same_view_and_gives_the_same_depth() -> None:
    camera = Intrinsics(600.0, 600.0, 320, 240, 640, 480)
    of_view = ModelConfig(system="any", canonical_focal_px=300.0, canonical_pixels=320 * 240)
    for size in ((320, 240), (160, 120), (640, 480)):
        assert metres_per_unit(camera, size, of_view.focal_px_at(*size), 1.0) == pytest.approx(1.0)
    of_pixels = ModelConfig(system="any", canonical_focal_px=300.0)
    assert metres_per_unit(camera, (640, 480), of_pixels.focal_px_at(640, 480), 1.0) == pytest.approx(2.0)
    in_metres = ModelConfig(system="any", canonical_focal_px=None, canonical_pixels=320 * 240)
    assert in_metres.focal_px_at(640, 480) is None
