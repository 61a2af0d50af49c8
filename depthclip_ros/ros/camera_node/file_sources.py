# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Frames of a folder of pictures, or of a video."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.images.compressed import SUFFIXES, decode_depth_values, decode_picture
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros.camera_fields import CameraFields
from depthclip_ros.ros.camera_node.source import Frame, SourceOptions
from depthclip_ros.ros.measure.scores import require_same_view

VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg")


def natural_key(path: Path) -> list[Any]:
    """Sort key under which `frame10` comes after `frame9`: text, number, text, ..."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+)", path.name.lower()))]


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read a picture as uint8 [H, W, 3] RGB, as its pixels are stored: depth and calibration belong to those.

    Raises:
        InputError: the file is missing, damaged, or no picture.
    """
    try:
        return decode_picture(path.read_bytes())
    except (OSError, InputError) as error:
        raise InputError(f"{path.name} is not a picture that can be read: {error}") from error


class FolderSource:
    """A folder of pictures, or `rgb/` with `depth/` and `meta.json` beside as RGB-D sets have it.

    Intrinsics come from `meta.json` (`intrinsics` or `per_frame`), else from `camera_info.yaml` in the folder.

    Raises:
        InputError: no pictures in the folder, or a `meta.json` that cannot be used.
        ConfigError: a `camera_info.yaml` that cannot be used.
    """

    kind = "folder"
    rate_hz: float | None = None

    def __init__(self, path: Path, options: SourceOptions) -> None:
        images = path / "rgb" if (path / "rgb").is_dir() else path
        self.paths = sorted((p for p in images.iterdir() if p.suffix.lower() in SUFFIXES), key=natural_key)
        if not self.paths:
            raise InputError(f"the folder {images} holds no pictures ({', '.join(SUFFIXES)})")
        self.skipped: list[str] = []
        depth = path / "depth"
        self._depth_files = {p.stem: p for p in depth.glob("*") if p.suffix.lower() == ".png"}
        self._meta = _read_meta(path / "meta.json")
        calibration = path / "camera_info.yaml"
        self._camera = CameraFields.from_file(calibration) if calibration.is_file() else None

    def __iter__(self) -> Iterator[Frame]:
        self.skipped.clear()
        for path in self.paths:
            if (frame := self._read(path)) is not None:
                yield frame

    def _read(self, path: Path) -> Frame | None:
        try:
            rgb = read_rgb(path)
            height_px, width_px = rgb.shape[:2]
            camera = self._camera_of(path.stem, width_px, height_px)
            return Frame(rgb, camera, self._depth_of(path.stem, width_px, height_px), None, path.name)
        except (InputError, OSError) as error:
            self.skipped.append(str(error))
            return None

    def _camera_of(self, stem: str, width_px: int, height_px: int) -> CameraFields | None:
        values = self._meta.get("per_frame", {}).get(stem) or self._meta.get("intrinsics") or {}
        numbers = [values.get(name) for name in ("fx", "fy", "cx", "cy")]
        if None in numbers:
            return self._camera
        return CameraFields.from_intrinsics(Intrinsics(*map(float, numbers), width_px, height_px))

    def _depth_of(self, stem: str, width_px: int, height_px: int) -> NDArray[np.float32] | None:
        if (path := self._depth_files.get(stem)) is None:
            return None
        try:
            raw = decode_depth_values(path.read_bytes())
            require_same_view((height_px, width_px), raw.shape)
        except InputError as error:
            raise InputError(f"{path.parent.name}/{path.name} is no depth of its image: {error}") from error
        if raw.shape != (height_px, width_px):
            raw = cv2.resize(raw, (width_px, height_px), interpolation=cv2.INTER_NEAREST_EXACT)
        depth_m = raw.astype(np.float32) / np.float32(self._meta.get("depth_units_per_metre", 1000))
        depth_m[raw == self._meta.get("invalid_value", 0)] = math.nan
        return depth_m


def _read_meta(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(meta, dict):
        raise InputError(f"{path} holds a {type(meta).__name__}, not an object with `intrinsics`")
    return meta


class VideoSource:
    """A video that OpenCV can decode; `camera_info.yaml` or `STEM.yaml` beside it gives the intrinsics.

    Raises:
        InputError: OpenCV cannot open the file or finds no frame in it.
    """

    kind = "video"

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self.path = path
        self.skipped: list[str] = []
        capture = self._open()
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.rate_hz = float(fps) if math.isfinite(fps) and fps > 0 else None
        capture.release()
        beside = (path.with_suffix(".yaml"), path.with_name("camera_info.yaml"))
        self._camera = next((CameraFields.from_file(candidate) for candidate in beside if candidate.is_file()), None)

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened() or not capture.grab():
            raise InputError(f"{self.path} is not a video that OpenCV can decode")
        capture.release()
        return cv2.VideoCapture(str(self.path))

    def __iter__(self) -> Iterator[Frame]:
        self.skipped.clear()
        capture = self._open()
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        count = 0
        try:
            while True:
                good, bgr = capture.read()
                if not good:
                    break
                stamp_ns = round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
                yield Frame(np.ascontiguousarray(bgr[..., ::-1]), self._camera, None, stamp_ns, f"frame {count}")
                count += 1
        finally:
            capture.release()
        if count < total:
            self.skipped.append(f"{self.path.name}: the last {total - count} of {total} frames cannot be decoded")
