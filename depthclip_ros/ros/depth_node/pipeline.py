# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""One frame, from message to depth: what the node does with a live camera and `depthclip bag` with a recorded one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.anchors.estimator import ScaleEstimate
from depthclip_ros.core.anchors.shape import JUDGED_AT
from depthclip_ros.core.calibration import camera_model, is_uncalibrated, misplaced_centre, stamp_ns_of
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.mounting import read_mask, turned_back, turned_view
from depthclip_ros.core.rectify import CameraModel, Rectifier
from depthclip_ros.core.steady_depth import SteadyDepth
from depthclip_ros.core.types import CloudRequest, Intrinsics, View, ViewDepth
from depthclip_ros.ros.camera_info import not_calibrated
from depthclip_ros.ros.conversions import read_image, stereo_offset_m
from depthclip_ros.ros.depth_node.frames import Frame, FrameDepth
from depthclip_ros.ros.depth_node.parameters.values import Settings

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image

    from depthclip_ros.core.engine import DepthEngine

# A smaller image shows nothing to go by; a larger one (8K video is 33 megapixels) would fill memory with clouds.
MIN_SIDE_PX = 16
MAX_PIXELS = 36_000_000


class FramePipeline:
    """Engine and settings of one camera. `settings` may be replaced at any time; a frame sees one of the two whole.

    Attributes:
        engine: shared by any number of pipelines.
        settings: of the next frame.
        camera: name of the camera in `settings.cameras`, which its `scale.factors` go by; "" where it has none.
        already_rectified: the images come rectified, and CameraInfo's D describes the raw images they were made from.
        image_topic: where its images come, for what is said of them.
        scale: what the camera's anchors know of the scale of the next frame.
        warn: told once of a calibration that can be used but hardly be right.

    Raises:
        ConfigError: an engine of relative depth (what is published is metres), or a mask that cannot be used.
    """

    def __init__(
        self, engine: DepthEngine, settings: Settings, *, camera: str = "", already_rectified: bool = False
    ) -> None:
        engine.require_metric()
        self.engine = engine
        self.settings = settings
        self.camera = camera
        self.already_rectified = already_rectified
        self.image_topic = "image"
        self.warn: Callable[[str], None] = lambda sentence: None
        self.scale: Callable[[], ScaleEstimate] = ScaleEstimate
        self._said: set[str] = set()
        self._rectifier: tuple[CameraModel, Rectifier] | None = None
        self._steady = SteadyDepth()
        self._shares: tuple[Any, tuple[float, float]] = (None, (1.0, 1.0))  # what the last frame's were made of; they
        self._mask = read_mask(settings.input_mask.replace("{camera}", camera)) if settings.input_mask else None
        self._seen: tuple[Rectifier | None, NDArray[np.bool_] | None] = (None, self._mask)

    def prepare(self, image: Image | CompressedImage, info: CameraInfo | None) -> Frame:
        """Decode and rectify.

        Args:
            image: sensor_msgs Image or CompressedImage, or anything with its fields.
            info: the CameraInfo that belongs to it; None: there is none, the assumed field of view serves.

        Raises:
            InputError: an image or CameraInfo that cannot be used, or one that `input.rectify` refuses.
        """
        start_s = time.perf_counter()
        if hasattr(image, "encoding"):
            _check_size(image.width, image.height)
        rgb = read_image(image)
        height, width = rgb.shape[:2]
        _check_size(width, height)
        settings = self.settings
        camera = self._camera(info, width, height)
        if camera is None:
            intrinsics = Intrinsics.from_hfov(settings.assumed_hfov_deg, width, height)
            valid = self._valid(None, width, height)
            prepare_ms, stamp_s = _ms_since(start_s), stamp_ns_of(image.header.stamp) / 1e9
            return Frame(
                rgb,
                intrinsics,
                valid,
                True,
                prepare_ms,
                settings,
                scale=self.scale(),
                stamp_s=stamp_s,
                uncalibrated=info is not None,
            )
        assert info is not None
        rectifier = self._rectifier_for(camera)
        rgb = rectifier.rectify(rgb)
        offset_m = stereo_offset_m(info.p)
        return Frame(
            rgb,
            rectifier.intrinsics,
            self._valid(rectifier, width, height),
            False,
            _ms_since(start_s),
            settings,
            offset_m,
            self.scale(),
            stamp_ns_of(image.header.stamp) / 1e9,
        )

    def camera_of(
        self, image: Image | CompressedImage, info: CameraInfo | None
    ) -> tuple[Intrinsics, tuple[float, float]] | None:
        """Intrinsics and stereo offset (metres) of the frame that `prepare` would make; None where they are a guess.

        Raises:
            InputError: as `prepare`.
        """
        height, width = (image.height, image.width) if hasattr(image, "encoding") else read_image(image).shape[:2]
        _check_size(width, height)
        camera = self._camera(info, width, height)
        if camera is not None and info is not None:
            return self._rectifier_for(camera).intrinsics, stereo_offset_m(info.p)
        hfov_deg = self.settings.input_assumed_hfov
        return (Intrinsics.from_hfov(hfov_deg, width, height), (0.0, 0.0)) if hfov_deg else None

    def infer(self, frame: Frame, *, cloud: bool = False, rays: bool = False) -> FrameDepth:
        """Depth and confidence of one frame, and what its cloud and rays need.

        Raises:
            InputError: an image that the engine refuses.
            DeviceError: the device is out of memory or gone.
        """
        return self.result(frame, self.engine.infer_views([self.view(frame, cloud=cloud, rays=rays)])[0])

    def view(self, frame: Frame, *, cloud: bool = False, rays: bool = False) -> View:
        """What the engine is to do with a frame, upright: with its cloud, with what rays are made of, or without."""
        settings = frame.settings
        request = CloudRequest(
            settings.cloud_stride,
            settings.cloud_max_range_m,
            settings.cloud_color,
            "uncertainty" in settings.cloud_fields,
            settings.cloud_edge_threshold,
        )
        limits = frame.scale.applied_to(settings.limits_of(self.camera))
        later = cloud and settings.filter_temporal  # of depth that is not steadied yet the engine makes no cloud
        flying = settings.cloud_edge_threshold if rays or later else 0.0
        view = View(frame.rgb, frame.intrinsics, limits, request if cloud and not later else None, flying)
        return turned_view(view, settings.input_rotation)

    def result(self, frame: Frame, depth: ViewDepth) -> FrameDepth:
        """What the engine found of a frame, steadied if `filter.temporal` is on; unknown where the camera saw nothing.

        To be called in the order of the images.
        """
        start_s = time.perf_counter()
        depth = turned_back(depth, frame.settings.input_rotation)
        turn_ms = _ms_since(start_s)
        steady_ms = self._steady_ms(frame, depth)
        if frame.valid is not None:
            unseen = ~frame.valid
            depth.depth_m[unseen] = np.nan
            depth.confidence[unseen] = 0
            if depth.cloud is not None:
                stride = frame.settings.cloud_stride
                for axis in "xyz":
                    depth.cloud[axis][unseen[::stride, ::stride]] = np.nan
        timings_ms = dict(depth.timings_ms)
        timings_ms["preprocess"] = timings_ms.get("preprocess", 0.0) + frame.prepare_ms
        timings_ms["postprocess"] = timings_ms.get("postprocess", 0.0) + turn_ms + steady_ms
        scenes: list[tuple[str, float]] = []
        if depth.scene_weights is not None:
            weights = depth.scene_weights
            scenes = [(depth.scene_labels[index], float(weights[index])) for index in np.argsort(-weights)]
        return FrameDepth(
            frame,
            depth.depth_m,
            depth.confidence,
            depth.scale,
            timings_ms,
            depth.cloud,
            depth.batch_size,
            scenes,
            depth.half_width,
            depth.flying,
            *self._shares_of(frame),
            self._farthest_m(frame.settings),
        )

    def _farthest_m(self, settings: Settings) -> float:
        return min(settings.output_max_depth, self.engine.max_depth_m)

    def _shares_of(self, frame: Frame) -> tuple[float, float]:
        """See `FrameDepth.clear_share` and `judged_share`; kept while nothing changes that they are made of."""
        of = frame.settings.cloud_clear_level, frame.settings.uncertainty_level, frame.scale.log_scale_sd
        if self._shares[0] != of:
            table = self.engine.uncertainty
            shares = (1.0, 1.0) if table is None else (table.share(*of), table.share(JUDGED_AT, *of[1:]))
            self._shares = of, shares
        return self._shares[1]

    def _steady_ms(self, frame: Frame, depth: ViewDepth) -> float:
        """Steadies depth, in place, where that is asked for; the time it took."""
        settings, start_s = frame.settings, time.perf_counter()
        if not settings.filter_temporal:
            self._steady.reset()
            return 0.0
        limits_m = settings.output_min_depth, self._farthest_m(settings)
        self._steady.apply(frame.stamp_s, frame.rgb, depth.depth_m, math.log(depth.scale), limits_m)
        return _ms_since(start_s)

    def _rectifier_for(self, camera: CameraModel) -> Rectifier:
        """The rectifier of this calibration, kept while the camera keeps it: another camera cannot push it out."""
        known = self._rectifier
        if known is None or known[0] != camera:
            self._rectifier = known = (camera, Rectifier(camera))
        return known[1]

    def _valid(self, rectifier: Rectifier | None, width_px: int, height_px: int) -> NDArray[np.bool_] | None:
        """Where the rectified image shows what is not the robot itself, bool [H, W]; None: everywhere.

        Raises:
            InputError: the mask is not of the images' size.
        """
        if self._mask is None:
            return None if rectifier is None else rectifier.valid
        if self._mask.shape != (height_px, width_px):
            raise InputError(
                f"the mask {self.settings.input_mask} is {self._mask.shape[1]}x{self._mask.shape[0]}, the image "
                f"{width_px}x{height_px}; paint it over an image of this camera (input.mask)"
            )
        if self._seen[0] is not rectifier:
            seen = self._mask
            if rectifier is not None:
                seen = rectifier.rectify(seen.astype(np.uint8), nearest=True).astype(bool)  # 0 where nothing was seen
            self._seen = (rectifier, seen)
        return self._seen[1]

    def _camera(self, info: CameraInfo | None, width_px: int, height_px: int) -> CameraModel | None:
        """The camera of an image; None where the assumed field of view serves.

        Raises:
            InputError: a CameraInfo that cannot be used, or one that `input.rectify` refuses.
        """
        is_required = self.settings.input_rectify == "require"
        if info is None or is_uncalibrated(info):
            if info is not None and not self.settings.input_assumed_hfov:
                self._warn_once(not_calibrated(self.image_topic))
            if is_required:
                missing = "there is no camera_info" if info is None else "the camera_info holds no calibration"
                raise InputError(f"{missing}, and input.rectify is require: publish it, or set auto")
            return None
        rectified = self.already_rectified or self.settings.input_rectify == "never"
        camera = camera_model(info, width_px, height_px, rectified=rectified)
        if "centre" not in self._said and (doubt := misplaced_centre(info.k, info.p, info.width, info.height)):
            self._warn_once(doubt, "centre")
        if is_required and not camera.is_rectified:
            raise InputError(
                f"the image is distorted ({camera.distortion_model} {list(camera.d)}) and input.rectify is require: "
                "subscribe to the rectified image, or set auto"
            )
        return camera

    def _warn_once(self, sentence: str, of: str = "") -> None:
        if (of or sentence) not in self._said:
            self._said.add(of or sentence)
            self.warn(sentence)


def _check_size(width_px: int, height_px: int) -> None:
    if min(width_px, height_px) < MIN_SIDE_PX or width_px * height_px > MAX_PIXELS:
        raise InputError(
            f"image size is {width_px}x{height_px}; allowed: sides of at least {MIN_SIDE_PX} pixels, "
            f"at most {MAX_PIXELS // 1_000_000} megapixels"
        )


def _ms_since(start_s: float) -> float:
    return (time.perf_counter() - start_s) * 1e3
