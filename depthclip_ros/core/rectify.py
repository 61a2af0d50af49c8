# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Lens distortion as ROS CameraInfo describes it, and the maps that take it out of an image."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.images.encodings import check_size
from depthclip_ros.core.types import Intrinsics

# Coefficients that each model may have, as OpenCV orders them. The two pinhole models are one polynomial, of which
# drivers send as much as they have (12 and 14: thin prism, tilt) under either name.
PINHOLE = (4, 5, 8, 12, 14)
COEFFICIENTS = {"plumb_bob": PINHOLE, "rational_polynomial": PINHOLE, "equidistant": (4,)}
FISHEYE = "equidistant"

LARGEST = 1e9
"""Of a calibration's numbers: no lens and no image has one near it, and what is made of them stays finite."""
SMALLEST_FOCAL_PX = 1e-3  # no lens has it, and what is divided by less overflows

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class CameraModel:
    """A calibrated camera, with the numbers of ROS CameraInfo in row order; hashable, so that maps are cached by it.

    Attributes:
        k: 3x3 camera matrix of the image as it comes from the lens, pixels; all zero where P alone is known.
        d: distortion coefficients; all zero or none: the image is already rectified.
        distortion_model: `plumb_bob`, `rational_polynomial` or `equidistant`; of no account where D is zero.
        r: 3x3 rotation to the rectified camera; all zero counts as none.
        p: 3x4 projection of the rectified image, pixels; None or all zero where it is not known.

    Raises:
        InputError: lengths that do not fit, numbers that are not finite or beyond `LARGEST`, no focal length, a size
            that no image has, or coefficients of a model that is not named or cannot be rectified.
    """

    width_px: int
    height_px: int
    k: tuple[float, ...]
    d: tuple[float, ...] = ()
    distortion_model: str = ""
    r: tuple[float, ...] = IDENTITY
    p: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_size(self.width_px, self.height_px)
        for name, length in (("k", 9), ("r", 9), ("p", 12)):
            values = getattr(self, name)
            if values is not None and len(values) != length:
                raise InputError(f"camera matrix {name.upper()} has {len(values)} numbers; it must have {length}")
        for name in ("k", "d", "r", "p"):
            if not all(abs(value) <= LARGEST for value in getattr(self, name) or ()):  # NaN is not
                raise InputError(
                    f"camera info {name.upper()} is {getattr(self, name)}; every number must be finite, and none is "
                    f"beyond {LARGEST:g}"
                )
        # Raises for focal lengths that cannot be. K all zero says "not calibrated", as P all zero does.
        _ = self.pinhole
        if any(self.k) or not self.is_rectified:
            self._pinhole(self.k[0], self.k[4], self.k[2], self.k[5])
        if not self.is_rectified:
            self._check_distortion()

    @classmethod
    def from_numbers(
        cls,
        width_px: int,
        height_px: int,
        k: Sequence[float],
        d: Sequence[float] = (),
        distortion_model: str = "",
        r: Sequence[float] | None = None,
        p: Sequence[float] | None = None,
    ) -> CameraModel:
        """From any sequences of numbers (lists, arrays, message fields), matrices in row order.

        `fisheye`, as calibrators call it, is equidistant; zeros behind the coefficients that a model has are dropped.
        """

        def numbers(values: Sequence[float]) -> tuple[float, ...]:
            return tuple(np.asarray(values, np.float64).ravel().tolist())

        model = FISHEYE if distortion_model == "fisheye" else distortion_model
        coefficients = numbers(d)
        most = COEFFICIENTS.get(model, (len(coefficients),))
        while len(coefficients) not in most and len(coefficients) > most[0] and coefficients[-1] == 0:
            coefficients = coefficients[:-1]
        return cls(
            width_px=int(width_px),
            height_px=int(height_px),
            k=numbers(k),
            d=coefficients,
            distortion_model=model,
            r=IDENTITY if r is None or not np.any(r) else numbers(r),
            p=None if p is None or not np.any(p) else numbers(p),
        )

    @property
    def is_rectified(self) -> bool:
        """True where there is nothing to take out: no coefficients, or only zeros."""
        return not any(self.d)

    @property
    def pinhole(self) -> Intrinsics:
        """Intrinsics of the image if it is taken as rectified: P where it is known, else K.

        P first, as every ROS consumer of a rectified image reads it: a driver that rectifies may leave K as it was.
        """
        if self.p is not None and any(self.p):
            return self._pinhole(self.p[0], self.p[5], self.p[2], self.p[6])
        return self._pinhole(self.k[0], self.k[4], self.k[2], self.k[5])

    def _pinhole(self, fx_px: float, fy_px: float, cx_px: float, cy_px: float) -> Intrinsics:
        if 0 < min(fx_px, fy_px) < SMALLEST_FOCAL_PX:
            raise InputError(f"focal length is {min(fx_px, fy_px):g} pixels; allowed: {SMALLEST_FOCAL_PX:g} or more")
        return Intrinsics(fx_px, fy_px, cx_px, cy_px, self.width_px, self.height_px)

    def _check_distortion(self) -> None:
        allowed = COEFFICIENTS.get(self.distortion_model)
        if not self.distortion_model:  # a guess would take out another lens's distortion: image_geometry refuses too
            raise InputError(
                f"the distortion D is {list(self.d)} but no distortion_model is named; name the one that D was "
                f"calibrated for: {', '.join(COEFFICIENTS)}"
            )
        if allowed is None:
            raise InputError(
                f"distortion model '{self.distortion_model}' cannot be rectified; allowed are {', '.join(COEFFICIENTS)}"
            )
        if len(self.d) not in allowed:
            counts = " or ".join(", ".join(map(str, allowed)).rsplit(", ", 1))
            raise InputError(
                f"distortion model '{self.distortion_model}' has {len(self.d)} coefficients; it must have {counts}"
            )


