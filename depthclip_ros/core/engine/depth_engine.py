"""One model, any number of cameras: batches of images and intrinsics in, metric depth out."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from depthclip_ros.core.engine.postprocess import check_limits, metric_depth
from depthclip_ros.core.engine.preprocess import check_batch, focal_at_network_px, network_input
from depthclip_ros.core.engine.runtime import Runtime, make_runtime
from depthclip_ros.core.engine.torch_runtime import OutOfDeviceMemoryError, device_errors
from depthclip_ros.core.errors import ConfigError, DeviceError
from depthclip_ros.core.model.contract import DepthModel, Prediction
from depthclip_ros.core.types import Depth, DepthLimits, Intrinsics, View, ViewDepth

if TYPE_CHECKING:
    from depthclip_ros.core.weights import WeightsInfo

NO_LIMITS = DepthLimits()


class DepthEngine:
    """Metric depth of images.

    The network predicts depth for a canonical focal length; the engine multiplies by the camera's own,
    depth_m = depth * f / f_canonical, with f the geometric mean of fx and fy after the resize to the network's input.

    May be called from several threads; the calls follow one another.

    Attributes:
        info: of the weights; None for an engine made from a model.
        runtime: e.g. "torch".
        device: e.g. "cpu" or "cuda:0".
        precision: "fp32", "bf16" or "fp16".
        max_depth_m: farthest depth that the model was made for; infinite for systems of relative depth.
        notices: what went otherwise than asked (a smaller batch, the CPU in place of the GPU), one sentence each.
    """

    def __init__(
        self,
        model: DepthModel,
        info: WeightsInfo | None = None,
        *,
        runtime: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        allow_cpu_fallback: bool = True,
    ) -> None:
        """Make an engine of a model, which belongs to the engine from here on; see `load` for the rest."""
        self.info = info
        self.config = model.config
        self.scene_labels = tuple(model.scene_labels)
        self.max_depth_m = model.config.max_depth_m if model.config.metric else math.inf
        self._mean, self._std = model.image_mean, model.image_std
        self._network_size = model.network_size
        self._allow_cpu_fallback = allow_cpu_fallback
        self._largest_batch: int | None = None
        self._lock = threading.Lock()
        self._runtime: Runtime | None = None
        self.notices: list[str] = []
        try:
            self._adopt(make_runtime(model, runtime, device, precision))
        except OutOfDeviceMemoryError:
            if not allow_cpu_fallback or device == "cpu":
                raise
            self.notices.append(f"the model does not fit into the memory of device '{device}'; the CPU is used")
            self._adopt(make_runtime(model, runtime, "cpu", "auto"))

    @classmethod
    def load(
        cls,
        weights: str | Path = "default",
        *,
        runtime: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        allow_cpu_fallback: bool = True,
    ) -> DepthEngine:
        """An engine from a weights file.

        Args:
            weights: see `find_weights.resolve`.
            runtime: "auto" or "torch".
            device: "auto" (the first GPU, else the CPU), "cpu", "cuda", "cuda:N".
            precision: "fp32", "bf16", "fp16", or "auto": half precision where the device is made for it, it is faster
                and this model's depth stays the same within 2 %.
            allow_cpu_fallback: go on on the CPU when not even one image fits into the GPU's memory.

        Raises:
            WeightsError: the file is missing, broken or does not fit its model.
            ConfigError: an unknown runtime, device or precision.
            DeviceError: the device is not there or too small for the model.
        """
        from depthclip_ros.core.weights import load_weights

        loaded = load_weights(weights)
        return cls(
            loaded.model,
            loaded.info,
            runtime=runtime,
            device=device,
            precision=precision,
            allow_cpu_fallback=allow_cpu_fallback,
        )

    def infer(
        self, images: NDArray[np.uint8], intrinsics: Sequence[Intrinsics], limits: DepthLimits = NO_LIMITS
    ) -> Depth:
        """Depth and confidence of a batch.

        Args:
            images: uint8 [B, H, W, 3] RGB of one size, 16 pixels a side to 64 megapixels.
            intrinsics: one per image, of the images' size; the images may come from different cameras.
            limits: what becomes NaN or infinite, and the scale.

        Raises:
            InputError: images or intrinsics that are not as said.
            ConfigError: a limit that means nothing.
            DeviceError: the engine is closed, or its device is full (and the CPU not allowed) or gone.
        """
        check_batch(images, intrinsics)
        check_limits(limits)
        return _joined(
            self.infer_views([View(image, camera, limits) for image, camera in zip(images, intrinsics, strict=True)])
        )

    def infer_views(self, views: Sequence[View]) -> list[ViewDepth]:
        """Depth and confidence of images that may differ in size and limits, in the order given.

        Images whose network input has the same size go through the network as one batch.

        Raises:
            InputError, ConfigError, DeviceError: as `infer`; then there is no depth of any of the views.
        """
        for view in views:
            check_batch(view.rgb[None], [view.intrinsics])
            check_limits(view.limits)
        groups: dict[tuple[int, int], list[int]] = {}
        for index, view in enumerate(views):
            size = self._network_size(view.intrinsics.width_px, view.intrinsics.height_px)
            groups.setdefault(size, []).append(index)
        found: dict[int, ViewDepth] = {}
        with self._lock:
            for size, members in groups.items():
                waiting = members
                while waiting:
                    part = waiting[: self._largest_batch or len(waiting)]
                    try:
                        depths = self._infer([views[index] for index in part], size)
                    except OutOfDeviceMemoryError:
                        self._shrink(len(part))
                        continue
                    found.update(zip(part, depths, strict=True))
                    waiting = waiting[len(part) :]
        return [found[index] for index in range(len(views))]

    def require_metric(self) -> None:
        """Refuse a system of relative depth, whose figures are no metres; for whoever publishes or writes metres.

        Raises:
            ConfigError: says how to give it a scale.
        """
        if not self.config.metric:
            name = self.config.system if self.info is None else self.info.base_name or self.info.path
            raise ConfigError(
                f"the weights {name} give relative depth, which has no metres: take weights with a metric head (e.g. "
                "preset:depth-anything-v2-indoor-small), or fit scale and shift to frames with measured depth by "
                "depthclip-train fit-scale and take the file that it writes"
            )

    def warm_up(self, width_px: int, height_px: int, batch: int = 1) -> None:
        """Run once on a grey image of this size, so that the first real one does not wait for kernels and memory.

        Raises:
            InputError, DeviceError: as `infer`.
        """
        grey = np.full((batch, height_px, width_px, 3), 127, np.uint8)
        self.infer(grey, [Intrinsics.from_hfov(60.0, width_px, height_px)] * batch)

    def network_size(self, width_px: int, height_px: int) -> tuple[int, int]:
        """(width, height) of the network's input for an image of this size."""
        return self._network_size(width_px, height_px)

    def close(self) -> None:
        """Free the device's memory; the engine can no longer infer. May be called twice."""
        with self._lock:
            if self._runtime is not None:
                self._runtime.close()
                self._runtime = None

    def _adopt(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.runtime = runtime.name
        self.device = str(runtime.device)
        self.precision = runtime.precision
        self.notices.extend(runtime.notices)

    def _infer(self, views: Sequence[View], network_size: tuple[int, int]) -> list[ViewDepth]:
        """One batch of one network size, timed with the device at rest."""
        runtime = self._runtime
        if runtime is None:
            raise DeviceError("the depth engine is closed; load it again")
        times_s = [time.perf_counter()]
        with device_errors(runtime.device), torch.inference_mode():
            inputs = [
                network_input(view.rgb[None], network_size, self._mean, self._std, runtime.device, runtime.dtype)
                for view in views
            ]
            batch = inputs[0] if len(inputs) == 1 else torch.cat(inputs)
            runtime.synchronize()
            times_s.append(time.perf_counter())
            prediction = runtime.run(batch)
            runtime.synchronize()
            times_s.append(time.perf_counter())
            depths = [self._finish(view, prediction, index, network_size) for index, view in enumerate(views)]
        times_s.append(time.perf_counter())
        stages = ("preprocess", "network", "postprocess")
        timings_ms = {
            stage: (after - before) * 1000
            for stage, before, after in zip(stages, times_s[:-1], times_s[1:], strict=True)
        }
        for depth in depths:
            depth.timings_ms, depth.batch_size = dict(timings_ms), len(views)
        return depths

    def _finish(self, view: View, prediction: Prediction, index: int, network_size: tuple[int, int]) -> ViewDepth:
        """What the network said of one image of a batch, in metres at the image's size."""
        scale = self._scale(view.intrinsics, network_size) * view.limits.scale_factor
        one = slice(index, index + 1)
        depth, confidence = metric_depth(
            prediction.depth[one],
            prediction.confidence[one],
            torch.tensor([scale], dtype=torch.float32, device=prediction.depth.device),
            (view.intrinsics.width_px, view.intrinsics.height_px),
            view.limits,
            self.max_depth_m,
        )
        weights = None if prediction.scene_weights is None else prediction.scene_weights[index].float().cpu().numpy()
        return ViewDepth(
            depth_m=depth[0].cpu().numpy(),
            confidence=confidence[0].cpu().numpy(),
            scale=scale,
            scene_labels=() if weights is None else self.scene_labels,
            scene_weights=weights,
        )

    def _scale(self, intrinsics: Intrinsics, network_size: tuple[int, int]) -> float:
        """Metres per unit of the network's output."""
        canonical_px = self.config.canonical_focal_px
        return 1.0 if canonical_px is None else focal_at_network_px(intrinsics, network_size) / canonical_px

    def _shrink(self, batch: int) -> None:
        """After running out of memory: half the batch from now on, below one image the CPU.

        Raises:
            DeviceError: one image does not fit and there is no other device, or it is not allowed.
        """
        runtime = self._runtime
        if runtime is None:
            raise DeviceError("the depth engine is closed; load it again")
        if batch > 1:
            self._largest_batch = batch // 2
            self.notices.append(f"{self.device} is out of memory at {batch} images; from now on {batch // 2} at a time")
            return
        if runtime.device.type == "cpu" or not self._allow_cpu_fallback:
            raise DeviceError(f"{self.device} is out of memory for a single image; use a smaller image or model")
        self.notices.append(f"{self.device} is out of memory for a single image; from now on the CPU is used")
        self._adopt(runtime.to_cpu())


def _joined(views: list[ViewDepth]) -> Depth:
    """Depth of views of one size and system as one batch; a single one is not copied."""
    alone = views[0] if len(views) == 1 else None
    weights = [view.scene_weights for view in views if view.scene_weights is not None]
    return Depth(
        depth_m=alone.depth_m[None] if alone else np.stack([view.depth_m for view in views]),
        confidence=alone.confidence[None] if alone else np.stack([view.confidence for view in views]),
        scale=[view.scale for view in views],
        scene_labels=views[0].scene_labels,
        scene_weights=np.stack(weights) if weights else None,
        timings_ms=_total(views),
    )


def _total(views: list[ViewDepth]) -> dict[str, float]:
    """Time by stage over all batches that the views went through."""
    total = dict.fromkeys(views[0].timings_ms, 0.0)
    done = 0
    while done < len(views):
        for stage, time_ms in views[done].timings_ms.items():
            total[stage] += time_ms
        done += views[done].batch_size
    return total
