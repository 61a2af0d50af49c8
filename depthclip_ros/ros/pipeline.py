"""One frame, from message to depth: what the node does with a live camera and `depthclip bag` with a recorded one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.rectify import CameraModel, rectifier_for
from depthclip_ros.core.types import DepthLimits, Intrinsics
from depthclip_ros.ros.camera_info import camera_model
from depthclip_ros.ros.conversions import read_image
from depthclip_ros.ros.parameters import Settings

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image

    from depthclip_ros.core.engine import DepthEngine

# A smaller image shows nothing to go by; a larger one (8K video is 33 megapixels) would fill memory with clouds.
MIN_SIDE_PX = 16
MAX_PIXELS = 36_000_000
MEDIAN_PIXELS = 80_000  # the median is taken over about this many pixels of a regular grid


@dataclass(frozen=True)
class Frame:
    """An image that is ready for the engine.

    Attributes:
        rgb: uint8 [H, W, 3], rectified.
        intrinsics: of `rgb`; where `focal_assumed`, those of the assumed field of view.
        valid: bool [H, W], False where rectification shows what the camera did not see; None: all True.
        focal_assumed: there was no CameraInfo.
        prepare_ms: time that decoding and rectifying took.
    """

    rgb: NDArray[np.uint8]
    intrinsics: Intrinsics
    valid: NDArray[np.bool_] | None
    focal_assumed: bool
    prepare_ms: float


@dataclass(frozen=True)
class FrameDepth:
    """Depth of a frame; arrays [H, W] at the image's size, metres and confidence as in `core.types.Depth`."""

    frame: Frame
    depth_m: NDArray[np.float32]
    confidence: NDArray[np.float32]
    scale: float
    timings_ms: dict[str, float]
    scenes: list[tuple[str, float]] = field(default_factory=list)


class FramePipeline:
    """Engine and settings of one camera. `settings` may be replaced at any time; a frame sees one of the two whole.

    Attributes:
        engine: shared by any number of pipelines.
        settings: of the next frame.
        already_rectified: the images come rectified, and CameraInfo's D describes the raw images they were made from.

    Raises:
        ConfigError: an engine of relative depth: what is published is metres.
    """

    def __init__(self, engine: DepthEngine, settings: Settings, *, already_rectified: bool = False) -> None:
        engine.require_metric()
        self.engine = engine
        self.settings = settings
        self.already_rectified = already_rectified

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
        camera = None if info is None else self._camera(info, width, height)
        if camera is None:
            if settings.input_rectify == "require":
                raise InputError("there is no camera_info, and input.rectify is require: publish it, or set auto")
            intrinsics = Intrinsics.from_hfov(settings.input_assumed_hfov, width, height)
            return Frame(rgb, intrinsics, None, True, _ms_since(start_s))
        if settings.input_rectify == "require" and not camera.is_rectified:
            raise InputError(
                f"the image is distorted ({camera.distortion_model} {list(camera.d)}) and input.rectify is require: "
                "subscribe to the rectified image, or set auto"
            )
        rectifier = rectifier_for(camera)
        rgb = rectifier.rectify(rgb)
        return Frame(rgb, rectifier.intrinsics, rectifier.valid, False, _ms_since(start_s))

    def intrinsics_of(self, info: CameraInfo, width_px: int, height_px: int) -> Intrinsics:
        """Intrinsics that the rectified image will have, without an image.

        Raises:
            InputError: a CameraInfo that cannot be used.
        """
        return rectifier_for(self._camera(info, width_px, height_px)).intrinsics

    def infer(self, frame: Frame) -> FrameDepth:
        """Depth and confidence.

        Raises:
            InputError: an image that the engine refuses.
            DeviceError: the device is out of memory or gone.
        """
        limits: DepthLimits = self.settings.limits
        depth = self.engine.infer(frame.rgb[None], [frame.intrinsics], limits)
        depth_m, confidence = depth.depth_m[0], depth.confidence[0]
        if frame.valid is not None:
            depth_m[~frame.valid] = np.nan
            confidence[~frame.valid] = 0
        timings_ms = dict(depth.timings_ms)
        timings_ms["preprocess"] = timings_ms.get("preprocess", 0.0) + frame.prepare_ms
        scenes: list[tuple[str, float]] = []
        if depth.scene_weights is not None:
            weights = depth.scene_weights[0]
            scenes = [(depth.scene_labels[index], float(weights[index])) for index in np.argsort(-weights)]
        return FrameDepth(frame, depth_m, confidence, float(depth.scale[0]), timings_ms, scenes)

    def _camera(self, info: CameraInfo, width_px: int, height_px: int) -> CameraModel:
        camera = camera_model(info, width_px, height_px)
        if self.already_rectified or self.settings.input_rectify == "never":
            pinhole = camera.pinhole
            k = (pinhole.fx_px, 0.0, pinhole.cx_px, 0.0, pinhole.fy_px, pinhole.cy_px, 0.0, 0.0, 1.0)
            return CameraModel(width_px, height_px, k)
        return camera


def summary(result: FrameDepth) -> dict[str, Any]:
    """Statistics of one depth image, by the names of DepthStats' fields; NaN where no depth is finite."""
    depth_m = result.depth_m
    finite = np.isfinite(depth_m)
    valid = int(np.count_nonzero(finite))
    step = max(1, round((depth_m.size / MEDIAN_PIXELS) ** 0.5))
    sample = depth_m[::step, ::step]
    sample = sample[np.isfinite(sample)]
    if valid and not sample.size:
        sample = depth_m[finite]
    return {
        "depth_min_m": float(np.min(depth_m, where=finite, initial=np.inf)) if valid else float("nan"),
        "depth_median_m": float(np.median(sample)) if valid else float("nan"),
        "depth_max_m": float(np.max(depth_m, where=finite, initial=-np.inf)) if valid else float("nan"),
        "valid_ratio": valid / depth_m.size,
        "confidence_mean": float(np.mean(result.confidence)),
        "scale": result.scale,
        "focal_assumed": result.frame.focal_assumed,
        "scene_labels": [label for label, _ in result.scenes],
        "scene_weights": [weight for _, weight in result.scenes],
    }


def _check_size(width_px: int, height_px: int) -> None:
    if min(width_px, height_px) < MIN_SIDE_PX or width_px * height_px > MAX_PIXELS:
        raise InputError(
            f"image size is {width_px}x{height_px}; allowed: sides of at least {MIN_SIDE_PX} pixels, "
            f"at most {MAX_PIXELS // 1_000_000} megapixels"
        )


def _ms_since(start_s: float) -> float:
    return (time.perf_counter() - start_s) * 1e3
