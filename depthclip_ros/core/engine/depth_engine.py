# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""One model, any number of cameras: batches of images and intrinsics in, metric depth out."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from depthclip_ros.core.engine.focal_scale import metres_per_unit
from depthclip_ros.core.engine.preprocess import by_network_size, check_batch, network_pixels, on_device
from depthclip_ros.core.engine.view_depths import joined, view_depths
from depthclip_ros.core.errors import ConfigError, DeviceError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.runtimes.artefact_cache import identity_of
from depthclip_ros.core.runtimes.devices import OutOfDeviceMemoryError, device_errors, quiet_threads
from depthclip_ros.core.runtimes.openvino.calibration_images import ROOMS, CalibrationSet
from depthclip_ros.core.runtimes.proof import Proof, RefusedRuntimeError
from depthclip_ros.core.runtimes.runtime import Runtime, make_runtime
from depthclip_ros.core.types import Depth, DepthLimits, Intrinsics, View, ViewDepth

if TYPE_CHECKING:
    from depthclip_ros.core.weights import WeightsInfo

NO_LIMITS = DepthLimits()
STAGES = ("preprocess", "network", "postprocess")
CLOSE_S = 10.0  # that closing waits for a call under way


class DepthEngine:
    """Metric depth of images.

    The network predicts depth for a canonical focal length; the engine multiplies by the camera's own,
    depth_m = depth * f / f_canonical, with f the geometric mean of fx and fy after the resize to the network's input.

    May be called from several threads; the calls follow one another.

    Attributes:
        info: of the weights; None for an engine made from a model.
        runtime: e.g. "torch" or "openvino".
        device: where the network runs, e.g. "cpu", "cuda:0" or "xpu".
        precision: "fp32", "bf16", "fp16" or "int8".
        max_depth_m: farthest depth that the model was made for; infinite for systems of relative depth.
        uncertainty: by which depth gets intervals; None where the weights were made without.
        notices: what went otherwise than asked (a smaller batch, the CPU in place of the GPU), one sentence each.
    """

    def __init__(
        self,
        model: DepthModel,
        info: WeightsInfo | None = None,
        *,
        runtime: str = "torch",
        device: str = "auto",
        precision: str = "auto",
        calibration: str = ROOMS,
        threads: int = 0,
        allow_cpu_fallback: bool = True,
    ) -> None:
        """Make an engine of a model, which belongs to the engine from here on; see `load` for the rest."""
        self.info = info
        self.config = model.config
        self.scene_labels = tuple(model.scene_labels)
        self.max_depth_m = model.config.max_depth_m if model.config.metric else math.inf
        self.uncertainty = info.uncertainty if info is not None else None
        self._network_size = model.network_size
        self._allow_cpu_fallback = allow_cpu_fallback
        self._threads = threads
        self._largest_batch: int | None = None
        self._image_sizes: dict[tuple[int, int], tuple[int, int]] = {}  # by network size, the latest
        self._lock = threading.Lock()
        self._runtime: Runtime | None = None
        self.notices: list[str] = []
        identity, pictures = identity_of(model, None if info is None else info.sha256), CalibrationSet(calibration)
        make = partial(make_runtime, model, identity=identity, calibration=pictures, threads=threads)
        try:
            self._adopt(make(runtime, device, precision))
        except OutOfDeviceMemoryError:
            if not allow_cpu_fallback or device == "cpu":
                raise
            self.notices.append(f"the model does not fit into the memory of device '{device}'; the CPU is used")
            self._adopt(make("torch", "cpu", "auto"))

    @classmethod
    def load(
        cls,
        weights: str | Path = "default",
        *,
        runtime: str = "torch",
        device: str = "auto",
        precision: str = "auto",
        calibration: str = ROOMS,
        threads: int = 0,
        allow_cpu_fallback: bool = True,
    ) -> DepthEngine:
        """An engine from a weights file.

        Args:
            weights: see `weights.find.resolve`.
            runtime: "torch"; "openvino", "onnxruntime": faster, compiled for each image size at its first use, which
                takes seconds, and kept on the disk; "auto": the fastest that is installed, for cameras.
            device: "auto" (the first GPU, else the CPU), "cpu", "cuda", "cuda:N", "xpu" (Intel's GPUs, by openvino).
            precision: "fp32", "bf16", "fp16", "int8" (openvino), or "auto": half precision where the device is made for
                it, it is faster and this model's depth stays the same (`proof.LIMITS`).
            calibration: for int8: "rooms" (rendered), or a folder with pictures of the robot's own places.
            threads: of the CPU that the network works in; 0: as many as its library likes.
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
            calibration=calibration,
            threads=threads,
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
        return joined(
            self.infer_views([View(image, camera, limits) for image, camera in zip(images, intrinsics, strict=True)])
        )

    def infer_views(self, views: Sequence[View]) -> list[ViewDepth]:
        """Depth and confidence of images that may differ in size and limits, in the order given.

        Images whose network input has the same size go through the network as one batch.

        Raises:
            InputError, ConfigError, DeviceError: as `infer`; then there is no depth of any of the views.
        """
        groups = by_network_size(views, self._network_size)
        found: dict[int, ViewDepth] = {}
        with self._lock:
            for size, members in groups.items():
                self._image_sizes[size] = views[members[0]].rgb.shape[1::-1]
                waiting = members
                while waiting:
                    part = waiting[: self._largest_batch or len(waiting)]
                    try:
                        depths = self._infer([views[index] for index in part], size)
                    except OutOfDeviceMemoryError:
                        self._shrink(len(part))
                        continue
                    except RefusedRuntimeError as error:
                        self._replace(f"{error}: torch on the CPU runs in its place", "auto")
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
        """Run once on a grey image of this size: the first real one then does not wait for kernels and memory.

        Raises:
            InputError, DeviceError: as `infer`.
        """
        grey = np.full((batch, height_px, width_px, 3), 127, np.uint8)
        self.infer(grey, [Intrinsics.from_hfov(60.0, width_px, height_px)] * batch)

    def prepare_in_background(self) -> None:
        """For cameras, after `warm_up`: no image waits for the compilation of a new size or batch any more.

        Until that is done and proved, its images are slower, by torch or one by one.
        """
        if self._runtime is not None:
            self._runtime.prepare_in_background()

    @property
    def preparing(self) -> str:
        """What is being compiled meanwhile, e.g. "1280x720, 3 x 1280x720"; "" where nothing is."""
        keys = () if self._runtime is None else self._runtime.preparing
        sizes = [(batch, *self._image_sizes[width, height]) for batch, height, width in keys]
        return ", ".join(f"{batch} x {width}x{height}".removeprefix("1 x ") for batch, width, height in sizes)

    @property
    def proofs(self) -> dict[tuple[int, int, int], Proof]:
        """What the runtime was off by from torch in float32, by (batch, height, width) of the network's input.

        Empty for torch in float32 on the CPU, which is what the others are measured by.
        """
        return {} if self._runtime is None else dict(self._runtime.proofs)

    def network_size(self, width_px: int, height_px: int) -> tuple[int, int]:
        """(width, height) of the network's input for an image of this size."""
        return self._network_size(width_px, height_px)

    def close(self) -> None:
        """Free the device's memory; the engine can no longer infer. May be called twice.

        Raises:
            DeviceError: a call that is under way does not end; the memory is left to it.
        """
        if not self._lock.acquire(timeout=CLOSE_S):
            raise DeviceError(f"{self.device} does not answer: a call has not ended for {CLOSE_S:g} s")
        try:
            if self._runtime is not None:
                self._runtime.close()
                self._runtime = None
        finally:
            self._lock.release()

    def _adopt(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.runtime = runtime.name
        self.device = runtime.device_name
        self.precision = runtime.precision
        self.notices.extend(runtime.notices)

    def _alive(self) -> Runtime:
        if self._runtime is None:
            raise DeviceError("the depth engine is closed; load it again")
        return self._runtime

    def _infer(self, views: Sequence[View], network_size: tuple[int, int]) -> list[ViewDepth]:
        """One batch of one network size, timed with the device at rest."""
        runtime = self._alive()
        times_s = [time.perf_counter()]
        with device_errors(runtime.device), quiet_threads(runtime.own_threads, self._threads), torch.inference_mode():
            images = [on_device(view.rgb, runtime.device) for view in views]
            pixels = [network_pixels(image, network_size) for image in images]
            batch = pixels[0] if len(pixels) == 1 else torch.cat(pixels)
            runtime.synchronize()
            times_s.append(time.perf_counter())
            prediction = runtime.run(batch)
            runtime.synchronize()
            times_s.append(time.perf_counter())
            canonical_px = self.config.focal_px_at(*network_size)
            scales = [metres_per_unit(v.intrinsics, network_size, canonical_px, v.limits.scale_factor) for v in views]
            of_model = self.max_depth_m, self.scene_labels, self.uncertainty
            depths = view_depths(views, images, prediction, scales, *of_model)
        times_s.append(time.perf_counter())
        for depth in depths:
            depth.timings_ms = dict(zip(STAGES, (np.diff(times_s) * 1e3).tolist(), strict=True))
        return depths

    def _shrink(self, batch: int) -> None:
        """After running out of memory: half the batch from now on, below one image the CPU.

        Raises:
            DeviceError: one image does not fit and there is no other device, or it is not allowed.
        """
        runtime = self._alive()
        if batch > 1:
            self._largest_batch = batch // 2
            self.notices.append(f"{self.device} is out of memory at {batch} images; from now on {batch // 2} at a time")
            return
        if runtime.device.type == "cpu" or not self._allow_cpu_fallback:
            raise DeviceError(f"{self.device} is out of memory for a single image; use a smaller image or model")
        self._replace(f"{self.device} is out of memory for a single image; from now on the CPU is used", "fp32")

    def _replace(self, notice: str, precision: str) -> None:
        """Go on with torch on the CPU, and say why."""
        self.notices.append(notice)
        self._adopt(self._alive().to_torch_cpu(precision))
