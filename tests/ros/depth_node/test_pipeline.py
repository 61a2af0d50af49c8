# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What the pipeline makes of an image and its CameraInfo before the engine sees it; the engine stays away."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from depthclip_ros.core.anchors.estimator import ScaleEstimate
from depthclip_ros.core.anchors.shape import JUDGED_AT, Shape
from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.geometry import organised_cloud
from depthclip_ros.core.types import ViewDepth
from depthclip_ros.ros.depth_node.parameters.values import settings_from
from depthclip_ros.ros.depth_node.pipeline import FramePipeline

WIDTH, HEIGHT = 64, 48


@pytest.fixture
def pipeline() -> FramePipeline:
    engine: Any = SimpleNamespace(require_metric=lambda: None, uncertainty=None, max_depth_m=10.0)
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


def test_infinite_depth_tells_no_more_than_the_model_can(pipeline: FramePipeline, image: SimpleNamespace) -> None:
    """A range of 50 m asked of a model of 10 m: beyond 10 m maps must not be cleared, nor a scan say free."""
    wide = {"output.max_depth": 50.0, "cloud.clear_range": 30.0, "scan.max_range": 30.0, "cloud.clear_stride": 1}
    pipeline.settings = settings_from(wide)
    assert pipeline.engine.max_depth_m == 10.0
    frame = pipeline.prepare(image, info())  # type: ignore[arg-type]
    shape = frame.rgb.shape[:2]
    depth = ViewDepth(np.full(shape, np.inf, np.float32), np.ones(shape, np.float32), 1.0, (), None)
    result = pipeline.result(frame, depth)
    assert result.make_clearing_cloud()["z"].max() == pytest.approx(10.0)
    assert result.scan_limits.max_range_m == 10.0


@pytest.mark.parametrize("focal_px", [0.0, 1.0])
def test_a_camera_info_without_calibration_is_none_said_once(
    pipeline: FramePipeline, image: SimpleNamespace, focal_px: float
) -> None:
    """Zeros: usb_cam, v4l2_camera, camera_ros. Ones: image_publisher without field_of_view."""
    side = focal_px * 32
    k = [focal_px, 0.0, side, 0.0, focal_px, side, 0.0, 0.0, focal_px]
    p = [focal_px, 0.0, side, 0.0, 0.0, focal_px, side, 0.0, 0.0, 0.0, focal_px, 0.0]
    said: list[str] = []
    pipeline.warn, pipeline.image_topic = said.append, "/eye/image_raw/compressed"
    for _ in range(3):
        frame = pipeline.prepare(image, info(k=k, p=p))  # type: ignore[arg-type]
    assert (frame.focal_assumed, frame.has_camera, frame.uncalibrated) == (True, False, True)
    assert frame.intrinsics.hfov_deg == pytest.approx(60)
    assert len(said) == 1
    assert "cameracalibrator --size 8x6 --square 0.025 --ros-args -r image:=/eye/image_raw -r camera/set" in said[0]
    pipeline.settings = settings_from({"input.assumed_hfov": 90.0})
    frame = pipeline.prepare(image, info(k=k, p=p))  # type: ignore[arg-type]
    assert (frame.focal_assumed, frame.has_camera) == (True, True)
    assert frame.intrinsics.hfov_deg == pytest.approx(90)
    assert len(said) == 1
    pipeline.settings = settings_from({"input.rectify": "require"})
    with pytest.raises(InputError, match="the camera_info holds no calibration"):
        pipeline.prepare(image, info(k=k, p=p))  # type: ignore[arg-type]


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
def test_a_steadied_frame_keeps_what_was_seen_and_its_cloud_is_made_of_it(image: SimpleNamespace, steady: bool) -> None:
    engine: Any = SimpleNamespace(require_metric=lambda: None, uncertainty=None, max_depth_m=10.0)
    pipeline = FramePipeline(engine, settings_from({"filter.temporal": steady}))
    for i, depth in enumerate((2.0, 2.0, 2.0, 2.2)):
        image.header = header(i * 33_000_000)
        frame = pipeline.prepare(image, info())  # type: ignore[arg-type]
        view = pipeline.view(frame, cloud=True)
        assert (view.cloud is None) is steady, "an engine's cloud is of depth before it is steadied"
        assert view.flying == (frame.settings.cloud_edge_threshold if steady else 0.0)
        depth_m = np.full((HEIGHT, WIDTH), depth, np.float32)
        found = pipeline.result(frame, ViewDepth(depth_m, np.ones_like(depth_m), 1.0))
    expected = 2.0 * 1.1**0.25 if steady else 2.2  # one of four images says 10 % more
    np.testing.assert_allclose(found.depth_m, expected, rtol=1e-4)
    cloud = found.make_cloud()
    np.testing.assert_allclose(cloud["z"], expected, rtol=1e-4)
    np.testing.assert_allclose(cloud["x"], cloud["z"] * (np.arange(WIDTH) - 31.5) / 40, rtol=1e-4)


