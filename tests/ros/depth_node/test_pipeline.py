"""What the pipeline makes of an image and its CameraInfo before the engine sees it; the engine stays away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import organised_cloud
from depthclip_ros.core.types import ViewDepth
from depthclip_ros.ros.depth_node.parameters.values import settings_from
from depthclip_ros.ros.depth_node.pipeline import FramePipeline

WIDTH, HEIGHT = 64, 48


@pytest.fixture
def pipeline() -> FramePipeline:
    engine: Any = SimpleNamespace(require_metric=lambda: None)
    return FramePipeline(engine, settings_from({}))


@pytest.fixture
def image() -> SimpleNamespace:
    data = np.random.default_rng(0).integers(0, 255, HEIGHT * WIDTH * 3, np.uint8)
    size = {"width": WIDTH, "height": HEIGHT, "step": WIDTH * 3}
    return SimpleNamespace(encoding="rgb8", is_bigendian=0, data=data, header=header(0), **size)


def header(stamp_ns: int) -> SimpleNamespace:
    return SimpleNamespace(stamp=SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9))


def info(cx_px: float = 31.5, **fields: Any) -> SimpleNamespace:
    values = {
        "width": WIDTH,
        "height": HEIGHT,
        "distortion_model": "plumb_bob",
        "d": [0.0] * 5,
        "k": [50.0, 0, cx_px, 0, 50.0, 23.5, 0, 0, 1],
        "r": [0.0] * 9,
        "p": [40.0, 0, cx_px, 0, 0, 40.0, 23.5, 0, 0, 0, 1, 0],
        "binning_x": 0,
        "binning_y": 0,
        "roi": SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    }
    return SimpleNamespace(**{**values, **fields})


@pytest.mark.parametrize(
    "fields", [{"k": [0.0] * 9}, {"d": [0.3, 0.1, 0, 0, 0]}, {"d": [0.3], "distortion_model": "wavy"}]
)
def test_a_rectified_image_needs_p_alone(
    pipeline: FramePipeline, image: SimpleNamespace, fields: dict[str, Any]
) -> None:
    pipeline.already_rectified = True
    frame = pipeline.prepare(image, info(**fields))  # type: ignore[arg-type]
    assert frame.intrinsics.fx_px == 40
    assert np.array_equal(frame.rgb.ravel(), image.data)


def test_a_distortion_without_a_model_is_refused(pipeline: FramePipeline, image: SimpleNamespace) -> None:
    with pytest.raises(InputError, match="no distortion_model is named"):
        pipeline.prepare(image, info(distortion_model="", d=[0.3, 0.1, 0, 0, 0]))  # type: ignore[arg-type]


def test_zeros_in_k_and_p_are_no_camera_info_said_once(pipeline: FramePipeline, image: SimpleNamespace) -> None:
    said: list[str] = []
    pipeline.warn = said.append
    for _ in range(3):
        frame = pipeline.prepare(image, info(k=[0.0] * 9, p=[0.0] * 12))  # type: ignore[arg-type]
    assert (frame.focal_assumed, frame.has_camera) == (True, False)
    assert frame.intrinsics.hfov_deg == pytest.approx(60)
    assert len(said) == 1
    assert "cameracalibrator" in said[0]
    pipeline.settings = settings_from({"input.assumed_hfov": 90.0})
    frame = pipeline.prepare(image, info(k=[0.0] * 9, p=[0.0] * 12))  # type: ignore[arg-type]
    assert (frame.focal_assumed, frame.has_camera) == (True, True)
    assert frame.intrinsics.hfov_deg == pytest.approx(90)


def test_a_misplaced_principal_point_is_said_once(pipeline: FramePipeline, image: SimpleNamespace) -> None:
    said: list[str] = []
    pipeline.warn = said.append
    pipeline.prepare(image, info())  # type: ignore[arg-type]
    assert said == []
    for cx_px in (63.0, 63.0, 62.0):
        pipeline.prepare(image, info(cx_px))  # type: ignore[arg-type]
    assert len(said) == 1
    assert "(63, 23.5) lies outside the middle half of the 64x48 image" in said[0]


@pytest.mark.parametrize("steady", [False, True])
def test_a_steadied_frame_keeps_what_was_seen_and_its_cloud_follows(image: SimpleNamespace, steady: bool) -> None:
    engine: Any = SimpleNamespace(require_metric=lambda: None)
    pipeline = FramePipeline(engine, settings_from({"filter.temporal": steady}))
    for i, depth in enumerate((2.0, 2.0, 2.0, 2.2)):
        image.header = header(i * 33_000_000)
        frame = pipeline.prepare(image, info())  # type: ignore[arg-type]
        depth_m = np.full((HEIGHT, WIDTH), depth, np.float32)
        cloud = organised_cloud(depth_m, frame.rgb, frame.intrinsics)
        found = pipeline.result(frame, ViewDepth(depth_m, np.ones_like(depth_m), 1.0, cloud=cloud))
    expected = 2.0 * 1.1**0.25 if steady else 2.2  # one of four images says 10 % more
    np.testing.assert_allclose(found.depth_m, expected, rtol=1e-4)
    assert found.cloud is not None
    np.testing.assert_allclose(found.cloud["z"], expected, rtol=1e-4)
    np.testing.assert_allclose(found.cloud["x"], found.cloud["z"] * (np.arange(WIDTH) - 31.5) / 40, rtol=1e-4)
