# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Images for `depthclip predict`, each with its intrinsics and where these come from."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depthclip_ros.core.errors import ConfigError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthclip_ros.core.rectify import Rectifier
    from depthclip_ros.core.types import Intrinsics

ASSUMED_HFOV_DEG = 60.0


@dataclass
class Job:
    """One image, ready for the engine; `valid` is False where rectification left nothing."""

    path: Path
    stem: str
    rgb: NDArray[np.uint8]
    intrinsics: Intrinsics
    focal_origin: str
    valid: NDArray[np.bool_] | None


class Lens:
    """Where intrinsics come from: the arguments, else the image file, else an assumption.

    Attributes:
        doubt: why the calibration can be used but hardly be right; "" where nothing speaks against it.
    """

    ASSUMED = "assumed"

    def __init__(
        self, focal_px: float | None = None, hfov_deg: float | None = None, rectifier: Rectifier | None = None
    ) -> None:
        self._focal_px = focal_px
        self._hfov_deg = hfov_deg
        self._rectifier = rectifier
        self.doubt = ""

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> Lens:
        """Check the arguments.

        Raises:
            ConfigError: a focal length, field of view or calibration that cannot be.
        """
        focal_px, hfov_deg = arguments.focal_px, arguments.hfov_deg
        if focal_px is not None and not 0 < focal_px < math.inf:
            raise ConfigError(f"--focal-px is {focal_px}; it must be finite and above 0")
        if hfov_deg is not None and not 0 < hfov_deg < 180:
            raise ConfigError(f"--hfov-deg is {hfov_deg}; it must lie between 0 and 180")
        if arguments.camera_info is None:
            return cls(focal_px, hfov_deg)
        from depthclip_ros.core.calibration import misplaced_centre, read_calibration
        from depthclip_ros.core.rectify import rectifier_for

        camera = read_calibration(arguments.camera_info)
        try:
            lens = cls(rectifier=rectifier_for(camera))
        except InputError as error:
            raise ConfigError(f"camera info {arguments.camera_info} cannot be used: {error}") from error
        lens.doubt = misplaced_centre(camera.k, camera.p, camera.width_px, camera.height_px)
        return lens

    def prepare(self, path: Path, stem: str, *, as_stored: bool = False) -> Job:
        """Read an image, rectify it where it is distorted, and find its intrinsics.

        Args:
            path: of the image.
            stem: of what is written of it.
            as_stored: leave the pixels where they are, whatever EXIF says: their depth lies there too.

        Raises:
            InputError: names the file, and what is wrong with it.
        """
        from depthclip_ros.commands.files.images import read_picture
        from depthclip_ros.core.types import Intrinsics

        picture = read_picture(path, upright=self._rectifier is None and not as_stored)
        height, width = picture.rgb.shape[:2]
        if self._rectifier is not None:
            try:
                rgb = self._rectifier.rectify(picture.rgb)
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
            return Job(path, stem, rgb, self._rectifier.intrinsics, "camera info", self._rectifier.valid)
        if self._hfov_deg is not None:
            intrinsics, origin = Intrinsics.from_hfov(self._hfov_deg, width, height), "field of view"
        elif self._focal_px is not None or picture.focal_px is not None:
            focal_px = self._focal_px or picture.focal_px or math.nan
            intrinsics = Intrinsics(focal_px, focal_px, (width - 1) / 2, (height - 1) / 2, width, height)
            origin = "EXIF" if self._focal_px is None else "given"
        else:
            intrinsics, origin = Intrinsics.from_hfov(ASSUMED_HFOV_DEG, width, height), self.ASSUMED
        return Job(path, stem, picture.rgb, intrinsics, origin, None)

    def rectify_depth(self, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """Measured depth [H, W] of an image as it was stored, where `prepare` shows its pixels; 0 where it has none.

        Raises:
            InputError: a distorted camera, and depth of another size than its images.
        """
        if self._rectifier is None or self._rectifier.is_identity:
            return depth_m
        return self._rectifier.rectify(depth_m, nearest=True)
