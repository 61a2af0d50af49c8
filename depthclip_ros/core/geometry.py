# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Pinhole geometry of rectified images: intrinsics after resize and crop, rays, clouds, depth steps."""

from __future__ import annotations

import functools
import math
import threading
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics

Float = TypeVar("Float", bound=np.floating[Any])

# What PCL calls PointXYZRGB, without its padding: 16 bytes. `rgb` holds 0x00RRGGBB; the messages call it float32.
CLOUD_XYZ = np.dtype({"names": ["x", "y", "z"], "formats": ["<f4"] * 3, "offsets": [0, 4, 8], "itemsize": 16})
CLOUD_XYZRGB = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4")])


def cloud_dtype(color: bool, uncertainty: bool) -> np.dtype[np.void]:
    """A point's fields: x, y, z, `rgb` or four empty bytes, and `uncertainty` behind them."""
    dtype = CLOUD_XYZRGB if color else CLOUD_XYZ
    if not uncertainty:
        return dtype
    names = [*(dtype.names or ()), "uncertainty"]
    formats = ["<f4", "<f4", "<f4", *(["<u4"] if color else []), "<f4"]
    offsets = [0, 4, 8, *([12] if color else []), 16]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": 20})


def scale_intrinsics(intrinsics: Intrinsics, width_px: int, height_px: int) -> Intrinsics:
    """Intrinsics of the same image resized to width_px x height_px.

    A pixel covers -0.5..+0.5 around its centre, so the resized principal point is (c + 0.5) * s - 0.5.

    Raises:
        InputError: an empty size.
    """
    sx = width_px / intrinsics.width_px
    sy = height_px / intrinsics.height_px
    if sx <= 0 or sy <= 0:
        raise InputError(f"cannot resize to {width_px}x{height_px}; both sides must be at least 1 pixel")
    return Intrinsics(
        fx_px=intrinsics.fx_px * sx,
        fy_px=intrinsics.fy_px * sy,
        cx_px=(intrinsics.cx_px + 0.5) * sx - 0.5,
        cy_px=(intrinsics.cy_px + 0.5) * sy - 0.5,
        width_px=width_px,
        height_px=height_px,
    )


def crop_intrinsics(intrinsics: Intrinsics, left_px: int, top_px: int, width_px: int, height_px: int) -> Intrinsics:
    """Intrinsics of the rectangle whose top left pixel is (left_px, top_px).

    Raises:
        InputError: a rectangle that is empty or not wholly inside the image.
    """
    inside = (
        width_px >= 1
        and height_px >= 1
        and left_px >= 0
        and top_px >= 0
        and left_px + width_px <= intrinsics.width_px
        and top_px + height_px <= intrinsics.height_px
    )
    if not inside:
        raise InputError(
            f"crop {width_px}x{height_px} at ({left_px}, {top_px}) does not lie inside an image of "
            f"{intrinsics.width_px}x{intrinsics.height_px} pixels"
        )
    return Intrinsics(
        fx_px=intrinsics.fx_px,
        fy_px=intrinsics.fy_px,
        cx_px=intrinsics.cx_px - left_px,
        cy_px=intrinsics.cy_px - top_px,
        width_px=width_px,
        height_px=height_px,
    )


@functools.lru_cache(maxsize=8)
def ray_axes(intrinsics: Intrinsics) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(u - cx) / fx of every column [W] and (v - cy) / fy of every row [H]; read-only float32."""
    across = ((np.arange(intrinsics.width_px) - intrinsics.cx_px) / intrinsics.fx_px).astype(np.float32)
    down = ((np.arange(intrinsics.height_px) - intrinsics.cy_px) / intrinsics.fy_px).astype(np.float32)
    across.flags.writeable = False
    down.flags.writeable = False
    return across, down


@functools.lru_cache(maxsize=4)
def pixel_rays(intrinsics: Intrinsics) -> NDArray[np.float32]:
    """float32 [H, W, 2], read-only: x/z and y/z of the ray through each pixel's centre."""
    across, down = ray_axes(intrinsics)
    rays = np.empty((intrinsics.height_px, intrinsics.width_px, 2), np.float32)
    rays[..., 0] = across
    rays[..., 1] = down[:, None]
    rays.flags.writeable = False
    return rays


def check_size(name: str, shape: tuple[int, ...], intrinsics: Intrinsics) -> None:
    """Refuse an image of this shape that is not of its intrinsics' size.

    Raises:
        InputError: repeats both.
    """
    if shape[:2] != (intrinsics.height_px, intrinsics.width_px):
        size = "x".join(str(n) for n in reversed(shape[:2]))
        raise InputError(f"{name} is {size} but its intrinsics are {intrinsics.width_px}x{intrinsics.height_px}")


def project(points: NDArray[np.floating], intrinsics: Intrinsics) -> NDArray[np.float64]:
    """Pixels float64 [N, 2] (u, v) of points [N, 3] in the optical frame; NaN where z is not above 0."""
    x, y, z = np.asarray(points, np.float64).T
    z = np.where(z > 0, z, np.nan)
    with np.errstate(over="ignore", invalid="ignore"):  # of rays across the optical axis: far outside the image
        u, v = x / z * intrinsics.fx_px + intrinsics.cx_px, y / z * intrinsics.fy_px + intrinsics.cy_px
    return np.stack([u, v], axis=-1)