def test_a_scale_that_the_user_changes_counts_at_once_in_steadied_depth(image: SimpleNamespace) -> None:
    engine: Any = SimpleNamespace(require_metric=lambda: None, uncertainty=None, max_depth_m=10.0)
    pipeline = FramePipeline(engine, settings_from({"filter.temporal": True}))
    for i, factor in enumerate((1.0, 1.0, 1.0, 1.15)):
        image.header = header(i * 33_000_000)
        frame = pipeline.prepare(image, info())  # type: ignore[arg-type]
        depth_m = np.full((HEIGHT, WIDTH), 2.0 * factor, np.float32)
        found = pipeline.result(frame, ViewDepth(depth_m, np.ones_like(depth_m), factor))
    np.testing.assert_allclose(found.depth_m, 2.3, rtol=1e-4)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_what_rectification_did_not_see_has_no_depth_no_confidence_and_no_point(
    image: SimpleNamespace, stride: int
) -> None:
    engine: Any = SimpleNamespace(require_metric=lambda: None, uncertainty=None, max_depth_m=10.0)
    pipeline = FramePipeline(engine, settings_from({"cloud.stride": stride}))
    wide = [
        25.0,
        0,
        31.5,
        0,
        0,
        25.0,
        23.5,
        0,
        0,
        0,
        1,
        0,
    ]  # half the focal length: twice the view, unseen at the border
    frame = pipeline.prepare(image, info(d=[0.01, 0, 0, 0, 0], p=wide))  # type: ignore[arg-type]
    assert frame.valid is not None
    assert 0.1 < frame.valid.mean() < 0.5
    assert frame.valid[HEIGHT // 2, WIDTH // 2]
    depth_m = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    cloud = organised_cloud(depth_m, frame.rgb, frame.intrinsics, stride=stride)
    found = pipeline.result(frame, ViewDepth(depth_m, np.ones_like(depth_m), 1.0, cloud=cloud))
    np.testing.assert_array_equal(np.isnan(found.depth_m), ~frame.valid)
    np.testing.assert_array_equal(found.confidence, frame.valid.astype(np.float32))
    assert found.cloud is not None
    for axis in "xyz":
        np.testing.assert_array_equal(np.isnan(found.cloud[axis]), ~frame.valid[::stride, ::stride])
    assert not np.isfinite(found.make_cloud()["z"][~frame.valid[::stride, ::stride]]).any()


def test_a_camera_that_is_calibrated_anew_is_rectified_anew(pipeline: FramePipeline, image: SimpleNamespace) -> None:
    """Its next image has the new lens; one of the same calibration keeps its rectifier."""
    first = pipeline.prepare(image, info(d=[0.1, 0, 0, 0, 0]))  # type: ignore[arg-type]
    again = pipeline.prepare(image, info(d=[0.1, 0, 0, 0, 0]))  # type: ignore[arg-type]
    anew = pipeline.prepare(image, info(d=[-0.2, 0, 0, 0, 0]))  # type: ignore[arg-type]
    np.testing.assert_array_equal(again.rgb, first.rgb)
    assert again.intrinsics is first.intrinsics
    assert np.any(anew.rgb != first.rgb)


class FromTheTop:
    """An engine to which the upper rows are far: depth is 9 m there, 1 m below, as in a room that it sees upright."""

    uncertainty, max_depth_m = None, 10.0

    def require_metric(self) -> None:
        pass

    def infer_views(self, views: list[Any]) -> list[ViewDepth]:
        (view,) = views
        height, width = view.rgb.shape[:2]
        assert (view.intrinsics.width_px, view.intrinsics.height_px) == (width, height)
        depth_m = np.where(np.arange(height)[:, None] < height / 2, 9.0, 1.0).repeat(width, 1).astype(np.float32)
        flying = depth_m > 5
        return [ViewDepth(depth_m, depth_m / 10, 1.0, half_width=depth_m / 100, flying=flying)]


@pytest.mark.parametrize(
    ("degrees", "far"),
    [
        (0, np.s_[: HEIGHT // 2, :]),
        (90, np.s_[:, : WIDTH // 2]),
        (180, np.s_[HEIGHT // 2 :, :]),
        (270, np.s_[:, WIDTH // 2 :]),
    ],
)
def test_a_turned_camera_has_its_depth_where_the_image_shows_it(
    image: SimpleNamespace, degrees: int, far: tuple[slice, slice]
) -> None:
    engine: Any = FromTheTop()
    pipeline = FramePipeline(engine, settings_from({"input.rotation": degrees, "cloud.color": False}))
    frame = pipeline.prepare(image, info())  # type: ignore[arg-type]
    found = pipeline.infer(frame, cloud=True)
    expected = np.ones((HEIGHT, WIDTH), np.float32)
    expected[far] = 9.0
    np.testing.assert_array_equal(found.depth_m, expected)
    np.testing.assert_array_equal(found.confidence, expected / 10)
    assert found.half_width is not None
    np.testing.assert_array_equal(found.half_width, expected / 100)
    assert found.frame.intrinsics.fx_px == 40
    cloud = found.make_cloud()
    near = expected == 1
    np.testing.assert_array_equal(np.isfinite(cloud["z"]), near)
    u = np.indices((HEIGHT, WIDTH))[1]
    np.testing.assert_allclose((cloud["x"] * 40 + 31.5)[near], u[near], atol=1e-3)


def body_mask(path: Path, size: tuple[int, int] = (HEIGHT, WIDTH)) -> str:
    """The lower third of an image is the robot."""
    seen = np.full(size, 255, np.uint8)
    seen[size[0] * 2 // 3 :] = 0
    cv2.imwrite(str(path), seen)
    return str(path)


@pytest.mark.parametrize("degrees", [0, 180])
@pytest.mark.parametrize("known", [True, False])
def test_the_robots_own_body_has_no_depth_and_no_points(
    image: SimpleNamespace, tmp_path: Path, degrees: int, known: bool
) -> None:
    engine: Any = FromTheTop()
    mask = body_mask(tmp_path / "front.png")
    values = {"input.mask": str(tmp_path / "{camera}.png"), "input.rotation": degrees, "input.assumed_hfov": 60.0}
    pipeline = FramePipeline(engine, settings_from({**values, "cameras": ["front"]}), camera="front")
    frame = pipeline.prepare(image, info() if known else None)  # type: ignore[arg-type]
    found = pipeline.infer(frame)
    seen = cv2.imread(mask, cv2.IMREAD_GRAYSCALE) > 0
    np.testing.assert_array_equal(np.isfinite(found.depth_m), seen)
    np.testing.assert_array_equal(found.confidence > 0, seen)
    assert not np.isfinite(found.make_cloud()["z"])[~seen].any()
    assert not np.isfinite(found.make_clearing_cloud()["z"])[-1].any()


def test_a_mask_is_rectified_with_its_image(image: SimpleNamespace, tmp_path: Path) -> None:
    engine: Any = FromTheTop()
    pipeline = FramePipeline(engine, settings_from({"input.mask": body_mask(tmp_path / "body.png")}))
    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    white[HEIGHT * 2 // 3 :] = 0
    image.data = white.ravel()
    for _ in range(2):
        frame = pipeline.prepare(image, info(d=[-0.3, 0.1, 0, 0, 0]))  # type: ignore[arg-type]
    assert frame.valid is not None
    black = frame.rgb.max(-1) < 100
    assert (frame.valid == ~black).mean() > 0.97  # but for the row in which the two are mixed
    assert np.ptp(np.count_nonzero(frame.valid, axis=0)) >= 1, "the edge is curved where the lens is"


def test_a_mask_of_another_size_is_named_and_refused(image: SimpleNamespace, tmp_path: Path) -> None:
    engine: Any = FromTheTop()
    mask = body_mask(tmp_path / "body.png", (24, 32))
    pipeline = FramePipeline(engine, settings_from({"input.mask": mask}))
    with pytest.raises(InputError, match=r"body\.png is 32x24, the image 64x48; paint it over an image"):
        pipeline.prepare(image, info())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="nowhere"):
        FramePipeline(engine, settings_from({"input.mask": "/nowhere.png"}))


@pytest.mark.parametrize("rays", [False, True])
@pytest.mark.parametrize("cloud", [False, True])
def test_the_engine_is_asked_for_what_is_wanted_and_no_more(image: SimpleNamespace, cloud: bool, rays: bool) -> None:
    engine: Any = SimpleNamespace(require_metric=lambda: None, uncertainty=None, max_depth_m=10.0)
    values = {"cloud.stride": 3, "cloud.max_range": 7.0, "cloud.fields": ["uncertainty"], "scale.factor": 2.0}
    asked = FramePipeline(engine, settings_from(values))
    asked.scale = lambda: ScaleEstimate(math.log(1.5), 0.25, Shape(1.2, 2.0, 0.8))
    view = asked.view(asked.prepare(image, info()), cloud=cloud, rays=rays)
    assert view.limits.scale_factor == pytest.approx(3.0)
    assert view.limits.log_scale_sd == 0.25
    assert (view.limits.exponent, view.limits.width) == (1.2, 0.8)
    assert view.limits.pivot_m == pytest.approx(3.0), "the pivot is of depth before the anchors' scale"
    assert (view.cloud is not None) is cloud
    assert (view.flying > 0) is rays
    if view.cloud is not None:
        assert (view.cloud.stride, view.cloud.max_range_m, view.cloud.color) == (3, 7.0, True)
        assert view.cloud.uncertainty is True


def test_a_cloud_without_uncertainty_and_colour_asks_for_neither(image: SimpleNamespace) -> None:
    engine: Any = SimpleNamespace(require_metric=lambda: None, uncertainty=None, max_depth_m=10.0)
    asked = FramePipeline(engine, settings_from({"cloud.fields": [], "cloud.color": False}))
    request = asked.view(asked.prepare(image, info()), cloud=True).cloud
    assert request is not None
    assert (request.color, request.uncertainty) == (False, False)


@pytest.mark.parametrize(
    ("width", "height", "good"),
    [(16, 16, True), (15, 64, False), (64, 15, False), (6000, 6000, True), (6000, 6001, False)],
)
def test_images_are_of_sixteen_pixels_to_thirty_six_megapixels(
    pipeline: FramePipeline, width: int, height: int, good: bool
) -> None:
    fields = {"encoding": "mono8", "is_bigendian": 0, "header": header(0), "step": width}
    one: Any = SimpleNamespace(width=width, height=height, data=np.zeros(width * height, np.uint8), **fields)
    if good:
        assert pipeline.prepare(one, None).rgb.shape == (height, width, 3)
    else:
        allowed = "allowed: sides of at least 16 pixels, at most 36 megapixels"
        with pytest.raises(InputError, match=f"image size is {width}x{height}; {allowed}"):
            pipeline.prepare(one, None)


def test_scenes_come_out_most_likely_first_and_times_add_up(pipeline: FramePipeline, image: SimpleNamespace) -> None:
    frame = pipeline.prepare(image, info())  # type: ignore[arg-type]
    depth_m = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    depth = ViewDepth(
        depth_m, np.ones_like(depth_m), 1.0, scene_labels=("hall", "office", "lab"),
        scene_weights=np.array([0.25, 0.5, 0.125], np.float32), batch_size=3,
        timings_ms={"preprocess": 1000.0, "network": 20.0, "postprocess": 2000.0},
    )  # fmt: skip
    found = pipeline.result(frame, depth)
    assert found.scenes == [("office", 0.5), ("hall", 0.25), ("lab", 0.125)]
    assert found.batch_size == 3
    assert found.timings_ms["network"] == 20.0
    assert found.timings_ms["preprocess"] == pytest.approx(1000.0 + frame.prepare_ms)
    assert 2000.0 <= found.timings_ms["postprocess"] < 3000.0
    assert 0 < frame.prepare_ms < 1000
    assert pipeline.result(frame, ViewDepth(depth_m, np.ones_like(depth_m), 1.0)).timings_ms["postprocess"] < 1000


def test_a_frame_without_a_lens_has_the_assumed_one_and_is_refused_where_one_is_required(
    pipeline: FramePipeline, image: SimpleNamespace
) -> None:
    image.header = header(1_500_000_000)
    frame = pipeline.prepare(image, None)  # type: ignore[arg-type]
    assert (frame.focal_assumed, frame.uncalibrated, frame.stamp_s) == (True, False, 1.5)
    assert frame.intrinsics.hfov_deg == pytest.approx(60.0)
    assert pipeline.prepare(image, info()).stamp_s == 1.5  # type: ignore[arg-type]
    pipeline.settings = settings_from({"input.rectify": "require"})
    with pytest.raises(InputError, match=r"there is no camera_info, and input\.rectify is require"):
        pipeline.prepare(image, None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"the image is distorted \(plumb_bob .* and input\.rectify is require"):
        pipeline.prepare(image, info(d=[0.1, 0, 0, 0, 0]))  # type: ignore[arg-type]
    assert not pipeline.prepare(image, info()).focal_assumed  # type: ignore[arg-type]


def test_rays_to_clear_along_end_at_the_share_of_their_own_level(image: SimpleNamespace) -> None:
    """By the table of the weights; kept while nothing that it is made of changes."""
    asked: list[tuple[float, float, float | None]] = []

    class Table:
        def share(self, *of: Any) -> float:
            asked.append(of)
            return 0.25

    engine: Any = SimpleNamespace(require_metric=lambda: None, uncertainty=Table(), max_depth_m=10.0)
    pipeline = FramePipeline(engine, settings_from({"cloud.clear_level": 0.6, "uncertainty.level": 0.8}))
    depth_m = np.full((HEIGHT, WIDTH), 2.0, np.float32)

    def share() -> float:
        frame = pipeline.prepare(image, info())  # type: ignore[arg-type]
        return pipeline.result(frame, ViewDepth(depth_m, np.ones_like(depth_m), 1.0)).clear_share

    assert [share(), share()] == [0.25, 0.25]
    assert asked == [(0.6, 0.8, None), (JUDGED_AT, 0.8, None)], "and what the anchors' points are held against"
    pipeline.scale = lambda: ScaleEstimate(0.0, 0.1)
    share()
    assert asked[2:] == [(0.6, 0.8, 0.1), (JUDGED_AT, 0.8, 0.1)]
    engine.uncertainty, engine.max_depth_m = None, 10.0
    pipeline.scale = lambda: ScaleEstimate(0.0, 0.2)
    assert share() == 1.0