class Rectifier:
    """Takes the lens distortion out of the images of one camera; `rectifier_for` keeps those already made.

    The rectified camera is P where the calibration gives it (as image_proc does), else the largest one without empty
    borders. An already rectified camera passes its images through untouched.

    Attributes:
        intrinsics: of the rectified image, which has the size of the raw one.
        valid: bool [H, W]; False where the rectified image shows what the raw image did not. None: valid everywhere.
    """

    intrinsics: Intrinsics
    valid: NDArray[np.bool_] | None

    def __init__(self, camera: CameraModel) -> None:
        self._maps: tuple[NDArray[Any], ...] | None = None
        self.valid = None
        if camera.is_rectified:
            self.intrinsics = camera.pinhole
            return
        k = np.array(camera.k).reshape(3, 3)
        d = np.array(camera.d)
        r = np.array(camera.r).reshape(3, 3)
        size = (camera.width_px, camera.height_px)
        fisheye = camera.distortion_model == FISHEYE
        if camera.p is not None and any(camera.p):
            new_k = np.array(camera.p).reshape(3, 4)[:, :3].copy()
        elif fisheye:
            _check_view(camera)
            new_k = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(k, d, size, r, balance=0.0)
        else:
            new_k, _ = cv2.getOptimalNewCameraMatrix(k, d, size, 0.0)
        try:
            self.intrinsics = Intrinsics(new_k[0, 0], new_k[1, 1], new_k[0, 2], new_k[1, 2], *size)
        except InputError as error:
            raise _wants_projection(camera) from error
        undistort = cv2.fisheye.initUndistortRectifyMap if fisheye else cv2.initUndistortRectifyMap
        map_x, map_y = undistort(k, d, r, new_k, size, cv2.CV_32FC1)
        valid = (map_x >= -0.5) & (map_x <= size[0] - 0.5) & (map_y >= -0.5) & (map_y <= size[1] - 0.5)
        valid &= self._radius(r) < (math.tan(_fold_angle(camera.d)) if fisheye else _fold_radius(camera.d))
        if not valid.any():
            raise InputError(f"calibration {camera.distortion_model} {camera.d} leaves no pixel of the image after it")
        if not valid.all():
            valid.flags.writeable = False
            self.valid = valid
        # Fixed-point maps: remap takes a third of the time that it takes with float maps.
        self._maps = tuple(np.asarray(part) for part in cv2.convertMaps(map_x, map_y, cv2.CV_16SC2))

    @property
    def is_identity(self) -> bool:
        """True where `rectify` hands the image back as it is."""
        return self._maps is None

    def rectify(self, image: NDArray[Any], *, nearest: bool = False) -> NDArray[Any]:
        """The rectified image, of the same shape and dtype; black where `valid` is False.

        Args:
            image: [H, W] or [H, W, C], of the camera's size; also float32 and uint16 (depth images).
            nearest: take the nearest pixel rather than interpolate, for depth and labels.

        Raises:
            InputError: another size than the camera's.
        """
        size = (self.intrinsics.height_px, self.intrinsics.width_px)
        if image.shape[:2] != size:
            raise InputError(f"image is {image.shape[1]}x{image.shape[0]} but its calibration is {size[1]}x{size[0]}")
        if self._maps is None:
            return image
        map_xy, fraction = self._maps
        interpolation = cv2.INTER_LINEAR
        if nearest:  # rounded here: by a fraction, 5 bits of x and 5 of y, `remap` takes the farther pixel
            map_xy = map_xy + np.stack([fraction >> 4 & 1, fraction >> 9 & 1], -1).astype(np.int16)
            fraction, interpolation = np.empty(0, np.uint16), cv2.INTER_NEAREST
        rectified: NDArray[Any] = np.asarray(
            cv2.remap(image, map_xy, fraction, interpolation, borderMode=cv2.BORDER_REPLICATE)
        )
        if self.valid is not None:
            rectified[~self.valid] = 0
        return rectified

    def _radius(self, r: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance from the axis of the raw camera, at z = 1, of each rectified pixel's ray: [H, W]."""
        k = self.intrinsics
        u, v = np.meshgrid(np.arange(k.width_px), np.arange(k.height_px))
        rays = np.stack([(u - k.cx_px) / k.fx_px, (v - k.cy_px) / k.fy_px, np.ones(u.shape)], -1) @ r  # r inverted
        z, radius = rays[..., 2], np.full(u.shape, np.inf)
        with np.errstate(over="ignore"):  # of a ray that grazes the image plane: infinite is right
            return np.asarray(np.divide(np.hypot(rays[..., 0], rays[..., 1]), z, out=radius, where=z > 0))


def _fold_radius(d: tuple[float, ...]) -> float:
    """Undistorted radius at which the radial polynomial turns back: beyond it the lens model shows the image twice."""
    k1, k2, _, _, k3, k4, k5, k6 = (*d, 0.0, 0.0, 0.0, 0.0)[:8]
    radius = np.linspace(0, 10, 10_001)
    r2 = radius**2
    with np.errstate(divide="ignore", invalid="ignore"):
        distorted = radius * (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    turning = np.flatnonzero(~(np.diff(distorted) > 0))
    return float(radius[turning[0]]) if turning.size else math.inf


def _fold_angle(d: tuple[float, ...]) -> float:
    """Angle from the axis, at most a right one, from which on the fisheye's polynomial turns back, in radians."""
    angle = np.linspace(0, math.pi / 2, 10_001, dtype=np.float64)
    turning = np.flatnonzero(~(np.diff(_fisheye_radius(d, angle)) > 0))
    return float(angle[turning[0]]) if turning.size else math.pi / 2


def _fisheye_radius(d: tuple[float, ...], angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance from the image's axis, at focal length 1, of rays at an angle from the lens's axis."""
    square = angle**2
    return angle * (1 + square * (d[0] + square * (d[1] + square * (d[2] + square * d[3]))))


def _check_view(camera: CameraModel) -> None:
    """Refuse a fisheye lens whose whole view no flat image holds: only P can say what part of it is wanted."""
    fx, _, cx, _, fy, cy, *_ = camera.k
    sides = (cx / fx, (camera.width_px - cx) / fx, cy / fy, (camera.height_px - cy) / fy)
    if max(sides) >= _fisheye_radius(camera.d, np.array(_fold_angle(camera.d))):
        raise _wants_projection(camera)


def _wants_projection(camera: CameraModel) -> InputError:
    return InputError(
        f"the {camera.distortion_model} lens K {list(camera.k)}, D {list(camera.d)} sees 180 degrees or more, or its D "
        "does not hold up to the image's border; give the projection matrix P of the flat image that is wanted"
    )


@functools.lru_cache(maxsize=8)
def rectifier_for(camera: CameraModel) -> Rectifier:
    """The rectifier of this calibration, made once.

    Raises:
        InputError: the calibration leaves no image.
    """
    return Rectifier(camera)
