"""One frame, from message to depth: what the node does with a live camera and `depthclip bag` with a recorded one."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.anchors.estimator import NO_SCALE, ScaleEstimate
from depthclip_ros.core.calibration import camera_model, misplaced_centre
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import cloud_dtype, organised_cloud
from depthclip_ros.core.rectify import CameraModel, Rectifier
from depthclip_ros.core.types import CloudRequest, Intrinsics, View, ViewDepth
from depthclip_ros.core.uncertainty import uncertainty_m
from depthclip_ros.ros.conversions import read_image, stereo_offset_m
from depthclip_ros.ros.depth_node.parameters import Settings

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
        settings: those of the moment when the frame was prepared, for all that is done to it.
        offset_m: see `conversions.stereo_offset_m`.
        scale: what the anchors knew of the scale when the frame was prepared; its depth is multiplied by it.
    """

    rgb: NDArray[np.uint8]
    intrinsics: Intrinsics
    valid: NDArray[np.bool_] | None
    focal_assumed: bool
    prepare_ms: float
    settings: Settings
    offset_m: tuple[float, float] = (0.0, 0.0)
    scale: ScaleEstimate = NO_SCALE


@dataclass(frozen=True)
class FrameDepth:
    """Depth of a frame; arrays [H, W] at the image's size, metres and confidence as in `core.types.ViewDepth`.

    Attributes:
        cloud: structured [h, w] where the engine made it; None: it is made of `depth_m`.
        batch_size: images that the network saw at once.
        scenes: labels and weights, most likely first.
        half_width, flying: as in `core.types.ViewDepth`.
    """

    frame: Frame
    depth_m: NDArray[np.float32]
    confidence: NDArray[np.float32]
    scale: float
    timings_ms: dict[str, float]
    cloud: NDArray[np.void] | None = None
    batch_size: int = 1
    scenes: list[tuple[str, float]] = field(default_factory=list)
    half_width: NDArray[np.float32] | None = None
    flying: NDArray[np.bool_] | None = None

    @property
    def uncertainty_m(self) -> NDArray[np.float32]:
        """The larger side of each pixel's interval, metres [H, W]; all NaN where the weights have no intervals."""
        if self.half_width is None:
            return np.full_like(self.depth_m, np.nan)
        return uncertainty_m(self.depth_m, self.half_width)

    @property
    def cloud_type(self) -> tuple[tuple[int, ...], np.dtype[np.void]]:
        """Shape and dtype of what `make_cloud` makes."""
        settings = self.frame.settings
        shape = tuple(-(-side // settings.cloud_stride) for side in self.depth_m.shape)
        return shape, cloud_dtype(settings.cloud_color, "uncertainty" in settings.cloud_fields)

    def make_cloud(self, out: NDArray[np.void] | None = None) -> NDArray[np.void]:
        """The organised cloud, structured [h, w]; `out`: see `geometry.organised_cloud`."""
        settings = self.frame.settings
        return organised_cloud(
            self.depth_m,
            self.frame.rgb if settings.cloud_color else None,
            self.frame.intrinsics,
            stride=settings.cloud_stride,
            max_range_m=settings.cloud_max_range_m,
            unknown=self.flying,
            uncertainty_m=self.uncertainty_m if "uncertainty" in settings.cloud_fields else None,
            out=out,
        )


class FramePipeline:
    """Engine and settings of one camera. `settings` may be replaced at any time; a frame sees one of the two whole.

    Attributes:
        engine: shared by any number of pipelines.
        settings: of the next frame.
        camera: name of the camera in `settings.cameras`, which its `scale.factors` go by; "" where it has none.
        already_rectified: the images come rectified, and CameraInfo's D describes the raw images they were made from.
        scale: what the camera's anchors know of the scale of the next frame.
        warn: told once of a calibration that can be used but hardly be right.

    Raises:
        ConfigError: an engine of relative depth: what is published is metres.
    """

    def __init__(
        self, engine: DepthEngine, settings: Settings, *, camera: str = "", already_rectified: bool = False
    ) -> None:
        engine.require_metric()
        self.engine = engine
        self.settings = settings
        self.camera = camera
        self.already_rectified = already_rectified
        self.warn: Callable[[str], None] = lambda sentence: None
        self.scale: Callable[[], ScaleEstimate] = ScaleEstimate
        self._warned = False
        self._rectifier: tuple[CameraModel, Rectifier] | None = None

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
        if info is None:
            if settings.input_rectify == "require":
                raise InputError("there is no camera_info, and input.rectify is require: publish it, or set auto")
            intrinsics = Intrinsics.from_hfov(settings.input_assumed_hfov, width, height)
            return Frame(rgb, intrinsics, None, True, _ms_since(start_s), settings, scale=self.scale())
        camera = self._camera(info, width, height)
        if settings.input_rectify == "require" and not camera.is_rectified:
            raise InputError(
                f"the image is distorted ({camera.distortion_model} {list(camera.d)}) and input.rectify is require: "
                "subscribe to the rectified image, or set auto"
            )
        rectifier = self._rectifier_for(camera)
        rgb = rectifier.rectify(rgb)
        offset_m = stereo_offset_m(info.p)
        prepare_ms = _ms_since(start_s)
        return Frame(rgb, rectifier.intrinsics, rectifier.valid, False, prepare_ms, settings, offset_m, self.scale())

    def intrinsics_of(self, image: Image | CompressedImage, info: CameraInfo) -> Intrinsics:
        """Intrinsics that the rectified image will have.

        Raises:
            InputError: an image or a CameraInfo that cannot be used.
        """
        height, width = (image.height, image.width) if hasattr(image, "encoding") else read_image(image).shape[:2]
        return self._rectifier_for(self._camera(info, width, height)).intrinsics

    def infer(self, frame: Frame, *, cloud: bool = False) -> FrameDepth:
        """Depth and confidence of one frame, and what its cloud needs.

        Raises:
            InputError: an image that the engine refuses.
            DeviceError: the device is out of memory or gone.
        """
        return self.result(frame, self.engine.infer_views([self.view(frame, cloud=cloud)])[0])

    def view(self, frame: Frame, *, cloud: bool = False) -> View:
        """What the engine is to do with a frame, with its cloud or without."""
        settings = frame.settings
        request = CloudRequest(
            settings.cloud_stride,
            settings.cloud_max_range_m,
            settings.cloud_color,
            "uncertainty" in settings.cloud_fields,
            settings.cloud_edge_threshold,
        )
        limits, scale = settings.limits_of(self.camera), frame.scale
        limits = dataclasses.replace(
            limits, scale_factor=limits.scale_factor * scale.factor, log_scale_sd=scale.log_scale_sd
        )
        return View(frame.rgb, frame.intrinsics, limits, request if cloud else None)

    def result(self, frame: Frame, depth: ViewDepth) -> FrameDepth:
        """What the engine found of a frame; unknown where the camera saw nothing."""
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
        )

    def _rectifier_for(self, camera: CameraModel) -> Rectifier:
        """The rectifier of this calibration, kept while the camera keeps it: another camera cannot push it out."""
        known = self._rectifier
        if known is None or known[0] != camera:
            self._rectifier = known = (camera, Rectifier(camera))
        return known[1]

    def _camera(self, info: CameraInfo, width_px: int, height_px: int) -> CameraModel:
        rectified = self.already_rectified or self.settings.input_rectify == "never"
        camera = camera_model(info, width_px, height_px, rectified=rectified)
        if not self._warned and (doubt := misplaced_centre(info.k, info.p, info.width, info.height)):
            self._warned = True
            self.warn(doubt)
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
        "half_width_mean": _mean_half_width(result),
        "half_width_level": result.frame.settings.uncertainty_level,
        "scale": result.scale,
        "anchor_scale": result.frame.scale.factor,
        "anchor_scale_sd": float("nan") if result.frame.scale.log_scale_sd is None else result.frame.scale.log_scale_sd,
        "focal_assumed": result.frame.focal_assumed,
        "scene_labels": [label for label, _ in result.scenes],
        "scene_weights": [weight for _, weight in result.scenes],
    }


def _mean_half_width(result: FrameDepth) -> float:
    """Of ln depth, over about as many pixels as the median; NaN where there is none."""
    if result.half_width is None:
        return float("nan")
    step = max(1, round((result.depth_m.size / MEDIAN_PIXELS) ** 0.5))
    known = np.isfinite(result.depth_m[::step, ::step])
    return float(result.half_width[::step, ::step][known].mean()) if known.any() else float("nan")


def _check_size(width_px: int, height_px: int) -> None:
    if min(width_px, height_px) < MIN_SIDE_PX or width_px * height_px > MAX_PIXELS:
        raise InputError(
            f"image size is {width_px}x{height_px}; allowed: sides of at least {MIN_SIDE_PX} pixels, "
            f"at most {MAX_PIXELS // 1_000_000} megapixels"
        )


def _ms_since(start_s: float) -> float:
    return (time.perf_counter() - start_s) * 1e3
