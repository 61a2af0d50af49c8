# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A network that labels: any weights file, on the runtime that ships."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthclip_ros.core.engine.preprocess import network_pixels
from depthclip_ros.core.errors import ConfigError, OutOfDeviceMemoryError
from depthclip_ros.core.runtimes.network import Network
from depthclip_ros.core.runtimes.runtime import Runtime, make_runtime
from depthclip_ros.core.weights.find import read_info
from depthclip_ros.core.weights.info import WeightsInfo
from depthclip_trainer.data.sample import AFFINE, CANONICAL


@dataclass(frozen=True)
class Label:
    """What a teacher says of one picture, on its own grid.

    Attributes:
        target: `canonical` or `affine`.
        values: float16 [h, w], canonical depth, or disparity divided by its median.
        confidence: uint8 [h, w], 255 for 1.0.
        network_size: (width, height) of the teacher's input.
        canonical_focal_px: the teacher's; None where its output is metres.
    """

    target: str
    values: NDArray[np.float16]
    confidence: NDArray[np.uint8]
    network_size: tuple[int, int]
    canonical_focal_px: float | None


class Teacher:
    """Labels batches of pictures.

    Args:
        model: belongs to the teacher from here on.
        runtime: that runs it.
        target: `canonical`, `affine`, or empty: canonical where the system's metres come from the lens; affine for
            relative depth, and for metres that the network guesses whatever the lens, as they mean little on pictures
            of unknown lenses.
        flip: average with the mirrored picture.
        info: of the weights.

    Raises:
        ConfigError: a target that does not exist, or canonical depth of a system of relative depth.
    """

    def __init__(
        self, network: Network, runtime: Runtime, target: str = "", flip: bool = False, info: WeightsInfo | None = None
    ) -> None:
        self.config = network.config
        from_lens = network.config.metric and network.config.canonical_focal_px is not None
        self.target = target or (CANONICAL if from_lens else AFFINE)
        if self.target not in (CANONICAL, AFFINE):
            raise ConfigError(f"target is {target!r}; allowed: {CANONICAL}, {AFFINE}")
        if self.target == CANONICAL and not network.config.metric:
            raise ConfigError(f"{network.config.system} gives relative depth; its labels are {AFFINE}, not {CANONICAL}")
        self.flip, self.info = flip, info
        self.network_size = network.network_size
        self._runtime = runtime

    @classmethod
    def load(
        cls,
        weights: str,
        target: str = "",
        flip: bool = False,
        runtime: str = "torch",
        device: str = "auto",
        precision: str = "auto",
    ) -> Teacher:
        """From a weights file; `auto` takes this process's own GPU where torchrun started several.

        Raises:
            WeightsError, ConfigError, DeviceError: as of `DepthEngine.load`.
        """
        info = read_info(weights)
        local = os.environ.get("LOCAL_RANK")
        if device == "auto" and local is not None and torch.cuda.is_available():
            device = f"cuda:{local}"
        network = Network.of_weights(info)
        return cls(network, make_runtime(network, runtime, device, precision), target, flip, info)

    def about(self) -> dict[str, Any]:
        """What a label's metadata says of its teacher."""
        about: dict[str, Any] = {
            "target": self.target,
            "system": self.config.system,
            "canonical_focal_px": self.config.canonical_focal_px,
        }
        if self.info is not None:
            about.update(teacher_sha256=self.info.sha256, teacher_training=self.info.training)
        return about

    def label(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Label]:
        """Labels of pictures (uint8 [H, W, 3] RGB) whose sizes give one `network_size`."""
        size = self.network_size(pictures[0].shape[1], pictures[0].shape[0])
        pixels = np.stack([network_pixels(picture, size) for picture in pictures])
        labels, confidence = self._run(pixels)
        values = labels.clamp(0, 6e4).half().cpu().numpy()
        sure = (confidence.clamp(0, 1) * 255).round().byte().cpu().numpy()
        focal_px = self.config.focal_px_at(*size)
        return [Label(self.target, v, s, size, focal_px) for v, s in zip(values, sure, strict=True)]

    def _run(self, pixels: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Labels and confidence, float32 [B, h, w], of pixels [B, h, w, 3], in halves where there is no room."""
        try:
            labels, confidence = (t.clone() for t in self._once(pixels))  # the next run overwrites the prediction
            if self.flip:
                other, other_confidence = (t.flip(-1) for t in self._once(pixels[:, :, ::-1]))
                agreement = torch.minimum(labels, other) / torch.maximum(labels, other).clamp_min(1e-6)
                confidence = (confidence + other_confidence) / 2 * agreement
                labels = (labels + other) / 2
            return labels, confidence
        except OutOfDeviceMemoryError:
            if len(pixels) == 1:
                raise
        halves = [self._run(part) for part in np.array_split(pixels, 2)]
        return torch.cat([h[0] for h in halves]), torch.cat([h[1] for h in halves])

    def _once(self, pixels: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        output = self._runtime.run(np.ascontiguousarray(pixels))
        depth, confidence = (torch.from_numpy(part) for part in (output.depth, output.confidence))
        if self.target == CANONICAL:
            return depth, confidence
        disparity = 1 / depth.clamp_min(1e-6)
        return disparity / disparity.flatten(1).median(1).values.clamp_min(1e-9)[:, None, None], confidence
