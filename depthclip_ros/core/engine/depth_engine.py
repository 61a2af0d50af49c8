# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""One model, any number of cameras: batches of images and intrinsics in, metric depth out."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.engine.focal_scale import metres_per_unit
from depthclip_ros.core.engine.preprocess import by_network_size, check_batch
from depthclip_ros.core.engine.run import run
from depthclip_ros.core.engine.view_depths import joined
from depthclip_ros.core.errors import ConfigError, DeviceError, OutOfDeviceMemoryError
from depthclip_ros.core.runtimes.network import Network
from depthclip_ros.core.runtimes.openvino.calibration_images import ROOMS, CalibrationSet
from depthclip_ros.core.runtimes.proof import Proof, RefusedRuntimeError
from depthclip_ros.core.runtimes.runtime import DeviceRuntime, Runtime, make_runtime
from depthclip_ros.core.types import Depth, DepthLimits, Intrinsics, View, ViewDepth
from depthclip_ros.core.weights.find import read_info
from depthclip_ros.core.weights.info import WeightsInfo

if TYPE_CHECKING:
    from depthclip_ros.core.model.contract import DepthModel

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
        device: where the network runs, e.g. "cpu", "cuda:0" or "xpu:0".
        precision: "fp32", "bf16", "fp16" or "int8".
        max_depth_m: farthest depth that the model was made for; infinite for systems of relative depth.
        uncertainty: by which depth gets intervals; None where the weights were made without.
        notices: what went otherwise than asked (a smaller batch, the CPU in place of the GPU), one sentence each.
    """

    def __init__(
        self,
        model: DepthModel | Network,
        info: WeightsInfo | None = None,
        *,
        runtime: str = "torch",
        device: str = "auto",
        precision: str = "auto",
        calibration: str = ROOMS,
        threads: int = 0,
        allow_cpu_fallback: bool = True,
    ) -> None:
        """Make an engine of a network, which belongs to the engine from here on; see `load` for the rest."""
        sha256 = None if info is None else info.sha256
        network = model if isinstance(model, Network) else Network.of_model(model, sha256)
        self.info = info
        self.config = network.config
        self.scene_labels = network.scene_labels
        self.max_depth_m = network.config.max_depth_m if network.config.metric else math.inf
        self.uncertainty = info.uncertainty if info is not None else None
        self._network_size = network.network_size
        self._allow_cpu_fallback = allow_cpu_fallback
        self._largest_batch: int | None = None
        self._image_sizes: dict[tuple[int, int], tuple[int, int]] = {}  # by network size, the latest
        self._lock = threading.Lock()
        self._runtime: Runtime | None = None
        self.notices: list[str] = []
        make = partial(make_runtime, network, calibration=CalibrationSet(calibration), threads=threads)
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
        runtime: str | None = None,
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
                takes seconds, and kept on the disk; "auto": the fastest that is installed, for cameras. None: "auto"
                for weights with a graph beside them, as the shipped ones have, else "torch".
            device: "auto" (the first CUDA GPU, else the CPU), "cpu", "cuda", "cuda:N", or Intel's GPUs, by openvino:
                "xpu", "xpu:N".
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
        info = read_info(weights)
        network = Network.of_weights(info)
        return cls(
            network,
            info,
            runtime=runtime or ("torch" if network.graph is None else "auto"),
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
        """Depth and confidence of images that may differ in size and limits; those of one network size are one batch.

        Raises:
            InputError, ConfigError, DeviceError: as `infer`; then there is no depth of any of the views.
            NotReadyError: after `prepare_in_background`, of a new size of weights with a graph.
        """
        groups = by_network_size(views, self._network_size)
        found: dict[int, ViewDepth] = {}
        with self._lock:
            for size, members in groups.items():
                height, width = views[members[0]].rgb.shape[:2]
                self._image_sizes[size] = width, height
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
        """For cameras, after `warm_up`: no call waits for the compilation of a new size or batch any more.

        Until that is done and proved, its images are slower, by torch or one by one, or `NotReadyError` is raised.
        """
        if self._runtime is not None:
            self._runtime.prepare_in_background()

    @property
    def preparing(self) -> str:
        """What is being compiled meanwhile, e.g. "1280x720, 3 x 1280x720"; "" where nothing is."""
        keys = () if self._runtime is None else self._runtime.preparing
        sizes = [(batch, *self._image_sizes[width, height]) for batch, height, width in keys]
        return ", ".join(f"{batch} x {width}x{height}".removeprefix("1 x ") for batch, width, height in sizes)

    def is_preparing(self, width_px: int, height_px: int) -> bool:
        """Whether the network for images of this size is being compiled, or is to be."""
        width, height = self._network_size(width_px, height_px)
        return self._runtime is not None and (1, height, width) in self._runtime.preparing

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
        runtime.notices = self.notices  # what it notices later is seen as well

    def _alive(self) -> Runtime:
        if self._runtime is None:
            raise DeviceError("the depth engine is closed; load it again")
        return self._runtime

    def _infer(self, views: Sequence[View], network_size: tuple[int, int]) -> list[ViewDepth]:
        """One batch of one network size."""
        runtime = self._alive()
        focal_px = self.config.focal_px_at(*network_size)
        scales = [metres_per_unit(v.intrinsics, network_size, focal_px, v.limits.scale_factor) for v in views]
        of_network = self.max_depth_m, self.scene_labels, self.uncertainty
        if runtime.on_device:
            from depthclip_ros.core.engine.on_device import run as on_device

            depths, times_s = on_device.run(cast("DeviceRuntime", runtime), views, network_size, scales, *of_network)
        else:
            depths, times_s = run(runtime, views, network_size, scales, *of_network)
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
        if not runtime.on_device or not self._allow_cpu_fallback:
            raise DeviceError(f"{self.device} is out of memory for a single image; use a smaller image or model")
        self._replace(f"{self.device} is out of memory for a single image; from now on the CPU is used", "fp32")

    def _replace(self, notice: str, precision: str) -> None:
        """Go on with torch on the CPU, and say why; where it is not installed, `to_torch_cpu` says that."""
        self.notices.append(notice)
        self._adopt(self._alive().to_torch_cpu(precision))