def nearest_pixels(
    pixels: NDArray[np.float64], intrinsics: Intrinsics
) -> tuple[NDArray[np.bool_], NDArray[np.intp], NDArray[np.intp]]:
    """Which of the pixels [N, 2] (u, v) lie in the image, bool [N], and of those the nearest column and row."""
    nearest = np.rint(pixels)
    size = intrinsics.width_px, intrinsics.height_px
    inside = np.asarray(((nearest >= 0) & (nearest < size)).all(axis=1), np.bool_)  # NaN lies nowhere
    columns, rows = nearest[inside].astype(np.intp).T
    return inside, columns, rows


_workspace = threading.local()


def _planes(count: int, height: int, width: int) -> NDArray[np.float32]:
    """Scratch float32 [count, height, width], one for each thread, kept: fresh pages would cost more than the cloud."""
    planes: NDArray[np.float32] | None = getattr(_workspace, "planes", None)
    if planes is None or planes.shape != (count, height, width):
        planes = _workspace.planes = np.empty((count, height, width), np.float32)
    return planes


def organised_cloud(
    depth_m: NDArray[np.float32],
    rgb: NDArray[np.uint8] | None,
    intrinsics: Intrinsics,
    *,
    stride: int = 1,
    max_range_m: float = math.inf,
    unknown: NDArray[np.bool_] | None = None,
    uncertainty_m: NDArray[np.float32] | None = None,
    out: NDArray[np.void] | None = None,
) -> NDArray[np.void]:
    """Organised cloud in the optical frame, structured [ceil(H/stride), ceil(W/stride)], `cloud_dtype` a point.

    Point (row, column) is the one seen by pixel (column * stride, row * stride); its z is that pixel's depth, to the
    bit. x, y and z are all NaN where depth is not finite, not above 0 or beyond `max_range_m`.

    Args:
        depth_m: float32 [H, W], metres along the optical axis.
        rgb: uint8 [H, W, 3] of the same size; None leaves the field `rgb` out (dtype CLOUD_XYZ, the last four
            bytes of a point are zero).
        intrinsics: of the depth at its full size, whatever the stride.
        stride: every stride-th pixel of both axes, from the top left one.
        max_range_m: farthest depth (along the optical axis) that becomes a point.
        unknown: bool [H, W], pixels that become no point whatever their depth; None: none.
        uncertainty_m: float32 [H, W], becomes the field `uncertainty`; None leaves it out.
        out: an earlier result of the same size and dtype to be filled again.

    Raises:
        InputError: sizes that differ, a stride below 1, or an `out` that does not fit.
    """
    if stride < 1:
        raise InputError(f"cloud stride is {stride}; it must be at least 1")
    check_size("depth", depth_m.shape, intrinsics)
    if rgb is not None:
        check_size("the colour image", rgb.shape, intrinsics)
    dtype = cloud_dtype(rgb is not None, uncertainty_m is not None)
    planes = _planes(dtype.itemsize // 4, -(-depth_m.shape[0] // stride), -(-depth_m.shape[1] // stride))
    x, y, z, colour = planes[:4]
    np.copyto(z, depth_m[::stride, ::stride])
    limit_m = min(max_range_m, float(np.finfo(np.float32).max))
    z[~((z > 0) & (z <= np.float32(limit_m)))] = np.nan
    if unknown is not None:
        z[unknown[::stride, ::stride]] = np.nan
    if uncertainty_m is not None:
        np.copyto(planes[4], uncertainty_m[::stride, ::stride])

    if out is None:
        out = np.empty(z.shape, dtype)
    elif out.shape != z.shape or out.dtype != dtype or not out.flags.c_contiguous:
        raise InputError(f"cloud buffer is {out.dtype} {out.shape}; {dtype} {z.shape}, contiguous, is needed")

    across, down = ray_axes(intrinsics)
    np.multiply(z, across[::stride], out=x)
    np.multiply(z, down[::stride, None], out=y)
    if rgb is None:
        colour.fill(0)
    else:
        # Bytes B, G, R, 0 are 0x00RRGGBB on a little-endian machine. An alpha of 0 also keeps the number, which
        # consumers read as a float32, from being a NaN whose bits a float copy may change.
        bgra = colour.view(np.uint8).reshape(*z.shape, 4)
        cv2.cvtColor(np.ascontiguousarray(rgb[::stride, ::stride]), cv2.COLOR_RGB2BGRA, dst=bgra)
        packed = colour.view(np.uint32)
        packed &= np.uint32(0x00FFFFFF)
    # OpenCV interleaves planes several times faster than strided numpy assignments do.
    cv2.merge(list(planes), out.view(np.float32).reshape(*z.shape, len(planes)))
    return out


def camera_matrix(intrinsics: Intrinsics) -> NDArray[np.float64]:
    """K [3, 3]: from a ray's x, y, z to the pixel's u, v, 1, times z."""
    k = np.diag([intrinsics.fx_px, intrinsics.fy_px, 1.0])
    k[:2, 2] = intrinsics.cx_px, intrinsics.cy_px
    return k


def bent(depth: NDArray[Float], pivot: float, exponent: float) -> NDArray[Float]:
    """Depth as pivot (depth / pivot)^exponent, of any shape and in the pivot's units; what is no depth stays none."""
    if exponent == 1:
        return depth
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(depth * (depth / pivot) ** (exponent - 1), depth.dtype)
