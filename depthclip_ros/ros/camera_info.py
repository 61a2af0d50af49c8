"""What a CameraInfo says of the image beside it, and which of the last CameraInfos belongs to an image."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import crop_intrinsics, scale_intrinsics
from depthclip_ros.core.rectify import CameraModel
from depthclip_ros.core.types import Intrinsics

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo


def stamp_ns_of(stamp: object) -> int:
    """Nanoseconds of a builtin_interfaces/Time."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)  # type: ignore[attr-defined]


def camera_model(info: CameraInfo, width_px: int, height_px: int) -> CameraModel:
    """The camera of an image of width_px x height_px.

    K and P of a CameraInfo belong to the full resolution of the sensor; region of interest and binning say what of it
    the image shows (REP-104). The returned model is that of the image itself.

    Raises:
        InputError: a size that is not the image's, focal lengths that are not finite and above 0, a distortion that
            no known model describes.
    """
    roi = info.roi
    whole = not (roi.width and roi.height)
    left, top = (0, 0) if whole else (roi.x_offset, roi.y_offset)
    roi_width, roi_height = (info.width, info.height) if whole else (roi.width, roi.height)
    binning = (max(1, info.binning_x), max(1, info.binning_y))
    fits = all(
        side // by <= got <= -(-side // by)
        for side, by, got in zip((roi_width, roi_height), binning, (width_px, height_px), strict=True)
    )
    if not fits or not (info.width and info.height):
        part = "" if whole else f", region of interest {roi_width}x{roi_height}"
        part += "" if binning == (1, 1) else f", binning {binning[0]}x{binning[1]}"
        raise InputError(
            f"camera_info is {info.width}x{info.height}{part} but the image is {width_px}x{height_px}; "
            "publish the camera_info of this image, or remap `camera_info` to it"
        )

    def of_image(fx: float, fy: float, cx: float, cy: float) -> Intrinsics:
        camera = Intrinsics(fx, fy, cx, cy, info.width, info.height)
        if not whole:
            camera = crop_intrinsics(camera, left, top, roi_width, roi_height)
        return camera if binning == (1, 1) else scale_intrinsics(camera, width_px, height_px)

    k, p = [float(value) for value in info.k], [float(value) for value in info.p]
    try:
        raw = of_image(k[0], k[4], k[2], k[5])
        rectified = of_image(p[0], p[5], p[2], p[6]) if any(p) else None
    except InputError as error:
        raise InputError(f"camera_info is not usable: {error}; is the camera calibrated?") from None
    return CameraModel.from_numbers(
        width_px,
        height_px,
        k=_matrix(raw, k, columns=3),
        d=info.d,
        distortion_model=info.distortion_model,
        r=info.r,
        p=None if rectified is None else _matrix(rectified, p, columns=4),
    )


def _matrix(camera: Intrinsics, full: list[float], columns: int) -> list[float]:
    """`full` (K or P in row order) with the focal lengths and principal point of `camera`."""
    matrix = list(full)
    matrix[0], matrix[2] = camera.fx_px, camera.cx_px
    matrix[columns + 1], matrix[columns + 2] = camera.fy_px, camera.cy_px
    return matrix


class CameraInfoCache:
    """The last CameraInfos. Filled by the subscription, read by the worker.

    A driver may send an image before its CameraInfo. The reader waits for a CameraInfo that is likely to come: the
    first one where somebody publishes them, and that of the image's own stamp where the image before had its own.
    """

    def __init__(self, size: int = 32, first_wait_s: float = 1.0, own_wait_s: float = 0.05) -> None:
        self._changed = threading.Condition()
        self._by_stamp: OrderedDict[int, CameraInfo] = OrderedDict()
        self._newest: CameraInfo | None = None
        self._newest_ns = 0
        self._received_s: float | None = None
        self._asked_ns: int | None = None
        self._size = size
        self._first_wait_s = first_wait_s
        self._own_wait_s = own_wait_s
        self._closed = False

    def put(self, info: CameraInfo) -> None:
        """Remember a CameraInfo; the oldest is forgotten."""
        with self._changed:
            self._newest_ns = stamp_ns_of(info.header.stamp)
            self._newest = info
            self._received_s = time.monotonic()
            self._by_stamp[self._newest_ns] = info
            self._by_stamp.move_to_end(self._newest_ns)
            while len(self._by_stamp) > self._size:
                self._by_stamp.popitem(last=False)
            self._changed.notify_all()

    def find(self, stamp_ns: int, expected: bool) -> CameraInfo | None:
        """The CameraInfo of this stamp, else the newest, else None.

        Args:
            stamp_ns: the image's stamp.
            expected: whether anybody publishes CameraInfo. Without any so far, the first image waits for the first one.
        """
        with self._changed:
            if self._newest is None and expected and self._asked_ns is None:
                self._changed.wait_for(lambda: self._closed or self._newest is not None, self._first_wait_s)
            previous_had_its_own = self._asked_ns is not None and self._asked_ns in self._by_stamp
            if previous_had_its_own and self._newest_ns < stamp_ns:
                self._changed.wait_for(lambda: self._closed or self._newest_ns >= stamp_ns, self._own_wait_s)
            self._asked_ns = stamp_ns
            return self._by_stamp.get(stamp_ns, self._newest)

    def find_own(self, stamp_ns: int, wait_s: float) -> CameraInfo | None:
        """The CameraInfo of this stamp, waiting for it for so long; None if it does not come."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or stamp_ns in self._by_stamp, wait_s)
            return self._by_stamp.get(stamp_ns)

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def age_s(self) -> float | None:
        """Seconds since the last CameraInfo came; None if none has."""
        received_s = self._received_s
        return None if received_s is None else time.monotonic() - received_s
